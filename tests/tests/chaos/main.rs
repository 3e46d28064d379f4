//! Chaos in the normal run: a few seeds of a small job; `make chaos` runs any number of a large one.

use longhaul_tests::chaos::{RoundSpec, round};
use longhaul_tests::nats::NatsServer;

/// Seeds of one test; several tests share the work, so that they run side by side.
const SEEDS: u64 = 5;

#[track_caller]
fn seeds(first: u64) {
    if NatsServer::is_missing() {
        return;
    }
    for seed in first..first + SEEDS {
        match round(RoundSpec { seed, subtasks: 30, faults: 20, workers: 4 }) {
            Ok(outcome) => {
                println!("seed {seed}: {} faults, {:?} in {:?}", outcome.log.len(), outcome.proven, outcome.took)
            }
            Err(error) => panic!("{error:#}"),
        }
    }
}

#[test]
fn chaos_seeds_0_to_4() {
    seeds(0);
}

#[test]
fn chaos_seeds_5_to_9() {
    seeds(5);
}

#[test]
fn chaos_seeds_10_to_14() {
    seeds(10);
}

#[test]
fn chaos_seeds_15_to_19() {
    seeds(15);
}
