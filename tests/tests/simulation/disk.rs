//! The coordinator's disk: it forgets at a crash what was not synced, tears what was being
//! written, fills up, fails syncs, and lets the newest snapshot rot.

use std::path::Path;

use longhaul_coordinator::checkpoint::{
    CheckpointError, Store, decode_frame, decode_snapshot, encode_frame, encode_snapshot,
};
use longhaul_coordinator::core::State;
use longhaul_proto::Record;

/// Snapshots that are kept, as the product does.
const SNAPSHOTS_KEPT: usize = 3;

#[derive(Clone, Default)]
pub struct Disk {
    journal: Vec<u8>,
    /// Where the next append begins: what lies beyond a failed one is cut first.
    good: usize,
    /// Bytes that survive a crash.
    synced: usize,
    snapshots: Vec<Snapshot>,
    snapshot_every: u64,
    /// No write succeeds.
    pub full: bool,
    /// The next syncs that fail, and what they should have made durable is gone.
    pub bad_syncs: u32,
    /// The power goes during the next sync.
    pub cut: bool,
}

#[derive(Clone)]
struct Snapshot {
    seq: u64,
    bytes: Vec<u8>,
    /// Where in the journal the records behind it begin, as the product knows by its segments.
    journal_at: usize,
}

impl Disk {
    pub fn new(snapshot_every: u64) -> Self {
        Self { snapshot_every, ..Self::default() }
    }

    /// What a restart finds; `torn` bytes of what was not synced survived too.
    pub fn crash(&mut self, torn: usize) {
        self.journal.truncate((self.synced + torn).min(self.journal.len()));
        // Recovery cuts at the last whole record.
        let whole = self.synced + whole_bytes(&self.journal[self.synced..]);
        self.journal.truncate(whole);
        (self.good, self.synced) = (whole, whole);
        self.cut = false;
    }

    /// A byte of the newest snapshot turns.
    pub fn rot(&mut self) {
        if let Some(Snapshot { bytes, .. }) = self.snapshots.last_mut() {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x40;
        }
    }

    /// The state a restart begins with: the newest good snapshot, then the journal behind it.
    pub fn recover(&self) -> State {
        let name = Path::new("simulated.lhs");
        let mut state = State::default();
        let mut journal_at = 0;
        for snapshot in self.snapshots.iter().rev() {
            if let Some(found) = decode_snapshot(name, &snapshot.bytes).expect("of this version") {
                (state, journal_at) = (found, snapshot.journal_at);
                break;
            }
        }
        self.each_from(journal_at, |record| {
            assert_eq!(record.seq, state.seq() + 1, "a gap behind the snapshot");
            state.apply(record.seq, record.at_ms, record.event.as_ref().expect("an event")).expect("applies");
        });
        state
    }

    /// Gives every record that counts, in order.
    pub fn each(&self, visit: impl FnMut(&Record)) {
        self.each_from(0, visit);
    }

    fn each_from(&self, mut at: usize, mut visit: impl FnMut(&Record)) {
        while at < self.good {
            let (record, len) = decode_frame(&self.journal[at..self.good]).expect("whole records");
            visit(&record);
            at += len;
        }
    }

    /// A hash over everything that was decided.
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.journal[..self.good])
    }

    fn error(action: &'static str) -> CheckpointError {
        let source = std::io::ErrorKind::StorageFull.into();
        CheckpointError::Io { action, path: "simulated".into(), source }
    }
}

/// How many of these bytes are whole records.
fn whole_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok((_, len)) = decode_frame(&bytes[at..]) {
        at += len;
    }
    at
}

impl Store for Disk {
    fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        self.journal.truncate(self.good);
        records.iter().for_each(|record| encode_frame(record, &mut self.journal));
        if self.full {
            // A part of it fitted.
            let written = self.journal.len() - self.good;
            self.journal.truncate(self.good + written / 2);
            return Err(Self::error("append to the journal in"));
        }
        self.good = self.journal.len();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), CheckpointError> {
        if self.cut {
            return Err(Self::error("sync"));
        }
        if self.bad_syncs > 0 {
            self.bad_syncs -= 1;
            self.good = self.synced;
            self.journal.truncate(self.good);
            return Err(Self::error("sync"));
        }
        self.synced = self.good;
        Ok(())
    }

    fn wants_snapshot(&self, seq: u64) -> bool {
        seq >= self.snapshots.last().map_or(0, |snapshot| snapshot.seq) + self.snapshot_every
    }

    fn snapshot(&mut self, state: &State) -> Result<(), CheckpointError> {
        if self.full {
            return Err(Self::error("write"));
        }
        let (seq, bytes) = (state.seq(), encode_snapshot(state));
        self.snapshots.push(Snapshot { seq, bytes, journal_at: self.synced });
        if self.snapshots.len() > SNAPSHOTS_KEPT {
            self.snapshots.remove(0);
        }
        Ok(())
    }
}
