//! Power cuts, for real: a writer on an ext4 file system in a file on a loop device is frozen, the
//! image is copied as the device has it, mounted, and compared with what was acknowledged.
//!
//! The writer is this test program itself (see `writer`): it commits records, snapshots and git
//! objects in the order of the product and prints what it acknowledges.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use longhaul_common::Oid;
use longhaul_common::git::{Git, Identity, NewCommit, Store as GitStore, sync_objects};
use longhaul_coordinator::checkpoint::{Store as _, recover_read_only};

use crate::samples;

/// Rounds; each loses power at another moment.
const ROUNDS: u32 = 6;

const WRITER: &str = "LONGHAUL_TEST_POWER_CUT_FOLDER";

/// Not a test of its own: what the frozen process runs.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(WRITER) else { return };
    let folder = Path::new(&folder);
    let git_dir = folder.join("store.git");
    Git::at(&git_dir).run(["init", "--quiet", "--bare", "--template="]).expect("git");
    let git = GitStore::open_own(&git_dir).expect("opens");
    let identity = Identity { name: "w".into(), email: "w@localhost".into() };
    let layout = samples::layout(folder);
    let (mut state, mut store) = samples::opened(&layout, 5);
    let mut tip = Oid::ZERO;
    let mut out = std::io::stdout();
    for round in 0_u64.. {
        // Objects, then their folders, then the record, then the ref, then the ack.
        let tree = git
            .write_files(None, &[(format!("dir{}/file", round % 17), round.to_string().into_bytes())])
            .expect("tree");
        let parents: Vec<Oid> = (!tip.is_zero()).then_some(tip).into_iter().collect();
        let message = "m".to_owned();
        let commit = NewCommit { tree, parents: &parents, author: &identity, seconds: 1, message: &message };
        let commit = git.write_commit(&commit).expect("commit");
        sync_objects(&git_dir.join("objects")).expect("synced");
        samples::append(&mut state, &mut store, 1);
        git.move_reference("refs/longhaul/sample/integration-1", tip, commit).expect("moves");
        sync_objects(&git_dir.join("objects")).expect("synced");
        if round % 50 == 49 {
            store.snapshot(&state).expect("written");
        }
        tip = commit;
        writeln!(out, "ACK {} {commit}", state.seq()).expect("piped");
        out.flush().expect("piped");
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk.img");
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    std::fs::create_dir_all(&live).expect("made");
    std::fs::create_dir_all(&dead).expect("made");
    std::fs::File::create(&image).and_then(|file| file.set_len(96 << 20)).expect("an image");
    let text = |path: &Path| path.display().to_string();
    let made = samples::run("mkfs.ext4", &["-q", "-F", &text(&image)]);
    if !made || !samples::run("mount", &["-o", "loop", &text(&image), &text(&live)]) {
        println!("skipped: a loop device needs root and e2fsprogs");
        return;
    }
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        acknowledged += cut(&live, &dead, &image, round);
    }
    samples::unmount(&live);
    println!("{ROUNDS} power cuts, {acknowledged} acknowledged records checked");
    assert!(acknowledged > 20, "too little was written to prove anything: {acknowledged}");
}

fn cut(live: &Path, dead: &Path, image: &Path, round: u32) -> u64 {
    let place = live.join(format!("round{round}"));
    std::fs::create_dir_all(&place).expect("made");
    let exe = std::env::current_exe().expect("known");
    let mut child = Command::new(exe)
        .args(["power_cut::writer", "--exact", "--nocapture"])
        .env(WRITER, &place)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let wanted = 15 + round * 23;
    let mut last = (0, Oid::ZERO);
    let mut seen = 0;
    while seen < wanted {
        let line = lines.next().expect("the writer goes on").expect("text");
        // The test runner's own words may stand on the same line.
        let Some(at) = line.find("ACK ") else { continue };
        let mut words = line[at + 4..].split(' ');
        let seq = words.next().and_then(|word| word.parse().ok()).expect("a number");
        last = (seq, words.next().and_then(|word| word.parse().ok()).expect("an id"));
        seen += 1;
    }
    let pid = child.id().to_string();
    assert!(samples::run("kill", &["-STOP", &pid]));
    let copy = image.with_extension("copy");
    std::fs::copy(image, &copy).expect("copied");
    assert!(samples::run("kill", &["-KILL", &pid]));
    child.wait().expect("ended");
    assert!(samples::run("mount", &["-o", "loop", &copy.display().to_string(), &dead.display().to_string()]));
    let found = dead.join(format!("round{round}"));
    let state = recover_read_only(&samples::layout(&found)).expect("recovers").state;
    assert!(state.seq() >= last.0, "round {round}: {} acknowledged, {} there", last.0, state.seq());
    let git = GitStore::open_own(&found.join("store.git")).expect("opens");
    // Every commit down to the first, with its tree and blobs.
    let listed = Git::at(found.join("store.git")).run(["rev-list", "--objects", "--quiet", &last.1.to_string()]);
    assert!(listed.is_ok(), "round {round}: {listed:?}");
    let reference = git.reference("refs/longhaul/sample/integration-1").expect("readable");
    assert!(reference.is_some(), "round {round}: the ref is gone");
    drop(git);
    samples::unmount(dead);
    u64::from(seen)
}
