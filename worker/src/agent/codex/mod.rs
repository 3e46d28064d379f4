//! Codex through its App Server (protocol v2): threads, turns, approvals, steering, interruption,
//! compaction, diffs, usage, and going on with a thread on another machine.
//!
//! Proven with Codex 0.169. What has to be known of it: events of items are lossy (a command that its
//! sandbox denies may never be mentioned), so what is missing is read from its rollout file
//! afterwards; its usage is a total of the thread; its home must not lie below the temporary folder,
//! or its sandbox cannot start; and a command of it survives its own SIGTERM, which is for the
//! process shim to end.

mod client;
mod read;
mod rollout;

pub use client::{Codex, converse};
