//! Processes: every program the worker starts goes through the shim.
//!
//! The parent re-executes its own binary as `shim…`, which becomes the session leader and the
//! reaper of everything started below it. The pipe on the shim's stdin is the lifeline: when the
//! parent dies, however it dies, the shim reads the end of the file and kills every descendant.
//! No program outlives its run, whether it daemonised or not.

mod arguments;
mod capture;
mod descendants;
mod environment;
mod run;
mod secrets;
mod shim;
pub mod talk;
mod wire;

pub use arguments::{Placeholders, argv_of, is_empty};
pub use capture::CapturedLog;
pub use descendants::Usage;
pub use environment::{Purpose, variables};
pub use run::{OnLine, ProcessEnd, ProcessError, ProcessOutcome, ProcessSpec, run};
pub(crate) use secrets::Redactor;
pub use secrets::Secrets;
pub use shim::shim_main;
pub(crate) use shim::{LANDLOCK_STAGE, NEST_STAGE, NOTHING_STAGE, SPACE_STAGE};
pub(crate) use wire::ShimStatus;
