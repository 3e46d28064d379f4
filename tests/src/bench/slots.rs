//! Making a warm slot ready on a repository of 3,073 files, against `git worktree add`.

use std::time::{Duration, Instant};

use longhaul_common::Oid;
use longhaul_common::git::{Git, Identity, NewCommit, Store};
use longhaul_worker::workspace::{Pool, PoolLimits, SlotKind};

use super::landings::large_repository;
use super::noop;
use super::table::{Row, median};

const ROUNDS: usize = 9;

pub fn run() -> anyhow::Result<Vec<Row>> {
    let folder = noop::folder()?;
    let (repo, base) = large_repository(folder.path())?;
    let store = repo.join(".git");
    let other = twelve_changed(&Store::open_own(&store)?, base)?;
    let pool = Pool::new(folder.path().join("worker"), PoolLimits { slot_bytes_max: 0 });
    let slot = pool.acquire(SlotKind::Work, "bench")?;
    slot.move_to(base, &store, &[])?;
    settle();
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        std::fs::write(slot.ws().join("dropping"), "left by an agent")?;
        let begun = Instant::now();
        slot.move_to(if round % 2 == 0 { other } else { base }, &store, &[])?;
        ours.push(begun.elapsed());
        peer.push(worktree_add(&store, folder.path(), base)?);
    }
    Ok(vec![Row::times("slot ready, 12 files differ", median(ours), "git worktree add", median(peer), "≤ 0.05")])
}

/// git's index takes files of its own second for possibly changed: the first moves wait that out.
fn settle() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_100) {
        std::thread::yield_now();
    }
}

fn twelve_changed(store: &Store, base: Oid) -> anyhow::Result<Oid> {
    let tree = store.tree_of(base)?;
    let files: Vec<_> =
        (0..12).map(|at| (format!("src/m{at:02}/file{at:04}.rs"), b"pub fn changed() {}\n".to_vec())).collect();
    let tree = store.write_files(Some(tree), &files)?;
    let identity = Identity { name: "b".into(), email: "b@b".into() };
    let commit = NewCommit { tree, parents: &[base], author: &identity, seconds: 2, message: "twelve" };
    Ok(store.write_commit(&commit)?)
}

fn worktree_add(store: &std::path::Path, folder: &std::path::Path, base: Oid) -> anyhow::Result<Duration> {
    let place = folder.join("tree");
    let git = Git::at(store);
    let begun = Instant::now();
    git.run(["worktree", "add", "-q", "--detach", &place.display().to_string(), &base.to_string()])?;
    let took = begun.elapsed();
    std::fs::remove_dir_all(&place)?;
    git.run(["worktree", "prune"])?;
    Ok(took)
}
