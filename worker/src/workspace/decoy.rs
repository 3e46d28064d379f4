//! The repository an agent sees: `ws/.git`.
//!
//! Agents and build scripts expect `git status`, `git diff` and `git log` to work. They get a small
//! repository of their own that borrows the store's objects; commits, refs and configuration they
//! make in it stay in it and are thrown away.
//!
//! Programs that judge use it too, after the agent had it. What decides what git runs is read-only to the
//! agent where there are mounts; everywhere it is put back before such a program starts.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use longhaul_common::Oid;

use super::error::{At as _, WorkspaceError};
use super::folder::Folder;
use super::tree::remove_tree;

/// Where git finds its configuration: here. Without this file an agent could write one that leads elsewhere.
const COMMON_DIR: &str = ".\n";

/// More than any of these files has.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Name of the folder beside the workspace in which a decoy is made.
pub const IN_THE_MAKING: &str = "decoy";

/// No hooks, no background work, and no signing key to ask for.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tbare = false
\tfilemode = true
\tlogallrefupdates = false
\thooksPath = /dev/null
[gc]
\tauto = 0
[maintenance]
\tauto = false
[commit]
\tgpgsign = false
[advice]
\tdetachedHead = false
";

/// Writes `ws/.git` from scratch, detached at `base`. It is made beside the workspace: no link that a running
/// program puts in its place is followed.
pub fn write(ws: &Path, base: Oid, store: &Path, index: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
    let git = ws.with_file_name(IN_THE_MAKING);
    remove_tree(&git).at("remove", &git)?;
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"] {
        let path = git.join(folder);
        fs::create_dir_all(&path).at("create", &path)?;
    }
    let alternates = format!("{}\n", store.join("objects").display());
    let exclude: String = caches.iter().map(|cache| format!("/{}/\n", cache.trim_matches('/'))).collect();
    let files = [
        ("HEAD", format!("{base}\n")),
        ("config", CONFIG.to_owned()),
        ("commondir", COMMON_DIR.to_owned()),
        ("objects/info/alternates", alternates),
        ("info/exclude", exclude),
    ];
    for (name, content) in files {
        let path = git.join(name);
        fs::write(&path, content).at("write", &path)?;
    }
    let copy = git.join("index");
    fs::copy(index, &copy).at("write", &copy)?;
    let place = ws.join(".git");
    remove_tree(&place).at("remove", &place)?;
    fs::rename(&git, &place).at("create", &place)
}

/// Puts the configuration of `ws/.git` back as it was written. False where it is no repository any more, and
/// git would look for another: the workspace itself may be dressed up as one.
pub fn mend(ws: &Path) -> bool {
    let Ok(git) = Folder::below(ws, Path::new(".git"), false) else { return false };
    let is_folder = |name: &str| git.sub(Path::new(name), false).is_ok();
    let is_head = git.read(Path::new("HEAD"), FILE_BYTES_MAX).is_ok_and(|text| is_head(&text));
    let is_one = is_head && ["objects", "refs", "info"].into_iter().all(is_folder);
    let removed = git.parts(Path::new("info/attributes")).and_then(|(info, name)| info.remove(name));
    let is_plain = removed.err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound);
    is_one && is_plain && put_back(&git, "config", CONFIG) && put_back(&git, "commondir", COMMON_DIR)
}

fn put_back(git: &Folder, name: &str, text: &str) -> bool {
    let name = Path::new(name);
    git.read(name, FILE_BYTES_MAX).is_ok_and(|found| found == text.as_bytes())
        || git.create(name).and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
}

/// What git takes for a `HEAD`.
fn is_head(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    text.starts_with(b"ref: refs/") || (text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit))
}
