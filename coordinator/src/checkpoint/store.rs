//! Where decided events go: files in the product, memory that forgets what was not synced in
//! simulation.

use std::path::PathBuf;

use longhaul_common::layout::JobLayout;
use longhaul_proto::Record;

use super::CheckpointError;
use super::journal::{Journal, JournalLimits, Tail};
use super::snapshot::{list_snapshots, read_snapshot, write_snapshot};
use crate::core::State;

/// Records between snapshots, where [`JournalLimits::snapshot_bytes`] does not come first.
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
    /// [`Journal::written_bytes`] at the last snapshot.
    bytes_at_snapshot: u64,
}

impl FileStore {
    /// Opens the files behind what recovery read.
    pub(super) fn open(
        layout: &JobLayout,
        tail: &Tail,
        last_snapshot: u64,
        limits: JournalLimits,
    ) -> Result<Self, CheckpointError> {
        let journal = Journal::open(&layout.journal(), tail, limits)?;
        let bytes_at_snapshot = journal.written_bytes().saturating_sub(tail.visited_bytes);
        Ok(Self { journal, snapshots: layout.snapshots(), last_snapshot, bytes_at_snapshot })
    }
}

impl FileStore {
    /// Lets old segments go, as far as two snapshots that were read back reach.
    fn retire(&mut self) -> Result<(), CheckpointError> {
        let mut verified = Vec::new();
        for (seq, path) in list_snapshots(&self.snapshots)?.into_iter().rev() {
            if read_snapshot(&path)?.is_some() {
                verified.push(seq);
            }
            if let [_, covered] = verified[..] {
                let bytes = self.journal.retire(covered)?;
                tracing::info!(bytes, covered, "old segments of the journal went");
                break;
            }
        }
        Ok(())
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
        let bytes = self.journal.written_bytes().saturating_sub(self.bytes_at_snapshot);
        seq >= self.last_snapshot + SNAPSHOT_EVERY || bytes >= self.journal.limits().snapshot_bytes
    }

    fn snapshot(&mut self, state: &State) -> Result<(), CheckpointError> {
        write_snapshot(&self.snapshots, state)?;
        self.last_snapshot = state.seq();
        self.bytes_at_snapshot = self.journal.written_bytes();
        if self.journal.is_over_limit() {
            self.retire()?;
        }
        Ok(())
    }
}
