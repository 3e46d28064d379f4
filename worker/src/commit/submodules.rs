//! Staging a workspace that holds other repositories.
//!
//! Git looks into a repository within the workspace with that one's own configuration, which names
//! programs (`core.fsmonitor`, filters): whoever wrote it would have them run by the worker, outside of
//! every boundary. So git is kept from looking into any: submodules are marked as not checked out, and
//! what an agent made is out of the index before anything is compared with it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use longhaul_common::git::Git;

use crate::workspace::{WorkspaceError, submodules};

/// Stages everything in `ws` with the index that `git` works on.
pub fn add_all(git: &Git, index: &Path, ws: &Path) -> Result<(), WorkspaceError> {
    // A folder in its place is left alone, whatever it holds; all else is a change of the submodule.
    let is_folder = |path: &OsString| std::fs::symlink_metadata(ws.join(path)).is_ok_and(|found| found.is_dir());
    let (there, gone): (Vec<_>, Vec<_>) = submodules(index)?.into_iter().partition(is_folder);
    for (mark, paths) in [("--skip-worktree", there), ("--force-remove", gone)] {
        if !paths.is_empty() {
            git.run_with_input(["update-index", mark, "-z", "--stdin"], &records(&paths))?;
        }
    }
    git.run(["add", "-A"])?;
    Ok(())
}

fn records(paths: &[OsString]) -> Vec<u8> {
    paths.iter().flat_map(|path| path.as_bytes().iter().copied().chain([0])).collect()
}
