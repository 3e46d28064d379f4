//! The coordinator's own bare store of a user repository: what comes into it, and how it stays
//! small.
//!
//! The store has no alternates (the user's `git gc` must not be able to break it) and never
//! collects garbage by itself. Results arrive as thin packs and are unpacked in quarantine; only
//! what names its base as parent and is complete gets in. Whatever takes objects away does so
//! while nothing comes in.

mod error;
mod import;
mod lock;
mod maintenance;
mod packs;
mod prune;
mod recent;
mod store;

pub use error::RepoError;
pub(crate) use error::io;
pub(crate) use import::BASE_QUARANTINE;
pub use import::{Incoming, PACK_BYTES_MAX, UNPACK_BYTES_MAX, UNPACK_OBJECTS_MAX, import};
pub use lock::{GIVE_WAY_MAX, StoreLock};
pub use maintenance::{MaintenanceReport, maintain};
pub use prune::{Prune, PruneReport, prune};
pub use recent::note;
pub use store::{clear_leftovers, ensure_store, prepare_store};
