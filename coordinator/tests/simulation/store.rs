//! A store in memory that forgets, at a crash, what was not synced.

use longhaul_coordinator::checkpoint::{CheckpointError, Store, decode_frame, encode_frame};
use longhaul_coordinator::core::State;
use longhaul_proto::Record;

#[derive(Clone, Default)]
pub struct MemoryStore {
    bytes: Vec<u8>,
    synced: usize,
    snapshot: Option<State>,
    /// Every so many syncs one fails, and what it should have made durable is gone; 0 for never.
    failing_sync: u32,
    syncs: u32,
}

impl MemoryStore {
    /// A store of which every so many syncs fails; 0 for none.
    pub fn failing(failing_sync: u32) -> Self {
        Self { failing_sync, ..Self::default() }
    }

    /// What a restart finds; `torn` bytes of what was not synced survived too.
    pub fn crash(mut self, torn: usize) -> Self {
        let keep = (self.synced + torn).min(self.bytes.len());
        self.bytes.truncate(keep);
        // Recovery cuts at the last whole record.
        let whole = self.records().1;
        self.bytes.truncate(whole);
        self.synced = whole;
        self
    }

    /// All whole records, and the bytes they take.
    pub fn records(&self) -> (Vec<Record>, usize) {
        let mut at = 0;
        let mut records = Vec::new();
        while let Ok((record, len)) = decode_frame(&self.bytes[at..]) {
            records.push(record);
            at += len;
        }
        (records, at)
    }

    /// The state a restart begins with.
    pub fn recover(&self) -> State {
        let mut state = State::default();
        if let Some(snapshot) = &self.snapshot {
            let bytes = postcard::to_stdvec(snapshot).expect("serialisable");
            state = postcard::from_bytes(&bytes).expect("readable");
            state.rebuild().expect("a graph");
        }
        let from = state.seq();
        for record in self.records().0.into_iter().filter(|record| record.seq > from) {
            state.apply(record.seq, record.at_ms, record.event.as_ref().expect("an event")).expect("applies");
        }
        state
    }
}

impl Store for MemoryStore {
    fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        records.iter().for_each(|record| encode_frame(record, &mut self.bytes));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), CheckpointError> {
        self.syncs += 1;
        if self.failing_sync > 0 && self.syncs.is_multiple_of(self.failing_sync) {
            self.bytes.truncate(self.synced);
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(CheckpointError::Io { action: "sync", path: "memory".into(), source });
        }
        self.synced = self.bytes.len();
        Ok(())
    }

    fn wants_snapshot(&self, seq: u64) -> bool {
        seq >= self.snapshot.as_ref().map_or(0, State::seq) + 60
    }

    fn snapshot(&mut self, state: &State) -> Result<(), CheckpointError> {
        self.snapshot = Some(state.clone());
        Ok(())
    }
}
