//! The worker: executes subtasks and gates in workspaces of its own.
//!
//! It takes assignments from the bus, brings a warm slot to the base, runs the ladder of agents,
//! builds the patch from outside, checks it, and keeps the result in its outbox until the
//! coordinator has made it durable. It never trusts what an agent left in a workspace, and no
//! process outlives its assignment.

mod agent;
mod carry;
mod commit;
mod config;
mod environment;
mod execute;
mod execution;
mod failure;
mod fix;
mod gate;
mod inbox;
mod outbox;
mod paths;
pub mod process;
mod report;
mod services;
pub mod session;
pub mod workspace;

pub use config::{Delivery, ResultSink, SinkError, WorkerConfig, WorkerError};
pub use inbox::run;
pub use process::shim_main;
