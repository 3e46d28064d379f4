//! Agent programs and their models: the scripted model in every format and failure, and real
//! programs against it without a network.

mod bounds;
mod codex;
mod compaction;
mod example;
mod gateway;
mod limit;
mod model;
mod model_job;
mod permissions;
mod programs;
mod questions;
mod repository;
mod rig;
mod sent;
mod served;
mod steering;
mod stops;
mod telemetry;
mod traces;
mod turns;
mod wires;
