//! Jobs that a server runs: opening one from here, following it, and bringing its result home.
//!
//! The plan is made on this side, from the job file and the repository as they are here; the server
//! gets the plan and the history of its base. Once submitted, nothing here is needed any more.

mod attend;
mod events;
mod fetch;
mod pack;
mod plan;
mod submit;

pub use attend::{Ending, StillLooks, attend, exit_of, look, stands_still};
pub use events::{Heard, follow, patiently};
pub use fetch::fetch_branch;
pub use plan::{Drawn, draw};
pub use submit::submit;
