//! What each attempt was told, kept for people: JSON lines in segments of a thousand attempts, so
//! that a job of 100,000 attempts is a hundred files and no inode each.
//!
//! A record, not truth: nothing is synced, and a line cut by a crash is passed over.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};

use longhaul_common::layout::JobLayout;
use longhaul_proto::Capsule;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Kept<'a> {
    attempt: u64,
    capsule: &'a Capsule,
}

#[derive(Deserialize)]
struct Read {
    attempt: u64,
    capsule: Capsule,
}

/// Appends the capsules of one job.
pub(crate) struct Capsules {
    layout: JobLayout,
    open: Option<(std::path::PathBuf, File)>,
}

impl Capsules {
    pub(crate) fn new(layout: JobLayout) -> Self {
        Self { layout, open: None }
    }

    /// Keeps what an attempt was told.
    pub(crate) fn keep(&mut self, attempt: u64, capsule: &Capsule) {
        let path = self.layout.capsules(attempt);
        if let Err(error) = self.append(attempt, capsule) {
            // Opened anew for the next one.
            self.open = None;
            tracing::warn!(%error, path = %path.display(), "the capsule was not kept");
        }
    }

    fn append(&mut self, attempt: u64, capsule: &Capsule) -> std::io::Result<()> {
        let path = self.layout.capsules(attempt);
        let mut line = serde_json::to_vec(&Kept { attempt, capsule })?;
        line.push(b'\n');
        if self.open.as_ref().is_none_or(|(open, _)| *open != path) {
            self.open = Some((path.clone(), open(&path)?));
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(&line),
            None => Ok(()),
        }
    }
}

/// Opens a segment to append to, behind a line that was cut.
fn open(path: &std::path::Path) -> std::io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// What an attempt was told last; `None` where it is not known any more.
pub fn capsule_of(layout: &JobLayout, attempt: u64) -> Option<Capsule> {
    lines(layout, attempt)
        .filter_map(|line| serde_json::from_slice::<Read>(&line).ok())
        .fold(None, |found, read| if read.attempt == attempt { Some(read.capsule) } else { found })
}

fn lines(layout: &JobLayout, attempt: u64) -> impl Iterator<Item = Vec<u8>> + use<> {
    let file = File::open(layout.capsules(attempt)).ok();
    file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok))
}

/// Removes the capsules of all attempts up to one; the segment that has later ones stays.
pub(crate) fn forget_capsules(layout: &JobLayout, through: u64) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Id {
        attempt: u64,
    }
    let mut attempt = 0;
    while attempt <= through {
        let later = |line: Vec<u8>| serde_json::from_slice::<Id>(&line).is_ok_and(|id| id.attempt > through);
        if !lines(layout, attempt).any(later) {
            match std::fs::remove_file(layout.capsules(attempt)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        attempt += JobLayout::CAPSULES_SEGMENT;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str) -> Capsule {
        Capsule { instructions: words.to_owned(), ..Capsule::default() }
    }

    #[test]
    fn a_cut_line_costs_itself_only_and_what_is_old_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = longhaul_common::layout::Layout::new(folder.path().to_owned()).job(&"j".parse().expect("a job"));
        std::fs::create_dir_all(layout.root().join("capsules")).expect("made");
        let mut capsules = Capsules::new(layout.clone());
        capsules.keep(1, &told("one"));
        drop(capsules);
        let mut file = OpenOptions::new().append(true).open(layout.capsules(1)).expect("there");
        file.write_all(b"{\"attempt\":2,\"caps").expect("written");
        let mut capsules = Capsules::new(layout.clone());
        capsules.keep(3, &told("three"));
        capsules.keep(3, &told("three again"));
        capsules.keep(2_500, &told("late"));
        let words = |attempt| capsule_of(&layout, attempt).map(|capsule| capsule.instructions);
        assert_eq!(words(1).as_deref(), Some("one"));
        assert_eq!(words(2), None);
        assert_eq!(words(3).as_deref(), Some("three again"), "the last word counts");
        forget_capsules(&layout, 2_400).expect("forgotten");
        assert_eq!((words(1), words(3), words(2_500).as_deref()), (None, None, Some("late")));
        forget_capsules(&layout, 2_500).expect("forgotten");
        assert_eq!(words(2_500), None);
    }
}
