//! Keeping a mirror small and quick: few packs, few refs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use longhaul_common::git::{Git, GitError};

use super::shimmed::run_blocking;

/// Packs above which an idle mirror is repacked: every fetch adds one.
const PACKS_MAX: usize = 50;

/// Packs above which it is repacked though it is in use; then nothing is dropped from it.
const PACKS_IN_USE_MAX: usize = 400;

/// Refs above which the oldest of an idle mirror go: git reads them all for each fetch.
const REFS_MAX: usize = 2_000;

/// Refs that stay when some go.
const REFS_KEPT: usize = 500;

/// Repacks when packs have piled up. Of an idle mirror what no ref holds any more is dropped; slots
/// that borrow from it are made ready before their next use anyway. Blocks.
pub(super) fn repack_if_due(path: &Path, shim: &[OsString], idle: bool) -> Result<(), GitError> {
    let packs = fs::read_dir(path.join("objects/pack")).into_iter().flatten().flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count();
    let git = Git::at(path);
    if idle && packs > PACKS_MAX {
        drop_old_refs(&git)?;
        git.run(["pack-refs", "--all"])?;
        run_blocking(shim, path, &["repack", "-a", "-d", "-q"])?;
    } else if packs > PACKS_IN_USE_MAX {
        // Git processes that read meanwhile look for the new pack when an old one is gone.
        run_blocking(shim, path, &["repack", "-a", "-d", "-k", "-q"])?;
    }
    Ok(())
}

/// Whether objects or refs of a mirror are broken. Reads all of it; blocks.
pub(super) fn is_damaged(path: &Path, shim: &[OsString]) -> bool {
    run_blocking(shim, path, &["fsck", "--no-dangling", "--no-progress"]).is_err()
}

/// Removes what a killed git, or a power cut, left where it would be in the way of the next: locks,
/// and refs that name nothing. Only for who has the mirror alone. Whether there was any; blocks.
pub(super) fn tidy(path: &Path) -> io::Result<bool> {
    let mut found = Vec::new();
    for name in ["packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock"] {
        found.extend(Some(path.join(name)).filter(|lock| lock.exists()));
    }
    let mut open = vec![path.join("refs")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (kind, below) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                open.push(below);
            } else if below.extension().is_some_and(|extension| extension == "lock") || entry.metadata()?.len() == 0 {
                found.push(below);
            }
        }
    }
    for leftover in &found {
        fs::remove_file(leftover)?;
    }
    Ok(!found.is_empty())
}

fn drop_old_refs(git: &Git) -> Result<(), GitError> {
    let out = git.run(["for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/longhaul"])?;
    let text = String::from_utf8_lossy(&out);
    let names: Vec<&str> = text.lines().collect();
    if names.len() <= REFS_MAX {
        return Ok(());
    }
    let gone: String = names[REFS_KEPT..].iter().map(|name| format!("delete {name}\n")).collect();
    git.run_with_input(["update-ref", "--stdin"], gone.as_bytes())?;
    Ok(())
}
