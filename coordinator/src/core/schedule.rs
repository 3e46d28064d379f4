//! Which ready subtask is handed out next, and to whom.
//!
//! Longest way to the end first, then plan order; footprints must not overlap. A subtask whose
//! wide footprint has kept it waiting for [`AGE_MS`] closes the door for those that would overlap
//! with it, so that a stream of small ones cannot starve it.

use longhaul_common::{NodeId, Oid};
use longhaul_proto::{Assigned, Delivered};

use super::footprint::{Footprint, Held};
use super::spend::Amount;
use super::{Event, Millis, Phase, State};

/// How long a blocked subtask waits before others stop passing it.
pub const AGE_MS: Millis = 60_000;

/// Blocked candidates looked at before scheduling gives up until the next event.
pub const SCAN_MAX: usize = 256;

/// The next assignment, if there is credit, something ready and room for its footprint.
pub(super) fn next(state: &State, now: Millis) -> Option<Event> {
    let parallel = state.limits.parallel.max(1) as usize;
    if state.attempts.len() >= parallel {
        return None;
    }
    let worker = free_worker(state, now)?;
    let node = pick(state, now)?;
    if let Some(spare) = state.subtask(node).spares.first() {
        // A later result of a lost lease is as good as a new attempt, and costs nothing.
        return Some(Event::Delivered(Delivered {
            attempt: spare.attempt.0,
            node: node.0,
            patch: Some((*spare.patch).clone()),
            timing: None,
            usage: None,
        }));
    }
    Some(Event::Assigned(Assigned {
        attempt: state.next_id(),
        node: node.0,
        worker,
        base: base_of(state, node).to_vec(),
        reserved_tokens: 0,
        reserved_usd_micros: 0,
    }))
}

/// What a reservation of the next attempt would be. Codemods and commands use no model.
pub(super) fn reservation(_state: &State) -> Amount {
    Amount::default()
}

/// The present worker with the most free slots; the first by name among equals.
fn free_worker(state: &State, now: Millis) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for (name, view) in state.fleet.present(now) {
        let busy = state.attempts.values().filter(|live| live.worker == name).count();
        let free = (view.work_slots as usize).saturating_sub(busy);
        if free > 0 && best.is_none_or(|(most, _)| free > most) {
            best = Some((free, name));
        }
    }
    best.map(|(_, name)| name.to_owned())
}

fn pick(state: &State, now: Millis) -> Option<NodeId> {
    // Footprints serve speed; when only results that wait for others hold them, they must not
    // hold up those others. Landing catches what then overlaps.
    if state.attempts.is_empty() && state.landing_idle() {
        return candidates(state, now).find(|&node| state.group_ready(node));
    }
    let mut reserved = Held::default();
    for node in candidates(state, now).filter(|&node| state.group_ready(node)).take(SCAN_MAX) {
        let footprint = Footprint::of(&state.plan, node);
        if !blocked(state, node, &footprint) && !reserved.blocks(&footprint) {
            return Some(node);
        }
        if now - state.subtask(node).ready_ms > AGE_MS {
            reserved.take(node, footprint);
        }
    }
    None
}

/// Whether somebody else may be writing there. What the own group has staged is in the base.
fn blocked(state: &State, node: NodeId, footprint: &Footprint) -> bool {
    let held = &state.derived.held;
    if !held.blocks(footprint) {
        return false;
    }
    if state.task(node).land_with.is_empty() {
        return true;
    }
    let staged = |holder: NodeId| {
        state.same_group(node, holder)
            && matches!(state.subtask(holder).phase(), Phase::Delivered { staged: Some(_), .. })
    };
    held.blockers(footprint, usize::MAX).into_iter().any(|holder| !staged(holder))
}

/// Those whose backoff is over, then the ready ones in order.
fn candidates(state: &State, now: Millis) -> impl Iterator<Item = NodeId> + '_ {
    let due = state.derived.backoff.iter().take_while(move |(at, _)| *at <= now).map(|(_, node)| *node);
    due.chain(state.derived.ready.iter().map(|(_, node)| *node))
}

/// The tip contains the landing of everything a node depends on; a group member also gets what
/// its group has staged.
fn base_of(state: &State, node: NodeId) -> Oid {
    if state.task(node).land_with.is_empty() { state.landing.tip } else { state.staging_head(node) }
}
