//! Running a job in this process: coordinator and worker over the in-memory bus, with live
//! progress, until it is over, stuck, or interrupted.

mod detach;
mod open;
mod output;
mod rerun;
mod session;
mod sink;

pub use detach::detach;
pub use open::{Opened, load, open_file, open_job, plan_of, plan_with};
pub use output::{Output, json_line};
pub use rerun::rerun;
pub use session::{Options, export_branch, run};
