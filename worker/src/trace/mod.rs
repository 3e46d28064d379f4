//! The trace of an attempt: what happened in a session, as JSON lines in a zstd file.
//!
//! Each line has the time in milliseconds since the epoch and the event. Secrets are replaced before
//! anything is written. It is bounded: long texts are cut in their middle, and beyond
//! [`BYTES_MAX`] only how much is missing is noted, and the ends of turns.

use std::fs::File;
use std::io::{self, Write as _};
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

/// A trace in the making.
pub struct Trace {
    path: PathBuf,
    file: Option<zstd::Encoder<'static, File>>,
    secrets: Secrets,
    bytes: usize,
    left_out: (u64, u64),
}

impl Trace {
    /// In a new file.
    pub fn create(path: &Path, secrets: Secrets) -> io::Result<Self> {
        let mut file = zstd::Encoder::new(File::create(path)?, 3)?;
        file.include_checksum(true)?;
        Ok(Self { path: path.to_owned(), file: Some(file), secrets, bytes: 0, left_out: (0, 0) })
    }

    /// An event. A disk that is full ends the trace, not the work.
    pub fn write(&mut self, event: &impl Serialize) {
        if self.file.is_none() {
            return;
        }
        let Ok(mut value) = serde_json::to_value(event) else { return };
        clip(&mut value);
        let Ok(line) = serde_json::to_string(&value) else { return };
        let free = if value["event"] == "turn_ended" { CUT_BYTES } else { CLOSING_BYTES };
        self.line(&line, self.bytes + line.len() + free <= BYTES_MAX);
    }

    fn line(&mut self, event: &str, fits: bool) {
        if !fits {
            self.left_out = (self.left_out.0 + 1, self.left_out.1 + event.len() as u64);
            return;
        }
        // Over the finished text: a secret may be cut by no field, but by an escape.
        let event = self.secrets.redact_text(event);
        let rest = event.strip_prefix('{').unwrap_or(&event);
        let line = format!("{{\"at_ms\":{},{rest}\n", now_ms());
        self.bytes += line.len();
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(line.as_bytes())
        {
            tracing::warn!(%error, "the trace of an attempt ends here");
            self.file = None;
        }
    }

    /// Its file, whole.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        let (events, bytes) = self.left_out;
        if events > 0 {
            let cut = json!({"event": "cut", "events_left_out": events, "bytes_left_out": bytes});
            self.line(&cut.to_string(), true);
        }
        if let Some(file) = self.file.take() {
            file.finish()?.sync_data()?;
        }
        Ok(self.path)
    }
}

/// The events of a finished trace, in order.
pub fn read(path: &Path) -> io::Result<Vec<Value>> {
    let text = zstd::decode_all(File::open(path)?)?;
    text.split(|&byte| byte == b'\n')
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
        let mut trace = Trace::create(&dir.path().join("t"), secrets).expect("made");
        trace.write(&json!({"event": "text", "text": "the key is hunter2!"}));
        trace.write(&json!({"event": "text", "text": "x".repeat(TEXT_BYTES_MAX * 3)}));
        let found = lines(&trace.finish().expect("finished"));
        assert_eq!(found[0]["text"], "the key is [redacted]");
        assert!(found[0]["at_ms"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
        assert!(found[1]["text"].as_str().is_some_and(|text| text.len() < TEXT_BYTES_MAX + 100));
    }

    #[test]
    fn a_long_one_says_what_it_left_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut trace = Trace::create(&dir.path().join("t"), Secrets::default()).expect("made");
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
