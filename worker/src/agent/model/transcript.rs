//! What was said and done, for people: a log of the attempt, bounded, without secrets.

use std::io::Write as _;
use std::path::PathBuf;

use longhaul_common::text::clip_middle;

use super::wire::Tokens;
use crate::process::{OnLine, Secrets};

/// Largest transcript, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// Longest text of one line of it, in bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// A transcript in the making.
pub struct Transcript {
    path: PathBuf,
    file: Option<std::fs::File>,
    secrets: Secrets,
    on_line: OnLine,
    bytes: usize,
}

impl Transcript {
    /// In a file; `on_line` tells watchers.
    pub fn new(path: PathBuf, secrets: Secrets, on_line: OnLine) -> Self {
        let file = std::fs::File::create(&path);
        if let Err(error) = &file {
            tracing::warn!(%error, "no transcript can be kept");
        }
        Self { path, file: file.ok(), secrets, on_line, bytes: 0 }
    }

    /// Something was said or done.
    pub fn note(&mut self, what: &str, text: &str) {
        let text = self.secrets.redact_text(&clip_middle(text.trim(), LINE_BYTES_MAX));
        let line = format!("[{what}] {text}\n");
        (self.on_line)(&format!("[{what}] {}", text.lines().next().unwrap_or_default()));
        self.write(&line);
    }

    /// An answer came.
    pub fn tokens(&mut self, all: Tokens) {
        let Tokens { input, cached, output, reasoning, .. } = all;
        self.write(&format!("[tokens so far] {input} in ({cached} cached), {output} out ({reasoning} reasoning)\n"));
    }

    fn write(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        let full = self.bytes + line.len() > BYTES_MAX;
        let line = if full { "[cut] the transcript is as long as it may be\n" } else { line };
        self.bytes += line.len();
        if file.write_all(line.as_bytes()).is_err() || full {
            self.file = None;
        }
    }

    /// All of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.file = None;
        std::fs::read(&self.path).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn it_is_bounded_and_holds_no_secret() {
        let dir = tempfile::tempdir().expect("a folder");
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let on_line: OnLine = Arc::new(move |line| telling.lock().expect("no panic").push(line.to_owned()));
        let mut transcript = Transcript::new(dir.path().join("log"), Secrets::new(["hunter2!".into()]), on_line);
        transcript.note("call shell", "echo hunter2!\nmore");
        for _ in 0..3_000 {
            transcript.note("result", &"x".repeat(2_000));
        }
        let text = String::from_utf8(transcript.finish()).expect("UTF-8");
        assert!(text.starts_with("[call shell] echo [redacted]\nmore\n"));
        assert!(text.len() < BYTES_MAX + 100 && text.ends_with("as long as it may be\n"));
        assert_eq!(told.lock().expect("no panic")[0], "[call shell] echo [redacted]");
    }
}
