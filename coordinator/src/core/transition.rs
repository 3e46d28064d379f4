//! The transition table of subtasks: where one may go from where it is, and by what.
//!
//! An illegal transition is a value ([`Illegal`]): a damaged or foreign journal is reported, not
//! followed.

use longhaul_common::NodeId;

/// Where a subtask may go from where it is. Everything absent is illegal.
pub(super) fn next(from: PhaseKind, by: Move) -> Option<PhaseKind> {
    use Move as M;
    use PhaseKind as P;
    Some(match (from, by) {
        (P::Waiting, M::Unblock) => P::Ready,
        (P::Ready | P::Backoff, M::Block) => P::Waiting,
        (P::Ready | P::Backoff, M::Assign) => P::Running,
        (P::Running, M::Lose) => P::Ready,
        (P::Running, M::Split) => P::Waiting,
        // Ready or Backoff: a lost attempt that finished after all, before anyone else began.
        (P::Running | P::Ready | P::Backoff, M::Deliver) => P::Delivered,
        (P::Running, M::FindUnchanged) => P::Unchanged,
        (P::Running | P::Landing, M::Postpone) => P::Backoff,
        (P::Running | P::Landing, M::Park) => P::Parked,
        // Work that took its workers down with it.
        // Or has used up its own budget.
        (P::Ready | P::Backoff, M::Park) => P::Parked,
        (P::Parked, M::Wake) => P::Ready,
        (P::Delivered, M::Batch) => P::Landing,
        (P::Landing, M::Unbatch | M::Promote) => P::Delivered,
        (P::Landing, M::Land) => P::Landed,
        (P::Landing, M::KeepLanded) => P::Landed,
        (P::Landing, M::FinishRevert) => P::Closed,
        (P::Landed, M::Revert) => P::Delivered,
        (P::Parked | P::Closed, M::Retry) => P::Ready,
        (P::Waiting | P::Ready | P::Backoff | P::Running | P::Delivered | P::Landing | P::Parked, M::Close) => {
            P::Closed
        }
        _ => return None,
    })
}

/// What moves a subtask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// Its last dependency landed.
    Unblock,
    /// A dependency that was settled is to be done again.
    Block,
    /// A worker got it.
    Assign,
    /// The lease ended without a result.
    Lose,
    /// Its agent had it split: it waits for its parts.
    Split,
    /// A valid result arrived.
    Deliver,
    /// There was nothing to change.
    FindUnchanged,
    /// To be tried again, not before a time.
    Postpone,
    /// Waits for a person or a condition.
    Park,
    /// The park is over.
    Wake,
    /// Its result joined a batch.
    Batch,
    /// The batch ended without a verdict on it.
    Unbatch,
    /// The batch moved the branch.
    Land,
    /// Its candidate was rejected and a spare takes its place.
    Promote,
    /// A revert of it was rejected: it stays landed.
    KeepLanded,
    /// A revert of it landed.
    FinishRevert,
    /// A person asked to revert it.
    Revert,
    /// A person asked to try again.
    Retry,
    /// Failed, skipped or cancelled.
    Close,
}

/// The name of a phase, without its data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "documented at the variants of Phase")]
pub enum PhaseKind {
    Waiting,
    Ready,
    Backoff,
    Running,
    Delivered,
    Landing,
    Parked,
    Landed,
    Unchanged,
    Closed,
}

impl PhaseKind {
    /// All of them, for tests that walk the table.
    pub const ALL: [Self; 10] = [
        Self::Waiting,
        Self::Ready,
        Self::Backoff,
        Self::Running,
        Self::Delivered,
        Self::Landing,
        Self::Parked,
        Self::Landed,
        Self::Unchanged,
        Self::Closed,
    ];

    /// Whether nothing more will happen to it by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Landed | Self::Unchanged | Self::Closed)
    }
}

impl Move {
    /// All of them, for tests that walk the table.
    pub const ALL: [Self; 19] = [
        Self::Unblock,
        Self::Block,
        Self::Assign,
        Self::Lose,
        Self::Split,
        Self::Deliver,
        Self::FindUnchanged,
        Self::Postpone,
        Self::Park,
        Self::Wake,
        Self::Batch,
        Self::Unbatch,
        Self::Land,
        Self::Promote,
        Self::KeepLanded,
        Self::FinishRevert,
        Self::Revert,
        Self::Retry,
        Self::Close,
    ];
}

/// A transition that is not in the table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("subtask {node} is {from:?} and cannot be moved by {by:?}")]
pub struct Illegal {
    /// Which one.
    pub node: NodeId,
    /// Where it is.
    pub from: PhaseKind,
    /// What was to move it.
    pub by: Move,
}
