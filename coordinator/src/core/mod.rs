//! The pure core: all policy and all state of a job. No IO, no clock, no randomness, no hash maps.
//!
//! [`decide`] and [`advance`] hold every policy and only read; [`State::apply`] holds none and is
//! the only writer. What was decided is an [`Event`], journaled before any effect of it, so replay
//! is `apply` over the journal, and a better policy never changes a running job's past.
//! [`Command`]s (effects) follow from the state alone: whatever has no outcome yet is pending and
//! is issued again after a restart.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod advance;
mod allowance;
mod apply;
mod asked;
mod command;
mod deadline;
mod decide;
mod derived;
mod explain;
mod footprint;
mod gate;
mod generation;
mod graph;
mod health;
mod input;
mod invariants;
mod landing;
mod lease;
mod live;
mod outage;
mod presence;
mod provider;
mod recent;
mod request;
mod retry;
mod roster;
mod schedule;
mod shortage;
mod spend;
mod split;
mod standstill;
mod state;
mod subtask;
mod transition;

#[cfg(test)]
mod tests;

pub use advance::advance;
pub(crate) use allowance::wall_ms;
pub use apply::ApplyError;
pub use asked::{QUESTIONS_MAX, Ruling, forgotten};
pub use command::Command;
pub use decide::{SESSION_BYTES_MAX, decide};
pub use explain::explain;
pub use footprint::{Footprint, Held};
pub use gate::{GATES_LOST_MAX, LostGates};
pub use generation::open_generation;
pub use graph::{Graph, GraphError};
pub use health::{Health, Infirmary};
pub use input::{Input, MemberMerge, Merge, MoveResult, Request};
pub use landing::{BaseGate, Batch, FinalGate, GateRun, Judged, Landing, Step};
pub use lease::{Fleet, LEASE_MS, LEASE_MS_MIN};
pub use live::{Asks, LiveAttempt, LiveAttempts, LostAttempt, Owner};
pub use outage::{FORGIVEN_MS_MAX, Outage};
pub use presence::WorkerView;
pub use provider::{Provider, Providers};
pub use recent::{Ended, Recent};
pub use request::Refusal;
pub use retry::Limits;
pub use shortage::{Shortage, shortages};
pub use spend::{Amount, Breach, Reservation, Spend};
pub use split::with_parts;
pub use state::{JobPhase, State};
pub use subtask::{Candidate, Landed, Phase, SavedWip, Subtask};
pub use transition::{Illegal, Move, PhaseKind};

/// A decided event, as the journal holds it.
pub type Event = longhaul_proto::record::Event;

/// Milliseconds since the Unix epoch. Inside the core it never goes back.
pub type Millis = i64;
