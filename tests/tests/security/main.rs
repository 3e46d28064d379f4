//! Who may do what, what leaks, and what a worker that wants harm can do: over real processes.

mod endpoints;
mod gates;
mod hostile;
mod liar;
mod rig;
mod rogue;
mod roles;
mod secrets;
mod threats;
