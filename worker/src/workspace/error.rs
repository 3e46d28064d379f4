//! Why a workspace cannot be had.

use std::io;
use std::path::{Path, PathBuf};

use longhaul_common::git::{GitError, StoreError};
use longhaul_common::room::{is_out_of_room, says_out_of_room};

/// A failure of the machine, never of the subtask.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file or folder of the slot cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// Git failed in the slot.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Objects of the slot or the store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The assignment names a store this worker cannot reach.
    #[error("the object store {store:?} is not a folder on this machine")]
    NoStore {
        /// As the assignment has it.
        store: String,
    },
    /// The slot's own index cannot be read.
    #[error("cannot read the slot's index {}: {cause}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// The decoder's word.
        cause: String,
    },
    /// Every slot that may exist is in use by another process.
    #[error("all {slots} slots of {repository} are in use")]
    Busy {
        /// The repository's key.
        repository: String,
        /// How many there may be.
        slots: u32,
    },
    /// Blocking work was cut short because the process ends.
    #[error("the worker is shutting down")]
    Ended,
}

impl WorkspaceError {
    /// Whether a full disk is the cause.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_out_of_room(source),
            Self::Git(GitError::Failed { stderr, .. }) => says_out_of_room(stderr),
            Self::Git(GitError::Start { source }) => is_out_of_room(source),
            Self::Store(StoreError::Write { cause, .. }) => says_out_of_room(cause),
            _ => false,
        }
    }
}

/// Puts action and path to an error.
pub(super) trait At<T> {
    /// With what was tried on which path.
    fn at(self, action: &'static str, path: &Path) -> Result<T, WorkspaceError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, WorkspaceError> {
        self.map_err(|source| WorkspaceError::Io { action, path: path.to_owned(), source })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, WorkspaceError> {
        self.map_err(io::Error::from).at(action, path)
    }
}
