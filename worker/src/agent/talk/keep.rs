//! A program's own session files, kept so that another worker goes on with its session.
//!
//! They are compressed one by one into the folder that travels with the work in progress, secrets
//! replaced before that: afterwards nobody could find them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::usage::Used;
use crate::process::Secrets;

/// Name of the list of what is kept.
const INDEX: &str = "session.json";

/// Largest file that is kept, in bytes, before it is compressed.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Files of a session.
const FILES_MAX: usize = 200;

/// Levels of compression cost time, and this runs after each tool.
const LEVEL: i32 = 3;

/// What is known of a kept session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As the program calls it.
    pub id: String,
    /// The workspace it was in.
    pub cwd: PathBuf,
    /// What it had used by then, where the program counts that by session.
    pub input: u64,
    /// See `input`.
    pub cached: u64,
    /// See `input`.
    pub output: u64,
    /// See `input`.
    pub reasoning: u64,
    /// Paths in the program's home, by the name under which they are kept.
    files: BTreeMap<String, String>,
}

impl Kept {
    /// A session with what it used so far.
    pub fn new(id: &str, cwd: &Path, used: Used) -> Self {
        let Used { input, cached, output, reasoning } = used;
        Self { id: id.to_owned(), cwd: cwd.to_owned(), input, cached, output, reasoning, files: BTreeMap::new() }
    }

    /// What it had used.
    pub fn used(&self) -> Used {
        Used { input: self.input, cached: self.cached, output: self.output, reasoning: self.reasoning }
    }
}

/// Keeps the files below `parts` of a home. Blocks.
pub fn keep(mut kept: Kept, home: &Path, parts: &[&str], into: &Path, secrets: &Secrets) -> io::Result<()> {
    kept.files.clear();
    let mut open: Vec<PathBuf> = parts.iter().map(|part| home.join(part)).collect();
    while let Some(path) = open.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            let mut inside: Vec<PathBuf> = fs::read_dir(&path)?.flatten().map(|entry| entry.path()).collect();
            inside.sort();
            open.extend(inside);
            continue;
        }
        let Some(relative) = path.strip_prefix(home).ok().and_then(Path::to_str) else { continue };
        if !found.is_file() || found.len() > FILE_BYTES_MAX || kept.files.len() >= FILES_MAX {
            continue;
        }
        let content = secrets.redact(&fs::read(&path)?);
        let name = format!("{}.zst", &blake3::hash(relative.as_bytes()).to_hex()[..16]);
        replace(&into.join(&name), &zstd::encode_all(&content[..], LEVEL)?)?;
        kept.files.insert(name, relative.to_owned());
    }
    replace(&into.join(INDEX), &serde_json::to_vec(&kept).map_err(io::Error::other)?)
}

/// Whoever packs the folder meanwhile finds the old file or the new one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(&new, path)
}

/// Puts a kept session back into a home; `None` where none was kept. Another worker made it, so no
/// path of it may lead out of the home. `named` says what a file is called there. Blocks.
pub fn restore(from: &Path, home: &Path, named: impl Fn(&str) -> String) -> io::Result<Option<Kept>> {
    let index = match fs::read(from.join(INDEX)) {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&index).map_err(io::Error::other)?;
    for (name, path) in &kept.files {
        let plain = |path: &str| {
            !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        };
        if !plain(name) || name.contains('/') || !plain(path) {
            return Err(io::Error::other(format!("a kept session names {path:?}")));
        }
        let to = home.join(named(path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut content = Vec::new();
        let file = fs::File::open(from.join(name))?;
        zstd::Decoder::new(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("a kept session unfolds to too much"));
        }
        fs::write(to, content)?;
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_back_in_another_home_without_secrets() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).expect("made");
            path
        };
        let (home, kept, other) = (at("home"), at("kept"), at("other"));
        fs::create_dir_all(home.join("sessions/2026/11/21")).expect("made");
        fs::write(home.join("sessions/2026/11/21/rollout.jsonl"), "{\"key\":\"hunter2!\"}\n").expect("written");
        fs::write(home.join("auth.json"), "not kept").expect("written");
        let used = Used { input: 5, ..Used::default() };
        let secrets = Secrets::new(["hunter2!".into()]);
        for _ in 0..2 {
            keep(Kept::new("t1", Path::new("/w"), used), &home, &["sessions", "missing"], &kept, &secrets)
                .expect("kept");
        }
        let found = restore(&kept, &other, str::to_owned).expect("restored").expect("there is one");
        assert_eq!((found.id.as_str(), found.used()), ("t1", used));
        let text = fs::read_to_string(other.join("sessions/2026/11/21/rollout.jsonl")).expect("there");
        assert_eq!(text, "{\"key\":\"[redacted]\"}\n");
        assert!(!other.join("auth.json").exists());
        assert_eq!(restore(&dir.path().join("none"), &other, str::to_owned).expect("fine"), None);
    }

    #[test]
    fn a_hostile_session_stays_inside() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("a.zst"), zstd::encode_all(&b"x"[..], 1).expect("packed")).expect("written");
        for path in ["../out", "/tmp/longhaul-out", "a/../../out", ""] {
            let index = serde_json::json!({"id": "t", "cwd": "/w", "input": 0, "cached": 0, "output": 0, "reasoning": 0, "files": {"a.zst": path}});
            fs::write(dir.path().join(INDEX), index.to_string()).expect("written");
            assert!(restore(dir.path(), &dir.path().join("home"), str::to_owned).is_err(), "{path}");
        }
        assert!(!dir.path().join("out").exists());
    }
}
