//! Chaos on real processes: a job of real git and real checks, faults from a seed, and proof from
//! git and the journal alone that nothing was lost, doubled or landed unseen.

mod check;
mod faults;
mod job;
mod round;
mod timeline;

pub use faults::{Fault, Plan};
pub use round::{Outcome, RoundSpec, round};
