//! What becomes of a subtask after a failure: again, parked, or a spare in its place.
//!
//! Failures of the infrastructure and of providers cost no attempt, up to a limit of their own, and
//! teach an agent nothing: what it is told is the last failure that was its own. A ladder of
//! codemods alone gives the same result on the same base, so its own failures are not retried.

use longhaul_common::NodeId;
use longhaul_proto::{Failure, FailureClass, Next, ParkReason};

use super::{Millis, State, provider};

/// Limits of retrying, all in one place.
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Infrastructure failures in a row before the subtask is parked.
    pub const INFRA_MAX: u32 = 8;
    /// Limits of providers run into in a row before the subtask is parked.
    pub const PROVIDER_WAITS_MAX: u32 = 50;
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

/// After an attempt that failed.
pub(super) fn after_failure(state: &State, node: NodeId, failure: &Failure, now: Millis) -> Decision {
    let class = failure.class();
    let subtask = state.subtask(node);
    let task = state.task(node);
    if !subtask.spares.is_empty() {
        // A valid result is there already: it is taken instead of another attempt.
        return again(now);
    }
    match class {
        _ if is_nobodys(class) => again(now),
        FailureClass::ProviderLimit if subtask.provider_waits + 1 >= Limits::PROVIDER_WAITS_MAX => park(state),
        FailureClass::ProviderLimit => again(provider::until(failure, now)),
        _ if !costs_attempt(class) => {
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
pub(super) fn after_rejection(state: &State, node: NodeId, now: Millis) -> Decision {
    let subtask = state.subtask(node);
    if !subtask.spares.is_empty() {
        return Decision { next: Next::PromoteSpare, not_before_ms: 0, park: 0 };
    }
    let most = Limits::REJECTIONS_MAX.min(state.task(node).max_attempts.max(1));
    if subtask.rejections + 1 >= most { park(state) } else { again(now) }
}

pub(super) fn again(not_before_ms: Millis) -> Decision {
    Decision { next: Next::Retry, not_before_ms, park: 0 }
}

pub(super) fn park(state: &State) -> Decision {
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
        FailureClass::Provider | FailureClass::ProviderLimit => ParkReason::Provider,
        FailureClass::Asked => ParkReason::Ask,
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
            | FailureClass::Provider
            | FailureClass::ProviderLimit
            | FailureClass::Sandbox
            | FailureClass::Asked
            | FailureClass::Split
    )
}

/// Whether an agent that is told of it may do better: what failed was in its own hands.
pub(super) fn teaches(class: FailureClass) -> bool {
    costs_attempt(class)
}

/// Whether it speaks against the worker it happened on.
pub(super) fn is_workers(class: FailureClass) -> bool {
    !is_nobodys(class)
        && !matches!(
            class,
            FailureClass::Provider | FailureClass::ProviderLimit | FailureClass::Asked | FailureClass::Split
        )
}

/// Whether it says anything about how the job goes: not what a person ended, a worker that left, a
/// limit that is waited for or a question.
pub(super) fn is_telling(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Cancelled
            | FailureClass::HandedBack
            | FailureClass::ProviderLimit
            | FailureClass::Asked
            | FailureClass::Split
    )
}

/// A class in a sentence, after "by".
pub(super) fn class_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Agent => "their agent",
        FailureClass::Check => "a check",
        FailureClass::Footprint => "writing outside their footprint",
        FailureClass::Protected => "touching protected paths",
        FailureClass::Result => "a result that can be no patch",
        FailureClass::Setup => "the set-up",
        FailureClass::DiskFull => "a full disk",
        FailureClass::Provider => "a model's provider",
        FailureClass::Sandbox => "the sandbox",
        FailureClass::Conflict => "a conflict",
        FailureClass::Gate => "the gate",
        _ => "the infrastructure",
    }
}

/// Whether a class is no failure of anybody: a worker that left gave its work back.
pub(super) fn is_nobodys(class: FailureClass) -> bool {
    class == FailureClass::HandedBack
}
