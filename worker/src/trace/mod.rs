//! The trace of an attempt: what happened in a session, as JSON lines in a zstd file.
//!
//! Each line has the time in milliseconds since the epoch and the event. Secrets are replaced before
//! anything is written. It is bounded: long texts are cut in their middle, and beyond
//! [`BYTES_MAX`] only how much is missing is noted, and the ends of turns.
//!
//! An event is on the disk as soon as it is written, so that the trace of a worker that was killed can
//! be read up to there. Only a flood waits for the next second: each flush costs compression.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use longhaul_common::text::clip_middle;
use serde::Serialize;
use serde_json::{Value, json};

use crate::process::Secrets;

/// Bytes of all lines, before compression.
pub const BYTES_MAX: usize = 32 << 20;

/// Longest text in an event, in bytes.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// Bytes kept free for what ends it: ends of turns, and what was left out.
const CLOSING_BYTES: usize = 64 << 10;

/// Of them, those that only what was left out may use.
const CUT_BYTES: usize = 1 << 10;

/// Flushes in one second at most; what is written beyond them waits for an event of the next.
const FLUSHES_PER_S: u32 = 16;

/// A trace in the making.
pub struct Trace {
    path: PathBuf,
    file: Option<zstd::Encoder<'static, File>>,
    secrets: Secrets,
    bytes: usize,
    left_out: (u64, u64),
    /// The second in which it was flushed last, and how often.
    flushed: (u64, u32),
}

impl Trace {
    /// In a new file.
    pub fn create(path: &Path, secrets: Secrets) -> io::Result<Self> {
        let mut file = zstd::Encoder::new(File::create(path)?, 3)?;
        file.include_checksum(true)?;
        Ok(Self { path: path.to_owned(), file: Some(file), secrets, bytes: 0, left_out: (0, 0), flushed: (0, 0) })
    }

    /// An event. A disk that is full ends the trace, not the work.
    pub fn write(&mut self, event: &impl Serialize) {
        self.write_at(now_ms(), event);
    }

    fn write_at(&mut self, at_ms: u64, event: &impl Serialize) {
        if self.file.is_none() {
            return;
        }
        let Ok(mut value) = serde_json::to_value(event) else { return };
        clip(&mut value);
        let Ok(line) = serde_json::to_string(&value) else { return };
        let free = if value["event"] == "turn_ended" { CUT_BYTES } else { CLOSING_BYTES };
        self.line(at_ms, &line, self.bytes + line.len() + free <= BYTES_MAX);
    }

    fn line(&mut self, at_ms: u64, event: &str, fits: bool) {
        if !fits {
            self.left_out = (self.left_out.0 + 1, self.left_out.1 + event.len() as u64);
            return;
        }
        // Over the finished text: a secret may be cut by no field, but by an escape.
        let event = self.secrets.redact_text(event);
        let rest = event.strip_prefix('{').unwrap_or(&event);
        let line = format!("{{\"at_ms\":{at_ms},{rest}\n");
        self.bytes += line.len();
        let flushes = self.flushes(at_ms / 1_000);
        let Some(file) = &mut self.file else { return };
        let written = file.write_all(line.as_bytes());
        if let Err(error) = written.and_then(|()| if flushes { file.flush() } else { Ok(()) }) {
            tracing::warn!(%error, "the trace of an attempt ends here");
            self.file = None;
        }
    }

    /// Whether what is written in this second goes to the disk at once.
    fn flushes(&mut self, second: u64) -> bool {
        let before = if self.flushed.0 == second { self.flushed.1 } else { 0 };
        let flushes = before < FLUSHES_PER_S;
        self.flushed = (second, before + u32::from(flushes));
        flushes
    }

    /// Its file, whole.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        let (events, bytes) = self.left_out;
        if events > 0 {
            let cut = json!({"event": "cut", "events_left_out": events, "bytes_left_out": bytes});
            self.line(now_ms(), &cut.to_string(), true);
        }
        if let Some(file) = self.file.take() {
            file.finish()?.sync_data()?;
        }
        Ok(self.path)
    }
}

/// The events of a trace, in order; of one whose worker was killed, those that are whole.
pub fn read(path: &Path) -> io::Result<Vec<Value>> {
    let mut text = Vec::new();
    longhaul_common::log_file::open(path)?.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    text[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(io::Error::other))
        .collect()
}

/// Cuts every long text of a value in its middle.
fn clip(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => *text = clip_middle(text, TEXT_BYTES_MAX),
        Value::Array(items) => items.iter_mut().for_each(clip),
        Value::Object(fields) => fields.values_mut().for_each(clip),
        _ => {}
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        read(path).expect("a trace")
    }

    #[test]
    fn lines_have_a_time_and_no_secret() {
        let dir = tempfile::tempdir().expect("a folder");
        let secrets = Secrets::new(["hunter2!".into()]);
        let mut trace = Trace::create(&dir.path().join("t.zst"), secrets).expect("made");
        trace.write(&json!({"event": "text", "text": "the key is hunter2!"}));
        trace.write(&json!({"event": "text", "text": "x".repeat(TEXT_BYTES_MAX * 3)}));
        let found = lines(&trace.finish().expect("finished"));
        assert_eq!(found[0]["text"], "the key is [redacted]");
        assert!(found[0]["at_ms"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
        assert!(found[1]["text"].as_str().is_some_and(|text| text.len() < TEXT_BYTES_MAX + 100));
    }

    #[test]
    fn what_was_written_is_on_the_disk_before_it_is_finished() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.zst");
        let mut trace = Trace::create(&path, Secrets::default()).expect("made");
        let mut write = |at_ms: u64, number: u32| trace.write_at(at_ms, &json!({"event": "text", "number": number}));
        assert_eq!(lines(&path).len(), 0);
        for number in 1..=FLUSHES_PER_S {
            write(5_000, number);
            assert_eq!(lines(&path).len(), number as usize, "its worker may be killed at any time");
        }
        for number in 0..1_000 {
            write(5_999, number);
        }
        assert_eq!(lines(&path).len(), FLUSHES_PER_S as usize, "a flood does not flush for each");
        write(6_000, 7);
        assert_eq!(lines(&path).len(), FLUSHES_PER_S as usize + 1_001);
        let whole = std::fs::read(&path).expect("there");
        std::fs::write(&path, &whole[..whole.len() - 3]).expect("written");
        assert_eq!(lines(&path).len(), FLUSHES_PER_S as usize, "what was cut off is left out");
    }

    #[test]
    fn a_long_one_says_what_it_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut trace = Trace::create(&dir.path().join("t.zst"), Secrets::default()).expect("made");
        let event = json!({"event": "text", "text": "y".repeat(TEXT_BYTES_MAX)});
        let (large, small) = (BYTES_MAX / TEXT_BYTES_MAX + 10, TEXT_BYTES_MAX / 20);
        let written = large + small;
        for _ in 0..large {
            trace.write(&event);
        }
        // What is left is less than the end of a turn takes.
        for _ in 0..small {
            trace.write(&json!({"event": "text"}));
        }
        trace.write(&json!({"event": "turn_ended", "end": {"end": "done"}}));
        let mut found = lines(&trace.finish().expect("finished"));
        assert_eq!(found.remove(found.len() - 2)["event"], "turn_ended", "it is kept all the same");
        let last = found.last().expect("not empty");
        assert_eq!(last["event"], "cut");
        assert_eq!(last["events_left_out"].as_u64(), Some((written - (found.len() - 1)) as u64));
        assert!(found.len() < written);
    }
}
