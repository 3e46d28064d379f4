//! What both sides of the wire need, and nothing else.
//!
//! Coordinator and worker never import each other; whatever they share is here: identifiers, the
//! job file, the bus, the one wrapper around git, where files live, whether a disk is
//! full, and how tokens are counted.

pub mod bus;
pub mod command;
pub mod coverage;
pub mod git;
pub mod hosts;
pub mod id;
pub mod layout;
pub mod log_file;
pub mod model_policy;
pub mod notify;
pub mod patch;
pub mod price;
pub mod question;
pub mod room;
pub mod server;
pub mod sign;
pub mod spec;
pub mod text;
pub mod tls;
pub mod tokens;
pub mod weakened;

pub use id::{AttemptId, BatchId, GateId, JobId, NodeId, Oid, ParkId, WorkerName};
