//! SIGKILL of the real binary at seeded moments, until the job is done; then nothing may be lost,
//! repeated or left behind.

use std::io::{BufRead as _, BufReader};

use longhaul_tests::{World, leftovers};

use crate::job::greeting;

/// Kills in all, over as many jobs as it takes.
const KILLS: u32 = 50;

/// Subtasks of one job.
const SUBTASKS: usize = 40;

/// The next moment: a number of events after which the process is killed (SplitMix64).
fn moment(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (z ^ (z >> 27)) % 34
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let mut kills = 0;
    let mut jobs = 0_u32;
    while kills < KILLS {
        kills += run_one(u64::from(jobs) * 1_000);
        jobs += 1;
    }
    println!("{kills} kills over {jobs} jobs of {SUBTASKS} subtasks");
}

fn run_one(seed: u64) -> u32 {
    let world = greeting(SUBTASKS);
    let head = world.git(&["rev-parse", "HEAD"]);
    let mut kills = 0;
    while !run_and_kill(&world, moment(seed + u64::from(kills))) {
        kills += 1;
        let left = leftovers::wait_for_none(&world);
        assert!(left.is_empty(), "seed {seed}, kill {kills}: survivors {left:?}");
        assert!(kills < 400, "seed {seed}: no end");
    }
    check(&world, seed, &head);
    kills
}

/// Runs until `events` events were printed, then kills; true when it ended by itself.
fn run_and_kill(world: &World, events: u64) -> bool {
    let mut child = world.start(&["run", "--json"]);
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = stdout.lines();
    for _ in 0..=events {
        if lines.next().is_none() {
            let out = child.wait_with_output().expect("ended");
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.success(), "{:?}\n{said}", out.status);
            return true;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    false
}

fn check(world: &World, seed: u64, head: &str) {
    let branch = world.branch();
    for n in 0..SUBTASKS {
        let text = world.on_branch(&branch, &format!("src/f{n:02}.txt"));
        assert_eq!(text, format!("goodbye {n}\nkeep this line"), "seed {seed}");
    }
    // Each subtask landed once, on a chain of gated merges.
    let log =
        world.git(&["log", "--format=%(trailers:key=Subtask-Id,valueonly,separator=%x2C)", &format!("main..{branch}")]);
    let mut landed: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let total = landed.len();
    landed.sort_unstable();
    landed.dedup();
    assert_eq!((landed.len(), total), (SUBTASKS, SUBTASKS), "seed {seed}: landed once each");
    let verified = world.expect(0, &["verify"]);
    assert!(verified.stdout.contains(&format!("{SUBTASKS} subtasks proven landed, 0 findings")), "{}", verified.stdout);
    assert_eq!(world.git(&["rev-parse", "HEAD"]), head, "the user's checkout moved");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the user's checkout was touched");
    let left = leftovers::of_finished(world);
    assert!(left.is_empty(), "seed {seed}: left behind {left:?}");
}
