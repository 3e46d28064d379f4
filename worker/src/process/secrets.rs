//! Values that must never leave the machine in a log, a progress line or a report.
//!
//! They are replaced while output streams, so a value that is cut by a chunk's border is found as
//! well: what may be the beginning of one is held back until the next bytes come. Only values as
//! they are can be found; one that a program encodes, or prints letter by letter, cannot.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use longhaul_proto::RepoEnv;

/// Shorter values are ordinary words: replacing them would garble every log.
const SECRET_BYTES_MIN: usize = 6;

/// Lines of a secret of several lines (a key in PEM) count as secrets from this length on.
const LINE_BYTES_MIN: usize = 16;

/// How the first and the last line of a key or certificate begin.
const FRAME: &[u8] = b"-----";

/// Variables whose names end so hold secrets.
const SECRET_ENDINGS: &[&str] = &["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"];

/// What stands in their place.
const REDACTED: &[u8] = b"[redacted]";

/// Secret values, longest first.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Arc<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.values.len())
    }
}

impl Secrets {
    /// Those of this process's environment that the repository or their name declares secret, and
    /// further ones.
    pub fn of(repo: &RepoEnv, further: impl IntoIterator<Item = String>) -> Self {
        let own = std::env::vars_os().filter(|(name, _)| is_secret(name, repo)).map(|(_, value)| value);
        Self::new(own.chain(further.into_iter().map(OsString::from)))
    }

    /// From the values themselves.
    pub fn new(values: impl IntoIterator<Item = OsString>) -> Self {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let value = value.as_bytes().trim_ascii();
            let lines = value.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
            // The frame of a key is in every key, and in every text about keys.
            let telling = |line: &&[u8]| line.len() >= LINE_BYTES_MIN && !line.starts_with(FRAME);
            all.extend(lines.filter(telling).map(<[u8]>::to_vec));
            all.push(value.to_vec());
        }
        all.retain(|value| value.len() >= SECRET_BYTES_MIN);
        all.sort_by(|one, two| two.len().cmp(&one.len()).then_with(|| one.cmp(two)));
        all.dedup();
        Self { values: Arc::new(all) }
    }

    /// These and further ones.
    pub fn with(&self, further: impl IntoIterator<Item = String>) -> Self {
        let own = self.values.iter().map(|value| OsStr::from_bytes(value).to_owned());
        Self::new(own.chain(further.into_iter().map(OsString::from)))
    }

    /// A whole text without them.
    pub fn redact(&self, text: &[u8]) -> Vec<u8> {
        let mut stream = Redactor::new(self.clone());
        let mut out = stream.push(text);
        out.extend(stream.finish());
        out
    }

    /// Whether one of them is in `after` and was not in `before`.
    pub fn added(&self, before: &[u8], after: &[u8]) -> bool {
        self.values.iter().any(|value| holds(after, value) && !holds(before, value))
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A whole message without them.
    pub fn redact_text(&self, text: &str) -> String {
        if self.values.is_empty() {
            text.to_owned()
        } else {
            String::from_utf8_lossy(&self.redact(text.as_bytes())).into_owned()
        }
    }
}

/// Whether a value, which is never empty, is somewhere in a text.
fn holds(text: &[u8], value: &[u8]) -> bool {
    let (first, last) = (value[0], text.len().checked_sub(value.len()));
    let Some(last) = last else { return false };
    let mut at = 0;
    while let Some(found) = text[at..=last].iter().position(|&byte| byte == first) {
        at += found;
        if text[at..].starts_with(value) {
            return true;
        }
        at += 1;
        if at > last {
            return false;
        }
    }
    false
}

fn is_secret(name: &OsStr, repo: &RepoEnv) -> bool {
    let by_name = SECRET_ENDINGS.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes()));
    by_name || repo.secrets.iter().any(|secret| OsStr::new(secret) == name)
}

/// One stream of output.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    secrets: Secrets,
    starts: Vec<bool>,
    held: Vec<u8>,
}

impl Redactor {
    /// For the start of a stream.
    pub fn new(secrets: Secrets) -> Self {
        let mut starts = vec![false; 256];
        secrets.values.iter().for_each(|value| starts[usize::from(value[0])] = true);
        Self { secrets, starts, held: Vec::new() }
    }

    /// Takes the next bytes and gives those that may go on.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.secrets.values.is_empty() {
            return chunk.to_vec();
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        self.replace(&bytes, false)
    }

    /// The end: what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.held);
        self.replace(&bytes, true)
    }

    fn replace(&mut self, bytes: &[u8], ended: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if !self.starts.get(usize::from(rest[0])).copied().unwrap_or_default() {
                out.push(rest[0]);
                at += 1;
                continue;
            }
            // A longer one may still come whole where a shorter one is whole already.
            let partly = |value: &Vec<u8>| value.len() > rest.len() && value.starts_with(rest);
            if !ended && self.secrets.values.iter().any(partly) {
                self.held = rest.to_vec();
                return out;
            }
            if let Some(value) = self.secrets.values.iter().find(|value| rest.starts_with(value)) {
                out.extend_from_slice(REDACTED);
                at += value.len();
            } else {
                out.push(rest[0]);
                at += 1;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::new(values.iter().map(OsString::from))
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_cut() {
        let secrets = secrets(&["hunter2!", "hunter2!-longer", "ababab"]);
        let text = b"say hunter2! and hunter2!-longer, hunter, abababababab hunter2!-long";
        let expected = "say [redacted] and [redacted], hunter, [redacted][redacted] [redacted]-long";
        for size in 1..text.len() {
            let mut stream = Redactor::new(secrets.clone());
            let mut out: Vec<u8> = text.chunks(size).flat_map(|chunk| stream.push(chunk)).collect();
            out.extend(stream.finish());
            assert_eq!(String::from_utf8_lossy(&out), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn keys_of_several_lines_are_found_line_by_line_and_words_are_left() {
        let secrets = secrets(&["-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n", "abc", ""]);
        assert_eq!(secrets.redact_text("log: MIIEvQIBADANBgkqhkiG abc"), "log: [redacted] abc");
    }

    #[test]
    fn what_a_text_adds_is_found_at_its_edges() {
        let secrets = secrets(&["hunter2!", "aaaaab"]);
        for after in ["hunter2!", "x hunter2!", "hunter2! x", "aaaaaaaab", "xhunter2!x"] {
            assert!(secrets.added(b"", after.as_bytes()), "{after}");
            assert!(!secrets.added(after.as_bytes(), after.as_bytes()), "{after} was there before");
        }
        for after in ["", "hunter2", "hunter2?", "aaaaa", "-----BEGIN KEY-----"] {
            assert!(!secrets.added(b"", after.as_bytes()), "{after}");
        }
        assert!(
            Secrets::new(["-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG".into()])
                .added(b"", b"MIIEvQIBADANBgkqhkiG")
        );
        assert!(
            !Secrets::new(["-----BEGIN PRIVATE KEY-----\nMIIEvQ".into()]).added(b"", b"-----BEGIN PRIVATE KEY-----")
        );
    }

    #[test]
    fn names_tell_secrets() {
        let repo = RepoEnv { secrets: vec!["DATABASE".into()], ..RepoEnv::default() };
        for (name, secret) in
            [("DATABASE", true), ("API_KEY", true), ("GH_TOKEN", true), ("KEYS", false), ("PATH", false)]
        {
            assert_eq!(is_secret(OsStr::new(name), &repo), secret, "{name}");
        }
    }
}
