//! Truth on disk: torn, damaged, deleted, newer, full, and cut from power.

mod golden;
mod power_cut;
mod samples;
mod snapshots;

use std::fs;
use std::path::PathBuf;

use longhaul_common::layout::JobLayout;
use longhaul_coordinator::checkpoint::{
    CheckpointError, Index, JournalLimits, Store, list_snapshots, oldest_record, read_records, recover,
    recover_read_only, recover_within,
};
use longhaul_coordinator::core::{Event, State};
use samples::{append, layout, opened};

/// The only segment of a small journal.
fn segment(layout: &JobLayout) -> PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(layout.journal()).expect("there").map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "lhj"));
    assert_eq!(files.len(), 1);
    files.remove(0)
}

fn state_hash(layout: &JobLayout) -> (u64, blake3::Hash) {
    let state = recover_read_only(layout).expect("recovers").state;
    (state.seq(), state.hash())
}

#[test]
fn a_journal_torn_at_every_byte_of_its_last_record_loses_only_that_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 3);
    let file = segment(&layout);
    let before = state_hash(&layout);
    let whole_before = fs::metadata(&file).expect("there").len();
    append(&mut state, &mut store, 1);
    let bytes = fs::read(&file).expect("readable");
    let after = state_hash(&layout);
    assert_eq!(after.0, before.0 + 1);
    drop(store);
    for cut in usize::try_from(whole_before).expect("small")..bytes.len() {
        fs::write(&file, &bytes[..cut]).expect("writable");
        assert_eq!(state_hash(&layout), before, "cut at {cut}");
        let (recovered, mut store) = recover(&layout).expect("opens");
        assert_eq!(recovered.torn_bytes, (cut as u64) - whole_before);
        let mut state = recovered.state;
        append(&mut state, &mut store, 1);
        assert_eq!(state_hash(&layout), after, "the record can be written again after a cut at {cut}");
        drop(store);
        for entry in fs::read_dir(layout.journal()).expect("there") {
            let path = entry.expect("readable").path();
            if path != file {
                fs::remove_file(path).expect("the evidence of the cut");
            }
        }
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 6);
    drop(store);
    let file = segment(&layout);
    let bytes = fs::read(&file).expect("readable");
    let good = state_hash(&layout);
    for at in (0..bytes.len()).step_by(7) {
        let mut garbled = bytes.clone();
        garbled[at] ^= 0x20;
        fs::write(&file, &garbled).expect("writable");
        match recover_read_only(&layout) {
            Ok(found) => assert!(found.state.seq() < good.0 && found.torn_bytes > 0, "byte {at} went unnoticed"),
            Err(CheckpointError::Damaged { .. } | CheckpointError::Newer { .. }) => {}
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn a_journal_shorter_than_its_snapshot_is_refused_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 4);
    store.snapshot(&state).expect("written");
    drop(store);
    let file = segment(&layout);
    let bytes = fs::read(&file).expect("readable");
    fs::write(&file, &bytes[..bytes.len() - 3]).expect("writable");
    let error = recover_read_only(&layout).expect_err("acknowledged records are gone");
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 2);
    append(&mut state, &mut store, 1);
    store.snapshot(&state).expect("written");
    drop(store);
    let (_, snapshot) = list_snapshots(&layout.snapshots()).expect("there").remove(0);
    for file in [snapshot, segment(&layout)] {
        let bytes = fs::read(&file).expect("readable");
        let mut newer = bytes.clone();
        newer[4] = 99;
        fs::write(&file, &newer).expect("writable");
        let error = recover_read_only(&layout).expect_err("from the future");
        assert!(matches!(error, CheckpointError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("use the newer longhaul"), "{error}");
        fs::write(&file, &bytes).expect("writable");
    }
}

#[test]
fn a_damaged_snapshot_is_passed_over_and_the_journal_makes_up_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 4);
    store.snapshot(&state).expect("written");
    append(&mut state, &mut store, 2);
    let good = state_hash(&layout);
    let from_snapshot = recover_read_only(&layout).expect("recovers");
    assert_eq!((from_snapshot.snapshot_seq, from_snapshot.replayed), (good.0 - 2, 2));
    let (_, snapshot) = list_snapshots(&layout.snapshots()).expect("there").remove(0);
    let mut bytes = fs::read(&snapshot).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, bytes).expect("writable");
    let recovered = recover_read_only(&layout).expect("recovers");
    assert_eq!((recovered.snapshot_seq, recovered.damaged_snapshots), (0, vec![snapshot]));
    assert_eq!((recovered.state.seq(), recovered.state.hash()), good);
}

#[test]
fn the_index_is_rebuilt_when_it_is_missing_garbled_or_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 5);
    let attempts = |layout: &JobLayout| {
        let index = Index::open(layout).expect("opens");
        (0..5).map(|node| index.attempts_of(&format!("n{node}")).expect("readable")).collect::<Vec<_>>()
    };
    let good = attempts(&layout);
    assert!(good.iter().flatten().count() > 0);
    fs::remove_dir_all(layout.index()).expect("removable");
    assert_eq!(attempts(&layout), good, "after deletion");
    for entry in fs::read_dir(layout.index()).expect("there") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            fs::write(path, b"garbage, not a database").expect("writable");
        }
    }
    assert_eq!(attempts(&layout), good, "after garbling");
    append(&mut state, &mut store, 2);
    assert_ne!(attempts(&layout), good, "it follows what came while it was closed");
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    if !samples::mount_tmpfs(folder.path(), "256k") {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let layout = layout(folder.path());
    let (mut state, mut store) = opened(&layout, 5);
    append(&mut state, &mut store, 2);
    let ballast = folder.path().join("ballast");
    samples::fill(&ballast);
    let records = samples::next_records(&mut state, 4_000);
    let error = store.append(&records).and_then(|()| store.sync()).expect_err("there is no room");
    assert!(error.is_disk_full(), "{error}");
    fs::remove_file(&ballast).expect("removable");
    store.append(&records).expect("there is room again");
    store.sync().expect("synced");
    assert_eq!(state_hash(&layout), (state.seq(), state.hash()));
    assert_eq!(read_records(&layout, 0).expect("readable").len() as u64, state.seq());
    drop(store);
    samples::unmount(folder.path());
}

#[test]
fn an_empty_folder_is_an_empty_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    assert_eq!(recover_read_only(&layout).expect("recovers").state.seq(), State::default().seq());
}

#[test]
fn a_segment_goes_only_after_two_verified_newer_snapshots() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    drop(opened(&layout, 5));
    let limits = JournalLimits { segment_bytes: 1_000, journal_bytes: 3_000, ..JournalLimits::default() };
    let (recovered, mut store) = recover_within(&layout, limits).expect("opens");
    let mut state = recovered.state;
    let first = || {
        let files = fs::read_dir(layout.journal()).expect("there").map(|entry| entry.expect("readable").path());
        let mut names: Vec<_> = files.filter_map(|path| path.file_stem()?.to_str()?.parse::<u64>().ok()).collect();
        names.sort_unstable();
        names[0]
    };
    append(&mut state, &mut store, 60);
    store.snapshot(&state).expect("written");
    assert_eq!(first(), 1, "one snapshot is not enough");
    let covered = state.seq();
    append(&mut state, &mut store, 60);
    // The second is damaged on the disk before the third is made: it does not count.
    store.snapshot(&state).expect("written");
    let kept = first();
    assert!(kept > 1 && kept <= covered + 1, "the journal begins at {kept}, covered is {covered}");
    let damaged = list_snapshots(&layout.snapshots()).expect("listed").pop().expect("one").1;
    fs::write(&damaged, b"LHS\n").expect("damaged");
    append(&mut state, &mut store, 60);
    store.snapshot(&state).expect("written");
    assert_eq!(first(), kept, "only one good snapshot is newer");
    drop(store);
    let again = recover_read_only(&layout).expect("recovers");
    assert_eq!(again.state.hash(), state.hash());
    // Without any snapshot the retired records are missed, and that is said.
    for (_, path) in list_snapshots(&layout.snapshots()).expect("listed") {
        fs::remove_file(path).expect("removed");
    }
    let error = recover_read_only(&layout).expect_err("refused").to_string();
    assert!(error.contains("oldest records are retired"), "{error}");
}

#[test]
fn an_index_rebuilt_after_records_were_retired_knows_what_is_left_under_the_right_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = layout(folder.path());
    drop(opened(&layout, 5));
    let limits = JournalLimits { segment_bytes: 1_000, journal_bytes: 3_000, ..JournalLimits::default() };
    let (recovered, mut store) = recover_within(&layout, limits).expect("opens");
    let mut state = recovered.state;
    let rows = |layout: &JobLayout| {
        let index = Index::open(layout).expect("opens");
        let of = |node| index.attempts_of(&format!("n{node}")).expect("readable");
        ((0..5).map(of).collect::<Vec<_>>(), index.attempts_of("").expect("readable"))
    };
    for _ in 0..3 {
        append(&mut state, &mut store, 61);
        // It follows while nothing is retired yet.
        rows(&layout);
        store.snapshot(&state).expect("written");
    }
    let oldest = oldest_record(&layout).expect("readable").expect("some");
    assert!(oldest > 2, "the plan's record is retired: {oldest}");
    let (whole, _) = rows(&layout);
    fs::remove_dir_all(layout.index()).expect("removable");
    let (rebuilt, nameless) = rows(&layout);
    assert!(nameless.is_empty(), "{nameless:?}");
    let kept: Vec<u64> = read_records(&layout, 0)
        .expect("readable")
        .into_iter()
        .filter_map(|record| match record.event {
            Some(Event::Assigned(assigned)) => Some(assigned.attempt),
            _ => None,
        })
        .collect();
    assert!(kept.len() > 10, "{kept:?}");
    for (whole, rebuilt) in whole.iter().zip(&rebuilt) {
        let of_records = |rows: &[longhaul_proto::AttemptRow]| {
            rows.iter().filter(|row| kept.contains(&row.attempt)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of_records(rebuilt), of_records(whole), "whatever has a record is whole");
        for row in rebuilt.iter().filter(|row| !kept.contains(&row.attempt)) {
            let before = whole.iter().find(|before| before.attempt == row.attempt).expect("it was there");
            assert_eq!((&row.worker, &row.base, &row.outcome), (&before.worker, &before.base, &before.outcome));
        }
    }
    // One that was closed while records went is no better off, and no worse.
    let live = state.attempts().iter().next().map(|(id, live)| (id.0, live.node.0 as usize)).expect("one is live");
    assert_eq!(rebuilt[live.1].last().map(|row| (row.attempt, row.outcome.as_str())), Some((live.0, "running")));
}
