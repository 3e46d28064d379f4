//! Truth on disk: the journal, snapshots of the state, and the rebuildable index.
//!
//! The journal alone decides what happened. A snapshot only saves replay, the sled index only
//! saves searching; deleting either is always safe. Formats carry a version, and a newer one than
//! this build knows is refused.

mod folder;
mod index;
mod journal;
mod record;
mod recover;
mod snapshot;
mod store;

pub use index::{Index, IndexError};
pub use journal::{Journal, JournalLimits};
pub use record::{RecordError, decode_frame, encode_frame};
pub use recover::{Recovered, each_record, oldest_record, read_records, recover, recover_read_only, recover_within};
pub use snapshot::{SNAPSHOTS_KEPT, decode_snapshot, encode_snapshot, list_snapshots, read_snapshot, write_snapshot};
pub use store::{FileStore, Store};

use std::path::PathBuf;

/// Version of the journal's and snapshots' file formats.
pub const FILE_FORMAT: u32 = 1;

/// Why truth could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
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
    /// Written by a newer Longhaul.
    #[error("{} has format {found}, this build reads up to {FILE_FORMAT}: use the newer longhaul that wrote it", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Damaged where damage is not a torn tail.
    #[error("{} is damaged at byte {offset}: {cause}. Nothing was changed; restore the file from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// Readable, but not a history of this build's events.
    #[error("record {seq} in {} cannot be applied: {source}", path.display())]
    Apply {
        /// Which journal.
        path: PathBuf,
        /// Which record.
        seq: u64,
        /// Why.
        source: crate::core::ApplyError,
    },
}

impl CheckpointError {
    /// For `map_err`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the disk is full, which more space mends.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if longhaul_common::room::is_out_of_room(source))
    }
}
