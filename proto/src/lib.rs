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

/// Version of the plan, journal and receipt formats this build writes. A higher one is refused.
pub const FORMAT: u32 = 1;
