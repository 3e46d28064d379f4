//! What comes in, and what does not.

use std::process::Command;

use longhaul_common::Oid;
use longhaul_coordinator::repos::UNPACK_OBJECTS_MAX;

use crate::world::{World, names, random};

fn quarantines(world: &World) -> usize {
    names(&world.store.join("objects")).iter().filter(|name| name.starts_with("incoming-")).count()
}

#[test]
fn few_objects_become_loose_and_many_stay_a_pack() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let small = world.attempt(1, &[("one.txt", b"one\n")]);
    world.import(1, &small).expect("imported");
    let before = names(&world.store.join("objects/pack"));
    let contents: Vec<_> = (0..u64::from(UNPACK_OBJECTS_MAX)).map(|at| (format!("f{at}"), random(at, 50))).collect();
    let files: Vec<_> = contents.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    let large = world.attempt(2, &files);
    world.import(2, &large).expect("imported");
    let after = names(&world.store.join("objects/pack"));
    let new: Vec<_> = after.iter().filter(|name| !before.contains(name)).collect();
    assert!(new.iter().any(|name| name.ends_with(".idx")) && new.iter().any(|name| name.ends_with(".pack")), "{new:?}");
    assert!(!new.iter().any(|name| name.ends_with(".keep")), "{new:?}");
    for attempt in [&small, &large] {
        assert!(world.whole(attempt.commit));
        world.import(3, attempt).expect("a repeat is harmless");
    }
    world.fsck();
    assert_eq!(quarantines(&world), 0);
}

/// Writes a tree with one entry of any name, past every check of git's own commands.
fn tree_with(world: &World, name: &str) -> Oid {
    let blob = world.worker.run_with_input(["hash-object", "-w", "--stdin"], b"evil\n").expect("a blob");
    let blob = String::from_utf8_lossy(&blob).trim().to_owned();
    let bytes: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&blob[2 * at..2 * at + 2], 16).expect("hex")).collect();
    let mut tree = format!("100644 {name}\0").into_bytes();
    tree.extend(bytes);
    let args = ["hash-object", "-w", "--literally", "--stdin", "-t", "tree"];
    let tree = world.worker.run_with_input(args, &tree).expect("a tree");
    String::from_utf8_lossy(&tree).trim().parse().expect("an id")
}

#[test]
fn trees_that_name_git_s_own_folder_or_a_way_out_are_refused() {
    let world = World::new(&[("base.txt", b"base\n")]);
    for (number, name) in [".git", "..", ".", ".GIT", "git~1", ".g\u{200c}it", "a/b"].into_iter().enumerate() {
        let tree = tree_with(&world, name);
        let mut command = Command::new("git");
        command.env("GIT_DIR", world.worker.git_dir()).args(["commit-tree", "-m", "m", "-p"]);
        command.args([world.base.to_string(), tree.to_string()]);
        for (key, value) in [("NAME", "A"), ("EMAIL", "a@b.c"), ("DATE", "@1 +0000")] {
            command.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        let commit = command.output().expect("git runs").stdout;
        let commit: Oid = String::from_utf8_lossy(&commit).trim().parse().expect("a commit");
        let attempt = world.packed(commit, number as u64);
        let error = world.import(number as u64, &attempt).expect_err(name);
        assert!(error.blames_result(), "{name:?}: {error}");
        assert!(!world.has(commit), "{name:?}");
    }
    assert_eq!(quarantines(&world), 0);
}

#[test]
fn a_pack_that_swells_stays_small_on_disk() {
    let large = random(0, 20 << 20);
    let world = World::new(&[("base.txt", b"base\n"), ("large.bin", &large)]);
    let before = walk(&world.store.join("objects"));
    // 64 MiB of zeros in 64 KiB: streamed, and small again as a loose object.
    let zeros = vec![0; 64 << 20];
    let bomb = world.attempt(1, &[("zeros", &zeros)]);
    assert!(std::fs::metadata(&bomb.pack).expect("a pack").len() < 1 << 20);
    world.import(1, &bomb).expect("streamed");
    // A difference of some bytes that would be 20 MiB as a loose object: it stays packed, with
    // its base beside it as `--fix-thin` wants it.
    let changed = [large.as_slice(), b"one more line"].concat();
    let delta = world.attempt(2, &[("large.bin", &changed)]);
    assert!(std::fs::metadata(&delta.pack).expect("a pack").len() < 1 << 20);
    let packs = names(&world.store.join("objects/pack")).len();
    world.import(2, &delta).expect("kept packed");
    assert!(names(&world.store.join("objects/pack")).len() > packs);
    assert!(world.whole(bomb.commit) && world.whole(delta.commit));
    let grown = walk(&world.store.join("objects")) - before;
    assert!(grown < 22 << 20, "{grown} bytes");
}

fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type().expect("a type").is_dir() {
            true => walk(&entry.path()),
            false => entry.metadata().expect("there").len(),
        })
        .sum()
}

#[test]
fn damaged_foreign_and_incomplete_packs_leave_nothing() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let good = world.attempt(1, &[("one.txt", &random(1, 5_000))]);
    let bytes = std::fs::read(&good.pack).expect("a pack");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (what, damaged) in [("flipped", flipped), ("cut", bytes[..middle].to_vec()), ("none", Vec::new())] {
        std::fs::write(&good.pack, damaged).expect("written");
        let error = world.import(1, &good).expect_err(what);
        assert!(error.blames_result(), "{what}: {error}");
        assert!(!world.has(good.commit), "{what}");
    }
    std::fs::write(&good.pack, &bytes).expect("written");
    // Another tree than the report's, another commit than the pack's: nothing of it comes in.
    let other = world.attempt(2, &[("two.txt", b"two\n")]);
    let lied = crate::world::Attempt { commit: good.commit, tree: other.tree, pack: good.pack.clone() };
    assert!(world.import(1, &lied).expect_err("another tree").blames_result());
    assert!(!world.has(good.commit));
    let lied = crate::world::Attempt { commit: good.commit, tree: good.tree, pack: other.pack };
    assert!(world.import(1, &lied).expect_err("another pack").blames_result());
    world.import(1, &good).expect("the true one");
    assert!(world.whole(good.commit));
    assert_eq!(quarantines(&world), 0);
}
