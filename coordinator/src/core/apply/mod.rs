//! Applying decided events: the only code that changes the state, and it decides nothing.

mod books;
mod landing;
mod plans;
mod split;
mod work;

use longhaul_common::NodeId;
use longhaul_common::id::BadOid;

use super::graph::GraphError;
use super::landing::Step;
use super::state::{JobPhase, State};
use super::subtask::Phase;
use super::transition::{Illegal, Move};
use super::{Event, Millis};

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
            Event::Held(event) => self.held_back(event),
            Event::Unchanged(event) => self.unchanged(event),
            Event::AttemptFailed(event) => self.attempt_failed(event),
            Event::AttemptAsked(event) => self.attempt_asked(event),
            Event::AttemptTold(event) => self.attempt_told(event),
            Event::Split(event) => self.split_off(event),
            Event::Parked(event) => self.parked(event),
            Event::Woken(event) => self.woken(event),
            Event::Decided(event) => self.decided(event),
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
            Event::JobPaused(event) => self.job_paused(event),
            Event::JobResumed(_) => self.job_resumed(),
            Event::LimitsChanged(event) => {
                self.limits = event.budget.unwrap_or_default();
                Ok(())
            }
            Event::JobClosed(event) => {
                self.job_phase = JobPhase::Closed { outcome: event.outcome, reason: event.reason.clone() };
                self.closed_ms = at_ms;
                Ok(())
            }
            Event::SpendSettled(event) => self.spend_settled(event),
            Event::WipSaved(event) => self.wip_saved(event),
            Event::WorkerQuarantined(event) => self.worker_quarantined(event),
            Event::WorkerReleased(event) => self.worker_released(event),
            Event::Unenforced(event) => {
                self.unenforced.insert((event.worker.clone(), event.what.clone()));
                Ok(())
            }
            // For the record: what it led to are events of their own.
            Event::Audited(_) => Ok(()),
            Event::Recovered(event) => {
                self.idle_ms += event.downtime_ms;
                Ok(())
            }
        }
    }

    fn job_paused(&mut self, event: &longhaul_proto::JobPaused) -> Result<(), ApplyError> {
        self.job_phase = JobPhase::Paused { reason: event.reason.clone(), by_budget: event.by_budget };
        self.landing.blocked |= event.command_failed;
        self.recent.paused(event.by_breaker);
        Ok(())
    }

    /// Time between the end of a job and its next beginning is not worked on.
    pub(super) fn reopen(&mut self) {
        if self.closed_ms > 0 {
            self.idle_ms += u64::try_from(self.now_ms - self.closed_ms).unwrap_or(0);
        }
        self.closed_ms = 0;
    }

    fn job_resumed(&mut self) -> Result<(), ApplyError> {
        self.job_phase = JobPhase::Open;
        self.reopen();
        self.recent.resumed();
        self.landing.forget_verdicts();
        Ok(())
    }

    fn worker_quarantined(&mut self, event: &longhaul_proto::WorkerQuarantined) -> Result<(), ApplyError> {
        self.infirmary.quarantine(event);
        Ok(())
    }

    fn worker_released(&mut self, event: &longhaul_proto::WorkerReleased) -> Result<(), ApplyError> {
        self.infirmary.release(&event.worker);
        Ok(())
    }

    /// The one place where a subtask's phase changes.
    pub(super) fn shift(&mut self, node: NodeId, by: Move, to: Phase) -> Result<Phase, Illegal> {
        let now = self.now_ms;
        let subtask = &mut self.subtasks[node.index()];
        let left = subtask.transition(node, by, to)?;
        if matches!(left, Phase::Parked { .. }) {
            subtask.asked = None;
        }
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

    pub(super) fn known(&self, node: u32) -> Result<NodeId, ApplyError> {
        if (node as usize) < self.subtasks.len() {
            Ok(NodeId(node))
        } else {
            Err(ApplyError::Missing { what: "subtask", id: u64::from(node) })
        }
    }
}
