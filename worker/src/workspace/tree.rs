//! Removing and measuring folders that somebody else filled.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Removes whatever is at a path: nothing, a file, a symbolic link (never its target), a folder
/// with folders nobody may enter.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_folders(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Makes every folder below (and at) a path writable by its owner.
pub fn open_folders(root: &Path) -> io::Result<()> {
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let mode = fs::symlink_metadata(&folder)?.permissions().mode();
        if mode & 0o700 != 0o700 {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode | 0o700))?;
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Bytes on disk below a path; hard links count once per name, unreadable folders not at all.
pub fn tree_bytes(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => bytes += entry.metadata().map_or(0, |found| found.blocks() * 512),
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_and_a_link_are_removed_and_the_target_stays() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("a/b")).expect("made");
        fs::write(&kept, "kept").expect("written");
        fs::write(tree.join("a/b/file"), "x").expect("written");
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).expect("linked");
        for folder in ["a/b", "a"] {
            fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(0o000)).expect("closed");
        }
        remove_tree(&tree).expect("removed");
        remove_tree(&tree).expect("removing nothing is fine");
        assert!(!tree.exists() && kept.exists());
    }
}
