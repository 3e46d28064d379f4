//! Many short jobs, a seed each.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::setting::Setting;
use crate::world::World;

/// Seeds of one test; four of them run side by side.
const SEEDS: u64 = 250;

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The seeds of the `part`-th test, or the one that was asked for.
fn seeds(part: u64) -> Range<u64> {
    let count = number("LONGHAUL_SEEDS").map_or(SEEDS, |all| all.div_ceil(4));
    match number("LONGHAUL_SEED") {
        Some(seed) => seed..seed + 1,
        None => part * count..(part + 1) * count,
    }
}

fn every_seed_ends_right(part: u64, test: &'static str) {
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut landed, mut records, mut messages, mut answers) = (0, 0, (0, 0), (0, 0));
    for seed in seeds(part) {
        let world = World::run(Setting::small(seed, test));
        landed += world.state().counts().landed;
        records += world.state().seq();
        answers = (answers.0 + world.person.answers, answers.1 + world.person.told);
        messages = (messages.0 + world.network.lost, messages.1 + world.network.doubled);
        for (what, count) in &world.faults {
            *faults.entry(what).or_default() += count;
        }
    }
    println!(
        "{landed} landed in {records} records; {messages:?} messages lost and doubled; {answers:?} answers and agents that waited for \
         one; {faults:?}"
    );
    assert!(landed > 0 && answers.0 > 0 && answers.1 > 0 && !faults.is_empty(), "the simulation must do something");
}

#[test]
fn ends_right_first() {
    every_seed_ends_right(0, "seeds::ends_right_first");
}

#[test]
fn ends_right_second() {
    every_seed_ends_right(1, "seeds::ends_right_second");
}

#[test]
fn ends_right_third() {
    every_seed_ends_right(2, "seeds::ends_right_third");
}

#[test]
fn ends_right_fourth() {
    every_seed_ends_right(3, "seeds::ends_right_fourth");
}

#[test]
fn the_same_seed_gives_the_same_journal() {
    let hash = |seed| {
        let world = World::run(Setting::small(seed, "seeds::the_same_seed_gives_the_same_journal"));
        world.coordinator.disk().hash()
    };
    let hashes: Vec<_> = seeds(0).take(20).map(|seed| (seed, hash(seed))).collect();
    for (seed, first) in &hashes {
        assert_eq!(hash(*seed), *first, "seed {seed} ran differently the second time");
    }
    let different: std::collections::BTreeSet<_> = hashes.iter().map(|(_, hash)| hash.as_bytes()).collect();
    assert_eq!(different.len(), hashes.len(), "different seeds, different journals");
}

#[test]
fn without_faults_everything_lands_at_the_first_try() {
    for seed in seeds(0).take(60) {
        let world = World::run(Setting::quiet(seed, "seeds::without_faults_everything_lands_at_the_first_try"));
        let (state, counts) = (world.state(), world.state().counts());
        assert_eq!(counts.landed, counts.total, "seed {seed}: {counts:?}");
        assert_eq!(state.retries(), 0, "seed {seed}");
        assert_eq!(state.spend.attempts, u64::from(counts.total), "seed {seed}: every subtask ran once");
    }
}
