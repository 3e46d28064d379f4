//! A slot's index, read without git.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::WorkspaceError;

/// Reads it.
pub(super) fn read(index: &Path) -> Result<gix::index::File, WorkspaceError> {
    gix::index::File::at(index, gix::hash::Kind::Sha1, true, gix::index::decode::Options::default())
        .map_err(|error| WorkspaceError::Index { path: index.to_owned(), cause: error.to_string() })
}

/// The places of submodules in it.
pub fn submodules(index: &Path) -> Result<Vec<OsString>, WorkspaceError> {
    let file = read(index)?;
    let entries = file.entries().iter().filter(|entry| entry.mode.is_submodule());
    Ok(entries.map(|entry| OsStr::from_bytes(entry.path(&file).as_ref()).to_owned()).collect())
}
