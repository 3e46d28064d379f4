//! The repository an agent sees: `ws/.git`.
//!
//! Agents and build scripts expect `git status`, `git diff` and `git log` to work. They get a small
//! repository of their own that borrows the store's objects; commits, refs and configuration they
//! make in it stay in it and are thrown away.

use std::fs;
use std::path::Path;

use longhaul_common::Oid;

use super::error::{At as _, WorkspaceError};
use super::tree::remove_tree;

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

/// Writes `ws/.git` from scratch, detached at `base`.
pub fn write(ws: &Path, base: Oid, store: &Path, index: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
    let git = ws.join(".git");
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
        ("objects/info/alternates", alternates),
        ("info/exclude", exclude),
    ];
    for (name, content) in files {
        let path = git.join(name);
        fs::write(&path, content).at("write", &path)?;
    }
    let copy = git.join("index");
    fs::copy(index, &copy).at("write", &copy)?;
    Ok(())
}
