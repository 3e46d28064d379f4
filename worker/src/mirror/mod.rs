//! Mirrors: one bare repository of the worker for each repository it works on.
//!
//! A worker on another machine than its coordinator reads no object over the network while it
//! works: it fetches what an assignment starts from into its mirror, by id, and slots borrow from
//! there. Commits fetched before are kept as refs, so that only differences travel. A mirror is a
//! cache: one that is damaged is made anew, the least recently used idle ones are removed when all
//! together are over their limit, and none is touched so while an assignment uses it.

mod evict;
mod fetch;
mod mirrors;
mod shimmed;
mod upkeep;

pub use mirrors::{MirrorError, MirrorUse, Mirrors, Need};
