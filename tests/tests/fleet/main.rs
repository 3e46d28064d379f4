//! A fleet of real processes on loopback, as its users and its keepers meet it: the verbs with a
//! server, workers that come, go and die, servers that are missing or wrong, disks that are full.
//! Needs nats-server; where it is missing the tests say so and pass, except under CI.

mod codex;
mod comings;
mod disk;
mod job;
mod names;
mod rig;
mod same;
mod verbs;
mod wip;
