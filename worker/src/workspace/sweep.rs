//! Removes everything from a workspace that its index does not know.
//!
//! This is `git clean -ffdx` with one walk and no process, and stricter: git passes over sockets,
//! pipes and a `.git` inside a tracked folder, all of which an agent can leave behind.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::{At as _, WorkspaceError};
use super::index;
use super::tree::{open_folders, remove_tree};

/// What belongs into a workspace.
struct Wanted {
    files: HashSet<OsString>,
    folders: HashSet<OsString>,
    /// Cache folders: kept whole, if they are real folders.
    caches: HashSet<OsString>,
    /// Folders above cache folders: kept, but not what else is in them.
    above_caches: HashSet<OsString>,
}

/// Reads the index at `index` and removes from `root` whatever is neither in it nor in a cache.
/// Gives how many entries were removed. `root/.git` goes too.
pub fn sweep(root: &Path, index: &Path, caches: &[String]) -> Result<usize, WorkspaceError> {
    let wanted = wanted(index, caches)?;
    let mut removed = 0;
    let mut open = vec![OsString::new()];
    while let Some(folder) = open.pop() {
        let path = root.join(&folder);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                open_folders(&path).at("open", &path)?;
                fs::read_dir(&path)
            }
            other => other,
        };
        for entry in entries.at("list", &path)? {
            let entry = entry.at("list", &path)?;
            let name = entry.file_name();
            let relative = joined(&folder, &name);
            let is_folder = entry.file_type().at("look at", &path)?.is_dir();
            match fate(&wanted, &relative, &name, is_folder) {
                Fate::Keep => {}
                Fate::Enter => open.push(relative),
                Fate::Remove => {
                    let path = entry.path();
                    remove_tree(&path).at("remove", &path)?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

enum Fate {
    Keep,
    Enter,
    Remove,
}

fn fate(wanted: &Wanted, relative: &OsStr, name: &OsStr, is_folder: bool) -> Fate {
    if name == OsStr::new(".git") {
        return Fate::Remove;
    }
    if !is_folder {
        return if wanted.files.contains(relative) { Fate::Keep } else { Fate::Remove };
    }
    if wanted.caches.contains(relative) {
        Fate::Keep
    } else if wanted.folders.contains(relative) || wanted.above_caches.contains(relative) {
        Fate::Enter
    } else {
        Fate::Remove
    }
}

fn joined(folder: &OsStr, name: &OsStr) -> OsString {
    if folder.is_empty() {
        return name.to_owned();
    }
    let mut path = folder.to_owned();
    path.push("/");
    path.push(name);
    path
}

fn wanted(index: &Path, caches: &[String]) -> Result<Wanted, WorkspaceError> {
    let file = index::read(index)?;
    let mut files = HashSet::with_capacity(file.entries().len());
    let mut folders = HashSet::new();
    for entry in file.entries() {
        let path: &[u8] = entry.path(&file).as_ref();
        // A submodule's folder is empty here: it is kept, its content is not.
        if entry.mode.is_submodule() {
            folders.insert(OsStr::from_bytes(path).to_owned());
        } else {
            files.insert(OsStr::from_bytes(path).to_owned());
        }
        add_parents(&mut folders, path);
    }
    let caches: HashSet<OsString> = caches.iter().map(|cache| OsString::from(cache.trim_matches('/'))).collect();
    let mut above_caches = HashSet::new();
    for cache in &caches {
        add_parents(&mut above_caches, cache.as_bytes());
    }
    Ok(Wanted { files, folders, caches, above_caches })
}

/// Adds every folder above a path; stops at the first that is known, for its own are known too.
fn add_parents(folders: &mut HashSet<OsString>, path: &[u8]) {
    let mut end = path.len();
    while let Some(slash) = path[..end].iter().rposition(|&b| b == b'/') {
        end = slash;
        if !folders.insert(OsStr::from_bytes(&path[..end]).to_owned()) {
            return;
        }
    }
}
