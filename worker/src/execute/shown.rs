//! The files of a subtask in its first message, for models too small to look for themselves: shown what is
//! there, they copy from it; told to read first, they make it up (seen with Qwen2.5-Coder 1.5B).

use std::fmt::Write as _;
use std::path::Path;

use longhaul_common::tokens;

use super::Attempt;
use crate::agent::model::Setup;
use crate::workspace::{Folder, Slot};

/// The part of what is left for a task that files may take, in percent: providers count differently.
const ROOM_PERCENT: usize = 75;

/// Bytes that a token stands for at the most, in code.
const TOKEN_BYTES_MAX: usize = 16;

impl Attempt {
    /// The subtask's files as they are, as far as there is room for them whole beside everything else that a
    /// model is told first.
    pub(super) async fn files_shown(&self, setup: &Setup) -> String {
        let files = if self.work.files.is_empty() { &self.work.claims } else { &self.work.files };
        let (files, room) = (files.clone(), setup.room() / 100 * ROOM_PERCENT);
        let shown = self.execution.blocking(move |slot: &Slot| read(&slot.ws(), &files, room)).await;
        shown.unwrap_or_default()
    }
}

/// What fits, within so many tokens.
fn read(ws: &Path, files: &[String], room: usize) -> String {
    let (mut text, mut left) = (String::new(), room);
    let Ok(folder) = Folder::at(ws) else { return text };
    for path in files {
        let bytes_max = (left * TOKEN_BYTES_MAX) as u64;
        let content = folder.read(Path::new(path), bytes_max).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(content) = content.filter(|content| !content.is_empty()) else { continue };
        let heading = if text.is_empty() { "# What is in them now\n\n" } else { "" };
        let mut shown = String::new();
        let _infallible = write!(shown, "{heading}## {path}\n\n{}\n\n", content.trim_end());
        let takes = tokens::count(&shown);
        if takes <= left {
            left -= takes;
            text.push_str(&shown);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_shown_whole_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.py"), "one\n").expect("written");
        std::fs::write(dir.path().join("b.py"), "x y z ".repeat(100)).expect("written");
        std::fs::write(dir.path().join("c.py"), "three\n").expect("written");
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("d.py")).expect("a link");
        let files = ["a.py", "b.py", "c.py", "d.py", "gone.py"].map(str::to_owned);
        let shown = read(dir.path(), &files, 60);
        assert_eq!(shown, "# What is in them now\n\n## a.py\n\none\n\n## c.py\n\nthree\n\n");
    }
}
