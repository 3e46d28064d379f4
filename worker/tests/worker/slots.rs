//! Slots: whatever was done to one, the next assignment finds exactly its base.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use longhaul_common::Oid;
use longhaul_proto::RepoEnv;
use longhaul_worker::workspace::{Pool, PoolLimits, Slot, SlotKind};

use crate::world::{World, command, git};

const FILES: &[(&str, &str)] =
    &[("a", "a\n"), ("dir/b", "b\n"), ("dir/sub/c", "c\n"), (".gitignore", "ignored\n"), ("run.sh", "x\n")];

/// Every path of a workspace but its `.git`, with its kind, mode and content.
fn content(root: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path == root.join(".git") {
                continue;
            }
            let meta = std::fs::symlink_metadata(&path).expect("there");
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let text = if meta.is_file() { std::fs::read_to_string(&path).expect("read") } else { String::new() };
            let mode = if meta.is_dir() { 0 } else { meta.permissions().mode() & 0o170_111 };
            found.insert(name, (mode, text));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

struct Bench {
    world: World,
    slot: Slot,
    base: Oid,
    clean: BTreeMap<String, (u32, String)>,
}

fn bench() -> Bench {
    let mut world = World::new(FILES);
    std::fs::set_permissions(world.user().join("run.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink("a", world.user().join("link")).expect("linked");
    let base = world.commit(&[]);
    let slot = Slot::try_open(&world.dir.path().join("slot")).expect("opened").expect("free");
    slot.move_to(base, &world.store(), &["cache/deep".to_owned()]).expect("moves");
    let clean = content(&slot.ws());
    assert_eq!(clean.len(), 8, "{clean:?}");
    Bench { world, slot, base, clean }
}

impl Bench {
    /// Does something to the workspace and moves it back.
    fn repairs(&self, line: &str) {
        let done =
            std::process::Command::new("sh").args(["-ec", line]).current_dir(self.slot.ws()).status().expect("runs");
        assert!(done.success(), "{line}");
        self.slot.move_to(self.base, &self.world.store(), &["cache/deep".to_owned()]).expect("moves");
        assert_eq!(content(&self.slot.ws()), self.clean, "after {line}");
        let status = git(&self.slot.ws(), &["status", "--porcelain", "--ignored"]);
        assert_eq!(status, "", "after {line}");
        assert_eq!(git(&self.slot.ws(), &["rev-parse", "HEAD"]), self.base.to_string());
    }
}

#[tokio::test]
async fn any_damage_is_repaired() {
    let bench = bench();
    let outside = bench.world.dir.path().join("outside");
    std::fs::create_dir(&outside).expect("made");
    std::fs::write(outside.join("b"), "precious").expect("written");
    let to_outside = format!("rm -rf dir; ln -s {} dir", outside.display());
    for line in [
        "rm a; rm -r dir",
        "echo changed > a; echo new > new; mkdir -p x/y; echo z > x/y/z; echo i > ignored; echo i > dir/ignored",
        // Same size, same time of change as before: only the time of the inode's change tells.
        "touch -r dir/b stamp; echo B > dir/b; touch -r stamp dir/b; rm stamp",
        "chmod -x run.sh; chmod 000 dir/b; chmod +x a",
        "rm a; mkdir a; echo x > a/x; rm -r dir; echo file > dir",
        &to_outside,
        "rm link; ln -s /etc/passwd link; rm a; ln -s link a",
        "rm -rf .git; git init -q inner; git -C inner -c user.name=x -c user.email=x commit -q --allow-empty -m x",
        "mkdir dir/.git; echo garbage > dir/.git/config; git init -q dir/sub",
        "rm -rf .git; echo garbage > .git",
        "rm -rf .git; ln -s /etc .git",
        "echo '[core]\n\tworktree = /etc\n\tfsmonitor = touch /tmp/pwned' > .git/config; echo '* filter=x' > .gitattributes",
        "git -c user.name=x -c user.email=x commit -qam x --allow-empty; git checkout -q -b other; git gc -q",
        "mkfifo fifo; mkfifo dir/fifo",
        "mkdir closed; echo x > closed/x; chmod 000 closed; chmod 000 dir/sub",
        "touch \"$(printf 'new\\nline\\377')\"; mkdir 'sp ace'; touch 'sp ace/-n'",
        "git mv a moved; rm -f .git/index; cp -r dir copy",
        "ln -s /nowhere cache",
        "echo file > cache",
    ] {
        bench.repairs(line);
    }
    assert_eq!(
        std::fs::read_to_string(outside.join("b")).expect("kept"),
        "precious",
        "nothing is written through a link"
    );
    assert_eq!(std::fs::read_dir(&outside).expect("listed").count(), 1);
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_slot_is_repaired() {
    let bench = bench();
    let git_dir = bench.slot.git_dir();
    std::fs::write(git_dir.join("index.lock"), "").expect("written");
    std::fs::write(git_dir.join("HEAD.lock"), "").expect("written");
    bench.repairs("true");
    std::fs::write(git_dir.join("index"), "garbage").expect("written");
    bench.repairs("echo x > a");
    std::fs::write(git_dir.join("config"), "[garbage").expect("written");
    std::fs::remove_file(git_dir.join("HEAD")).expect("removed");
    bench.repairs("echo x > a");
    std::fs::remove_dir_all(bench.slot.ws()).expect("removed");
    std::os::unix::fs::symlink("/tmp", bench.slot.ws()).expect("linked");
    bench.slot.move_to(bench.base, &bench.world.store(), &[]).expect("moves");
    assert_eq!(content(&bench.slot.ws()), bench.clean);
    std::fs::write(bench.slot.root().join("slot.json"), "garbage").expect("written");
    assert_eq!(bench.slot.record(), Default::default());
}

#[tokio::test]
async fn a_move_keeps_caches_and_what_did_not_change() {
    let mut bench = bench();
    let caches = ["cache/deep".to_owned()];
    let ws = bench.slot.ws();
    std::fs::create_dir_all(ws.join("cache/deep/x")).expect("made");
    std::fs::write(ws.join("cache/deep/x/y"), "kept").expect("written");
    std::fs::write(ws.join("cache/other"), "gone").expect("written");
    let time = |name: &str| std::fs::metadata(ws.join(name)).expect("there").modified().expect("has one");
    let before = time("a");
    let next = bench.world.commit(&[("dir/b", "b2\n"), ("new/d", "d\n")]);
    bench.slot.move_to(next, &bench.world.store(), &caches).expect("moves");
    assert_eq!(std::fs::read_to_string(ws.join("cache/deep/x/y")).expect("kept"), "kept");
    assert!(!ws.join("cache/other").exists());
    assert_eq!((std::fs::read_to_string(ws.join("dir/b")).expect("read").as_str(), time("a")), ("b2\n", before));
    let unknown = bench.slot.move_to(Oid([7; 20]), &bench.world.store(), &caches).expect_err("not in the store");
    assert!(unknown.to_string().contains("0707") && ws.join("cache/deep/x/y").exists(), "{unknown}");
    bench.slot.move_to(bench.base, &bench.world.store(), &caches).expect("moves back");
    assert!(!ws.join("new").exists() && ws.join("cache/deep/x/y").exists());
}

#[tokio::test]
async fn slots_are_locked_counted_and_emptied_oldest_first() {
    let world = World::new(FILES);
    let base = Oid::from_bytes(&world.repo.base).expect("an id");
    let root = world.dir.path().join("pool");
    let pool = Pool::new(&root, PoolLimits { slot_bytes_max: 1 });
    let (one, two) = (pool.acquire(SlotKind::Work, "r").expect("one"), pool.acquire(SlotKind::Work, "r").expect("two"));
    assert_ne!(one.root(), two.root());
    let gate = pool.acquire(SlotKind::Gate, "r").expect("a gate");
    assert!(gate.root().ends_with("gate-0"));
    for slot in [&one, &two] {
        slot.move_to(base, &world.store(), &[]).expect("moves");
    }
    pool.release(one).expect("released");
    assert!(!root.join("r/work-0/ws").exists(), "over the limit and idle");
    assert!(two.ws().join("a").exists(), "in use");
    let again = pool.acquire(SlotKind::Work, "r").expect("again");
    assert!(again.root().ends_with("work-0"));
}

#[tokio::test]
async fn gates_share_neither_slot_nor_cache_with_agents() {
    let mut world = World::new(&[("a", "1\n")]);
    world.repo.env = Some(RepoEnv { cache: vec!["cache".into()], ..RepoEnv::default() });
    world.patch(vec![command("mkdir -p cache; echo poison > cache/x; echo 2 > a")]).await;
    assert!(world.slot("work-0").join("ws/cache/x").exists());
    let run = Some(crate::world::sh("test ! -e cache && mkdir cache && test $(cat a) = 1"));
    let result = world.gate(longhaul_proto::Gate { run, ..Default::default() }).await;
    assert_eq!(result.verdict(), longhaul_proto::Verdict::Green, "{result:?}");
    assert!(world.slot("gate-0").join("ws/cache").exists());
}

/// The cost of a move, beside `git worktree add`: run with `--run-ignored only --no-capture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_a_move() {
    let files: Vec<(String, String)> = (0..3_072)
        .map(|n| (format!("crates/c{}/src/m{}/file{n}.rs", n % 24, n % 12), format!("fn f{n}() {{}}\n").repeat(120)))
        .collect();
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut world = World::new(&borrowed);
    let one = world.pin();
    let changed: Vec<(&str, &str)> =
        borrowed.iter().step_by(300).map(|(path, _)| (*path, "fn changed() {}\n")).collect();
    let two = world.commit(&changed);
    let slot = Slot::try_open(&world.dir.path().join("slot")).expect("opened").expect("free");
    let store = world.store();
    let started = Instant::now();
    slot.move_to(one, &store, &[]).expect("moves");
    println!("first move: {:?}", started.elapsed());
    // Git tells times apart by seconds: until the index is a second younger than the files, it reads
    // them all again. A warm slot is past that.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    slot.move_to(two, &store, &[]).expect("moves");
    let mut times = Vec::new();
    for round in 0..21 {
        std::fs::write(slot.ws().join(&files[round * 7].0), "agent\n").expect("written");
        std::fs::write(slot.ws().join(format!("dropping{round}")), "agent\n").expect("written");
        let started = Instant::now();
        slot.move_to(if round % 2 == 0 { one } else { two }, &store, &[]).expect("moves");
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "move over {} changed files: median {:?}, best {:?}, worst {:?}",
        changed.len() + 1,
        times[10],
        times[0],
        times[20]
    );
    let mut adds = Vec::new();
    for round in 0..5 {
        let started = Instant::now();
        git(&world.user(), &["worktree", "add", "-q", "--detach", &format!("../tree{round}"), &one.to_string()]);
        adds.push(started.elapsed());
    }
    adds.sort();
    println!(
        "git worktree add: median {:?}, best {:?}; a move is {:.1} %",
        adds[2],
        adds[0],
        100.0 * times[10].as_secs_f64() / adds[2].as_secs_f64()
    );
}
