//! Making folders and renames durable.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::CheckpointError;

/// Syncs a folder: new names and renames in it survive a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(CheckpointError::io("sync the folder", path))
}

/// Makes a folder and syncs the one above it.
pub(super) fn make_folder(path: &Path) -> Result<(), CheckpointError> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(CheckpointError::io("make the folder", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a whole file so that after a power cut it is there complete or not at all. What was half
/// written goes: on a full disk it is only in the way.
pub(super) fn write_atomic(path: &Path, parts: &[&[u8]]) -> Result<(), CheckpointError> {
    let temporary = path.with_extension("tmp");
    let written = write(&temporary, parts)
        .and_then(|()| std::fs::rename(&temporary, path).map_err(CheckpointError::io("rename into place", path)));
    if written.is_err() {
        let _not_even_made = std::fs::remove_file(&temporary);
    }
    written?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn write(path: &Path, parts: &[&[u8]]) -> Result<(), CheckpointError> {
    let mut file = File::create(path).map_err(CheckpointError::io("create", path))?;
    for part in parts {
        file.write_all(part).map_err(CheckpointError::io("write", path))?;
    }
    file.sync_all().map_err(CheckpointError::io("sync", path))
}
