//! From a workspace somebody else wrote to a tree.

use std::fs;
use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError};
use longhaul_common::patch::{FileChange, MODE_GITLINK};
use longhaul_proto::{Failure, FailureClass};

use super::changes::changes;
use super::submodules::add_all;
use crate::failure::{failure, with_paths};
use crate::paths::{PathSet, is_at_or_below};
use crate::workspace::{Slot, WorkspaceError};

/// Why a workspace with another repository in it is no result.
const NESTED: &str = "the workspace holds repositories inside the repository";

/// What is never part of a patch.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    /// Files that are regenerated at landing.
    pub derived: PathSet,
    /// Cache folders and what the set-up left behind.
    pub folders: Vec<String>,
}

impl Exclusions {
    fn cover(&self, path: &str) -> bool {
        self.derived.contains(path) || self.folders.iter().any(|folder| is_at_or_below(path, folder))
    }
}

/// A state of the workspace, written as a tree.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The tree.
    pub tree: Oid,
    /// Its difference to the base, without what is excluded.
    pub changes: Vec<FileChange>,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum StageError {
    /// The workspace holds something no tree can hold.
    Refused(Box<Failure>),
    /// The machine failed.
    Broken(WorkspaceError),
}

impl<E: Into<WorkspaceError>> From<E> for StageError {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Stages everything but what is excluded and writes the tree. Blocks.
pub fn snapshot(slot: &Slot, base: Oid, exclusions: &Exclusions) -> Result<Snapshot, StageError> {
    snapshot_with(&slot.git(), &slot.index(), slot, base, exclusions)
}

/// As [`snapshot`], with a copy of the index that is called `name`: while an agent still writes. Blocks.
pub fn snapshot_aside(slot: &Slot, name: &str, base: Oid, exclusions: &Exclusions) -> Result<Snapshot, StageError> {
    let index = slot.git_dir().join(name);
    let copied = copy_index(&slot.index(), &index);
    copied.map_err(|source| WorkspaceError::Io { action: "copy the index to", path: index.clone(), source })?;
    let git = slot.git().with_env("GIT_INDEX_FILE", &index);
    snapshot_with(&git, &index, slot, base, exclusions)
}

/// Copies an index with its time: by that git tells which files may have changed in the very second
/// in which it was written, and looks into them.
fn copy_index(from: &Path, to: &Path) -> std::io::Result<()> {
    let time = fs::metadata(from)?.modified()?;
    fs::copy(from, to)?;
    fs::File::options().write(true).open(to)?.set_modified(time)
}

fn snapshot_with(
    git: &Git,
    index: &Path,
    slot: &Slot,
    base: Oid,
    exclusions: &Exclusions,
) -> Result<Snapshot, StageError> {
    if let Err(error) = add_all(git, index, &slot.ws()) {
        return Err(explain(slot, error));
    }
    let all = changes(git, &base.to_string())?;
    let is_dropped = |change: &FileChange| exclusions.cover(&change.path) || change.new_mode == MODE_GITLINK;
    let (dropped, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_dropped);
    let back: Vec<_> = dropped.iter().map(|change| (change.old_mode, change.old, change.raw.as_slice())).collect();
    set_entries_with(git, &back)?;
    let nested: Vec<String> =
        dropped.into_iter().map(|change| change.path).filter(|path| !exclusions.cover(path)).collect();
    if !nested.is_empty() {
        return Err(refused(NESTED, nested));
    }
    let tree = git.oid(["write-tree"])?;
    Ok(Snapshot { tree, changes: kept })
}

/// Sets entries of the slot's index; mode 0 removes one.
pub fn set_entries(slot: &Slot, entries: &[(u32, Oid, &[u8])]) -> Result<(), GitError> {
    set_entries_with(&slot.git(), entries)
}

fn set_entries_with(git: &Git, entries: &[(u32, Oid, &[u8])]) -> Result<(), GitError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut input = Vec::new();
    for (mode, oid, path) in entries {
        input.extend(format!("{mode:06o} {oid}\t").into_bytes());
        input.extend_from_slice(path);
        input.push(0);
    }
    git.run_with_input(["update-index", "-z", "--index-info"], &input)?;
    Ok(())
}

/// `git add` stops at a folder with an empty repository in it and at a file it cannot read: both are
/// the agent's doing. Anything else is the machine's.
fn explain(slot: &Slot, error: WorkspaceError) -> StageError {
    if error.is_disk_full() {
        return StageError::Broken(error);
    }
    let (nested, closed) = obstacles(&slot.ws());
    if !nested.is_empty() {
        refused(NESTED, nested)
    } else if !closed.is_empty() {
        refused("the workspace holds files that cannot be read", closed)
    } else {
        StageError::Broken(error)
    }
}

fn refused(message: &str, paths: Vec<String>) -> StageError {
    StageError::Refused(Box::new(with_paths(failure(FailureClass::Result, message), paths)))
}

/// Folders with a `.git` of their own, and files and folders that cannot be opened.
fn obstacles(ws: &Path) -> (Vec<String>, Vec<String>) {
    let (mut nested, mut closed) = (Vec::new(), Vec::new());
    let relative = |path: &Path| path.strip_prefix(ws).unwrap_or(path).to_string_lossy().into_owned();
    let mut open = vec![ws.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            closed.push(relative(&folder));
            continue;
        };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if entry.file_name() == ".git" {
                if folder != ws {
                    nested.push(relative(&folder));
                }
            } else if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                open.push(path);
            } else if kind.is_ok_and(|kind| kind.is_file()) && fs::File::open(&path).is_err() {
                closed.push(relative(&path));
            }
        }
    }
    (nested, closed)
}
