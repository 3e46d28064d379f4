//! The page a person reads in the morning: what landed, what did not, why, and what it cost.
//!
//! One [`ReportInput`] renders as Markdown, as one self-contained HTML page and as JUnit XML. All
//! three are pure functions of their input: no clock, no environment, no files. Times are UTC with
//! a `Z`, because a report is read by people in other zones than its writer.
//!
//! Limits: Markdown and HTML stay one page whatever the size of the job (see [`digest`]'s
//! constants, HTML under 1 MB at 100,000 subtasks); JUnit XML lists every subtask. Everything
//! that came from a repository, an agent or a log is treated as hostile text.

mod bands;
pub mod digest;
pub mod format;
pub mod group;
mod headline;
mod html;
mod input;
mod junit;
mod lanes;
mod listing;
mod markdown;
pub mod next;
pub mod plain;
pub mod timeline;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;

pub use headline::headline;
pub use html::html;
pub use input::{ReportInput, count};
pub use junit::junit;
pub use markdown::markdown;
