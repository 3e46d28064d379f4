//! The worker with real git, real processes and the bus of one process.

mod delivery;
mod gates;
mod hostile;
mod ladder;
mod processes;
mod slots;
mod world;
