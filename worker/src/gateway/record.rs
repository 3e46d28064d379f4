//! The record of an attempt's exchanges, and answers from it.
//!
//! `exchanges.jsonl` has one line for each; `bodies.zst` has their bodies, each a zstd frame of its
//! own, without secrets. A body beyond its bound is cut and marked, and once the whole is at its
//! bound only lines are written. A replay answers equal requests with what was recorded for them,
//! in order; the last answer stays.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use crate::process::{Redactor, Secrets};

/// The lines.
const LINES: &str = "exchanges.jsonl";

/// The bodies.
const BODIES: &str = "bodies.zst";

/// Bytes of one body that are recorded, before compression.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Bytes of all bodies of an attempt, compressed.
const BODIES_BYTES_MAX: u64 = 256 << 20;

/// Quick, and a tenth of the size: bodies are text that repeats.
const LEVEL: i32 = 1;

/// What of a request says nothing about its answer: ids of sessions and users.
const VOLATILE: [&str; 7] =
    ["prompt_cache_key", "client_metadata", "metadata", "user", "safety_identifier", "store", "labels"];

/// A body in the file of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where its frame begins.
    pub offset: u64,
    /// Bytes of the frame.
    pub length: u64,
    /// It was longer than is recorded.
    pub cut: bool,
}

/// One exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The provider's name.
    pub provider: String,
    /// The format, as the job file calls it.
    pub api: String,
    /// The model, as it was asked for.
    pub model: String,
    /// What the request was, without what says nothing about its answer.
    pub digest: String,
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The kind of the answer's body.
    pub content_type: String,
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Of it, from the cache.
    pub cached_tokens: u64,
    /// Of it, written to the cache.
    pub cache_write_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Of it, reasoning.
    pub reasoning_tokens: u64,
    /// The provider did not say what was used: these are the worst case.
    pub assumed: bool,
    /// The cost in micro-dollars.
    pub usd_micros: u64,
    /// From the request to the end of the answer.
    pub duration_ms: u64,
    /// The answer came to its end.
    pub whole: bool,
    /// The request's body.
    pub request: Option<Stored>,
    /// The answer's body.
    pub response: Option<Stored>,
}

/// The digest of a request.
pub(super) fn digest(api: Api, model: &str, streams: bool, body: &Value) -> String {
    let mut body = body.clone();
    if let Value::Object(fields) = &mut body {
        VOLATILE.iter().for_each(|name| drop(fields.shift_remove(*name)));
    }
    let text = format!("{}\n{model}\n{streams}\n{body}", api.name());
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A body on its way into the record.
pub(super) struct Writing {
    redactor: Redactor,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    bytes: usize,
    cut: bool,
}

impl Writing {
    pub fn new(secrets: &Secrets) -> std::io::Result<Self> {
        let encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        Ok(Self { redactor: Redactor::new(secrets.clone()), encoder, bytes: 0, cut: false })
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let room = BODY_BYTES_MAX - self.bytes;
        self.cut |= bytes.len() > room;
        let bytes = &bytes[..bytes.len().min(room)];
        self.bytes += bytes.len();
        self.encoder.write_all(&self.redactor.push(bytes))
    }

    fn finish(mut self) -> std::io::Result<(Vec<u8>, bool)> {
        self.encoder.write_all(&self.redactor.finish())?;
        Ok((self.encoder.finish()?, self.cut))
    }
}

/// Writes the record.
pub(super) struct Recorder {
    files: Mutex<Files>,
}

struct Files {
    lines: File,
    bodies: File,
    bytes: u64,
}

impl Recorder {
    /// Goes on with the record of a folder, or begins it.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let open = |name: &str| File::options().create(true).append(true).open(folder.join(name));
        let (lines, bodies) = (open(LINES)?, open(BODIES)?);
        let bytes = bodies.metadata()?.len();
        Ok(Self { files: Mutex::new(Files { lines, bodies, bytes }) })
    }

    /// Writes one exchange: its bodies first, so that a line never names what is not there.
    pub fn write(&self, mut entry: Entry, request: Option<Writing>, response: Option<Writing>) -> std::io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        entry.request = request.map(|body| files.store(body)).transpose()?.flatten();
        entry.response = response.map(|body| files.store(body)).transpose()?.flatten();
        let mut line = serde_json::to_string(&entry)?;
        line.push('\n');
        files.lines.write_all(line.as_bytes())
    }
}

impl Files {
    fn store(&mut self, body: Writing) -> std::io::Result<Option<Stored>> {
        let (frame, cut) = body.finish()?;
        let length = frame.len() as u64;
        if self.bytes.saturating_add(length) > BODIES_BYTES_MAX {
            return Ok(None);
        }
        self.bodies.write_all(&frame)?;
        let stored = Stored { offset: self.bytes, length, cut };
        self.bytes += length;
        Ok(Some(stored))
    }
}

/// Answers from a record.
pub(super) struct Replayer {
    folder: PathBuf,
    answers: Mutex<BTreeMap<String, VecDeque<Entry>>>,
}

impl Replayer {
    /// Reads the lines of a record; those of answers that cannot be given again are left out.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        let mut answers: BTreeMap<String, VecDeque<Entry>> = BTreeMap::new();
        for line in std::fs::read_to_string(folder.join(LINES))?.lines() {
            // The last line may be torn: its writer was killed.
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
            if entry.whole && entry.response.is_some_and(|body| !body.cut) {
                answers.entry(entry.digest.clone()).or_default().push_back(entry);
            }
        }
        Ok(Self { folder: folder.to_owned(), answers: Mutex::new(answers) })
    }

    /// The next answer to a request, if there is one.
    pub fn answer(&self, digest: &str) -> std::io::Result<Option<(Entry, Vec<u8>)>> {
        let entry = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(queue) = answers.get_mut(digest) else { return Ok(None) };
            if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
        };
        let Some((entry, stored)) = entry.and_then(|entry| Some((entry.clone(), entry.response?))) else {
            return Ok(None);
        };
        let mut file = File::open(self.folder.join(BODIES))?;
        file.seek(SeekFrom::Start(stored.offset))?;
        let mut body = Vec::new();
        // Redaction may make a body longer than what was let in, though never by much.
        let decoder = zstd::stream::read::Decoder::new(file.take(stored.length))?;
        decoder.take(2 * BODY_BYTES_MAX as u64).read_to_end(&mut body)?;
        Ok(Some((entry, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(text: &[u8], secrets: &Secrets) -> Option<Writing> {
        let mut writing = Writing::new(secrets).expect("an encoder");
        text.chunks(5).for_each(|chunk| writing.push(chunk).expect("in memory"));
        Some(writing)
    }

    #[test]
    fn what_was_recorded_is_answered_in_order_without_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = Secrets::new(["hunter2!".into()]);
        for number in 0..2 {
            // Each is a record that goes on: a worker that was started again.
            let recorder = Recorder::open(folder.path()).expect("a record");
            let entry = Entry { digest: "d".into(), status: 200, whole: true, ..Entry::default() };
            let answer = format!("answer {number} hunter2!");
            recorder.write(entry, body(b"hunter2!", &secrets), body(answer.as_bytes(), &secrets)).expect("written");
        }
        let cut = Entry { digest: "cut".into(), whole: false, ..Entry::default() };
        Recorder::open(folder.path()).expect("a record").write(cut, None, body(b"x", &secrets)).expect("written");
        let replayer = Replayer::open(folder.path()).expect("a record");
        for expected in ["answer 0 [redacted]", "answer 1 [redacted]", "answer 1 [redacted]"] {
            let (_, body) = replayer.answer("d").expect("readable").expect("recorded");
            assert_eq!(String::from_utf8_lossy(&body), expected);
        }
        assert!(replayer.answer("cut").expect("readable").is_none());
        assert!(replayer.answer("other").expect("readable").is_none());
    }

    #[test]
    fn a_body_beyond_its_bound_is_cut_and_never_replayed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writing = Writing::new(&Secrets::default()).expect("an encoder");
        let chunk = vec![b'x'; 1 << 20];
        (0..17).for_each(|_| writing.push(&chunk).expect("in memory"));
        let entry = Entry { digest: "d".into(), whole: true, ..Entry::default() };
        Recorder::open(folder.path()).expect("a record").write(entry, None, Some(writing)).expect("written");
        let replayer = Replayer::open(folder.path()).expect("a record");
        assert!(replayer.answer("d").expect("readable").is_none());
    }

    #[test]
    fn ids_of_sessions_are_no_part_of_a_request() {
        let one = json!({"model": "m", "input": "a", "prompt_cache_key": "1"});
        let two = json!({"model": "m", "input": "a", "prompt_cache_key": "2"});
        let other = json!({"model": "m", "input": "b"});
        let of = |body: &Value| digest(Api::OpenaiResponses, "m", true, body);
        assert_eq!(of(&one), of(&two));
        assert_ne!(of(&one), of(&other));
        assert_ne!(of(&one), digest(Api::OpenaiResponses, "m", false, &one));
    }
}
