//! Captured output: the head and the tail in a file, a hash over every byte, secrets replaced.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use longhaul_common::text::clip_tail;

use super::run::OnLine;
use super::secrets::{Redactor, Secrets};
use crate::workspace::Folder;

/// Bytes read from the pipe at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Longest line handed to the progress callback, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// The output of one finished process.
#[derive(Clone, Debug, Default)]
pub struct CapturedLog {
    /// The file that holds it, without the middle if it was too long.
    pub path: PathBuf,
    /// blake3 over all bytes after redaction, those left out included.
    pub hash: [u8; 32],
    /// Bytes the process wrote.
    pub bytes: u64,
    /// The end of it as text, at most [`CapturedLog::TEXT_BYTES_MAX`].
    pub tail: String,
    /// The log itself could not be stored because the disk is full.
    pub disk_full: bool,
}

impl CapturedLog {
    /// Largest tail kept in memory.
    pub const TEXT_BYTES_MAX: usize = 16 << 10;
}

/// Output as it arrives.
pub(super) struct Capture {
    path: PathBuf,
    file: Option<File>,
    head_left: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    text: VecDeque<u8>,
    line: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
    disk_full: bool,
    redactor: Redactor,
    /// When the program last wrote something.
    heard: Instant,
}

impl Capture {
    /// Starts a log file that will hold at most about `bytes_max` bytes. It may lie where programs write:
    /// in a folder of theirs at most one level below one they cannot replace.
    pub fn create(path: &Path, bytes_max: u64, secrets: Secrets) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let file = Folder::at(folder)?.create(Path::new(name))?;
        let half = usize::try_from(bytes_max / 2).unwrap_or(usize::MAX);
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            head_left: half,
            tail: VecDeque::new(),
            tail_max: half,
            text: VecDeque::new(),
            line: Vec::new(),
            hasher: blake3::Hasher::new(),
            bytes: 0,
            disk_full: false,
            redactor: Redactor::new(secrets),
            heard: Instant::now(),
        })
    }

    /// Takes the next bytes; gives the last whole line among them, if any.
    pub fn push(&mut self, chunk: &[u8]) -> Option<String> {
        self.heard = Instant::now();
        let clean = self.redactor.push(chunk);
        self.keep(&clean)
    }

    /// When the program last wrote something; its start, before it did.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    fn keep(&mut self, chunk: &[u8]) -> Option<String> {
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        let (head, rest) = chunk.split_at(chunk.len().min(self.head_left));
        self.head_left -= head.len();
        self.store(head);
        extend_ring(&mut self.tail, rest, self.tail_max);
        extend_ring(&mut self.text, chunk, CapturedLog::TEXT_BYTES_MAX);
        self.last_line(chunk)
    }

    fn store(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(bytes) {
            // Draining goes on: a program must not block because its log cannot be kept.
            self.disk_full |= longhaul_common::room::is_out_of_room(&error);
            self.file = None;
        }
    }

    fn last_line(&mut self, chunk: &[u8]) -> Option<String> {
        let end = chunk.iter().rposition(|&b| b == b'\n' || b == b'\r');
        let Some(end) = end else {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&chunk[..chunk.len().min(room)]);
            return None;
        };
        let whole = &chunk[..end];
        let start = whole.iter().rposition(|&b| b == b'\n' || b == b'\r').map(|at| at + 1);
        let mut line = if start.is_none() { std::mem::take(&mut self.line) } else { Vec::new() };
        line.extend_from_slice(&whole[start.unwrap_or(0)..]);
        line.truncate(LINE_BYTES_MAX);
        self.line = chunk[end + 1..].iter().copied().take(LINE_BYTES_MAX).collect();
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    /// Ends the file.
    pub fn finish(&mut self) -> CapturedLog {
        let held = self.redactor.finish();
        self.keep(&held);
        let tail = std::mem::take(&mut self.tail);
        let missing = self.bytes - (self.stored_head() + tail.len() as u64);
        if missing > 0 {
            self.store(format!("\n[… {missing} bytes left out …]\n").as_bytes());
        }
        let (one, two) = tail.as_slices();
        self.store(one);
        self.store(two);
        let text: Vec<u8> = self.text.iter().copied().collect();
        let text = String::from_utf8_lossy(&text);
        CapturedLog {
            path: self.path.clone(),
            hash: *self.hasher.finalize().as_bytes(),
            bytes: self.bytes,
            tail: clip_tail(&text, CapturedLog::TEXT_BYTES_MAX).to_owned(),
            disk_full: self.disk_full,
        }
    }

    fn stored_head(&self) -> u64 {
        (self.tail_max - self.head_left) as u64
    }
}

fn extend_ring(ring: &mut VecDeque<u8>, bytes: &[u8], max: usize) {
    let bytes = &bytes[bytes.len().saturating_sub(max)..];
    let over = (ring.len() + bytes.len()).saturating_sub(max);
    ring.drain(..over);
    ring.extend(bytes);
}

/// Drains a pipe on a thread of its own until its last writer is gone. A plain thread, not the
/// runtime's pool: one that never ends (a writer stuck in the kernel) must not hold up shutdown.
pub(super) fn drain(
    mut pipe: impl Read + Send + 'static,
    capture: Arc<Mutex<Capture>>,
    on_line: Option<OnLine>,
) -> tokio::sync::oneshot::Receiver<()> {
    let (done, finished) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    let line = capture.lock().unwrap_or_else(PoisonError::into_inner).push(&chunk[..read]);
                    if let (Some(line), Some(on_line)) = (line, &on_line) {
                        on_line(&line);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // The receiver may have stopped waiting.
        let _unheard = done.send(());
    });
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(max: u64, chunks: &[&[u8]]) -> (CapturedLog, String) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut capture = Capture::create(&dir.path().join("log"), max, Secrets::default()).expect("created");
        for chunk in chunks {
            capture.push(chunk);
        }
        let log = capture.finish();
        let text = std::fs::read_to_string(&log.path).expect("the log");
        (log, text)
    }

    #[test]
    fn short_output_is_kept_whole() {
        let (log, text) = captured(100, &[b"one\n", b"two\n"]);
        assert_eq!(text, "one\ntwo\n");
        assert_eq!((log.bytes, log.tail.as_str()), (8, "one\ntwo\n"));
        assert_eq!(log.hash, *blake3::hash(b"one\ntwo\n").as_bytes());
    }

    #[test]
    fn the_middle_of_long_output_is_counted_and_hashed_but_not_kept() {
        let all: Vec<u8> = (0..10_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for size in [1, 7, 100, 1_000, all.len()] {
            let chunks: Vec<&[u8]> = all.chunks(size).collect();
            let (log, text) = captured(100, &chunks);
            assert!(text.starts_with("0\n1\n2\n") && text.ends_with("9998\n9999\n"), "{text}");
            assert!(text.contains(&format!("[… {} bytes left out …]", all.len() - 100)), "{text}");
            assert_eq!(log.hash, *blake3::hash(&all).as_bytes());
        }
    }

    #[test]
    fn a_log_is_not_written_through_a_link() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (tools, theirs) = (dir.path().join("tools"), dir.path().join("theirs"));
        std::fs::create_dir(&tools).expect("made");
        std::fs::write(&theirs, "theirs").expect("written");
        std::os::unix::fs::symlink(&theirs, tools.join("log")).expect("linked");
        let mut capture = Capture::create(&tools.join("log"), 100, Secrets::default()).expect("made anew");
        capture.push(b"payload");
        capture.finish();
        assert_eq!(std::fs::read(tools.join("log")).expect("there"), b"payload");
        assert_eq!(std::fs::read(&theirs).expect("there"), b"theirs");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("linked")).expect("linked");
        assert!(Capture::create(&dir.path().join("linked/theirs"), 100, Secrets::default()).is_err());
        assert_eq!(std::fs::read(&theirs).expect("there"), b"theirs");
    }

    #[test]
    fn the_last_whole_line_is_reported() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut capture = Capture::create(&dir.path().join("log"), 100, Secrets::default()).expect("created");
        assert_eq!(capture.push(b"a\nbc"), Some("a".to_owned()));
        assert_eq!(capture.push(b"d"), None);
        assert_eq!(capture.push(b"e\nxyz\nrest"), Some("xyz".to_owned()));
        assert_eq!(capture.push(b" of it\n"), Some("rest of it".to_owned()));
    }
}
