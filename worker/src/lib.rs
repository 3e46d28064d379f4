//! The worker: executes subtasks and gates in workspaces of its own.
//!
//! It takes assignments from the bus, brings a warm slot to the base, runs the ladder of agents,
//! builds the patch from outside, checks it, and keeps the result in its outbox until the
//! coordinator has made it durable. It never trusts what an agent left in a workspace, and no
//! process outlives its assignment.

mod agent;
mod asking;
mod backoff;
mod books;
mod carry;
mod commit;
mod config;
mod coverage;
pub mod credential;
mod environment;
mod execute;
mod execution;
mod failure;
mod fix;
mod gate;
pub mod gateway;
mod inbox;
pub mod introduce;
mod job_files;
mod live;
mod mirror;
mod otel;
mod outbox;
mod paths;
pub mod process;
mod report;
mod room;
pub mod sandbox;
pub mod service;
mod services;
pub mod session;
mod share;
mod sources;
mod standstill;
mod trace;
pub mod uplink;
mod wip;
mod worker;
pub mod workspace;

pub use agent::{model, stuck};
pub use config::{Delivery, DiskLimits, Held, ResultSink, Scope, Shutdown, SinkError, WorkerConfig, WorkerError};
pub use execution::RIPGREP;
pub use inbox::run;
pub use live::{Live, Request, Told};
pub use otel::{Telemetry, TelemetryError};
pub use process::shim_main;
pub use share::{MILLIS_PER_CPU, Weight, Weights};
