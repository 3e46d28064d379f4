//! The landing side's work on git: chains and merges, receipts, the branch, its proof.

mod export;
mod merge;
mod receipt;
mod refs;
mod verify;

pub use export::{ExportError, Exported, Origin, export, export_from};
pub use merge::{Member, MergeJob, merge_batch, seal, stage};
pub use receipt::{read_receipts, receipt, write_receipt};
pub use refs::Refs;
pub use verify::{Finding, VerifyReport, verify};
