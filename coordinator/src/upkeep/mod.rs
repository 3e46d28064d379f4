//! What keeps a server's disk bounded while nobody looks: stores are consolidated, attempts of jobs
//! that closed long ago are forgotten, logs stay below a limit, and what is taken is measured.
//!
//! One thing after the other, off the runtime, and never in the way of a result: what takes objects
//! away gives way to imports. Whatever fails is logged and tried again at the next turn; nothing
//! here is needed for a job to go on.

mod bytes;
mod expire;
mod keeper;
mod ledger;
mod logs;

pub use bytes::measure;
pub use expire::{Expired, expire};
pub use keeper::{KEEP_ATTEMPTS_MS, UpkeepSettings, once};
pub use ledger::Ledger;
pub use logs::{LOGS_BYTES_MAX, trim};
