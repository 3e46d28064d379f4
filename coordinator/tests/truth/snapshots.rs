//! When snapshots are written: by bytes as well as by records, and not again and again on a full disk.

use std::fs;

use longhaul_coordinator::checkpoint::{
    CheckpointError, JournalLimits, Store, list_snapshots, recover_read_only, recover_within,
};
use longhaul_coordinator::core::{Event, State};
use longhaul_coordinator::engine::{Engine, SNAPSHOT_WAIT_MS, SNAPSHOT_WAIT_MS_MAX};
use longhaul_proto::{Audited, JobOpened, Record};

use crate::{layout, opened};

/// A store that always wants a snapshot and has no room for one while `full`.
#[derive(Default)]
struct Full {
    full: bool,
    tries: u32,
}

impl Store for Full {
    fn append(&mut self, _: &[Record]) -> Result<(), CheckpointError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), CheckpointError> {
        Ok(())
    }

    fn wants_snapshot(&self, _: u64) -> bool {
        true
    }

    fn snapshot(&mut self, _: &State) -> Result<(), CheckpointError> {
        self.tries += 1;
        let source = std::io::ErrorKind::StorageFull.into();
        if self.full { Err(CheckpointError::Io { action: "write", path: "snapshot".into(), source }) } else { Ok(()) }
    }
}

#[test]
fn a_snapshot_that_fails_is_tried_again_later_and_later() {
    let mut engine = Engine::new(State::default(), Full { full: true, ..Full::default() });
    let mut last = 0;
    for second in 0..3_600 {
        engine.set_now(second * 1_000);
        // A turn that wants a snapshot, each second.
        if engine.snapshot(false).is_err() {
            last = second;
        }
    }
    let tries = engine.store().tries;
    assert!((10..=20).contains(&tries), "{tries} tries in an hour, at {last} s the last");
    const { assert!(SNAPSHOT_WAIT_MS < SNAPSHOT_WAIT_MS_MAX) };
    engine.snapshot(true).expect_err("one that is asked for is tried at once");
    engine.store_mut().full = false;
    engine.set_now(3_600_000 + SNAPSHOT_WAIT_MS_MAX);
    assert!(engine.snapshot(false).expect("there is room"));
    assert!(engine.snapshot(false).expect("nothing is waited for any more"));
}

#[test]
fn a_snapshot_that_fails_leaves_the_old_ones_and_nothing_half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    store.snapshot(&state).expect("written");
    let before = list_snapshots(&layout.snapshots()).expect("listed");
    let event = Event::JobOpened(JobOpened { job: "again".into() });
    let record = Record { seq: state.seq() + 1, at_ms: 9, event: Some(event.clone()) };
    store.append(std::slice::from_ref(&record)).expect("appended");
    state.apply(record.seq, record.at_ms, &event).expect("applies");
    // What stands in the way of the rename.
    let in_the_way = layout.snapshots().join(format!("{:020}.lhs", state.seq()));
    fs::create_dir_all(in_the_way.join("full")).expect("made");
    store.snapshot(&state).expect_err("cannot be written");
    assert!(before.iter().all(|(_, path)| path.is_file()));
    let half: Vec<_> = fs::read_dir(layout.snapshots())
        .expect("there")
        .filter_map(|entry| entry.expect("readable").path().extension().map(|end| end.to_owned()))
        .filter(|end| end == "tmp")
        .collect();
    assert!(half.is_empty(), "{half:?}");
}

#[test]
fn a_snapshot_is_due_after_so_many_bytes_and_keeps_the_journal_within_its_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    drop(opened(&layout, 5));
    let limits = JournalLimits { segment_bytes: 2_000, journal_bytes: 20_000, snapshot_bytes: 8_000 };
    let bound = limits.journal_bytes + limits.snapshot_bytes + limits.segment_bytes;
    let bytes = || -> u64 {
        let files = fs::read_dir(layout.journal()).expect("there").map(|entry| entry.expect("readable"));
        files.map(|file| file.metadata().expect("there").len()).sum()
    };
    let mut written = 0;
    let mut snapshots = 0;
    for _ in 0..4 {
        // Every process counts on from what the one before wrote.
        let (recovered, mut store) = recover_within(&layout, limits).expect("opens");
        let mut state = recovered.state;
        for _ in 0..50 {
            let asked = Audited { who: "al".into(), detail: "x".repeat(400), ..Audited::default() };
            let (seq, at_ms, event) = (state.seq() + 1, state.now_ms(), Event::Audited(asked));
            state.apply(seq, at_ms, &event).expect("applies");
            store.append(&[Record { seq, at_ms, event: Some(event) }]).expect("appended");
            store.sync().expect("synced");
            written += 420;
            if store.wants_snapshot(state.seq()) {
                store.snapshot(&state).expect("written");
                snapshots += 1;
            }
            assert!(bytes() <= bound + 500, "{} of {bound} bytes", bytes());
        }
        drop(store);
        assert_eq!(recover_read_only(&layout).expect("recovers").state.hash(), state.hash());
    }
    let due = written / limits.snapshot_bytes;
    assert!((due - 1..=due + 2).contains(&snapshots), "{snapshots} snapshots for {written} bytes");
}
