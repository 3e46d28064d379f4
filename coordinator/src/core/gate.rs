//! Asking for a gate, and what to think of gates that never come back.
//!
//! A gate whose worker fell silent is asked again elsewhere, but not at once and not for ever: it may
//! be the gate that takes machines down (it eats all memory, it fills the disk), and asked without end
//! it would take down one worker after the other. After [`GATES_LOST_MAX`] in a row landing halts and
//! says so; a person who resumes begins the count anew.

use longhaul_common::{BatchId, Oid};
use longhaul_proto::{GateAsked, GatePurpose, LandingHalted};
use serde::{Deserialize, Serialize};

use super::{Event, Millis, State};

/// Workers in a row that may be lost with a gate before landing halts.
pub const GATES_LOST_MAX: u32 = 4;

/// Wait before a gate that was lost with its worker is asked again; it doubles with each.
pub const GATE_LOST_WAIT_MS: Millis = 5_000;

/// How many members of a batch are named.
const MEMBERS_NAMED: usize = 3;

/// Gates that ended with their workers since the last one that came back.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LostGates {
    /// How many in a row.
    pub in_a_row: u32,
    /// Not before this time may the next one be asked.
    pub not_before_ms: Millis,
}

impl LostGates {
    /// One more worker is gone.
    pub(super) fn add(&mut self, now: Millis) {
        let wait = GATE_LOST_WAIT_MS << self.in_a_row.min(GATES_LOST_MAX);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.not_before_ms = now.saturating_add(wait);
    }

    /// Whether it is more likely the gate's doing than the workers'.
    pub fn are_too_many(&self) -> bool {
        self.in_a_row >= GATES_LOST_MAX
    }
}

/// Asks for a gate if a worker has a slot for one; halts landing where too many were lost with it.
pub(super) fn ask(state: &State, purpose: GatePurpose, batch: BatchId, commit: Oid, now: Millis) -> Option<Event> {
    let landing = &state.landing;
    if landing.lost.are_too_many() {
        let reason = || too_many(state, purpose, batch);
        return landing.halted.is_none().then(|| Event::LandingHalted(LandingHalted { reason: reason() }));
    }
    if now < landing.lost.not_before_ms {
        return None;
    }
    let worker = super::schedule::gate_worker(state, batch, now)?;
    Some(Event::GateAsked(GateAsked {
        gate: state.next_id(),
        purpose: purpose.into(),
        batch: batch.0,
        commit: commit.to_vec(),
        worker,
    }))
}

fn too_many(state: &State, purpose: GatePurpose, batch: BatchId) -> String {
    let gate = match purpose {
        GatePurpose::Base => "the gate on the base".to_owned(),
        GatePurpose::Final => "the final gate".to_owned(),
        GatePurpose::Control => format!("the gate on the bare branch (the control of batch {batch})"),
        GatePurpose::Batch | GatePurpose::Unspecified => format!("the gate of batch {batch}{}", members(state, batch)),
    };
    format!(
        "{} workers in a row were lost while they ran {gate}: it may take its machine down. Look at the \
         workers' own logs and at what it uses, or cancel the subtask that does it",
        state.landing.lost.in_a_row
    )
}

fn members(state: &State, batch: BatchId) -> String {
    let all = state.batch(batch).map_or(&[][..], |batch| &batch.members);
    let mut names: Vec<String> =
        all.iter().take(MEMBERS_NAMED).map(|&node| format!("{:?}", state.node(node).id)).collect();
    if all.len() > MEMBERS_NAMED {
        names.push(format!("{} more", all.len() - MEMBERS_NAMED));
    }
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
