//! A program's own session files, kept so that another worker goes on with its session.
//!
//! They are compressed one by one into the folder that travels with the work in progress, secrets
//! replaced before that: afterwards nobody could find them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use longhaul_common::price::Tokens;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use crate::process::Secrets;
use crate::workspace::Folder;

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
    #[serde(flatten)]
    pub used: Tokens,
    /// Paths in the program's home, by the name under which they are kept.
    files: BTreeMap<String, String>,
}

impl Kept {
    /// A session with what it used so far.
    pub fn new(id: &str, cwd: &Path, used: Tokens) -> Self {
        Self { id: id.to_owned(), cwd: cwd.to_owned(), used, files: BTreeMap::new() }
    }
}

/// Keeps the files below `parts` of a home, which the program writes meanwhile: no link of its own is
/// followed, and nothing is read beyond its bound. Blocks.
pub fn keep(mut kept: Kept, home: &Path, parts: &[&str], into: &Path, secrets: &Secrets) -> io::Result<()> {
    kept.files.clear();
    let (home, into) = (Folder::at(home)?, Folder::at(into)?);
    let mut open: Vec<PathBuf> = parts.iter().map(PathBuf::from).collect();
    while let Some(path) = open.pop() {
        match home.kind(&path) {
            Ok(FileType::Directory) => {
                open.extend(home.sub(&path, false)?.names()?.into_iter().map(|name| path.join(name)));
                continue;
            }
            Ok(FileType::RegularFile) if kept.files.len() < FILES_MAX => {}
            _ => continue,
        }
        let Some(relative) = path.to_str() else { continue };
        let content = match home.read(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => continue,
            read => secrets.redact(&read?),
        };
        let name = format!("{}.zst", &blake3::hash(relative.as_bytes()).to_hex()[..16]);
        // Whoever packs the folder meanwhile finds the old file or the new one.
        into.write(Path::new(&name), &zstd::encode_all(&content[..], LEVEL)?)?;
        kept.files.insert(name, relative.to_owned());
    }
    into.write(Path::new(INDEX), &serde_json::to_vec(&kept).map_err(io::Error::other)?)
}

/// Puts a kept session back into a home; `None` where none was kept. Another worker made it, so no
/// path of it may lead out of the home. `named` says what a file is called there. Blocks.
pub fn restore(from: &Path, home: &Path, named: impl Fn(&str) -> String) -> io::Result<Option<Kept>> {
    let found = Folder::at(from).and_then(|from| Ok((from.read(Path::new(INDEX), FILE_BYTES_MAX)?, from)));
    let (index, from) = match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let kept: Kept = serde_json::from_slice(&index).map_err(io::Error::other)?;
    for (name, path) in &kept.files {
        let plain = |path: &str| {
            !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        };
        if !plain(name) || name.contains('/') || !plain(path) {
            return Err(io::Error::other(format!("a kept session names {path:?}")));
        }
        let to = PathBuf::from(named(path));
        let (Some(folder), Some(to)) = (to.parent(), to.file_name()) else { continue };
        let mut content = Vec::new();
        let file = from.open(Path::new(name))?.ok_or(io::ErrorKind::NotFound)?;
        zstd::Decoder::new(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("a kept session unfolds to too much"));
        }
        Folder::below(home, folder, true)?.write(Path::new(to), &content)?;
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let used = Tokens { input: 5, cache_write: 2, ..Tokens::default() };
        let secrets = Secrets::new(["hunter2!".into()]);
        for _ in 0..2 {
            keep(Kept::new("t1", Path::new("/w"), used), &home, &["sessions", "missing"], &kept, &secrets)
                .expect("kept");
        }
        let found = restore(&kept, &other, str::to_owned).expect("restored").expect("there is one");
        assert_eq!((found.id.as_str(), found.used), ("t1", used));
        let text = fs::read_to_string(other.join("sessions/2026/11/21/rollout.jsonl")).expect("there");
        assert_eq!(text, "{\"key\":\"[redacted]\"}\n");
        assert!(!other.join("auth.json").exists());
        assert_eq!(restore(&dir.path().join("none"), &other, str::to_owned).expect("fine"), None);
    }

    #[test]
    fn what_a_program_links_into_its_home_is_not_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let (home, into, outside) = (dir.path().join("home"), dir.path().join("into"), dir.path().join("outside"));
        for folder in [&home, &into, &outside] {
            fs::create_dir(folder).expect("made");
        }
        fs::create_dir(outside.join("sessions")).expect("made");
        fs::write(outside.join("sessions/key"), "theirs").expect("written");
        let link = |to: &Path, from: PathBuf| std::os::unix::fs::symlink(to, from);
        link(&outside, home.join(".codex")).expect("linked");
        link(&outside.join("sessions"), home.join("sessions")).expect("linked");
        fs::create_dir(home.join("own")).expect("made");
        link(Path::new("/dev/zero"), home.join("own/endless")).expect("linked");
        fs::write(home.join("own/file"), "own").expect("written");
        link(&outside.join("sessions/key"), into.join(INDEX)).expect("linked");
        let parts = [".codex/sessions", "sessions", "own"];
        let kept = Kept::new("t", Path::new("/w"), Tokens::default());
        assert!(keep(kept.clone(), &home, &parts, &into, &Secrets::default()).is_err(), "not through a link");
        fs::remove_file(into.join(INDEX)).expect("removed");
        keep(kept, &home, &parts, &into, &Secrets::default()).expect("kept");
        let index: Kept = serde_json::from_slice(&fs::read(into.join(INDEX)).expect("there")).expect("an index");
        assert_eq!(index.files.values().collect::<Vec<_>>(), ["own/file"]);
        assert_eq!(fs::read(outside.join("sessions/key")).expect("there"), b"theirs");
    }

    #[test]
    fn a_session_that_an_older_worker_kept_is_read() {
        let old = r#"{"id":"t","cwd":"/w","input":5,"cached":4,"output":3,"reasoning":2,"files":{}}"#;
        let kept: Kept = serde_json::from_str(old).expect("readable");
        assert_eq!(kept.used, Tokens { input: 5, cached: 4, cache_write: 0, output: 3, reasoning: 2 });
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
