//! Which ready subtask is handed out next, and to whom.
//!
//! Longest way to the end first, then plan order; footprints must not overlap. A subtask whose
//! wide footprint has kept it waiting for [`AGE_MS`] closes the door for those that would overlap
//! with it, so that a stream of small ones cannot starve it.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::{BatchId, NodeId, Oid};
use longhaul_proto::{Assigned, Delivered, JobPaused, ParkReason, Parked};

use super::allowance::{self, Short};
use super::footprint::{Footprint, Held};
use super::{Event, Millis, Phase, State, WorkerView};

/// How long a blocked subtask waits before others stop passing it.
pub const AGE_MS: Millis = 60_000;

/// Blocked candidates looked at before scheduling gives up until the next event.
pub const SCAN_MAX: usize = 256;

/// The next assignment, if there is credit, something ready and room for its footprint.
pub(super) fn next(state: &State, now: Millis) -> Option<Event> {
    let parallel = if state.recent.is_probing() { 1 } else { state.limits.parallel.max(1) as usize };
    if state.attempts.len() >= parallel {
        return None;
    }
    let mut credit = Credit { state, now, best: BTreeMap::new() };
    if !credit.any() {
        return None;
    }
    let (node, worker) = pick(&mut credit)?;
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
    let reserved = match allowance::of(state, node) {
        Ok(reserved) => reserved,
        Err(Short::Held) => return None,
        Err(Short::Job(reason)) => return Some(paused_by_budget(reason)),
        Err(Short::Subtask(text)) => {
            let (park, reason) = (state.next_park(), ParkReason::Budget.into());
            return Some(Event::Parked(Parked { node: node.0, park, reason, text }));
        }
    };
    Some(Event::Assigned(Assigned {
        attempt: state.next_id(),
        node: node.0,
        worker,
        base: base_of(state, node).to_vec(),
        reserved_tokens: reserved.tokens,
        reserved_usd_micros: reserved.usd_micros,
    }))
}

/// The job waits for a person to raise a limit.
pub(super) fn paused_by_budget(reason: String) -> Event {
    Event::JobPaused(JobPaused { reason, by_budget: true, ..JobPaused::default() })
}

/// Free slots of the workers that take new work, and who is best for which labels.
struct Credit<'a> {
    state: &'a State,
    now: Millis,
    /// By index of the plan's task: all its nodes ask for the same labels.
    best: BTreeMap<u32, Option<&'a str>>,
}

impl<'a> Credit<'a> {
    /// Those that can do what needs these labels, best first.
    fn free<'l>(&self, labels: &'l [String]) -> impl Iterator<Item = &'a str> + use<'a, 'l> {
        let (state, now) = (self.state, self.now);
        // What needs no look into a table first: a large fleet may be walked for each presence
        // while a subtask waits for labels.
        let fits = move |view: &WorkerView| view.takes(labels) && state.fleet.is_heard(view, now);
        let fitting = state.fleet.free().filter(move |(_, view)| fits(view)).map(|(name, _)| name);
        fitting.filter(move |name| !state.infirmary.is_quarantined(name, now))
    }

    fn any(&self) -> bool {
        self.free(&[]).next().is_some()
    }

    /// Among those with all labels: one whose last execution did not fail, then a warm one, then the
    /// most free slots, then the first by name.
    fn best(&mut self, node: NodeId) -> Option<&'a str> {
        let task = self.state.node(node).task;
        if let Some(known) = self.best.get(&task) {
            return *known;
        }
        let labels = &self.state.task(node).labels;
        let infirmary = &self.state.infirmary;
        let well = |name: &str| infirmary.of(name).is_none_or(|health| health.streak == 0);
        let mut fit = self.free(labels).peekable();
        let otherwise = fit.peek().copied();
        let best = fit.find(|name| well(name)).or(otherwise);
        self.best.insert(task, best);
        best
    }
}

/// Who runs a gate: a worker of the trusted pool, not one whose own work is judged while another
/// is there (then it is waited for), and the one that runs the fewest.
pub(super) fn gate_worker(state: &State, batch: BatchId, now: Millis) -> Option<String> {
    let labels = state.plan.gate.as_ref().map_or(&[][..], |gate| &gate.labels);
    let members = state.batch(batch).map_or(&[][..], |batch| &batch.members);
    let authors: BTreeSet<&str> = members
        .iter()
        .filter_map(|&node| state.subtask(node).phase().candidate())
        .map(|candidate| candidate.worker.as_str())
        .collect();
    let fit = || {
        let fits =
            |(name, view): &(&str, &WorkerView)| view.takes(labels) && !state.infirmary.is_quarantined(name, now);
        state.fleet.gaters(now).filter(fits)
    };
    let busy = |name: &str| state.landing.gates.values().filter(|gate| gate.worker == name).count();
    // One whose last executions failed comes last: the next may be fine where it was not.
    let streak = |name: &str| state.infirmary.of(name).map_or(0, |health| health.streak);
    // They come in order, so the first that nothing speaks against is the best: a large fleet is
    // walked only where there is none.
    let best = |name: &str| !authors.contains(name) && busy(name) == 0 && streak(name) == 0;
    if let Some((name, _)) = fit().find(|(name, _)| best(name)) {
        return Some(name.to_owned());
    }
    let (own, others): (Vec<_>, Vec<_>) = fit().partition(|(name, _)| authors.contains(name));
    let pool = if others.is_empty() { own } else { others };
    let free = pool.into_iter().filter(|(name, view)| busy(name) < view.gate_slots as usize);
    free.min_by_key(|(name, view)| (streak(name), busy(name), !view.warm, *name)).map(|(name, _)| name.to_owned())
}

fn pick(credit: &mut Credit<'_>) -> Option<(NodeId, String)> {
    let (state, now) = (credit.state, credit.now);
    let mut with = |node: NodeId| credit.best(node).map(|worker| (node, worker.to_owned()));
    // Footprints serve speed; when only results that wait for others hold them, they must not
    // hold up those others. Landing catches what then overlaps.
    if state.attempts.is_empty() && state.landing_idle() {
        return candidates(state, now).filter(|&node| state.group_ready(node)).take(SCAN_MAX).find_map(with);
    }
    let mut reserved = Held::default();
    for node in candidates(state, now).filter(|&node| state.group_ready(node)).take(SCAN_MAX) {
        let footprint = Footprint::of(&state.plan, node);
        let blocked = blocked(state, node, &footprint);
        if !blocked
            && !reserved.blocks(&footprint)
            && let Some(found) = with(node)
        {
            return Some(found);
        }
        // One that waits for a worker with its labels holds up nobody.
        if blocked && now - state.subtask(node).ready_ms > AGE_MS {
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

/// Those whose backoff is over, then the ready ones in order; not what waits for a provider.
fn candidates(state: &State, now: Millis) -> impl Iterator<Item = NodeId> + '_ {
    let due = state.derived.backoff.iter().take_while(move |(at, _)| *at <= now).map(|(_, node)| *node);
    let all = due.chain(state.derived.ready.iter().map(|(_, node)| *node));
    all.filter(move |&node| state.provider_awaited(node, now).is_none())
}

/// The tip contains the landing of everything a node depends on; a group member also gets what
/// its group has staged. Saved work in progress goes on where it began: that base holds the same
/// landings, and merging brings the rest.
fn base_of(state: &State, node: NodeId) -> Oid {
    if !state.task(node).land_with.is_empty() {
        return state.staging_head(node);
    }
    state.subtask(node).wip.as_ref().map_or(state.landing.tip, |saved| saved.base)
}
