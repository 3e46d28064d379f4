//! From the files of a job to its state: the newest good snapshot, then the journal behind it.

use std::path::PathBuf;

use longhaul_common::layout::JobLayout;
use longhaul_proto::Record;

use super::journal::{self, JournalLimits, Tail};
use super::snapshot::{list_snapshots, read_snapshot};
use super::{CheckpointError, FileStore};
use crate::core::State;

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The state after the last whole record.
    pub state: State,
    /// The snapshot it began from; 0 for none.
    pub snapshot_seq: u64,
    /// Records applied behind it.
    pub replayed: u64,
    /// Bytes of a torn tail: never acknowledged, kept beside the segment.
    pub torn_bytes: u64,
    /// Snapshots that were damaged and passed over.
    pub damaged_snapshots: Vec<PathBuf>,
}

/// Reads a job's state without changing anything: also while another process runs the job.
pub fn recover_read_only(layout: &JobLayout) -> Result<Recovered, CheckpointError> {
    read(layout).map(|(recovered, _)| recovered)
}

/// Reads a job's state and opens its store for going on. The caller holds the job's lock.
pub fn recover(layout: &JobLayout) -> Result<(Recovered, FileStore), CheckpointError> {
    recover_within(layout, JournalLimits::default())
}

/// As [`recover`], with other limits on the journal's files.
pub fn recover_within(layout: &JobLayout, limits: JournalLimits) -> Result<(Recovered, FileStore), CheckpointError> {
    let (recovered, tail) = read(layout)?;
    let store = FileStore::open(layout, &tail, recovered.snapshot_seq, limits)?;
    Ok((recovered, store))
}

/// Visits all whole records after a sequence number, in order, one at a time in memory.
pub fn each_record(
    layout: &JobLayout,
    after_seq: u64,
    visit: impl FnMut(Record) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    journal::read(&layout.journal(), after_seq, visit).map(|_| ())
}

/// Number of the oldest record that is kept; `None` without a journal.
pub fn oldest_record(layout: &JobLayout) -> Result<Option<u64>, CheckpointError> {
    journal::first_seq(&layout.journal())
}

/// All whole records after a sequence number.
pub fn read_records(layout: &JobLayout, after_seq: u64) -> Result<Vec<Record>, CheckpointError> {
    let mut records = Vec::new();
    journal::read(&layout.journal(), after_seq, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

fn read(layout: &JobLayout) -> Result<(Recovered, Tail), CheckpointError> {
    let mut damaged_snapshots = Vec::new();
    let mut state = State::default();
    for (_, path) in list_snapshots(&layout.snapshots())?.into_iter().rev() {
        match read_snapshot(&path)? {
            Some(found) => {
                state = found;
                break;
            }
            None => damaged_snapshots.push(path),
        }
    }
    let snapshot_seq = state.seq();
    let mut replayed = 0;
    let folder = layout.journal();
    if let Some(first) = journal::first_seq(&folder)?.filter(|&first| first > snapshot_seq + 1) {
        let cause = format!(
            "its oldest records are retired up to {first}, and no snapshot that this version can read reaches that far: \
             open the job with the version that wrote it, or restore a backup"
        );
        return Err(CheckpointError::Damaged { path: layout.snapshots(), offset: 0, cause });
    }
    let tail = journal::read(&folder, snapshot_seq, |record| {
        let seq = record.seq;
        let event = record.event.as_ref().expect("a decoded record has an event");
        state.apply(seq, record.at_ms, event).map_err(|source| CheckpointError::Apply {
            path: folder.clone(),
            seq,
            source,
        })?;
        replayed += 1;
        Ok(())
    })?;
    if tail.last_seq < snapshot_seq {
        let cause = format!("it ends at record {}, but a snapshot was made at {snapshot_seq}", tail.last_seq);
        return Err(CheckpointError::Damaged { path: folder, offset: 0, cause });
    }
    let torn_bytes = tail.torn_bytes;
    Ok((Recovered { state, snapshot_seq, replayed, torn_bytes, damaged_snapshots }, tail))
}
