//! Sessions of agents that are saved with work in progress: files named by their content, beside the
//! journal.
//!
//! A session may have a quarter of a megabyte and is saved after each turn of an agent; in the journal
//! it would be kept for good, and in every snapshot. So the journal has only its hash. The file is
//! durable before the event that names it. One that is gone or damaged costs the session only: the
//! next attempt goes on from the saved commit.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use longhaul_common::layout::JobLayout;
use longhaul_proto::Wip;

/// Age below which a file stays although nothing names it: its event may be on its way.
pub const UNNAMED_AGE_MAX: Duration = Duration::from_secs(3_600);

/// The sessions of one job.
#[derive(Clone, Debug)]
pub struct Sessions {
    folder: PathBuf,
}

impl Sessions {
    /// Of a job.
    pub fn of(layout: &JobLayout) -> Self {
        Self { folder: layout.sessions() }
    }

    fn path(&self, hash: &[u8]) -> PathBuf {
        self.folder.join(crate::view::hex(hash))
    }

    /// Moves the session out of saved work into a file, durably. Written anew where it is there: its
    /// age begins again.
    pub fn keep(&self, wip: &mut Wip) -> io::Result<()> {
        wip.session_hash.clear();
        if wip.session.is_empty() {
            return Ok(());
        }
        let hash = blake3::hash(&wip.session).as_bytes().to_vec();
        let path = self.path(&hash);
        fs::create_dir_all(&self.folder)?;
        let making = path.with_extension("tmp");
        let written = write(&making, &wip.session).and_then(|()| fs::rename(&making, &path));
        if written.is_err() {
            // On a full disk what is half written is in the way.
            let _not_even_made = fs::remove_file(&making);
        }
        written?;
        File::open(&self.folder)?.sync_all()?;
        wip.session.clear();
        wip.session_hash = hash;
        Ok(())
    }

    /// Puts the session back into saved work that names one; without it where it is lost.
    pub fn fill(&self, wip: &mut Wip) {
        let hash = std::mem::take(&mut wip.session_hash);
        if hash.is_empty() {
            return;
        }
        match fs::read(self.path(&hash)) {
            Ok(session) if blake3::hash(&session).as_bytes()[..] == hash[..] => wip.session = session,
            Ok(_) => {
                tracing::warn!(path = %self.path(&hash).display(), "a saved session is damaged: going on without it")
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path(&hash).display(), "a saved session is gone: going on without it");
            }
        }
    }

    /// Removes what is not named and older than `age`. What cannot be removed stays for the next time.
    pub fn retain(&self, named: &BTreeSet<Vec<u8>>, age: Duration) {
        let names: BTreeSet<String> = named.iter().map(|hash| crate::view::hex(hash)).collect();
        let now = SystemTime::now();
        let is_old = |path: &Path| {
            let written = fs::metadata(path).and_then(|found| found.modified());
            written.is_ok_and(|at| now.duration_since(at).unwrap_or_default() >= age)
        };
        for path in fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(name));
            if !is_named
                && is_old(&path)
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::debug!(%error, path = %path.display(), "a session that nothing names stays");
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use longhaul_common::layout::Layout;

    use super::*;

    #[test]
    fn a_session_is_kept_by_its_content_found_again_and_removed_when_nothing_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path()).job(&"one".parse().expect("a name"));
        let sessions = Sessions::of(&layout);
        let wip = |session: &[u8]| Wip { session: session.to_vec(), turn: 3, ..Wip::default() };
        let mut kept = wip(b"what was said");
        kept.session_hash = b"a worker's own idea".to_vec();
        sessions.keep(&mut kept).expect("kept");
        assert!(kept.session.is_empty() && kept.session_hash.len() == 32);
        let mut other = wip(b"something else");
        sessions.keep(&mut other).expect("kept");
        let mut found = kept.clone();
        sessions.fill(&mut found);
        assert_eq!(found, wip(b"what was said"), "as the worker gave it");

        sessions.retain(&BTreeSet::new(), UNNAMED_AGE_MAX);
        assert_eq!(fs::read_dir(layout.sessions()).expect("there").count(), 2, "both are young");
        sessions.retain(&BTreeSet::from([kept.session_hash.clone()]), Duration::ZERO);
        let mut lost = other.clone();
        sessions.fill(&mut lost);
        assert_eq!(lost, wip(b""), "gone: the work goes on without it");
        let mut empty = wip(b"");
        sessions.keep(&mut empty).expect("nothing to do");
        assert_eq!(empty, wip(b""));

        fs::write(sessions.path(&kept.session_hash), b"what was s").expect("damaged");
        sessions.fill(&mut kept);
        assert_eq!(kept, wip(b""), "never what was not saved");
    }
}
