//! Output as a model gets it: bounded, with its head and its tail, and a pointer to the whole.

use std::path::{Path, PathBuf};

use longhaul_common::text::clip_middle;

use crate::workspace::Folder;

/// Output a model gets of one call, in bytes, unless it asks for less.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Of the model's window one output gets at most this part, so that a small one is not full after it.
const WINDOW_PART: u64 = 8;

/// However little it asks for, in bytes.
const OUTPUT_BYTES_MIN: usize = 200;

/// Bytes kept of one output in its file.
pub const FILE_BYTES_MAX: u64 = 8 << 20;

/// Largest note of a command that is read, in bytes: a path.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// Shorter output is not worth a file when it is folded, in bytes.
const FOLDED_BYTES_MIN: usize = 400;

/// The files of an attempt's outputs.
#[derive(Debug)]
pub struct Outputs {
    folder: PathBuf,
    next: u32,
}

/// Bounded output.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounded {
    /// What the model gets.
    pub text: String,
    /// The file that holds all of it.
    pub file: Option<String>,
}

impl Outputs {
    /// In a folder, which is made.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let there = Folder::below(parent, Path::new(name), true)?.names()?;
        Ok(Self { folder: folder.to_owned(), next: there.len() as u32 })
    }

    /// A file for the next output.
    pub fn next(&mut self) -> PathBuf {
        self.next += 1;
        self.folder.join(format!("{:05}.txt", self.next))
    }

    /// What a command noted beside its output.
    pub fn read(&self, note: &Path) -> Option<String> {
        let read = name_of(note).and_then(|name| Folder::at(&self.folder)?.read(name, NOTE_BYTES_MAX));
        String::from_utf8(read.ok()?).ok()
    }

    /// Bounds a text, and keeps the whole of it if it may be needed again.
    pub fn keep(&mut self, text: String, bytes_max: usize) -> Bounded {
        if text.len() < FOLDED_BYTES_MIN {
            return Bounded { text, file: None };
        }
        let path = self.next();
        let whole = clip_middle(&text, FILE_BYTES_MAX as usize);
        // Without the file there is only what the model gets.
        let written = name_of(&path).and_then(|name| Folder::at(&self.folder)?.write(name, whole.as_bytes()));
        let file = written.is_ok().then(|| path.display().to_string());
        Bounded { text: bounded(&text, bytes_max, file.as_deref()), file }
    }
}

/// The name of an output's file in its folder.
pub fn name_of(file: &Path) -> std::io::Result<&Path> {
    file.file_name().map(Path::new).ok_or_else(|| std::io::ErrorKind::InvalidInput.into())
}

/// The head and the tail of a text, and where the rest is.
pub fn bounded(text: &str, bytes_max: usize, file: Option<&str>) -> String {
    let clipped = clip_middle(text, bytes_max);
    match file.filter(|_| clipped.len() != text.len() || text.len() > bytes_max) {
        Some(file) => format!("{clipped}\n[the whole output is in {file}]"),
        None => clipped,
    }
}

/// The same limit for a model with a window of this size.
pub fn bytes_max(context_tokens: u64) -> usize {
    bytes_of_tokens(Some(context_tokens / WINDOW_PART), OUTPUT_BYTES_MAX)
}

/// Bytes for a number of tokens a model asks for, within the limit.
pub fn bytes_of_tokens(tokens: Option<u64>, bytes_max: usize) -> usize {
    let bytes = tokens.map(|tokens| tokens.saturating_mul(longhaul_common::tokens::BYTES_PER_TOKEN));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(bytes_max);
    bytes.max(OUTPUT_BYTES_MIN).min(bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_megabytes_become_a_few_kilobytes_and_a_pointer() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut outputs = Outputs::new(dir.path()).expect("made");
        let text: String = (0..1_000_000).map(|number| format!("{number:>9}\n")).collect();
        let kept = outputs.keep(text, OUTPUT_BYTES_MAX);
        let file = kept.file.expect("a file");
        assert!(kept.text.len() < OUTPUT_BYTES_MAX + 200, "{}", kept.text.len());
        assert!(kept.text.starts_with("        0\n") && kept.text.contains("   999999\n"), "head and tail");
        assert!(kept.text.ends_with(&format!("[the whole output is in {file}]")));
        let size = std::fs::metadata(&file).expect("there").len();
        assert!(size <= FILE_BYTES_MAX + 100 && size > FILE_BYTES_MAX / 2, "{size}");
        let short = outputs.keep("short".into(), OUTPUT_BYTES_MAX);
        assert_eq!(short, Bounded { text: "short".into(), file: None });
        let again = Outputs::new(dir.path()).expect("made").next();
        assert!(!again.exists(), "a resumed attempt does not overwrite what is there");
    }

    #[test]
    fn an_output_is_not_written_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, theirs) = (dir.path().join("tools"), dir.path().join("theirs"));
        let mut outputs = Outputs::new(&folder).expect("made");
        std::fs::write(&theirs, "theirs").expect("written");
        std::os::unix::fs::symlink(&theirs, folder.join("00001.txt")).expect("linked");
        assert_eq!(outputs.keep("x".repeat(FOLDED_BYTES_MIN), OUTPUT_BYTES_MAX).file, None);
        std::fs::remove_dir_all(&folder).expect("removed");
        std::os::unix::fs::symlink(dir.path(), &folder).expect("linked");
        assert_eq!(outputs.keep("x".repeat(FOLDED_BYTES_MIN), OUTPUT_BYTES_MAX).file, None);
        assert!(Outputs::new(&folder).is_err());
        assert_eq!(std::fs::read(&theirs).expect("there"), b"theirs");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 2, "nothing was made outside");
    }

    #[test]
    fn a_model_gets_no_more_than_it_asks_for() {
        let bytes = |tokens| bytes_of_tokens(tokens, OUTPUT_BYTES_MAX);
        assert_eq!(bytes(None), OUTPUT_BYTES_MAX);
        assert_eq!(bytes(Some(100)), 400);
        assert_eq!(bytes(Some(0)), 200);
        assert_eq!(bytes(Some(u64::MAX)), OUTPUT_BYTES_MAX);
        assert_eq!((bytes_max(200_000), bytes_max(8_000)), (OUTPUT_BYTES_MAX, 4_000), "an eighth of a small window");
        assert_eq!(bytes_of_tokens(None, bytes_max(8_000)), 4_000);
    }
}
