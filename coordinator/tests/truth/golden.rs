//! Journals of every release are replayed to the states they stood for.

use std::path::{Path, PathBuf};

use longhaul_common::layout::{JobLayout, Layout};
use longhaul_coordinator::checkpoint::{decode_snapshot, encode_snapshot, read_records, recover_read_only};

fn releases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/golden");
    let entries = std::fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").path());
    let mut releases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    releases.sort();
    releases
}

/// A job's folder with a release's journal and nothing else.
fn job_of(release: &Path, root: &Path) -> JobLayout {
    let layout = Layout::new(root).job(&"golden".parse().expect("a name"));
    std::fs::create_dir_all(layout.journal()).expect("a folder");
    for entry in std::fs::read_dir(release.join("journal")).expect("there") {
        let path = entry.expect("readable").path();
        std::fs::copy(&path, layout.journal().join(path.file_name().expect("a name"))).expect("copied");
    }
    layout
}

#[test]
fn the_journal_of_every_release_replays_to_its_state() {
    let releases = releases();
    assert!(!releases.is_empty());
    for release in releases {
        let root = tempfile::tempdir().expect("a folder");
        let layout = job_of(&release, root.path());
        let recovered = recover_read_only(&layout).expect("it is still understood");
        let state = &recovered.state;
        assert_eq!((recovered.torn_bytes, recovered.replayed), (0, state.seq()));
        let counts = state.counts();
        let found = format!(
            "records {}\nlanded {} of {}\nlandings {}\ntip {}\nstate {}\n",
            state.seq(),
            counts.landed,
            counts.total,
            state.landing.landings,
            state.landing.tip,
            state.hash()
        );
        let stated = release.join("state.txt");
        if std::env::var_os("LONGHAUL_RESTATE").is_some() {
            std::fs::write(&stated, &found).expect("written");
        }
        let wanted = std::fs::read_to_string(&stated).unwrap_or_default();
        assert_eq!(found, wanted, "{}: see the README beside it", release.display());
        let kinds: std::collections::BTreeSet<_> = read_records(&layout, 0)
            .expect("readable")
            .into_iter()
            .filter_map(|record| record.event)
            .map(|event| std::mem::discriminant(&event))
            .map(|kind| format!("{kind:?}"))
            .collect();
        assert!(kinds.len() >= 10, "a journal of few kinds of events shows little: {}", kinds.len());
        let again = decode_snapshot(Path::new("golden"), &encode_snapshot(state)).expect("readable").expect("whole");
        assert_eq!(again.hash(), state.hash(), "a snapshot of it is as good");
    }
}
