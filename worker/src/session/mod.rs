//! One attempt at a subtask as a pure machine: what comes next, and what a failure means.
//!
//! No files, no clock, no processes: `execute` does what [`Do`] says and tells what happened.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod machine;

pub use machine::{Do, End, Session, Shape, Told};
