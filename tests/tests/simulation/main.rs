//! The whole system under one seed and virtual time: the real engine, core and checkpoint code over
//! a disk that forgets, workers driven by their own pure machines, a bus that loses, doubles and
//! reorders, clocks that jump, processes that die at any step. No threads, no clock, no IO.
//!
//! A failing seed prints itself, its last steps and the command that replays it: `LONGHAUL_SEED=n`
//! runs one seed, `LONGHAUL_SEEDS=n` runs more of them.

mod check;
mod commands;
mod coordinator;
mod disk;
mod faults;
mod fleet;
mod happening;
mod model;
mod network;
mod person;
mod seeds;
mod setting;
mod trace;
mod week;
mod worker;
mod world;
