//! The files of a subtask in its first message, for models too small to look for themselves: shown what is
//! there, they copy from it; told to read first, they make it up (seen with Qwen2.5-Coder 1.5B).

use std::fmt::Write as _;
use std::path::Path;

use super::Attempt;
use crate::workspace::{Folder, Slot};

/// Bytes that a token stands for at the least, in code.
const BYTES_OF_TOKEN: u64 = 3;

/// The part of a window that files may take.
const WINDOW_DIVISOR: u64 = 4;

impl Attempt {
    /// The subtask's files as they are, as far as a quarter of the window holds them whole.
    pub(super) async fn files_shown(&self, context_tokens: u64) -> String {
        let files = if self.work.files.is_empty() { &self.work.claims } else { &self.work.files };
        let (files, room) = (files.clone(), context_tokens * BYTES_OF_TOKEN / WINDOW_DIVISOR);
        let shown = self.execution.blocking(move |slot: &Slot| read(&slot.ws(), &files, room)).await;
        shown.unwrap_or_default()
    }
}

fn read(ws: &Path, files: &[String], room: u64) -> String {
    let mut text = String::new();
    let Ok(folder) = Folder::at(ws) else { return text };
    for path in files {
        let left = room.saturating_sub(text.len() as u64);
        let content = folder.read(Path::new(path), left).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(content) = content.filter(|content| !content.is_empty()) {
            let heading = if text.is_empty() { "# What is in them now\n\n" } else { "" };
            let _infallible = write!(text, "{heading}## {path}\n\n{}\n\n", content.trim_end());
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
        std::fs::write(dir.path().join("b.py"), "x".repeat(500)).expect("written");
        std::fs::write(dir.path().join("c.py"), "three\n").expect("written");
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("d.py")).expect("a link");
        let files = ["a.py", "b.py", "c.py", "d.py", "gone.py"].map(str::to_owned);
        let shown = read(dir.path(), &files, 300);
        assert_eq!(shown, "# What is in them now\n\n## a.py\n\none\n\n## c.py\n\nthree\n\n");
    }
}
