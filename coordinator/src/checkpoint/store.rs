//! Where decided events go: files in the product, memory that forgets what was not synced in
//! simulation.

use std::path::PathBuf;

use longhaul_common::layout::JobLayout;
use longhaul_proto::Record;

use super::CheckpointError;
use super::journal::{Journal, Tail};
use super::snapshot::write_snapshot;
use crate::core::State;

/// Records between snapshots.
pub const SNAPSHOT_EVERY: u64 = 20_000;

/// Durable storage of one job's events.
pub trait Store: Send {
    /// Appends records; durable after `sync`. After an error the same call may be made again.
    fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError>;

    /// Makes everything appended durable.
    fn sync(&mut self) -> Result<(), CheckpointError>;

    /// Whether a snapshot is due at this sequence number.
    fn wants_snapshot(&self, seq: u64) -> bool;

    /// Keeps the state so that replay can begin there.
    fn snapshot(&mut self, state: &State) -> Result<(), CheckpointError>;
}

/// The journal and snapshots of a job's folder.
#[derive(Debug)]
pub struct FileStore {
    journal: Journal,
    snapshots: PathBuf,
    last_snapshot: u64,
}

impl FileStore {
    /// Opens the files behind what recovery read.
    pub(super) fn open(layout: &JobLayout, tail: &Tail, last_snapshot: u64) -> Result<Self, CheckpointError> {
        let journal = Journal::open(&layout.journal(), tail)?;
        Ok(Self { journal, snapshots: layout.snapshots(), last_snapshot })
    }
}

impl Store for FileStore {
    fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        self.journal.append(records)
    }

    fn sync(&mut self) -> Result<(), CheckpointError> {
        self.journal.sync()
    }

    fn wants_snapshot(&self, seq: u64) -> bool {
        seq >= self.last_snapshot + SNAPSHOT_EVERY
    }

    fn snapshot(&mut self, state: &State) -> Result<(), CheckpointError> {
        write_snapshot(&self.snapshots, state)?;
        self.last_snapshot = state.seq();
        Ok(())
    }
}
