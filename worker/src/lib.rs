//! The worker: executes subtasks and gates in workspaces of its own.

pub mod agent;
pub mod commit;
pub mod config;
pub mod environment;
pub mod failure;
pub mod fix;
pub mod outbox;
pub mod paths;
pub mod process;
pub mod report;
pub mod session;
pub mod workspace;
