//! What becomes of a subtask after a failure: again, parked, or a spare in its place.
//!
//! Infrastructure failures cost no attempt. A ladder of codemods alone gives the same result on
//! the same base, so its own failures are not retried.

use longhaul_common::NodeId;
use longhaul_proto::{FailureClass, Next, ParkReason};

use super::{Millis, State};

/// Limits of retrying, all in one place.
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Infrastructure failures in a row before the subtask is parked.
    pub const INFRA_MAX: u32 = 8;
    /// Leases lost in a row before the subtask is parked: it may be what takes its workers down.
    pub const LOSSES_MAX: u32 = 6;
    /// Infrastructure failures in a row before saved work in progress is given up.
    pub const INFRA_WITH_WIP_MAX: u32 = 2;
    /// First wait after an infrastructure failure; it doubles with each.
    pub const INFRA_WAIT_MS: Millis = 1_000;
    /// Longest wait.
    pub const WAIT_MS_MAX: Millis = 300_000;
    /// Wait before an attempt that failed is tried again: its cause is in the capsule already.
    pub const RETRY_WAIT_MS: Millis = 0;
    /// Rejections by merge or gate before the subtask is parked.
    pub const REJECTIONS_MAX: u32 = 3;
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decision {
    pub next: Next,
    pub not_before_ms: Millis,
    /// The park's id; 0 unless parked.
    pub park: u64,
}

/// After an attempt that failed by `class`.
pub(super) fn after_failure(state: &State, node: NodeId, class: FailureClass, now: Millis) -> Decision {
    let subtask = state.subtask(node);
    let task = state.task(node);
    if !subtask.spares.is_empty() {
        // A valid result is there already: it is taken instead of another attempt.
        return again(now);
    }
    match class {
        _ if is_nobodys(class) => again(now),
        FailureClass::Infrastructure | FailureClass::DiskFull | FailureClass::Cancelled | FailureClass::Setup => {
            if subtask.infra + 1 >= Limits::INFRA_MAX {
                return park(state);
            }
            let wait = (Limits::INFRA_WAIT_MS << subtask.infra.min(16)).min(Limits::WAIT_MS_MAX);
            again(now + wait)
        }
        FailureClass::Protected => park(state),
        _ if state.deterministic(node) => park(state),
        _ if subtask.tries + 1 >= task.max_attempts.max(1) => park(state),
        _ => again(now + Limits::RETRY_WAIT_MS),
    }
}

/// After a merge conflict or a conviction by the gate.
pub(super) fn after_rejection(state: &State, node: NodeId, _class: FailureClass, now: Millis) -> Decision {
    let subtask = state.subtask(node);
    if !subtask.spares.is_empty() {
        return Decision { next: Next::PromoteSpare, not_before_ms: 0, park: 0 };
    }
    let most = Limits::REJECTIONS_MAX.min(state.task(node).max_attempts.max(1));
    if subtask.rejections + 1 >= most { park(state) } else { again(now) }
}

fn again(not_before_ms: Millis) -> Decision {
    Decision { next: Next::Retry, not_before_ms, park: 0 }
}

fn park(state: &State) -> Decision {
    Decision { next: Next::Park, not_before_ms: 0, park: state.next_park() }
}

/// The park a failure class leads to.
pub(super) fn park_reason(class: FailureClass) -> ParkReason {
    match class {
        FailureClass::Conflict => ParkReason::Conflict,
        FailureClass::Gate => ParkReason::Gate,
        FailureClass::Protected => ParkReason::Protected,
        FailureClass::Footprint => ParkReason::Footprint,
        FailureClass::DiskFull => ParkReason::Disk,
        _ => ParkReason::Attempts,
    }
}

/// Whether a class counts against the subtask's attempts.
pub(super) fn costs_attempt(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Infrastructure
            | FailureClass::DiskFull
            | FailureClass::Cancelled
            | FailureClass::Setup
            | FailureClass::HandedBack
    )
}

/// Whether a class is no failure of anybody: a worker that left gave its work back.
pub(super) fn is_nobodys(class: FailureClass) -> bool {
    class == FailureClass::HandedBack
}
