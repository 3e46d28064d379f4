//! Work in progress: what an agent has done so far, saved so that another worker goes on from it.
//!
//! The tree is taken from outside, with an index of its own, while the agent still writes: it may
//! be between two states, which is for the agent to find out, as after a crash of its own. Nothing
//! validates it, for it never becomes a patch by itself. Saving is best effort: one at a time, not
//! through the outbox, and a failure costs nothing but what would be done again.

mod saver;
mod session_files;

pub use saver::Saver;
pub use session_files::unpack as unpack_session;
