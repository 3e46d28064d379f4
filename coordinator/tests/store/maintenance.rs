//! Consolidation: everything stays, whatever goes on beside it.

use std::sync::atomic::{AtomicBool, Ordering};

use longhaul_common::git::{Git, Store};
use longhaul_coordinator::repos::{StoreLock, maintain};

use crate::world::{World, names, random};

/// Attempts written straight into the store, as loose objects.
fn loose_attempts(world: &World, count: u64) -> Vec<longhaul_common::Oid> {
    let store = Store::open_own(&world.store).expect("a store");
    let base = store.tree_of(world.base).expect("a tree");
    let author = longhaul_common::git::Identity { name: "A".to_owned(), email: "a@b.c".to_owned() };
    let attempt = |number: u64| {
        let files = [(format!("f{number}"), random(number, 40))];
        let tree = store.write_files(Some(base), &files).expect("a tree");
        let new =
            longhaul_common::git::NewCommit { tree, parents: &[world.base], author: &author, seconds: 1, message: "m" };
        store.write_commit(&new).expect("a commit")
    };
    (0..count).map(attempt).collect()
}

fn packs(world: &World) -> usize {
    names(&world.store.join("objects/pack")).iter().filter(|name| name.ends_with(".pack")).count()
}

fn loose(world: &World) -> String {
    Git::at(&world.store).line(["count-objects"]).expect("counted")
}

#[test]
fn loose_objects_of_attempts_nobody_names_become_one_pack_and_stay() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let before = Store::open_own(&world.store).expect("a store");
    let attempts = loose_attempts(&world, 400);
    before.tree_of(attempts[0]).expect("readable before");
    let report = maintain(&world.store).expect("maintained");
    assert!(!report.busy && !report.gave_way, "{report:?}");
    assert!(report.written >= 1_200, "{report:?}");
    assert_eq!((packs(&world), loose(&world).starts_with("0 objects")), (1, true), "{report:?}");
    for &attempt in &attempts {
        before.tree_of(attempt).expect("readable by a handle that is older than the pack");
    }
    assert!(world.all_whole(&attempts));
    assert!(names(&world.store.join("objects/pack")).iter().any(|name| name == "multi-pack-index"));
    world.fsck();
    // Nothing to do is nothing done.
    assert_eq!(maintain(&world.store).expect("maintained").written, 0);
    // A second round joins by size and an old handle follows it.
    let more = loose_attempts(&world, 1_200);
    before.tree_of(more[1_199]).expect("readable before");
    assert!(maintain(&world.store).expect("maintained").joined >= 1);
    for attempt in attempts.iter().chain(&more) {
        before.tree_of(*attempt).expect("still readable");
    }
    world.fsck();
}

#[test]
fn imports_go_on_beside_it_and_nothing_of_theirs_is_lost() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let old = loose_attempts(&world, 500);
    let coming: Vec<_> = (1_000..1_030).map(|number| world.attempt(number, &[("x", &random(number, 60))])).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, attempt) in coming.iter().enumerate() {
                world.import(number as u64, attempt).expect("imported");
            }
            done.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while !done.load(Ordering::Acquire) || rounds == 0 {
            maintain(&world.store).expect("maintained");
            rounds += 1;
        }
    });
    assert!(world.all_whole(&old));
    assert!(world.all_whole(&coming.iter().map(|attempt| attempt.commit).collect::<Vec<_>>()));
    world.fsck();
}

#[test]
fn an_import_that_does_not_end_makes_it_give_way_and_a_second_one_is_not_started() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let attempts = loose_attempts(&world, 400);
    let importing = StoreLock::shared(&world.store).expect("locked");
    let report = maintain(&world.store).expect("it gives way");
    assert!(report.gave_way && report.joined == 0, "{report:?}");
    assert!(!loose(&world).starts_with("0 objects"), "nothing went while an import was under way");
    drop(importing);
    let other = StoreLock::maintenance(&world.store).expect("locked").expect("free");
    assert!(maintain(&world.store).expect("refused").busy);
    drop(other);
    maintain(&world.store).expect("maintained");
    maintain(&world.store).expect("maintained");
    assert!(world.all_whole(&attempts));
    world.fsck();
}

#[test]
fn what_a_kill_leaves_between_any_two_steps_is_harmless() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let attempts = loose_attempts(&world, 400);
    let pack = world.store.join("objects/pack");
    // Killed while writing: a temporary file. After the pack, before its index. After removing
    // an index, before its pack. After the new pack, before the old objects went.
    std::fs::write(pack.join("tmp_pack_abc"), b"half").expect("written");
    std::fs::write(pack.join("pack-0123.pack"), b"no index").expect("written");
    let doubled = Git::at(&world.store).run(["repack", "-a", "-d", "--keep-unreachable", "--quiet"]);
    doubled.expect("a pack beside the loose objects");
    let more = loose_attempts(&world, 800);
    maintain(&world.store).expect("maintained");
    assert!(world.all_whole(&attempts) && world.all_whole(&more));
    // A young one may have a living writer; an old one has none and goes.
    assert!(pack.join("tmp_pack_abc").exists());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    for name in ["tmp_pack_abc", "pack-0123.pack"] {
        let file = std::fs::File::options().write(true).open(pack.join(name)).expect("there");
        file.set_modified(long_ago).expect("set");
    }
    loose_attempts(&world, 1_300);
    maintain(&world.store).expect("maintained");
    assert!(!pack.join("tmp_pack_abc").exists() && !pack.join("pack-0123.pack").exists());
    world.fsck();
}
