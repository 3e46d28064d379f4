//! The life of one subtask: the data each of its phases carries.

use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid, ParkId, sign};
use longhaul_proto::{Failure, Outcome, ParkReason, Patch, Question};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::retry::park_reason;
use super::transition::{Illegal, Move, PhaseKind, next};

/// A result on its way to the branch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// The attempt that made it; 0 for a revert.
    pub attempt: AttemptId,
    /// Who made it; empty for a revert and for what an earlier generation carried over.
    pub worker: String,
    /// The result. For a revert the landed change turned around.
    pub patch: Box<Patch>,
    /// Set when this takes back a landing: what to return to if it is rejected.
    pub reverts: Option<Box<Landed>>,
}

/// Work in progress of an attempt that did not end: the next one goes on from it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SavedWip {
    /// Whose it is.
    pub attempt: AttemptId,
    /// What that attempt started from: the next one starts there too.
    pub base: Oid,
    /// What was saved.
    pub wip: longhaul_proto::Wip,
}

/// Where and by what proof a result is on the branch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Landed {
    /// What landed.
    pub candidate: Candidate,
    /// The batch; 0 when carried from an earlier generation.
    pub batch: BatchId,
    /// Its own commit on the branch.
    pub commit: Oid,
    /// The gated first-parent merge that contains it.
    pub merge: Oid,
    /// The green gate.
    pub gate: GateId,
    /// The gate was also red once on the same tree.
    pub flaky: bool,
    /// When.
    pub at_ms: Millis,
}

/// Where a subtask stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// For dependencies that have not landed.
    Waiting,
    /// Can run as soon as a slot and its footprint are free.
    Ready,
    /// Ready again at a time.
    Backoff {
        /// Not before.
        until_ms: Millis,
    },
    /// An attempt holds the lease.
    Running {
        /// Which.
        attempt: AttemptId,
    },
    /// Checked and durable, waiting for a batch.
    Delivered {
        /// The result.
        candidate: Candidate,
        /// For a member of a land group: its commit on the group's staging head.
        staged: Option<Oid>,
    },
    /// In a batch.
    Landing {
        /// Which.
        batch: BatchId,
        /// The result.
        candidate: Candidate,
    },
    /// Waits for a person or a condition, holding neither slot nor footprint.
    Parked {
        /// Consumed by the first wake.
        park: ParkId,
        /// Why, as [`ParkReason`].
        reason: i32,
        /// Why, in words.
        text: String,
    },
    /// On the branch, with its proof.
    Landed(Box<Landed>),
    /// Closed: its checks pass and there is nothing to change.
    Unchanged,
    /// Closed without a result.
    Closed {
        /// As [`Outcome`].
        outcome: i32,
        /// In words a person can act on.
        reason: String,
    },
}

impl Phase {
    /// The name of the phase.
    pub fn kind(&self) -> PhaseKind {
        match self {
            Self::Waiting => PhaseKind::Waiting,
            Self::Ready => PhaseKind::Ready,
            Self::Backoff { .. } => PhaseKind::Backoff,
            Self::Running { .. } => PhaseKind::Running,
            Self::Delivered { .. } => PhaseKind::Delivered,
            Self::Landing { .. } => PhaseKind::Landing,
            Self::Parked { .. } => PhaseKind::Parked,
            Self::Landed(_) => PhaseKind::Landed,
            Self::Unchanged => PhaseKind::Unchanged,
            Self::Closed { .. } => PhaseKind::Closed,
        }
    }

    /// The state's name in reports and `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Backoff { .. } => "backoff",
            Self::Running { .. } => "running",
            Self::Delivered { .. } | Self::Landing { .. } => "landing",
            Self::Parked { .. } => "parked",
            Self::Landed(_) => "landed",
            Self::Unchanged => "unchanged",
            Self::Closed { outcome, .. } => match Outcome::try_from(*outcome) {
                Ok(Outcome::Skipped) => "skipped",
                Ok(Outcome::Cancelled) => "cancelled",
                Ok(Outcome::Reverted) => "reverted",
                _ => "failed",
            },
        }
    }

    /// The result it holds, landed or not.
    pub fn candidate(&self) -> Option<&Candidate> {
        match self {
            Self::Delivered { candidate, .. } | Self::Landing { candidate, .. } => Some(candidate),
            Self::Landed(landed) => Some(&landed.candidate),
            _ => None,
        }
    }

    /// Why it is parked.
    pub fn park_reason(&self) -> Option<ParkReason> {
        match self {
            Self::Parked { reason, .. } => ParkReason::try_from(*reason).ok(),
            _ => None,
        }
    }
}

/// A node of the plan in the state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Subtask {
    phase: Phase,
    /// Dependencies that have not landed.
    pub missing: u32,
    /// Executions begun, for people.
    pub attempts: u32,
    /// Executions that count against the limit since the last retry by a person.
    pub tries: u32,
    /// Infrastructure failures in a row.
    pub infra: u32,
    /// Leases lost in a row.
    pub losses: u32,
    /// Rejections by merge or gate since the last retry by a person.
    pub rejections: u32,
    /// Time spent in attempts.
    pub spent_ms: u64,
    /// Tokens used by all attempts.
    pub tokens: u64,
    /// Money used by all attempts.
    pub usd_micros: u64,
    /// First assignment; 0 before.
    pub started_ms: Millis,
    /// End of the last attempt; 0 before.
    pub finished_ms: Millis,
    /// Since when it could have run; 0 when it cannot.
    pub ready_ms: Millis,
    /// How the last attempt failed, for people.
    pub last_failure: Option<Box<Failure>>,
    /// The last failure that the next attempt can learn from, which is told it.
    pub lesson: Option<Box<Failure>>,
    /// Limits of providers run into in a row.
    pub provider_waits: u32,
    /// Later valid results, oldest first.
    pub spares: Vec<Candidate>,
    /// What a later attempt can go on from.
    pub wip: Option<Box<SavedWip>>,
    /// A person's remarks, newest last.
    pub remarks: Vec<String>,
    /// What a closed or landed attempt said about itself.
    pub summary: String,
    /// A person said yes to the pilot it was behind. Holds for later generations.
    pub approved: bool,
    /// While it is parked: what its agent asked.
    pub asked: Option<Box<Question>>,
}

impl Subtask {
    /// The result that waits for a person's yes.
    pub fn held(&self) -> Option<&Candidate> {
        self.spares.first().filter(|_| self.phase.park_reason() == Some(ParkReason::Approval))
    }

    /// The name of what it waits for a person with, or of the failure it is told of.
    pub fn sign(&self) -> &str {
        if let Some(held) = self.held() {
            return sign::plain(&held.patch.sign);
        }
        let tells = match &self.phase {
            Phase::Parked { reason, .. } => {
                self.last_failure.as_ref().is_some_and(|failure| *reason == i32::from(park_reason(failure.class())))
            }
            phase => matches!(phase, Phase::Backoff { .. } | Phase::Ready | Phase::Closed { .. }),
        };
        self.last_failure.as_ref().filter(|_| tells).map_or("", |failure| sign::plain(&failure.sign))
    }

    /// A subtask before anything happened to it.
    pub fn new(phase: Phase, missing: u32) -> Self {
        Self {
            phase,
            missing,
            attempts: 0,
            tries: 0,
            infra: 0,
            losses: 0,
            rejections: 0,
            spent_ms: 0,
            tokens: 0,
            usd_micros: 0,
            started_ms: 0,
            finished_ms: 0,
            ready_ms: 0,
            last_failure: None,
            lesson: None,
            provider_waits: 0,
            spares: Vec::new(),
            wip: None,
            remarks: Vec::new(),
            summary: String::new(),
            approved: false,
            asked: None,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The same subtask in another phase: for opening a plan, where there is no phase before.
    pub(super) fn with_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// For data inside a phase that changes without leaving it.
    pub(super) fn phase_mut(&mut self) -> &mut Phase {
        &mut self.phase
    }

    /// Moves it along the table and gives the phase it left. `to` must be the phase the table
    /// names; `Ready` and `Backoff` turn into `Waiting` while dependencies are missing.
    pub fn transition(&mut self, node: NodeId, by: Move, to: Phase) -> Result<Phase, Illegal> {
        let from = self.phase.kind();
        let illegal = || Illegal { node, from, by };
        let target = next(from, by).ok_or_else(illegal)?;
        let runs = matches!(to, Phase::Ready | Phase::Backoff { .. });
        let to = if runs && self.missing > 0 { Phase::Waiting } else { to };
        let may_wait = matches!(target, PhaseKind::Ready | PhaseKind::Backoff);
        let fits = to.kind() == target || (may_wait && to.kind() == PhaseKind::Waiting);
        if !fits {
            return Err(illegal());
        }
        Ok(std::mem::replace(&mut self.phase, to))
    }
}

/// The table, for tests.
#[cfg(test)]
pub(super) fn table(from: PhaseKind, by: Move) -> Option<PhaseKind> {
    next(from, by)
}
