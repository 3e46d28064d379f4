//! The coordinator's server: one TCP port for gRPC (jobs, results, health, reflection), for git's
//! smart HTTP, read-only, and for health probes.
//!
//! Every request passes one door, which says who asks; what the caller may do is asked where it is
//! done. Without a tokens file the server listens on loopback only. Everything a caller can make
//! it hold (connections, requests, bytes on their way in, git processes) has a named bound.

mod access;
mod backend;
mod config;
mod door;
mod failures;
mod git;
mod listener;
mod pulse;
mod results;
mod router;
mod seats;
mod spool;
mod tls;
mod tokens;
mod upload_pack;

pub use access::{Access, LOOK_EVERY};
pub use backend::Backend;
pub use config::{TlsFiles, WebConfig, WebError};
pub use listener::{Web, start, start_with};
pub use spool::SpoolLimits;
pub use tokens::{AccessError, AccessFile, token_digest};
pub(crate) use upload_pack::STALL_MAX;
