//! The wire and file formats of Longhaul, generated from `longhaul/v1/*.proto`.
//!
//! Everything that crosses a process boundary or a restart is one of these messages: the plan,
//! assignments and reports, the journal's records, the control plane and receipts. The serde
//! derives serve `--json` and snapshots; the protobuf encoding is the contract.

#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    reason = "generated code; the .proto files carry the comments"
)]
mod generated {
    tonic::include_proto!("longhaul.v1");
}

pub use generated::*;

impl std::fmt::Debug for Introduction {
    /// Without what opens the worker's service.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Introduction");
        shown.field("worker", &self.worker).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Version of the plan, journal and receipt formats this build writes. A higher one is refused.
pub const FORMAT: u32 = 1;

/// Version of the wire between coordinator and worker that this build speaks.
///
/// A coordinator works with workers of its own protocol and of the one before; a newer worker is
/// refused ("upgrade the coordinator first"), and so is an older one.
pub const PROTOCOL: u32 = 1;

/// Oldest protocol of a worker that this build's coordinator works with.
pub const PROTOCOL_MIN: u32 = 1;

/// The encoded descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longhaul.bin"));
