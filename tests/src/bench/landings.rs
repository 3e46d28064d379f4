//! Landing real changes durably, against `git cherry-pick` in a worktree, on 3,072 files.

use std::path::Path;
use std::time::{Duration, Instant};

use longhaul_common::git::{Git, Identity, NewCommit, Store, sync_objects};
use longhaul_common::{NodeId, Oid};
use longhaul_coordinator::landing::{Member, MergeJob, merge_batch};

use super::noop;
use super::table::{Row, median};

const CHANGES: usize = 150;
const BATCH: usize = 8;
const ROUNDS: usize = 3;

pub fn run() -> anyhow::Result<Vec<Row>> {
    let folder = noop::folder()?;
    let (repo, base) = large_repository(folder.path())?;
    let store = Store::open_own(&repo.join(".git"))?;
    let identity = Identity { name: "b".into(), email: "b@b".into() };
    let changes = changes(&store, base, &identity)?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        peer.push(cherry_pick(&repo, base, &changes, round)? / u32::try_from(CHANGES)?);
        ours.push(land(&store, base, &changes, &identity, round)? / u32::try_from(CHANGES)?);
    }
    let (ours, peer) = (median(ours), median(peer));
    let row =
        Row::times("landing one change, durable, batches of 8", ours, "git cherry-pick in a worktree", peer, "≤ 0.1");
    let speed = Row::figure("landings per second, durable", format!("{:.0}", 1.0 / ours.as_secs_f64()), "–");
    Ok(vec![row, speed])
}

/// 3,072 files in 96 folders.
pub fn large_repository(folder: &Path) -> anyhow::Result<(std::path::PathBuf, Oid)> {
    let (repo, _) = noop::repository(folder)?;
    for at in 0..3_072 {
        let path = repo.join(format!("src/m{:02}/file{at:04}.rs", at % 96));
        std::fs::create_dir_all(path.parent().expect("a folder"))?;
        std::fs::write(path, format!("pub fn f{at}() -> u32 {{\n    {at}\n}}\n").repeat(40))?;
    }
    noop::git(&repo, &["add", "-A"])?;
    noop::git(&repo, &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "files"])?;
    noop::git(&repo, &["gc", "-q"])?;
    let head = noop::git(&repo, &["rev-parse", "HEAD"])?;
    Ok((repo, head.trim().parse()?))
}

fn changes(store: &Store, base: Oid, identity: &Identity) -> anyhow::Result<Vec<Oid>> {
    let tree = store.tree_of(base)?;
    let mut commits = Vec::new();
    for at in 0..CHANGES {
        let file = at * 17 % 3_072;
        let path = format!("src/m{:02}/file{file:04}.rs", file % 96);
        let entry = store.entry(tree, &path)?.expect("made above");
        let mut text = store.blob(entry.oid)?;
        text.extend_from_slice(format!("// change {at}\n").as_bytes());
        let tree = store.write_files(Some(tree), &[(path, text)])?;
        let message = format!("change {at}");
        let commit = NewCommit { tree, parents: &[base], author: identity, seconds: 1, message: &message };
        commits.push(store.write_commit(&commit)?);
    }
    Ok(commits)
}

fn land(store: &Store, base: Oid, changes: &[Oid], identity: &Identity, round: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut tip = base;
    let name = format!("refs/longhaul/bench/{round}");
    for (at, batch) in changes.chunks(BATCH).enumerate() {
        let member = |(node, &commit): (usize, &Oid)| Member {
            node: NodeId::at(node),
            id: format!("n{node}"),
            base,
            commit,
            message: None,
        };
        let work = MergeJob {
            job: "bench".into(),
            identity: identity.clone(),
            seconds: (round * 1_000_000 + at) as i64,
            tip,
            members: batch.iter().enumerate().map(member).collect(),
        };
        let (_, merge) = merge_batch(store, &work)?;
        let merge = merge.expect("no conflicts");
        sync_objects(&store.path().join("objects"))?;
        let old = if at == 0 { Oid::ZERO } else { tip };
        store.move_reference(&name, old, merge.commit)?;
        sync_objects(&store.path().join("objects"))?;
        tip = merge.commit;
    }
    Ok(begun.elapsed())
}

fn cherry_pick(repo: &Path, base: Oid, changes: &[Oid], round: usize) -> anyhow::Result<Duration> {
    let tree = repo.parent().expect("a folder").join(format!("picks{round}"));
    Git::at(repo.join(".git")).run([
        "worktree",
        "add",
        "-q",
        "--detach",
        &tree.display().to_string(),
        &base.to_string(),
    ])?;
    let begun = Instant::now();
    for change in changes {
        noop::git(&tree, &["-c", "user.name=b", "-c", "user.email=b@b", "cherry-pick", &change.to_string()])?;
    }
    let took = begun.elapsed();
    std::fs::remove_dir_all(&tree)?;
    Git::at(repo.join(".git")).run(["worktree", "prune"])?;
    Ok(took)
}
