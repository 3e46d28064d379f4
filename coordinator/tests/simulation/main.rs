//! Seeded simulation of core, store, worker and landing, with crashes between any two steps.
//!
//! No threads, no clock, no disk: everything is decided by one seed, which is printed when a check
//! fails. `SEEDS=N` runs more, `SEED=n` runs one.

mod model;
mod random;
mod store;
mod world;

use world::World;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(600),
    }
}

#[test]
fn every_seed_ends_right_whatever_crashes() {
    let mut landed = 0;
    let mut crashes = 0;
    for seed in seeds() {
        let world = World::run(seed, true);
        landed += world.landed();
        crashes += world.crashes;
    }
    println!("{} seeds, {crashes} crashes, {landed} subtasks landed", seeds().count());
    assert!(landed > 0 && crashes > 0, "the simulation must do something");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in seeds().take(40) {
        assert_eq!(World::run(seed, true).event_hash(), World::run(seed, true).event_hash(), "seed {seed}");
    }
}

#[test]
fn replaying_the_journal_gives_the_same_state() {
    for seed in seeds().take(100) {
        let world = World::run(seed, true);
        assert_eq!(world.replayed().hash(), world.state().hash(), "seed {seed}");
    }
}

#[test]
fn without_faults_every_sound_subtask_lands_without_a_retry() {
    for seed in seeds().take(100) {
        let world = World::run(seed, false);
        world.assert_all_done(seed);
    }
}
