//! The pure machines of a worker: what it holds and answers ([`desk`]), and one attempt at a
//! subtask, what comes next and what a failure means ([`Session`]).
//!
//! No files, no clock, no processes: `inbox` and `execute` do what they are told and tell what
//! happened.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod conduct;
pub mod desk;
mod machine;

pub use machine::{Do, End, Session, Shape, Told};
