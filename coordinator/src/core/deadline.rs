//! Winding down by a time of day: nothing is begun that cannot end before, what still runs then is
//! taken back with its saved work, and what was delivered is still gated and landed.

use longhaul_proto::{JobPaused, LeaseExpired};

use super::{Event, JobPhase, Millis, State};

/// Whether an attempt that begins now would end after the deadline, by the median of those before;
/// as long as nothing is known of their times, whether the deadline has passed.
pub(super) fn is_too_late(state: &State, now: Millis) -> bool {
    let deadline = state.limits().deadline_ms;
    let takes = state.recent.median_ms().and_then(|ms| Millis::try_from(ms).ok()).unwrap_or_default();
    deadline > 0 && now.saturating_add(takes) >= deadline
}

/// The pause at the end of the time, and the end of each attempt that is still running then.
pub(super) fn advance(state: &State, now: Millis) -> Option<Event> {
    if !is_too_late(state, now) {
        return None;
    }
    let passed = now >= state.limits().deadline_ms;
    if *state.job_phase() == JobPhase::Open {
        let counts = state.counts();
        let open = counts.waiting + counts.ready + counts.backoff + counts.running;
        let due = open > 0 && (passed || state.attempts().is_empty());
        return due.then(|| {
            let reason = match passed {
                true => "the deadline has passed",
                false => "nothing more can end before the deadline",
            };
            let reason = format!("{reason}; `longhaul resume` goes on without one");
            Event::JobPaused(JobPaused { reason, by_budget: true, ..JobPaused::default() })
        });
    }
    let (id, live) = state.attempts().iter().next().filter(|_| passed)?;
    Some(Event::LeaseExpired(LeaseExpired {
        attempt: id.0,
        node: live.node.0,
        why: "the deadline has passed".to_owned(),
        handed_back: true,
    }))
}

/// When the state changes by itself for the deadline's sake.
pub(super) fn next_ms(state: &State) -> Option<Millis> {
    Some(state.limits().deadline_ms).filter(|&deadline| deadline > 0)
}
