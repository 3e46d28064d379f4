//! Workspaces: a warm pool of slots, each brought to the next base by its difference.
//!
//! A slot is `<root>/<repository>/<kind>-<n>/` with
//! `ws/` (the workspace), `git/` (the worker's own git directory, out of the workspace), `tmp/`
//! (TMPDIR of what runs there), `cache/` (what tools keep between assignments), `slot.json` (what is known about it) and `lock`.
//! What an agent does to `ws/`, its `.git` included, never matters: `ws/.git` is a decoy written
//! anew for each assignment and never believed, everything the worker knows is in `git/`, and nothing
//! is ever written through a symbolic link the agent may have placed ([`Folder`]). Slots for work and
//! for gates are never exchanged, so a gate's caches hold nothing an agent wrote.

mod decoy;
mod error;
mod folder;
mod index;
mod pool;
mod record;
mod slot;
mod sweep;
mod tree;

pub use error::WorkspaceError;
pub use folder::Folder;
pub use index::submodules;
pub use pool::{Pool, PoolLimits, SlotKind};
pub use record::SlotRecord;
pub use slot::Slot;
pub use tree::{remove_tree, tree_bytes};
