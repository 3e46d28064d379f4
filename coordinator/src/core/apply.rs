//! Applying decided events: the only code that changes the state, and it decides nothing.

use std::sync::Arc;

use longhaul_common::id::BadOid;
use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid, ParkId};
use longhaul_proto as pb;
use longhaul_proto::{BatchEnd, FailureClass, Next, Outcome, ParkReason, carried};

use super::graph::{Graph, GraphError};
use super::landing::{Batch, FinalGate, GateRun, Judged, Landing, Step};
use super::retry;
use super::spend::Amount;
use super::state::{Group, JobPhase, LiveAttempt, State};
use super::subtask::{Candidate, Illegal, Landed, Move, Phase, Subtask};
use super::{Event, Merge, Millis};

/// An event that does not follow from the state: the journal is damaged, or of another build.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A transition that is not in the table.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// An object id of another length.
    #[error(transparent)]
    Oid(#[from] BadOid),
    /// A plan that cannot be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// It names something that does not exist.
    #[error("the event names {what} {id}, which does not exist")]
    Missing {
        /// A node, attempt, gate or batch.
        what: &'static str,
        /// Its number.
        id: u64,
    },
}

/// How many paths a reason names.
const PATHS_NAMED: usize = 5;

/// A failure with the paths it is about, in one line.
fn in_words(failure: &pb::Failure) -> String {
    if failure.paths.is_empty() {
        return failure.message.clone();
    }
    let named: Vec<&str> = failure.paths.iter().take(PATHS_NAMED).map(String::as_str).collect();
    let more = failure.paths.len().saturating_sub(PATHS_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}: {}{more}", failure.message, named.join(", "))
}

impl State {
    /// Applies the event recorded as `seq` at `at_ms`.
    pub fn apply(&mut self, seq: u64, at_ms: Millis, event: &Event) -> Result<(), ApplyError> {
        self.seq = seq;
        self.now_ms = self.now_ms.max(at_ms);
        match event {
            Event::JobOpened(opened) => {
                self.job.clone_from(&opened.job);
                self.started_ms = at_ms;
                Ok(())
            }
            Event::PlanOpened(opened) => self.open_plan(opened),
            Event::Assigned(event) => self.assigned(event),
            Event::LeaseExpired(event) => self.lease_expired(event),
            Event::Delivered(event) => self.delivered(event),
            Event::SpareKept(event) => self.spare_kept(event),
            Event::Unchanged(event) => self.unchanged(event),
            Event::AttemptFailed(event) => self.attempt_failed(event),
            Event::Parked(event) => self.parked(event),
            Event::Woken(event) => self.woken(event),
            Event::GateAsked(event) => self.gate_asked(event),
            Event::GateDone(event) => self.gate_done(event),
            Event::GateLost(event) => self.gate_lost(event),
            Event::BatchOpened(event) => self.batch_opened(event),
            Event::BatchMerged(event) => self.batch_merged(event),
            Event::MemberConflicted(event) => self.member_conflicted(event),
            Event::MemberRejected(event) => self.member_rejected(event),
            Event::BatchSealed(event) => self.batch_sealed(event),
            Event::BatchClosed(event) => self.batch_closed(event),
            Event::LandIntent(event) => self.step(event.batch, Step::Moving),
            Event::Landed(event) => self.landed(event),
            Event::Staged(event) => self.staged(event),
            Event::NodeClosed(event) => self.node_closed(event),
            Event::Retried(event) => self.retried(event),
            Event::RevertAsked(event) => self.revert_asked(event),
            Event::LandingHalted(event) => {
                self.landing.halted = Some(event.reason.clone());
                Ok(())
            }
            Event::JobPaused(event) => {
                self.job_phase = JobPhase::Paused { reason: event.reason.clone(), by_budget: event.by_budget };
                self.landing.blocked |= event.command_failed;
                Ok(())
            }
            Event::JobResumed(_) => {
                self.job_phase = JobPhase::Open;
                self.closed_ms = 0;
                self.landing.forget_verdicts();
                Ok(())
            }
            Event::LimitsChanged(event) => {
                self.limits = event.budget.unwrap_or_default();
                Ok(())
            }
            Event::JobClosed(event) => {
                self.job_phase = JobPhase::Closed { outcome: event.outcome, reason: event.reason.clone() };
                self.closed_ms = at_ms;
                Ok(())
            }
            Event::Recovered(event) => {
                self.idle_ms += event.downtime_ms;
                Ok(())
            }
        }
    }

    fn open_plan(&mut self, opened: &pb::PlanOpened) -> Result<(), ApplyError> {
        let plan = Arc::new(opened.plan.clone().unwrap_or_default());
        let graph = Graph::of(&plan)?;
        let old_plan = std::mem::replace(&mut self.plan, plan);
        let old = std::mem::take(&mut self.subtasks);
        self.generation = opened.generation;
        self.graph = graph;
        self.derived = super::state::Derived::default();
        self.limits = self.plan.budget.unwrap_or_default();
        self.job_phase = JobPhase::Open;
        self.closed_ms = 0;
        let tip = Oid::from_bytes(&opened.tip)?;
        if self.landing.landings > 0 && tip != self.landing.tip {
            self.restarts += 1;
        }
        let base_gate = std::mem::take(&mut self.landing.base_gate);
        let same_base = old_plan.repo.as_ref().map(|repo| &repo.base) == self.plan.repo.as_ref().map(|repo| &repo.base);
        let same_gate = old_plan.gate.as_ref().map(|gate| &gate.run) == self.plan.gate.as_ref().map(|gate| &gate.run);
        self.landing = Landing {
            tip,
            batch_size: self.plan.gate.as_ref().map_or(1, |gate| gate.batch.max(1)),
            landings: self.landing.landings,
            gates_run: self.landing.gates_run,
            ..Landing::default()
        };
        if same_base && same_gate && base_gate == super::BaseGate::Green {
            self.landing.base_gate = base_gate;
        }
        self.lost.clear();
        self.make_subtasks(opened, &old_plan, old)?;
        self.make_groups();
        self.rebuild()?;
        self.keep_attempts(&old_plan);
        Ok(())
    }

    fn make_subtasks(
        &mut self,
        opened: &pb::PlanOpened,
        old_plan: &pb::Plan,
        old: Vec<Subtask>,
    ) -> Result<(), ApplyError> {
        let mut former: std::collections::BTreeMap<&str, (usize, Subtask)> =
            old.into_iter().enumerate().map(|(at, subtask)| (old_plan.nodes[at].id.as_str(), (at, subtask))).collect();
        let plan = Arc::clone(&self.plan);
        for node in &plan.nodes {
            let missing = 0;
            let phase = if node.behind_pilot {
                self.last_park += 1;
                let text = "waits for a yes to the pilot of its map".to_owned();
                Phase::Parked { park: ParkId(self.last_park), reason: ParkReason::Pilot.into(), text }
            } else {
                Phase::Ready
            };
            let mut subtask = Subtask::new(phase, missing);
            if let Some((_, before)) = former.remove(node.id.as_str()) {
                (subtask.attempts, subtask.spent_ms) = (before.attempts, before.spent_ms);
                (subtask.tokens, subtask.usd_micros) = (before.tokens, before.usd_micros);
                (subtask.started_ms, subtask.finished_ms) = (before.started_ms, before.finished_ms);
                subtask.remarks.clone_from(&before.remarks);
                subtask.summary.clone_from(&before.summary);
            }
            self.subtasks.push(subtask);
        }
        for carried in &opened.carried {
            self.carry(carried)?;
        }
        // The graph is rebuilt by the caller; only the counts of missing dependencies are settled here.
        for index in 0..self.subtasks.len() {
            let open = |dep: &NodeId| !self.subtask(*dep).phase().kind().is_terminal();
            let missing = self.outside_deps(NodeId::at(index)).filter(open).count();
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            self.subtasks[index].missing = missing;
            if missing > 0 && matches!(self.subtasks[index].phase(), Phase::Ready) {
                self.subtasks[index] = self.subtasks[index].clone().with_phase(Phase::Waiting);
            }
        }
        Ok(())
    }

    fn carry(&mut self, carried: &pb::Carried) -> Result<(), ApplyError> {
        let node = self.known(carried.node)?;
        let candidate =
            |patch: &pb::Patch| Candidate { attempt: AttemptId(0), patch: Box::new(patch.clone()), reverts: None };
        let phase = match &carried.what {
            Some(carried::What::Landed(landed)) => Phase::Landed(Box::new(Landed {
                candidate: candidate(&landed.patch.clone().unwrap_or_default()),
                batch: BatchId(0),
                commit: Oid::from_bytes(&landed.commit)?,
                merge: Oid::from_bytes(&landed.merge)?,
                gate: GateId(landed.gate),
                flaky: false,
                at_ms: self.now_ms,
            })),
            Some(carried::What::Patch(patch)) => {
                if self.task(node).land_with.is_empty() {
                    self.landing.queue.push_back(node);
                }
                Phase::Delivered { candidate: candidate(patch), staged: None }
            }
            Some(carried::What::Unchanged(_)) => Phase::Unchanged,
            None => return Ok(()),
        };
        let subtask = self.subtasks[node.index()].clone();
        self.subtasks[node.index()] = subtask.with_phase(phase);
        Ok(())
    }

    fn make_groups(&mut self) {
        self.groups.clear();
        let plan = Arc::clone(&self.plan);
        for (index, node) in plan.nodes.iter().enumerate() {
            let name = &plan.tasks[node.task as usize].land_with;
            if !name.is_empty() {
                let group: &mut Group = self.groups.entry(name.clone()).or_default();
                group.members.push(NodeId::at(index));
                if matches!(self.subtasks[index].phase(), Phase::Delivered { .. }) {
                    group.order.push(NodeId::at(index));
                }
            }
        }
    }

    /// Attempts of the generation before stay under lease where their node's key is unchanged.
    fn keep_attempts(&mut self, old_plan: &pb::Plan) {
        let plan = Arc::clone(&self.plan);
        for (id, mut live) in std::mem::take(&mut self.attempts) {
            let old = &old_plan.nodes[live.node.index()];
            let same = plan.nodes.iter().position(|node| node.id == old.id && node.key == old.key).map(NodeId::at);
            let Some(node) = same.filter(|&node| matches!(self.subtask(node).phase(), Phase::Ready)) else {
                self.spend.settle(id, Amount::default());
                continue;
            };
            live.node = node;
            if self.shift(node, Move::Assign, Phase::Running { attempt: id }).is_ok() {
                self.attempts.insert(id, live);
            }
        }
    }

    /// The one place where a subtask's phase changes.
    pub(super) fn shift(&mut self, node: NodeId, by: Move, to: Phase) -> Result<Phase, Illegal> {
        let now = self.now_ms;
        let subtask = &mut self.subtasks[node.index()];
        let left = subtask.transition(node, by, to)?;
        let entered = subtask.phase().clone();
        match entered {
            Phase::Ready => subtask.ready_ms = now,
            Phase::Waiting | Phase::Running { .. } => subtask.ready_ms = 0,
            _ => {}
        }
        self.leave(node, &left, &entered);
        self.enter(node, &entered);
        if entered.kind().is_terminal() {
            self.derived.doomed.remove(&node);
            self.settle_dependents(node)?;
        }
        Ok(left)
    }

    fn settle_dependents(&mut self, node: NodeId) -> Result<(), Illegal> {
        if self.dooms(self.subtask(node)) {
            self.doom_dependents(node);
            return Ok(());
        }
        let after: Vec<NodeId> =
            self.graph.dependents(node).filter(|&dependent| !self.same_group(node, dependent)).collect();
        for dependent in after {
            let subtask = &mut self.subtasks[dependent.index()];
            subtask.missing = subtask.missing.saturating_sub(1);
            if subtask.missing == 0 && matches!(subtask.phase(), Phase::Waiting) {
                self.shift(dependent, Move::Unblock, Phase::Ready)?;
            }
        }
        Ok(())
    }

    fn known(&self, node: u32) -> Result<NodeId, ApplyError> {
        if (node as usize) < self.subtasks.len() {
            Ok(NodeId(node))
        } else {
            Err(ApplyError::Missing { what: "subtask", id: u64::from(node) })
        }
    }

    fn assigned(&mut self, event: &pb::Assigned) -> Result<(), ApplyError> {
        let (node, attempt) = (self.known(event.node)?, AttemptId(event.attempt));
        self.shift(node, Move::Assign, Phase::Running { attempt })?;
        self.last_id = self.last_id.max(event.attempt);
        let now = self.now_ms;
        let subtask = &mut self.subtasks[node.index()];
        subtask.attempts += 1;
        if subtask.started_ms == 0 {
            subtask.started_ms = now;
        }
        self.spend.reserve(attempt, Amount { tokens: event.reserved_tokens, usd_micros: event.reserved_usd_micros });
        let base = Oid::from_bytes(&event.base)?;
        self.attempts.insert(attempt, LiveAttempt { node, worker: event.worker.clone(), base, since_ms: now });
        Ok(())
    }

    /// Ends an attempt's lease and books its time and cost.
    fn end_attempt(&mut self, id: u64, node: NodeId, usage: Option<&pb::Usage>) {
        let attempt = AttemptId(id);
        self.fleet.forget(id);
        let now = self.now_ms;
        let amount = usage.copied().map(Amount::from).unwrap_or_default();
        let since = self.attempts.remove(&attempt).map_or(now, |live| live.since_ms);
        self.lost.remove(&attempt);
        self.spend.settle(attempt, amount);
        let subtask = &mut self.subtasks[node.index()];
        subtask.spent_ms += u64::try_from(now - since).unwrap_or(0);
        subtask.tokens += amount.tokens;
        subtask.usd_micros += amount.usd_micros;
        subtask.finished_ms = now;
    }

    fn lease_expired(&mut self, event: &pb::LeaseExpired) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let attempt = AttemptId(event.attempt);
        self.shift(node, Move::Lose, Phase::Ready)?;
        self.spend.doubt(attempt);
        self.attempts.remove(&attempt);
        self.lost.insert(attempt, node);
        self.fleet.forget(event.attempt);
        self.retries += 1;
        self.subtasks[node.index()].finished_ms = self.now_ms;
        Ok(())
    }

    fn delivered(&mut self, event: &pb::Delivered) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let patch = event.patch.clone().unwrap_or_default();
        self.end_attempt(event.attempt, node, event.usage.as_ref());
        let subtask = &mut self.subtasks[node.index()];
        subtask.infra = 0;
        subtask.summary.clone_from(&patch.summary);
        let candidate = Candidate { attempt: AttemptId(event.attempt), patch: Box::new(patch), reverts: None };
        self.shift(node, Move::Deliver, Phase::Delivered { candidate, staged: None })?;
        self.enqueue(node);
        Ok(())
    }

    fn enqueue(&mut self, node: NodeId) {
        let name = self.task(node).land_with.clone();
        let reverting = self.subtask(node).phase().candidate().is_some_and(|candidate| candidate.reverts.is_some());
        match self.groups.get_mut(&name) {
            Some(group) if !reverting => group.order.push(node),
            _ => self.landing.queue.push_back(node),
        }
    }

    fn spare_kept(&mut self, event: &pb::SpareKept) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let attempt = AttemptId(event.attempt);
        self.spend.settle(attempt, event.usage.map(Amount::from).unwrap_or_default());
        self.lost.remove(&attempt);
        let patch = Box::new(event.patch.clone().unwrap_or_default());
        self.subtasks[node.index()].spares.push(Candidate { attempt, patch, reverts: None });
        Ok(())
    }

    fn unchanged(&mut self, event: &pb::AttemptUnchanged) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.end_attempt(event.attempt, node, event.usage.as_ref());
        self.subtasks[node.index()].summary.clone_from(&event.summary);
        self.shift(node, Move::FindUnchanged, Phase::Unchanged)?;
        Ok(())
    }

    fn attempt_failed(&mut self, event: &pb::AttemptFailed) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let failure = event.failure.clone().unwrap_or_default();
        let class = failure.class();
        self.end_attempt(event.attempt, node, event.usage.as_ref());
        *self.failures.entry(class.into()).or_insert(0) += 1;
        let subtask = &mut self.subtasks[node.index()];
        if retry::costs_attempt(class) {
            subtask.tries += 1;
            subtask.infra = 0;
        } else {
            subtask.infra += 1;
        }
        let text = in_words(&failure);
        subtask.last_failure = Some(Box::new(failure));
        self.follow(node, event.next(), event.park, event.not_before_ms, retry::park_reason(class), text)
    }

    /// What was decided after a failure or a rejection.
    fn follow(
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

    fn parked(&mut self, event: &pb::Parked) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.last_park = self.last_park.max(event.park);
        let to = Phase::Parked { park: ParkId(event.park), reason: event.reason, text: event.text.clone() };
        self.shift(node, Move::Park, to)?;
        Ok(())
    }

    fn woken(&mut self, event: &pb::Woken) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.shift(node, Move::Wake, Phase::Ready)?;
        Ok(())
    }

    fn retried(&mut self, event: &pb::Retried) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let open = |dep: &NodeId| !self.subtask(*dep).phase().kind().is_terminal() || self.dooms(self.subtask(*dep));
        let missing = self.outside_deps(node).filter(open).count();
        let subtask = &mut self.subtasks[node.index()];
        (subtask.tries, subtask.infra, subtask.rejections) = (0, 0, 0);
        subtask.missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if !event.remark.is_empty() {
            subtask.remarks.push(event.remark.clone());
        }
        self.shift(node, Move::Retry, Phase::Ready)?;
        let dependents: Vec<NodeId> = self.graph.dependents(node).collect();
        for dependent in dependents {
            self.derived.doomed.remove(&dependent);
        }
        Ok(())
    }

    fn revert_asked(&mut self, event: &pb::RevertAsked) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let Phase::Landed(landed) = self.subtask(node).phase().clone() else {
            let from = self.subtask(node).phase().kind();
            return Err(Illegal { node, from, by: Move::Revert }.into());
        };
        let patch = Box::new(event.patch.clone().unwrap_or_default());
        let candidate = Candidate { attempt: AttemptId(0), patch, reverts: Some(landed) };
        self.shift(node, Move::Revert, Phase::Delivered { candidate, staged: None })?;
        self.landing.queue.push_back(node);
        Ok(())
    }

    fn node_closed(&mut self, event: &pb::NodeClosed) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let to = Phase::Closed { outcome: event.outcome, reason: event.reason.clone() };
        let left = self.shift(node, Move::Close, to)?;
        if let Phase::Running { attempt } = left {
            self.spend.doubt(attempt);
            self.attempts.remove(&attempt);
            self.fleet.forget(attempt.0);
        }
        self.drop_from_queues(node);
        Ok(())
    }

    fn drop_from_queues(&mut self, node: NodeId) {
        self.landing.queue.retain(|&queued| queued != node);
        for segment in &mut self.landing.segments {
            segment.retain(|&queued| queued != node);
        }
        self.landing.segments.retain(|segment| !segment.is_empty());
        for group in self.groups.values_mut() {
            group.order.retain(|&queued| queued != node);
        }
    }

    fn staged(&mut self, event: &pb::Staged) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let commit = Oid::from_bytes(&event.commit)?;
        let from = self.subtask(node).phase().kind();
        match &mut self.subtasks[node.index()].phase_mut() {
            Phase::Delivered { staged, .. } => *staged = Some(commit),
            _ => return Err(Illegal { node, from, by: Move::Deliver }.into()),
        }
        Ok(())
    }

    fn gate_asked(&mut self, event: &pb::GateAsked) -> Result<(), ApplyError> {
        let gate = GateId(event.gate);
        self.last_id = self.last_id.max(event.gate);
        let run = GateRun {
            purpose: event.purpose,
            batch: BatchId(event.batch),
            commit: Oid::from_bytes(&event.commit)?,
            worker: event.worker.clone(),
            asked_ms: self.now_ms,
        };
        if let Some(batch) = self.landing.batch.as_mut().filter(|batch| batch.id == run.batch) {
            let control = event.purpose() == pb::GatePurpose::Control;
            batch.step = if control { Step::Controlling { gate } } else { Step::Gating { gate } };
        }
        self.landing.gates.insert(gate, run);
        Ok(())
    }

    fn gate_done(&mut self, event: &pb::GateDone) -> Result<(), ApplyError> {
        let gate = GateId(event.gate);
        self.fleet.forget(event.gate);
        let Some(run) = self.landing.gates.remove(&gate) else {
            return Err(ApplyError::Missing { what: "gate", id: event.gate });
        };
        let judged = Judged { gate, result: event.result.clone().unwrap_or_default(), duration_ms: event.duration_ms };
        let now = self.now_ms;
        self.landing.record(&run, judged, now);
        Ok(())
    }

    fn gate_lost(&mut self, event: &pb::GateLost) -> Result<(), ApplyError> {
        self.fleet.forget(event.gate);
        let now = self.now_ms;
        let Some(run) = self.landing.gates.remove(&GateId(event.gate)) else {
            return Err(ApplyError::Missing { what: "gate", id: event.gate });
        };
        if let Some(batch) = self.landing.batch.as_mut().filter(|batch| batch.id == run.batch) {
            let control = run.purpose == i32::from(pb::GatePurpose::Control);
            batch.step = if control { Step::Red } else { Step::NeedsGate { not_before_ms: now } };
        }
        Ok(())
    }

    fn batch_opened(&mut self, event: &pb::BatchOpened) -> Result<(), ApplyError> {
        let id = BatchId(event.batch);
        self.last_batch = self.last_batch.max(event.batch);
        let members: Vec<NodeId> = event.members.iter().map(|&node| self.known(node)).collect::<Result<_, _>>()?;
        let group =
            members.first().is_some_and(|&node| self.group_of(node).is_some_and(|group| group.order.contains(&node)));
        for &node in &members {
            let Phase::Delivered { candidate, .. } = self.subtask(node).phase().clone() else {
                let from = self.subtask(node).phase().kind();
                return Err(Illegal { node, from, by: Move::Batch }.into());
            };
            self.shift(node, Move::Batch, Phase::Landing { batch: id, candidate })?;
            self.drop_from_queues(node);
        }
        self.landing.batch = Some(Batch {
            id,
            members,
            commits: Vec::new(),
            merge: Merge { commit: Oid::ZERO, tree: Oid::ZERO },
            tip: Oid::from_bytes(&event.tip)?,
            bisecting: event.bisecting,
            group,
            step: Step::Merging,
            reds: Vec::new(),
            green: None,
            inconclusive: 0,
            control_reds: 0,
        });
        Ok(())
    }

    fn batch_mut(&mut self, id: u64) -> Result<&mut Batch, ApplyError> {
        let found = self.landing.batch.as_mut().filter(|batch| batch.id.0 == id);
        found.ok_or(ApplyError::Missing { what: "batch", id })
    }

    fn step(&mut self, id: u64, step: Step) -> Result<(), ApplyError> {
        self.batch_mut(id)?.step = step;
        Ok(())
    }

    fn batch_merged(&mut self, event: &pb::BatchMerged) -> Result<(), ApplyError> {
        let now = self.now_ms;
        let commits = event.commits.iter().map(|commit| Oid::from_bytes(commit)).collect::<Result<_, _>>()?;
        let merge = Merge { commit: Oid::from_bytes(&event.merge)?, tree: Oid::from_bytes(&event.tree)? };
        let batch = self.batch_mut(event.batch)?;
        (batch.commits, batch.merge) = (commits, merge);
        batch.step = Step::NeedsGate { not_before_ms: now };
        Ok(())
    }

    fn batch_sealed(&mut self, event: &pb::BatchSealed) -> Result<(), ApplyError> {
        let merge = Merge { commit: Oid::from_bytes(&event.merge)?, tree: Oid::from_bytes(&event.tree)? };
        let batch = self.batch_mut(event.batch)?;
        (batch.merge, batch.step) = (merge, Step::Green);
        Ok(())
    }

    fn member_conflicted(&mut self, event: &pb::MemberConflicted) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        if event.batch != 0 {
            self.batch_mut(event.batch)?.members.retain(|&member| member != node);
        }
        let failure = pb::Failure {
            class: FailureClass::Conflict.into(),
            message: format!("its change conflicts with what landed meanwhile, in {}", event.paths.join(", ")),
            detail: String::new(),
            paths: event.paths.clone(),
        };
        self.turn_away(node, failure, event.next(), event.park, event.not_before_ms)
    }

    fn member_rejected(&mut self, event: &pb::MemberRejected) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.landing.batch_size = 1;
        let failure = pb::Failure {
            class: FailureClass::Gate.into(),
            message: "the gate is red with its change and green without it".to_owned(),
            detail: event.detail.clone(),
            paths: Vec::new(),
        };
        self.turn_away(node, failure, event.next(), event.park, event.not_before_ms)
    }

    /// A result that cannot land as it is. A rejected revert leaves its subtask landed.
    fn turn_away(
        &mut self,
        node: NodeId,
        failure: pb::Failure,
        next: Next,
        park: u64,
        until_ms: Millis,
    ) -> Result<(), ApplyError> {
        let class = failure.class();
        *self.failures.entry(class.into()).or_insert(0) += 1;
        let reverts = self.subtask(node).phase().candidate().and_then(|candidate| candidate.reverts.clone());
        let text = failure.message.clone();
        let subtask = &mut self.subtasks[node.index()];
        subtask.last_failure = Some(Box::new(failure));
        if let Some(landed) = reverts {
            subtask.summary = format!("its revert was refused: {text}");
            self.missing_again(node, 1);
            self.shift(node, Move::KeepLanded, Phase::Landed(landed))?;
            return Ok(());
        }
        subtask.rejections += 1;
        // A staged group member conflicts before any batch: it is delivered, not landing.
        if let Phase::Delivered { candidate, .. } = self.subtask(node).phase().clone() {
            self.drop_from_queues(node);
            self.shift(node, Move::Batch, Phase::Landing { batch: BatchId(0), candidate })?;
        }
        self.follow(node, next, park, until_ms, retry::park_reason(class), text)
    }

    /// Dependents counted a landed node already; entering `Landed` again would count it twice.
    fn missing_again(&mut self, node: NodeId, by: u32) {
        let after: Vec<NodeId> =
            self.graph.dependents(node).filter(|&dependent| !self.same_group(node, dependent)).collect();
        for dependent in after {
            self.subtasks[dependent.index()].missing += by;
        }
    }

    fn batch_closed(&mut self, event: &pb::BatchClosed) -> Result<(), ApplyError> {
        let id = BatchId(event.batch);
        let Some(batch) = self.landing.batch.take_if(|batch| batch.id == id) else {
            return Err(ApplyError::Missing { what: "batch", id: event.batch });
        };
        let mut open = Vec::new();
        for &node in &batch.members {
            let Phase::Landing { batch: of, candidate } = self.subtask(node).phase().clone() else { continue };
            if of == id {
                // A group's staging heads are made anew: the tip may have moved.
                self.shift(node, Move::Unbatch, Phase::Delivered { candidate, staged: None })?;
                open.push(node);
            }
        }
        let gates: Vec<GateId> =
            self.landing.gates.iter().filter(|(_, run)| run.batch == id).map(|(&gate, _)| gate).collect();
        for gate in gates {
            self.landing.gates.remove(&gate);
            self.fleet.forget(gate.0);
        }
        match event.end() {
            BatchEnd::Split => {
                let right = open.split_off(open.len().div_ceil(2));
                // The left half is tried first, so it goes on top.
                self.landing.segments.extend([right, open].into_iter().filter(|half| !half.is_empty()));
                self.landing.batch_size = 1;
            }
            _ if batch.group => open.into_iter().for_each(|node| self.enqueue(node)),
            _ => open.into_iter().rev().for_each(|node| self.landing.queue.push_front(node)),
        }
        Ok(())
    }

    fn landed(&mut self, event: &pb::Landed) -> Result<(), ApplyError> {
        let commit = Oid::from_bytes(&event.commit)?;
        let batch = self.batch_mut(event.batch)?.clone();
        self.landing.batch = None;
        self.landing.tip = commit;
        self.landing.control_green = Some(commit);
        self.landing.landings += 1;
        self.landing.final_gate = FinalGate::Open;
        let most = self.plan.gate.as_ref().map_or(1, |gate| gate.batch.max(1));
        self.landing.batch_size = (self.landing.batch_size.max(1) * 2).min(most);
        let gate = batch.green.as_ref().map_or(GateId(0), |green| green.gate);
        for (&node, &own) in batch.members.iter().zip(&batch.commits) {
            let Phase::Landing { candidate, .. } = self.subtask(node).phase().clone() else { continue };
            if candidate.reverts.is_some() {
                let reason = "reverted on request".to_owned();
                let to = Phase::Closed { outcome: Outcome::Reverted.into(), reason };
                self.missing_again(node, 1);
                self.shift(node, Move::FinishRevert, to)?;
                continue;
            }
            let landed = Landed {
                candidate,
                batch: batch.id,
                commit: own,
                merge: batch.merge.commit,
                gate,
                flaky: !batch.reds.is_empty(),
                at_ms: self.now_ms,
            };
            self.shift(node, Move::Land, Phase::Landed(Box::new(landed)))?;
        }
        Ok(())
    }
}
