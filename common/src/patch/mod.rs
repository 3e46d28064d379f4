//! What may be a patch: footprint, protected paths, shape and content of a difference.
//!
//! A worker asks before it delivers, so that its agent is told; the coordinator asks again before
//! it believes, because a worker may be anybody's.

mod change;
mod credentials;
mod lines;
mod paths;
mod rules;
mod stand_in;

pub use change::{FileChange, MODE_GITLINK, MODE_SYMLINK};
pub use credentials::{Credential, credentials};
pub use lines::lines_changed;
pub use paths::{BadGlob, PathSet, is_at_or_below};
pub use rules::{Declared, validate};
