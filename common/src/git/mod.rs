//! The one wrapper around git.
//!
//! [`Git`] runs the command line tool with an environment nothing can leak into: no user or
//! system configuration, no hooks, no prompts, no inherited `GIT_*`. [`Store`] reads and merges
//! objects in process. What must be durable is made so by the caller with [`sync_objects`]: git
//! itself fsyncs neither small imports nor folders (measured).

mod command;
mod limited;
mod store;

pub use command::{Git, GitError, VERSION_MIN, required_version, sync_objects, version};
pub use limited::Limits;
pub use store::{Change, Conflict, Entry, EntryKind, Identity, MergeOutcome, NewCommit, Store, StoreError};
