//! What follows from the state and the time alone: gates, landings, leases, assignments, the end.
//!
//! Called after every input until it has nothing more to say; each call decides one event, so the
//! next one is decided on the state that the first one made.

use longhaul_common::{AttemptId, BatchId, GateId, NodeId};
use longhaul_proto::{
    BatchClosed, BatchEnd, GatePurpose, JobClosed, JobOutcome, JobPaused, LeaseExpired, NodeClosed, Outcome,
    ParkReason, Parked,
};

use super::landing::{self, BaseGate, FinalGate};
use super::{Event, JobPhase, Millis, Phase, State, schedule};
use super::{deadline, gate};

/// The next event that is due at `now`, if any.
pub fn advance(state: &State, now: Millis) -> Option<Event> {
    match state.job_phase() {
        JobPhase::Empty | JobPhase::Closed { .. } => return None,
        JobPhase::Open | JobPhase::Paused { .. } => {}
    }
    base_gate(state, now)
        .or_else(|| expired_lease(state, now))
        .or_else(|| fatal(state))
        .or_else(|| quarantine(state, now))
        .or_else(|| skip_doomed(state))
        .or_else(|| cancelled_batch(state))
        .or_else(|| landing::advance(state, now))
        .or_else(|| deadline::advance(state, now))
        .or_else(|| hand_out(state, now))
        .or_else(|| finish(state, now))
}

fn base_gate(state: &State, now: Millis) -> Option<Event> {
    let landing = &state.landing;
    match &landing.base_gate {
        BaseGate::Green => None,
        BaseGate::Red(cause) => Some(Event::JobClosed(JobClosed {
            outcome: JobOutcome::Failed.into(),
            reason: format!(
                "the gate is red on the base, before anything was changed: {}",
                longhaul_common::text::clip_tail(cause, 2_000)
            ),
        })),
        BaseGate::Open if landing.gates.is_empty() && now >= landing.lone_not_before_ms => {
            gate::ask(state, GatePurpose::Base, BatchId(0), landing.tip, now)
        }
        BaseGate::Open => None,
    }
}

fn expired_lease(state: &State, now: Millis) -> Option<Event> {
    state.fleet.overdue(now).find_map(|id| {
        let why = |worker: &str| format!("{worker} was not heard of for {} s", state.fleet.lease_ms() / 1000);
        if let Some(live) = state.attempts.get(&AttemptId(id)) {
            let why = why(&live.worker);
            let handed_back = false;
            return Some(Event::LeaseExpired(LeaseExpired { attempt: id, node: live.node.0, why, handed_back }));
        }
        let run = state.landing.gates.get(&GateId(id))?;
        Some(Event::GateLost(longhaul_proto::GateLost { gate: id, why: why(&run.worker), handed_back: false }))
    })
}

/// A subtask whose attempts ended with their workers, again and again.
fn fatal(state: &State) -> Option<Event> {
    let ready = |node: &&NodeId| matches!(state.subtask(**node).phase(), Phase::Ready);
    let node = *state.derived.fatal.iter().find(ready)?;
    let losses = state.subtask(node).losses;
    Some(Event::Parked(Parked {
        node: node.0,
        park: state.next_park(),
        reason: ParkReason::Attempts.into(),
        text: format!("{losses} workers in a row fell silent while they worked on it: it may take its machine down"),
    }))
}

fn quarantine(state: &State, now: Millis) -> Option<Event> {
    state.infirmary.due(now, |worker| state.fleet.is_present(worker, now)).map(Event::WorkerQuarantined)
}

fn skip_doomed(state: &State) -> Option<Event> {
    let node = *state.derived.doomed.first()?;
    let cause = state.node(node).deps.iter().map(|&dep| NodeId(dep)).find(|&dep| state.dooms(state.subtask(dep)));
    let cause = cause.map_or("a dependency".to_owned(), |dep| format!("{:?}", state.node(dep).id));
    Some(Event::NodeClosed(NodeClosed {
        node: node.0,
        outcome: Outcome::Skipped.into(),
        reason: format!("it depends on {cause}, which did not land"),
    }))
}

/// A batch whose members were all cancelled has nothing to land.
fn cancelled_batch(state: &State) -> Option<Event> {
    let batch = state.landing.batch.as_ref()?;
    let in_batch =
        |node: &NodeId| matches!(state.subtask(*node).phase(), Phase::Landing { batch: id, .. } if *id == batch.id);
    let cancelled = batch.members.iter().any(|node| matches!(state.subtask(*node).phase(), Phase::Closed { .. }));
    let moving = matches!(batch.step, super::Step::Moving);
    (cancelled && !moving && !batch.members.iter().all(in_batch))
        .then(|| Event::BatchClosed(BatchClosed { batch: batch.id.0, end: BatchEnd::Cancelled.into() }))
}

fn hand_out(state: &State, now: Millis) -> Option<Event> {
    if *state.job_phase() != JobPhase::Open || state.landing.base_gate != BaseGate::Green {
        return None;
    }
    let limits = state.limits();
    if let Some(reason) = state.recent.trips(limits.breaker_failed, limits.breaker_of) {
        let open = state.counts().ready + state.counts().backoff + state.counts().waiting > 0;
        return open.then(|| Event::JobPaused(JobPaused { reason, by_breaker: true, ..JobPaused::default() }));
    }
    if deadline::is_too_late(state, now) {
        return None;
    }
    let next = schedule::next(state, now)?;
    // A result that is there already costs nothing.
    let begins = matches!(next, Event::Assigned(_));
    match state.spend.refuses(limits, state.active_ms(now)).filter(|_| begins) {
        None => Some(next),
        Some(reason) => Some(schedule::paused_by_budget(reason)),
    }
}

/// The end of the job: all subtasks closed, and the final gate where there is one.
fn finish(state: &State, now: Millis) -> Option<Event> {
    let counts = state.counts();
    let closed = counts.landed + counts.unchanged + counts.failed + counts.skipped + counts.cancelled + counts.reverted;
    let landing = &state.landing;
    if closed < counts.total || landing.batch.is_some() || state.landing.base_gate != BaseGate::Green {
        return None;
    }
    let wants_final = state.plan().gate.as_ref().is_some_and(|gate| gate.r#final.is_some());
    if wants_final && counts.landed > 0 {
        match &landing.final_gate {
            FinalGate::Open if landing.gates.is_empty() && now >= landing.lone_not_before_ms => {
                return gate::ask(state, GatePurpose::Final, BatchId(0), landing.tip, now);
            }
            FinalGate::Open => return None,
            FinalGate::Red(_, cause) => {
                let reason = format!("the final gate is red: {}", longhaul_common::text::clip_tail(cause, 2_000));
                return Some(Event::JobClosed(JobClosed { outcome: JobOutcome::Partial.into(), reason }));
            }
            FinalGate::Green(_) => {}
        }
    }
    let outcome = outcome(counts);
    Some(Event::JobClosed(JobClosed { outcome: outcome.into(), reason: String::new() }))
}

fn outcome(counts: &longhaul_proto::Counts) -> JobOutcome {
    let good = counts.landed + counts.unchanged + counts.reverted;
    if good == counts.total {
        JobOutcome::Done
    } else if good > 0 {
        JobOutcome::Partial
    } else if counts.cancelled > 0 {
        JobOutcome::Cancelled
    } else {
        JobOutcome::Failed
    }
}
