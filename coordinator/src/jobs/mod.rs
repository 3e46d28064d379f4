//! The control plane: the gRPC service `Jobs`, for all jobs of a hub or for the one job of a
//! process. Requests are decided like everything else and answered when their events are durable.

mod attach;
mod control;
mod guard;
pub(crate) use guard::audited;
mod pieces;
mod read;
mod service;
mod socket;
mod submit;
mod watch;
mod workers;

pub use service::{JobsService, MESSAGE_BYTES_MAX};
pub use socket::serve;
