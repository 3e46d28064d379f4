//! The result of an attempt, built from outside: what changed, whether it may be a patch, the
//! commit, and the thin pack that carries it.
//!
//! Everything is read with the worker's own index and git directory. Output of git is parsed with
//! `-z`; nothing an agent can name breaks a record.

mod changes;
mod leaks;
mod pack;
mod stage;
mod submodules;

pub use changes::changes;
pub use leaks::without_secrets;
pub use longhaul_common::patch::{Declared, validate};
pub use pack::{NewResult, commit, write_pack};
pub use stage::{Exclusions, Snapshot, StageError, set_entries, snapshot, snapshot_aside};
pub use submodules::add_all;
