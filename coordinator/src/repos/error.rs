//! Why objects did not come in, or could not be kept in order.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use longhaul_common::Oid;
use longhaul_common::git::{GitError, StoreError};
use longhaul_common::room::{is_out_of_room, says_out_of_room};
use rustix::process::Signal;

/// Signals that end a git that went over a limit we set it.
const OVER_LIMIT: [i32; 2] = [Signal::XCPU.as_raw(), Signal::XFSZ.as_raw()];

/// Why objects did not come in.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pack is over [`super::PACK_BYTES_MAX`].
    #[error("the result's pack of {bytes} bytes is over the limit of {max}", max = super::PACK_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The commit is not what the report says.
    #[error("the result {commit} {problem}")]
    Foreign {
        /// Which.
        commit: Oid,
        /// What is wrong.
        problem: String,
    },
}

impl RepoError {
    /// Whether the disk is full, which more space mends.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_out_of_room(source),
            other => says_out_of_room(&other.to_string()),
        }
    }

    /// Whether the result itself is at fault. Everything else (disk, a killed or missing git) may
    /// be better next time, and the result must be kept for then.
    pub fn blames_result(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::TooLarge { .. } => true,
            Self::Git(GitError::Failed { status, stderr, .. }) => {
                // By its own limits on processor time and file size, and by no other signal.
                let over = matches!(status.signal(), Some(signal) if OVER_LIMIT.contains(&signal));
                (status.code().is_some() || over) && !says_out_of_room(stderr)
            }
            Self::Io { .. } | Self::Git(_) | Self::Store(_) => false,
        }
    }
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RepoError {
    let path = path.to_owned();
    move |source| RepoError::Io { action, path, source }
}
