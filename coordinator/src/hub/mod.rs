//! The jobs of one server: every open one running, every closed one readable, one bus, one disk.

mod access;
mod admit;
mod base;
mod card;
mod deliver;
mod held;
mod incoming;
mod job_access;
mod link;
mod opening;
mod server;
mod settings;
mod submit;

pub use access::{Identity, Role};
pub use admit::{AdmitError, admit};
pub use base::{BaseError, PACK_BYTES_MAX};
pub use card::JobCard;
pub use deliver::{HubError, IntroduceError};
pub use incoming::IncomingPack;
pub use job_access::{AccessError, FileJob, JobAccess, control_files};
pub(crate) use job_access::{control_job, off_runtime};
pub use opening::{Opening, note, open_plan, opening, standing};
pub use server::Hub;
pub(crate) use server::PACKS_MAX;
pub use settings::{HubSettings, Output};
pub use submit::{Submission, SubmitError};
