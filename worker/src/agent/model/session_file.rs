//! The conversation in a file, so that another worker goes on with it: a head, then an entry a line.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::history::{Entry, History};
use super::summary::Facts;
use crate::workspace::Folder;

/// Its name in the folder of an agent's session.
const NAME: &str = "conversation.jsonl";

/// Largest one that is read, in bytes; what travels between workers is much less.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    model: String,
    generation: u32,
    facts: Facts,
}

/// Keeps one conversation.
#[derive(Debug)]
pub struct SessionFile {
    folder: PathBuf,
    model: String,
    written: Option<(u32, usize, Facts)>,
}

impl SessionFile {
    /// In the folder of a session.
    pub fn new(folder: &Path, model: &str) -> Self {
        Self { folder: folder.to_owned(), model: model.to_owned(), written: None }
    }

    /// What an earlier attempt with the same model kept.
    pub fn read(&self) -> Option<(History, Facts)> {
        let text = Folder::at(&self.folder).and_then(|folder| folder.read(Path::new(NAME), BYTES_MAX)).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next()?).ok()?;
        // The line that was being written when its attempt ended may be half there.
        let entries: Vec<Entry> = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
        let known = head.model == self.model && !entries.is_empty();
        known.then(|| (History::of(entries, head.generation), head.facts))
    }

    /// Writes what is new: appended, or from the beginning where that changed.
    pub fn write(&mut self, history: &History, facts: &Facts) -> std::io::Result<()> {
        let lines = |entries: &[Entry]| {
            let line = |entry: &Entry| serde_json::to_string(entry).map(|line| line + "\n");
            entries.iter().map(line).collect::<Result<String, _>>()
        };
        // The agent's commands write there as well.
        let folder = Folder::at(&self.folder)?;
        let now = (history.generation(), history.entries().len(), facts.clone());
        match &self.written {
            Some((generation, count, known)) if *generation == now.0 && *known == now.2 && *count <= now.1 => {
                let mut file = folder.append(Path::new(NAME))?;
                file.write_all(lines(&history.entries()[*count..])?.as_bytes())?;
            }
            _ => {
                let head = Head { model: self.model.clone(), generation: now.0, facts: facts.clone() };
                let text = format!("{}\n{}", serde_json::to_string(&head)?, lines(history.entries())?);
                folder.write(Path::new(NAME), text.as_bytes())?;
            }
        }
        self.written = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_found_again_after_every_turn() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut file = SessionFile::new(dir.path(), "m");
        assert!(file.read().is_none());
        let (mut history, mut facts) = (History::default(), Facts::default());
        for turn in 0..6 {
            match turn {
                3 => history.begin(vec![Entry::user("anew")]),
                4 => facts.tell("a fact"),
                _ => history.push(Entry::user(format!("turn {turn}"))),
            }
            file.write(&history, &facts).expect("written");
            assert_eq!(SessionFile::new(dir.path(), "m").read(), Some((history.clone(), facts.clone())), "{turn}");
        }
        assert!(SessionFile::new(dir.path(), "other").read().is_none(), "another model does not read it");
        let text = std::fs::read_to_string(dir.path().join(NAME)).expect("there");
        std::fs::write(dir.path().join(NAME), format!("{text}{{\"role\":\"us")).expect("written");
        assert_eq!(file.read(), Some((history.clone(), facts.clone())), "a half line is left out");

        let theirs = dir.path().join("theirs");
        std::fs::write(&theirs, "theirs").expect("written");
        std::fs::remove_file(dir.path().join(NAME)).expect("removed");
        std::os::unix::fs::symlink(&theirs, dir.path().join(NAME)).expect("linked");
        history.push(Entry::user("more"));
        assert!(file.write(&history, &facts).is_err() && file.read().is_none(), "a link that was put there");
        assert_eq!(std::fs::read(&theirs).expect("there"), b"theirs");
    }
}
