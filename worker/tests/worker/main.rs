//! The worker with real git, real processes and the bus of one process.

mod delivery;
mod fleet;
mod gates;
mod hostile;
mod ladder;
mod mirrors;
mod processes;
mod service;
mod slots;
mod talk;
mod uplink;
mod wip;
mod world;
