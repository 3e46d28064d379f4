//! Pruning: what only forgotten attempts need goes, and nothing else.

use longhaul_common::Oid;
use longhaul_common::git::Git;
use longhaul_coordinator::repos::{Prune, StoreLock, maintain, prune};

use crate::world::{Attempt, World, random};

fn blob(world: &World, commit: Oid, path: &str) -> Oid {
    Git::at(&world.store).oid(["rev-parse", &format!("{commit}:{path}")]).expect("a blob")
}

/// A base with a history, a landed attempt, a live one and two forgotten ones that share with it.
fn world() -> (World, Attempt, Attempt, [Attempt; 2]) {
    let world = World::new(&[("base.txt", b"base\n"), ("deep/old.txt", b"old\n")]);
    let landed = world.attempt(1, &[("landed.txt", b"landed\n")]);
    let live = world.attempt(2, &[("shared.txt", b"shared\n"), ("live.txt", &random(2, 500))]);
    let gone = world.attempt(3, &[("shared.txt", b"shared\n"), ("gone.txt", &random(3, 500))]);
    let many: Vec<_> = (0..150).map(|at| (format!("n{at}"), random(at, 50))).collect();
    let mut files: Vec<_> = many.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    files.push(("copy.txt", b"landed\n"));
    let packed = world.attempt(4, &files);
    for (number, attempt) in [&landed, &live, &gone, &packed].into_iter().enumerate() {
        world.import(number as u64, attempt).expect("imported");
    }
    let git = Git::at(&world.store);
    git.run(["update-ref", "refs/longhaul/one/integration-1", &landed.commit.to_string()]).expect("a ref");
    (world, landed, live, [gone, packed])
}

#[test]
fn forgotten_attempts_go_and_what_others_need_stays() {
    for consolidated in [false, true] {
        let (world, landed, live, gone) = world();
        if consolidated {
            Git::at(&world.store).run(["repack", "-a", "-d", "--keep-unreachable", "--quiet"]).expect("one pack");
        }
        let alone: Vec<_> = [(&gone[0], "gone.txt"), (&gone[1], "n7")]
            .map(|(attempt, path)| [attempt.commit, attempt.tree, blob(&world, attempt.commit, path)])
            .concat();
        let shared = [blob(&world, gone[0].commit, "shared.txt"), blob(&world, gone[1].commit, "copy.txt")];
        world.forget_recent();
        let attempts = [gone[0].commit, gone[1].commit, landed.commit];
        let keep = || vec![live.commit];
        let report = prune(&world.store, &Prune { attempts: &attempts, keep: &keep }).expect("pruned");
        assert!(!report.gave_way && report.objects >= 155, "{report:?}");
        assert!(alone.iter().all(|&oid| !world.has(oid)), "{consolidated}");
        assert!(shared.iter().all(|&oid| world.has(oid)), "{consolidated}");
        assert!(world.whole(live.commit) && world.whole(landed.commit) && world.whole(world.base));
        let refs = Git::at(&world.store).line(["for-each-ref", "--format=%(refname)"]).expect("refs");
        assert_eq!(refs, "refs/longhaul/one/base\nrefs/longhaul/one/integration-1");
        world.fsck();
        let again = prune(&world.store, &Prune { attempts: &attempts, keep: &keep }).expect("a repeat");
        assert_eq!(again.objects, 0);
    }
}

#[test]
fn what_came_in_lately_stays_though_no_journal_names_it_yet() {
    let (world, _, live, gone) = world();
    world.forget_recent();
    // A retry with the same file: git does not write what is there already.
    let retry = world.attempt(9, &[("gone.txt", &random(3, 500))]);
    world.import(9, &retry).expect("imported");
    let keep = || vec![live.commit];
    prune(&world.store, &Prune { attempts: &[gone[0].commit], keep: &keep }).expect("pruned");
    assert!(!world.has(gone[0].commit));
    assert!(world.whole(retry.commit));
}

#[test]
fn a_result_that_comes_while_it_decides_makes_it_give_way() {
    let (world, _, live, gone) = world();
    world.forget_recent();
    let retry = world.attempt(9, &[("gone.txt", &random(3, 500))]);
    let asked = std::cell::Cell::new(0);
    let keep = || {
        // Imported after the roots were read the first time; named by nobody.
        asked.set(asked.get() + 1);
        vec![live.commit]
    };
    let late = || {
        let roots = keep();
        if asked.get() == 2 {
            world.forget_recent();
            return vec![live.commit, gone[0].commit];
        }
        roots
    };
    let report = prune(&world.store, &Prune { attempts: &[gone[0].commit], keep: &late }).expect("it gives way");
    assert!(report.gave_way && report.objects == 0, "{report:?}");
    assert!(world.whole(gone[0].commit));
    let importing = StoreLock::shared(&world.store).expect("locked");
    let report = prune(&world.store, &Prune { attempts: &[gone[0].commit], keep: &|| vec![live.commit] });
    assert!(report.expect("it gives way").gave_way);
    drop(importing);
    world.import(9, &retry).expect("imported");
    assert!(world.whole(retry.commit));
}

#[test]
fn cut_short_it_leaves_a_sound_store_and_the_next_one_ends_it() {
    let (world, landed, live, gone) = world();
    world.forget_recent();
    // Killed among the loose objects: what a commit needs went first.
    let blob = blob(&world, gone[0].commit, "gone.txt").to_string();
    std::fs::remove_file(world.store.join("objects").join(&blob[..2]).join(&blob[2..])).expect("loose");
    world.fsck();
    let keep = || vec![live.commit];
    let attempts = [gone[0].commit, gone[1].commit];
    prune(&world.store, &Prune { attempts: &attempts, keep: &keep }).expect("pruned");
    assert!(!world.has(gone[0].commit) && !world.has(gone[0].tree));
    maintain(&world.store).expect("maintained");
    assert!(world.whole(live.commit) && world.whole(landed.commit));
    world.fsck();
}
