//! Attempts in the state: assigned, lost, delivered, failed; parks, retries, closings.

use longhaul_common::{AttemptId, NodeId, Oid, ParkId, question, sign};
use longhaul_proto as pb;
use longhaul_proto::{Next, ParkReason};

use super::ApplyError;
use super::books::Books;
use crate::core::Millis;
use crate::core::asked::Ruling;
use crate::core::live::{Asks, LiveAttempt, LostAttempt};
use crate::core::retry;
use crate::core::spend::{Amount, Reservation};
use crate::core::state::State;
use crate::core::subtask::{Candidate, Phase, SavedWip};
use crate::core::transition::Move;

/// How many paths a reason names.
const PATHS_NAMED: usize = 5;

/// A failure by its name, with the paths it is about, in one line.
fn in_words(failure: &pb::Failure) -> String {
    let message = sign::named(&failure.sign, &failure.message);
    if failure.paths.is_empty() {
        return message;
    }
    let named: Vec<&str> = failure.paths.iter().take(PATHS_NAMED).map(String::as_str).collect();
    let more = failure.paths.len().saturating_sub(PATHS_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{message}: {}{more}", named.join(", "))
}

impl State {
    pub(super) fn assigned(&mut self, event: &pb::Assigned) -> Result<(), ApplyError> {
        let (node, attempt) = (self.known(event.node)?, AttemptId(event.attempt));
        self.shift(node, Move::Assign, Phase::Running { attempt })?;
        self.last_id = self.last_id.max(event.attempt);
        let now = self.now_ms;
        let subtask = &mut self.subtasks[node.index()];
        subtask.attempts += 1;
        if subtask.started_ms == 0 {
            subtask.started_ms = now;
        }
        let amount = Amount { tokens: event.reserved_tokens, usd_micros: event.reserved_usd_micros };
        let subtask = self.node(node).id.clone();
        self.spend.reserve(attempt, Reservation { amount, subtask, worker: event.worker.clone() });
        let base = Oid::from_bytes(&event.base)?;
        self.begin_live(attempt, LiveAttempt { node, worker: event.worker.clone(), base, since_ms: now, asks: None });
        Ok(())
    }

    /// Notes a lease, and the slot it takes.
    pub(super) fn begin_live(&mut self, attempt: AttemptId, live: LiveAttempt) {
        self.fleet.roster.took(&live.worker);
        self.attempts.insert(attempt, live);
    }

    /// Takes a lease out, and gives its slot back.
    pub(super) fn end_live(&mut self, attempt: AttemptId) -> Option<LiveAttempt> {
        let live = self.attempts.remove(&attempt)?;
        self.fleet.roster.gave_back(&live.worker);
        Some(live)
    }

    pub(super) fn lease_expired(&mut self, event: &pb::LeaseExpired) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let attempt = AttemptId(event.attempt);
        self.shift(node, Move::Lose, Phase::Ready)?;
        self.spend.doubt(attempt);
        if let Some(live) = self.end_live(attempt) {
            // Its time is gone, whether it is heard of again or not.
            self.subtasks[node.index()].spent_ms += u64::try_from(self.now_ms - live.since_ms).unwrap_or(0);
            self.fleet.lost(event.attempt, &live.worker, self.now_ms);
            self.lost.insert(attempt, LostAttempt { node, worker: live.worker, base: live.base });
        }
        self.retries += 1;
        let subtask = &mut self.subtasks[node.index()];
        subtask.finished_ms = self.now_ms;
        subtask.losses += u32::from(!event.handed_back);
        if subtask.losses >= retry::Limits::LOSSES_MAX {
            self.derived.fatal.insert(node);
        }
        Ok(())
    }

    pub(super) fn delivered(&mut self, event: &pb::Delivered) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let patch = event.patch.clone().unwrap_or_default();
        let mut worker =
            self.end_attempt(event.attempt, node, Books { usage: event.usage, timing: event.timing, class: 0 });
        let subtask = &mut self.subtasks[node.index()];
        (subtask.infra, subtask.losses, subtask.provider_waits) = (0, 0, 0);
        subtask.wip = None;
        self.derived.fatal.remove(&node);
        let subtask = &mut self.subtasks[node.index()];
        if let Some(at) = subtask.spares.iter().position(|spare| spare.attempt.0 == event.attempt) {
            worker = subtask.spares.remove(at).worker;
        } else {
            self.infirmary.succeeded(&worker);
        }
        let subtask = &mut self.subtasks[node.index()];
        subtask.summary.clone_from(&patch.summary);
        let candidate = Candidate { attempt: AttemptId(event.attempt), worker, patch: Box::new(patch), reverts: None };
        self.shift(node, Move::Deliver, Phase::Delivered { candidate, staged: None })?;
        self.enqueue(node);
        Ok(())
    }

    /// The result stays with its subtask as a spare: whoever wakes it takes the first one.
    pub(super) fn held_back(&mut self, event: &pb::Held) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let patch = event.patch.clone().unwrap_or_default();
        let worker =
            self.end_attempt(event.attempt, node, Books { usage: event.usage, timing: event.timing, class: 0 });
        self.infirmary.succeeded(&worker);
        self.derived.fatal.remove(&node);
        self.last_park = self.last_park.max(event.park);
        let text = format!("its result waits for a yes: {}", patch.findings.join("; "));
        let subtask = &mut self.subtasks[node.index()];
        (subtask.infra, subtask.losses, subtask.provider_waits) = (0, 0, 0);
        subtask.wip = None;
        let patch = Box::new(patch);
        subtask.spares.insert(0, Candidate { attempt: AttemptId(event.attempt), worker, patch, reverts: None });
        let to = Phase::Parked { park: ParkId(event.park), reason: ParkReason::Approval.into(), text };
        self.shift(node, Move::Park, to)?;
        Ok(())
    }

    pub(super) fn enqueue(&mut self, node: NodeId) {
        let name = self.task(node).land_with.clone();
        let reverting = self.subtask(node).phase().candidate().is_some_and(|candidate| candidate.reverts.is_some());
        match self.groups.get_mut(&name) {
            Some(group) if !reverting => group.order.push(node),
            _ => self.landing.queue.push_back(node),
        }
    }

    pub(super) fn spare_kept(&mut self, event: &pb::SpareKept) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let attempt = AttemptId(event.attempt);
        self.settle(attempt, node, &event.usage.unwrap_or_default());
        let worker = self.lost.remove(&attempt).map(|lost| lost.worker).unwrap_or_default();
        self.infirmary.succeeded(&worker);
        let patch = Box::new(event.patch.clone().unwrap_or_default());
        self.subtasks[node.index()].spares.push(Candidate { attempt, worker, patch, reverts: None });
        Ok(())
    }

    pub(super) fn unchanged(&mut self, event: &pb::AttemptUnchanged) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let worker =
            self.end_attempt(event.attempt, node, Books { usage: event.usage, timing: event.timing, class: 0 });
        self.infirmary.succeeded(&worker);
        self.subtasks[node.index()].wip = None;
        self.subtasks[node.index()].summary.clone_from(&event.summary);
        self.shift(node, Move::FindUnchanged, Phase::Unchanged)?;
        Ok(())
    }

    pub(super) fn attempt_failed(&mut self, event: &pb::AttemptFailed) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let failure = event.failure.clone().unwrap_or_default();
        let class = failure.class();
        let worker = self.end_attempt(
            event.attempt,
            node,
            Books { usage: event.usage, timing: event.timing, class: class.into() },
        );
        if class == pb::FailureClass::ProviderLimit {
            self.spend.give_back();
            self.providers.limited(&failure, failure.until_ms);
        }
        if retry::is_workers(class) {
            self.infirmary.failed(&worker, event.node, &failure.message);
        }
        if class == pb::FailureClass::Asked {
            return self.asked(node, event, failure);
        }
        *self.failures.entry(class.into()).or_insert(0) += 1;
        let subtask = &mut self.subtasks[node.index()];
        if retry::costs_attempt(class) {
            subtask.tries += 1;
            subtask.infra = 0;
            // What it left behind failed: the next attempt begins anew, told why.
            subtask.wip = None;
        } else if class == pb::FailureClass::ProviderLimit {
            subtask.provider_waits += 1;
        } else if !retry::is_nobodys(class) {
            subtask.infra += 1;
            if subtask.infra >= retry::Limits::INFRA_WITH_WIP_MAX {
                // It may be the saved work that cannot be gone on with.
                subtask.wip = None;
            }
        }
        let text = in_words(&failure);
        if retry::teaches(class) {
            subtask.lesson = Some(Box::new(failure.clone()));
        }
        subtask.last_failure = Some(Box::new(failure));
        self.follow(node, event.next(), event.park, event.not_before_ms, retry::park_reason(class), text)
    }

    /// It goes on from what it saved once there is an answer; nothing speaks against anybody.
    fn asked(&mut self, node: NodeId, event: &pb::AttemptFailed, failure: pb::Failure) -> Result<(), ApplyError> {
        let text = failure.question.as_ref().map_or_else(|| in_words(&failure), question::sentence);
        if event.next() == Next::Park {
            self.subtasks[node.index()].asked = failure.question.map(Box::new);
        }
        self.follow(node, event.next(), event.park, event.not_before_ms, ParkReason::Ask, text)
    }

    /// Its agent waits in its slot, so the subtask goes on running.
    pub(super) fn attempt_asked(&mut self, event: &pb::AttemptAsked) -> Result<(), ApplyError> {
        self.last_park = self.last_park.max(event.park);
        let asks = self.asks_mut(event.attempt)?;
        *asks = Some(Box::new(Asks {
            asked_ms: event.asked_ms,
            count: asks.as_ref().map_or(0, |asks| asks.count) + u32::from(event.question.is_some()),
            park: ParkId(event.park),
            question: event.question.clone(),
            told: None,
        }));
        Ok(())
    }

    pub(super) fn attempt_told(&mut self, event: &pb::AttemptTold) -> Result<(), ApplyError> {
        if let Some(asks) = self.asks_mut(event.attempt)? {
            asks.told = Some(event.decision);
        }
        Ok(())
    }

    fn asks_mut(&mut self, attempt: u64) -> Result<&mut Option<Box<Asks>>, ApplyError> {
        let missing = ApplyError::Missing { what: "live attempt", id: attempt };
        self.attempts.asks_mut(&AttemptId(attempt)).ok_or(missing)
    }

    pub(super) fn decided(&mut self, event: &pb::Decided) -> Result<(), ApplyError> {
        let decision = event.decision.clone().unwrap_or_default();
        let after = AttemptId(self.last_id);
        self.rulings.push(Ruling { decision, scope: event.scope, of: event.of.clone(), after });
        Ok(())
    }

    pub(super) fn wip_saved(&mut self, event: &pb::WipSaved) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let attempt = AttemptId(event.attempt);
        let missing = ApplyError::Missing { what: "live attempt", id: event.attempt };
        let base = self.attempts.get(&attempt).map(|live| live.base).ok_or(missing)?;
        let wip = event.wip.clone().unwrap_or_default();
        self.subtasks[node.index()].wip = Some(Box::new(SavedWip { attempt, base, wip }));
        Ok(())
    }

    /// What was decided after a failure or a rejection.
    pub(super) fn follow(
        &mut self,
        node: NodeId,
        next: Next,
        park: u64,
        until_ms: Millis,
        reason: ParkReason,
        text: String,
    ) -> Result<(), ApplyError> {
        match next {
            Next::Park | Next::Fail | Next::Unspecified => {
                self.last_park = self.last_park.max(park);
                self.shift(node, Move::Park, Phase::Parked { park: ParkId(park), reason: reason.into(), text })?;
            }
            Next::Retry => {
                self.retries += 1;
                self.shift(node, Move::Postpone, Phase::Backoff { until_ms })?;
            }
            Next::PromoteSpare => {
                let spares = &mut self.subtasks[node.index()].spares;
                if spares.is_empty() {
                    return Err(ApplyError::Missing { what: "a spare of subtask", id: u64::from(node.0) });
                }
                let candidate = spares.remove(0);
                self.shift(node, Move::Promote, Phase::Delivered { candidate, staged: None })?;
                self.enqueue(node);
            }
        }
        Ok(())
    }

    pub(super) fn parked(&mut self, event: &pb::Parked) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.last_park = self.last_park.max(event.park);
        self.derived.fatal.remove(&node);
        let to = Phase::Parked { park: ParkId(event.park), reason: event.reason, text: event.text.clone() };
        self.shift(node, Move::Park, to)?;
        Ok(())
    }

    pub(super) fn woken(&mut self, event: &pb::Woken) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.note_yes(node);
        self.subtasks[node.index()].losses = 0;
        self.shift(node, Move::Wake, Phase::Ready)?;
        Ok(())
    }

    /// Only `approve` and `answer` move what waits for a yes to its pilot.
    fn note_yes(&mut self, node: NodeId) {
        let subtask = &mut self.subtasks[node.index()];
        subtask.approved |= subtask.phase().park_reason() == Some(ParkReason::Pilot);
    }

    pub(super) fn retried(&mut self, event: &pb::Retried) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.note_yes(node);
        let open = |dep: &NodeId| !self.subtask(*dep).phase().kind().is_terminal() || self.dooms(self.subtask(*dep));
        let missing = self.outside_deps(node).filter(open).count();
        let subtask = &mut self.subtasks[node.index()];
        (subtask.tries, subtask.infra, subtask.rejections, subtask.losses) = (0, 0, 0, 0);
        subtask.provider_waits = 0;
        subtask.wip = None;
        // Who wants it done again does not want what waits for a yes.
        subtask.spares.retain(|spare| spare.patch.findings.is_empty());
        subtask.missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if !event.remark.is_empty() {
            subtask.remarks.push(event.remark.clone());
        }
        let left = self.shift(node, Move::Retry, Phase::Ready)?;
        if matches!(left, Phase::Closed { outcome, .. } if outcome == i32::from(pb::Outcome::Reverted)) {
            // Its dependents counted it as settled; now they wait for it again.
            self.missing_again(node, 1);
            let is_blocked = |node: &NodeId| {
                let subtask = self.subtask(*node);
                subtask.missing > 0 && matches!(subtask.phase(), Phase::Ready | Phase::Backoff { .. })
            };
            let blocked: Vec<NodeId> = self.graph.dependents(node).filter(is_blocked).collect();
            for dependent in blocked {
                self.shift(dependent, Move::Block, Phase::Waiting)?;
            }
        }
        let mut open: Vec<NodeId> = self.graph.dependents(node).collect();
        open.push(node);
        for open in open {
            let doomed = self.node(open).deps.iter().any(|&dep| self.dooms(self.subtask(NodeId(dep))));
            if doomed && !self.subtask(open).phase().kind().is_terminal() {
                self.derived.doomed.insert(open);
            } else {
                self.derived.doomed.remove(&open);
            }
        }
        Ok(())
    }

    pub(super) fn node_closed(&mut self, event: &pb::NodeClosed) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let to = Phase::Closed { outcome: event.outcome, reason: event.reason.clone() };
        self.subtasks[node.index()].wip = None;
        let left = self.shift(node, Move::Close, to)?;
        if let Phase::Running { attempt } = left {
            self.spend.doubt(attempt);
            self.end_live(attempt);
            self.fleet.forget(attempt.0);
        }
        self.drop_from_queues(node);
        Ok(())
    }

    pub(super) fn drop_from_queues(&mut self, node: NodeId) {
        self.landing.queue.retain(|&queued| queued != node);
        for segment in &mut self.landing.segments {
            segment.retain(|&queued| queued != node);
        }
        self.landing.segments.retain(|segment| !segment.is_empty());
        for group in self.groups.values_mut() {
            group.order.retain(|&queued| queued != node);
        }
    }
}
