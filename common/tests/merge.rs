//! Tree merges against git's own, over changes made at random: modified, added, deleted, moved
//! files, files that become folders, edits close to each other.

use std::path::Path;
use std::process::Command;

use longhaul_common::Oid;
use longhaul_common::git::{MergeOutcome, Store, VERSION_MIN, version};

fn git(repo: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(args)
        .output()
        .expect("git");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn commit(repo: &Path) -> Oid {
    git(repo, &["add", "-A"]);
    git(repo, &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(repo, &["rev-parse", "HEAD"]).1.parse().expect("an id")
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

fn change(repo: &Path, random: &mut Random) {
    let file = repo.join(format!("d{}/f{}", random.below(3), random.below(4)));
    match random.below(6) {
        0 | 1 => {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let at = random.below(lines.len() as u64 + 1) as usize;
            lines.insert(at, format!("line {}", random.below(1_000)));
            let _is_a_folder = std::fs::write(&file, lines.join("\n") + "\n");
        }
        2 => {
            let _gone_already = std::fs::remove_file(&file);
        }
        3 => {
            let folder = repo.join(format!("n{}", random.below(2)));
            let _there = std::fs::create_dir_all(&folder);
            let _is_a_folder =
                std::fs::write(folder.join(format!("f{}", random.below(3))), format!("{}\n", random.below(3)));
        }
        4 => {
            let _gone = std::fs::rename(&file, repo.join(format!("moved{}", random.below(3))));
        }
        _ => {
            // A file becomes a folder.
            if std::fs::remove_file(&file).is_ok() {
                std::fs::create_dir_all(&file).expect("made");
                std::fs::write(file.join("inner"), "inner\n").expect("written");
            }
        }
    }
}

#[test]
fn merges_are_gits_own() {
    assert!(version().expect("git") >= VERSION_MIN, "this machine's git is older than the oldest that is supported");
    let folder = tempfile::tempdir().expect("a folder");
    let repo = folder.path();
    git(repo, &["init", "-q", "-b", "main"]);
    for at in 0..12 {
        let path = repo.join(format!("d{}/f{}", at % 3, at / 3));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let text: String = (0..30).map(|line| format!("{at} {line}\n")).collect();
        std::fs::write(path, text).expect("written");
    }
    let base = commit(repo);
    let store = Store::open(repo).expect("opens");
    let (mut clean, mut conflicts) = (0, 0);
    for seed in 0..120 {
        let mut random = Random(seed);
        let mut side = |changes: u64| {
            git(repo, &["reset", "-q", "--hard", &base.to_string()]);
            git(repo, &["clean", "-qfd"]);
            (0..changes).for_each(|_| change(repo, &mut random));
            commit(repo)
        };
        let (ours, theirs) = (side(1 + seed % 3), side(1 + seed % 2));
        let merge_base = format!("--merge-base={base}");
        let (fine, said) =
            git(repo, &["merge-tree", "--write-tree", &merge_base, &ours.to_string(), &theirs.to_string()]);
        let tree = |commit| store.tree_of(commit).expect("a tree");
        let found = store.merge_trees(tree(base), tree(ours), tree(theirs)).expect("merges");
        match found {
            MergeOutcome::Clean(merged) => {
                assert!(fine, "seed {seed}: git sees a conflict: {said}");
                assert_eq!(merged.to_string(), said, "seed {seed}");
                clean += 1;
            }
            MergeOutcome::Conflicts(paths) => {
                assert!(!fine, "seed {seed}: git merges cleanly, we see {paths:?}");
                conflicts += 1;
            }
        }
    }
    println!("{clean} clean, {conflicts} conflicts, all as git says");
    assert!(clean > 40 && conflicts > 3, "{clean} clean, {conflicts} conflicts");
}
