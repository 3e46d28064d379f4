//! Batches in the state: gates, merges, conflicts, convictions, landings, reverts.

use longhaul_common::coverage::is_proven;
use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use longhaul_proto as pb;
use longhaul_proto::{BatchEnd, FailureClass, Next, Outcome};

use super::ApplyError;
use crate::core::gate::LostGates;
use crate::core::landing::{Batch, FinalGate, GateRun, Judged, Step};
use crate::core::retry;
use crate::core::state::State;
use crate::core::subtask::{Candidate, Landed, Phase};
use crate::core::transition::{Illegal, Move};
use crate::core::{Merge, Millis};

/// Tells gates from subtasks (and from each other) among a worker's failures.
fn gate_mark(gate: u64) -> u32 {
    u32::MAX - u32::try_from(gate % (1 << 16)).unwrap_or(0)
}

impl State {
    pub(super) fn revert_asked(&mut self, event: &pb::RevertAsked) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let Phase::Landed(landed) = self.subtask(node).phase().clone() else {
            let from = self.subtask(node).phase().kind();
            return Err(Illegal { node, from, by: Move::Revert }.into());
        };
        let patch = Box::new(event.patch.clone().unwrap_or_default());
        let candidate = Candidate { attempt: AttemptId(0), worker: String::new(), patch, reverts: Some(landed) };
        self.shift(node, Move::Revert, Phase::Delivered { candidate, staged: None })?;
        self.landing.queue.push_back(node);
        // Saved work stands on a base that holds what is taken back.
        self.subtasks.iter_mut().for_each(|subtask| subtask.wip = None);
        Ok(())
    }

    pub(super) fn staged(&mut self, event: &pb::Staged) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let commit = Oid::from_bytes(&event.commit)?;
        let from = self.subtask(node).phase().kind();
        match &mut self.subtasks[node.index()].phase_mut() {
            Phase::Delivered { staged, .. } => *staged = Some(commit),
            _ => return Err(Illegal { node, from, by: Move::Deliver }.into()),
        }
        Ok(())
    }

    pub(super) fn gate_asked(&mut self, event: &pb::GateAsked) -> Result<(), ApplyError> {
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

    pub(super) fn gate_done(&mut self, event: &pb::GateDone) -> Result<(), ApplyError> {
        let gate = GateId(event.gate);
        self.fleet.forget(event.gate);
        let Some(run) = self.landing.gates.remove(&gate) else {
            return Err(ApplyError::Missing { what: "gate", id: event.gate });
        };
        let judged = Judged { gate, result: event.result.clone().unwrap_or_default(), duration_ms: event.duration_ms };
        let now = self.now_ms;
        // Green, red and a time-out are verdicts on the tree; everything else is on the worker.
        if judged.result.verdict() == pb::Verdict::Inconclusive && !judged.result.timed_out {
            self.infirmary.failed(&run.worker, gate_mark(event.gate), &judged.result.reason);
        } else {
            self.infirmary.succeeded(&run.worker);
        }
        self.landing.record(&run, judged, now);
        Ok(())
    }

    pub(super) fn gate_lost(&mut self, event: &pb::GateLost) -> Result<(), ApplyError> {
        let now = self.now_ms;
        let Some(run) = self.landing.gates.remove(&GateId(event.gate)) else {
            return Err(ApplyError::Missing { what: "gate", id: event.gate });
        };
        self.fleet.lost(event.gate, &run.worker, now);
        if !event.handed_back {
            self.landing.lost.add(now);
        }
        if let Some(batch) = self.landing.batch.as_mut().filter(|batch| batch.id == run.batch) {
            let control = run.purpose == i32::from(pb::GatePurpose::Control);
            batch.step = if control { Step::Red } else { Step::NeedsGate { not_before_ms: now } };
        }
        Ok(())
    }

    pub(super) fn batch_opened(&mut self, event: &pb::BatchOpened) -> Result<(), ApplyError> {
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

    pub(super) fn batch_mut(&mut self, id: u64) -> Result<&mut Batch, ApplyError> {
        let found = self.landing.batch.as_mut().filter(|batch| batch.id.0 == id);
        found.ok_or(ApplyError::Missing { what: "batch", id })
    }

    pub(super) fn step(&mut self, id: u64, step: Step) -> Result<(), ApplyError> {
        self.batch_mut(id)?.step = step;
        Ok(())
    }

    pub(super) fn batch_merged(&mut self, event: &pb::BatchMerged) -> Result<(), ApplyError> {
        let now = self.now_ms;
        let commits = event.commits.iter().map(|commit| Oid::from_bytes(commit)).collect::<Result<_, _>>()?;
        let merge = Merge { commit: Oid::from_bytes(&event.merge)?, tree: Oid::from_bytes(&event.tree)? };
        let batch = self.batch_mut(event.batch)?;
        (batch.commits, batch.merge) = (commits, merge);
        batch.step = Step::NeedsGate { not_before_ms: now };
        Ok(())
    }

    pub(super) fn batch_sealed(&mut self, event: &pb::BatchSealed) -> Result<(), ApplyError> {
        let merge = Merge { commit: Oid::from_bytes(&event.merge)?, tree: Oid::from_bytes(&event.tree)? };
        let batch = self.batch_mut(event.batch)?;
        (batch.merge, batch.step) = (merge, Step::Green);
        Ok(())
    }

    pub(super) fn member_conflicted(&mut self, event: &pb::MemberConflicted) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        if event.batch != 0 {
            self.batch_mut(event.batch)?.members.retain(|&member| member != node);
        }
        let failure = pb::Failure {
            class: FailureClass::Conflict.into(),
            message: format!("its change conflicts with what landed meanwhile, in {}", event.paths.join(", ")),
            paths: event.paths.clone(),
            ..pb::Failure::default()
        };
        self.turn_away(node, failure, event.next(), event.park, event.not_before_ms)
    }

    pub(super) fn member_rejected(&mut self, event: &pb::MemberRejected) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        self.landing.batch_size = 1;
        let failure = pb::Failure {
            class: FailureClass::Gate.into(),
            message: "the gate is red with its change and green without it".to_owned(),
            detail: event.detail.clone(),
            ..pb::Failure::default()
        };
        self.turn_away(node, failure, event.next(), event.park, event.not_before_ms)
    }

    /// A result that cannot land as it is. A rejected revert leaves its subtask landed.
    pub(super) fn turn_away(
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
        subtask.lesson = Some(Box::new(failure.clone()));
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
    pub(super) fn missing_again(&mut self, node: NodeId, by: u32) {
        let after: Vec<NodeId> =
            self.graph.dependents(node).filter(|&dependent| !self.same_group(node, dependent)).collect();
        for dependent in after {
            self.subtasks[dependent.index()].missing += by;
        }
    }

    pub(super) fn batch_closed(&mut self, event: &pb::BatchClosed) -> Result<(), ApplyError> {
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
        if event.end() != BatchEnd::Halted {
            // The next batch's gate runs on something else.
            self.landing.lost = LostGates::default();
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

    pub(super) fn landed(&mut self, event: &pb::Landed) -> Result<(), ApplyError> {
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
        let coverage = batch.green.as_ref().and_then(|green| green.result.coverage.as_ref());
        self.landing.proven += u32::from(coverage.is_some_and(is_proven));
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
