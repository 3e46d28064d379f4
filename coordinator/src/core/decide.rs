//! What an input means: the events it leads to at once. What follows from them is `advance`'s.

use longhaul_common::text::clip_head;
use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use longhaul_proto as pb;
use longhaul_proto::{BatchEnd, FailureClass, Next, finished};

use super::input::{Input, MemberMerge, Merge, MoveResult};
use super::request::{Refusal, is_closed, requested};
use super::spend::Amount;
use super::{Event, Millis, Phase, PhaseKind, State, Step, asked, provider, retry, split};

/// Largest session of an agent that is journaled and handed on, in bytes.
pub const SESSION_BYTES_MAX: usize = 300_000;

/// Workers, each with what its sandbox did not enforce, that a job remembers; and bytes of the words.
pub const UNENFORCED_MAX: usize = 32;

const UNENFORCED_BYTES_MAX: usize = 1_000;

/// The events an input leads to. A stale input leads to none.
pub fn decide(state: &State, now: Millis, input: &Input) -> Result<Vec<Event>, Refusal> {
    Ok(match input {
        Input::Presence { .. } | Input::Tick | Input::Deaf { .. } => Vec::new(),
        Input::Asking { worker, id, asking } => asked::asking(state, worker, AttemptId(*id), asking),
        Input::Wip { id, wip } => wip_event(state, *id, wip).into_iter().collect(),
        Input::Finished { id, finished } => {
            let what_came = finished_events(state, now, *id, finished);
            what_came.into_iter().chain(unenforced(state, *id, finished)).collect()
        }
        Input::Merged { batch, members, merge } => merged(state, now, *batch, members, merge.as_ref()),
        Input::Staged { generation, .. } if *generation != state.generation() => Vec::new(),
        Input::Staged { node, result, .. } => staged(state, now, *node, result).into_iter().collect(),
        Input::Sealed { batch, merge } => sealed(state, *batch, merge),
        Input::RefMoved { batch, result } => ref_moved(state, *batch, result),
        Input::CommandFailed { reason } => failed_command(state, reason),
        Input::Gap { ms } => vec![Event::Recovered(pb::Recovered { downtime_ms: *ms, ..pb::Recovered::default() })],
        Input::Request(request) => return requested(state, now, request),
    })
}

/// A report; one of an attempt that was lost is the end of its lease, and what it had used.
fn finished_events(state: &State, now: Millis, id: u64, report: &pb::Finished) -> Vec<Event> {
    let live = state.attempts.get(&AttemptId(id)).filter(|_| report.lost);
    let Some(live) = live else { return finished_event(state, now, id, report).into_iter().collect() };
    let why = format!("{} was ended while it was at work", live.worker);
    let expired = pb::LeaseExpired { attempt: id, node: live.node.0, why, handed_back: false };
    let settled = pb::SpendSettled { attempt: id, usage: report.usage, written_off_by: String::new() };
    vec![Event::LeaseExpired(expired), Event::SpendSettled(settled)]
}

fn finished_event(state: &State, now: Millis, id: u64, report: &pb::Finished) -> Option<Event> {
    if let Some(run) = state.landing.gates.get(&GateId(id)) {
        if let Some(finished::Outcome::Failure(failure)) = &report.outcome
            && retry::is_nobodys(failure.class())
        {
            return Some(Event::GateLost(pb::GateLost { gate: id, why: failure.message.clone(), handed_back: true }));
        }
        let result = match &report.outcome {
            Some(finished::Outcome::Gate(result)) => result.clone(),
            other => inconclusive(other),
        };
        let duration_ms = u64::try_from(now - run.asked_ms).unwrap_or(0);
        return Some(Event::GateDone(pb::GateDone { gate: id, result: Some(result), duration_ms }));
    }
    let attempt = AttemptId(id);
    if let Some(live) = state.attempts.get(&attempt) {
        return Some(attempt_event(state, now, id, (live.node, live.base), report));
    }
    // A lost lease that finished after all: wanted while its node is open.
    let wanted = late_result(state, now, id, report);
    wanted.or_else(|| late_usage(state, attempt, report))
}

/// What did not hold while it ran, if it is not known of this worker yet.
fn unenforced(state: &State, id: u64, report: &pb::Finished) -> Option<Event> {
    if report.unenforced.is_empty() || state.unenforced.len() >= UNENFORCED_MAX {
        return None;
    }
    let worker = state.attempts.get(&AttemptId(id)).map(|live| &live.worker);
    let worker = worker.or_else(|| state.landing.gates.get(&GateId(id)).map(|run| &run.worker));
    // One whose lease was lost may land all the same.
    let worker = worker.or_else(|| state.lost.get(&AttemptId(id)).map(|lost| &lost.worker))?.clone();
    let said = (worker, clip_head(&report.unenforced, UNENFORCED_BYTES_MAX).to_owned());
    let is_new = !state.unenforced.contains(&said);
    let (worker, what) = said;
    is_new.then_some(Event::Unenforced(pb::Unenforced { id, worker, what }))
}

/// What an attempt used that is over and left it in doubt.
fn late_usage(state: &State, attempt: AttemptId, report: &pb::Finished) -> Option<Event> {
    let reserved = state.spend.unsettled(attempt)?.amount;
    let usage = report.usage.unwrap_or_default();
    // Where nothing was reserved, only what was used is worth a record.
    if reserved.is_zero() && Amount::from(usage).is_zero() {
        return None;
    }
    let usage = Some(usage);
    Some(Event::SpendSettled(pb::SpendSettled { attempt: attempt.0, usage, written_off_by: String::new() }))
}

fn late_result(state: &State, now: Millis, id: u64, report: &pb::Finished) -> Option<Event> {
    let lost = state.lost.get(&AttemptId(id))?;
    let node = lost.node;
    let Some(finished::Outcome::Patch(patch)) = &report.outcome else { return None };
    if patch.base != lost.base.0 {
        return None;
    }
    match state.subtask(node).phase().kind() {
        PhaseKind::Ready | PhaseKind::Backoff => Some(attempt_event(state, now, id, (node, lost.base), report)),
        // There is another result or attempt: this one is not worth a person's time.
        _ if !patch.findings.is_empty() => None,
        PhaseKind::Running | PhaseKind::Delivered | PhaseKind::Landing | PhaseKind::Waiting | PhaseKind::Parked => {
            Some(Event::SpareKept(pb::SpareKept {
                attempt: id,
                node: node.0,
                patch: Some(patch.clone()),
                usage: report.usage,
            }))
        }
        _ => None,
    }
}

/// Work in progress counts only while its attempt is live.
fn wip_event(state: &State, id: u64, wip: &pb::Wip) -> Option<Event> {
    let live = state.attempts.get(&AttemptId(id)).filter(|_| wip.session.len() <= SESSION_BYTES_MAX)?;
    Some(Event::WipSaved(pb::WipSaved { attempt: id, node: live.node.0, wip: Some(wip.clone()) }))
}

fn inconclusive(outcome: &Option<finished::Outcome>) -> pb::GateResult {
    let reason = match outcome {
        Some(finished::Outcome::Failure(failure)) => failure.message.clone(),
        _ => "the worker sent no verdict".to_owned(),
    };
    let detail = match outcome {
        Some(finished::Outcome::Failure(failure)) => failure.detail.clone(),
        _ => String::new(),
    };
    pb::GateResult { verdict: pb::Verdict::Inconclusive.into(), reason, log_tail: detail, ..pb::GateResult::default() }
}

fn attempt_event(
    state: &State,
    now: Millis,
    attempt: u64,
    (node, base): (NodeId, Oid),
    report: &pb::Finished,
) -> Event {
    let (timing, usage) = (report.timing, report.usage);
    match &report.outcome {
        Some(finished::Outcome::Patch(patch)) if patch.base == base.0 && !patch.findings.is_empty() => {
            let (patch, park) = (Some(patch.clone()), state.next_park());
            Event::Held(pb::Held { attempt, node: node.0, patch, park, timing, usage })
        }
        Some(finished::Outcome::Patch(patch)) if patch.base == base.0 => {
            Event::Delivered(pb::Delivered { attempt, node: node.0, patch: Some(patch.clone()), timing, usage })
        }
        Some(finished::Outcome::Unchanged(unchanged)) => Event::Unchanged(pb::AttemptUnchanged {
            attempt,
            node: node.0,
            summary: unchanged.summary.clone(),
            timing,
            usage,
        }),
        other => {
            let failure = match other {
                Some(finished::Outcome::Failure(failure)) => failure.clone(),
                Some(finished::Outcome::Patch(_)) => foreign_base(),
                _ => pb::Failure {
                    class: FailureClass::Infrastructure.into(),
                    message: "the worker sent a report without a result".to_owned(),
                    ..pb::Failure::default()
                },
            };
            let failure = match split_or_not(state, (attempt, node), failure, report) {
                Ok(split) => return Event::Split(split),
                Err(failure) => bounded(*failure, now),
            };
            let decision = match failure.class() {
                FailureClass::Asked => asked::after_question(state, (AttemptId(attempt), node), &failure, now),
                _ => retry::after_failure(state, node, &failure, now),
            };
            Event::AttemptFailed(pb::AttemptFailed {
                attempt,
                node: node.0,
                failure: Some(failure),
                next: decision.next.into(),
                not_before_ms: decision.not_before_ms,
                park: decision.park,
                timing,
                usage,
            })
        }
    }
}

/// The split that a report asks for; otherwise its failure, which may be that it cannot be split so.
fn split_or_not(
    state: &State,
    at: (u64, NodeId),
    failure: pb::Failure,
    report: &pb::Finished,
) -> Result<pb::Split, Box<pb::Failure>> {
    if failure.class() != FailureClass::Split {
        return Err(Box::new(failure));
    }
    split::split(state, at, &failure.parts, report).map_err(|why| {
        let message = format!("it is not split as its agent asked: {why}");
        Box::new(pb::Failure { class: FailureClass::Agent.into(), message, ..pb::Failure::default() })
    })
}

/// A provider's time as it is waited for, whatever the report says.
fn bounded(failure: pb::Failure, now: Millis) -> pb::Failure {
    match failure.class() {
        FailureClass::ProviderLimit => pb::Failure { until_ms: provider::until(&failure, now), ..failure },
        _ => failure,
    }
}

/// What a worker of ours never does: a patch on another base than it was given.
fn foreign_base() -> pb::Failure {
    pb::Failure {
        class: FailureClass::Infrastructure.into(),
        message: "its patch is not on the base it was given".to_owned(),
        ..pb::Failure::default()
    }
}

fn merged(state: &State, now: Millis, id: BatchId, members: &[MemberMerge], merge: Option<&Merge>) -> Vec<Event> {
    let Some(batch) = state.batch(id).filter(|batch| batch.step == Step::Merging) else { return Vec::new() };
    let mut events = Vec::new();
    let mut park = state.next_park();
    for member in members {
        let Err(paths) = &member.result else { continue };
        let decision = retry::after_rejection(state, member.node, now);
        events.push(Event::MemberConflicted(pb::MemberConflicted {
            batch: id.0,
            node: member.node.0,
            paths: paths.clone(),
            next: decision.next.into(),
            park: if decision.next == Next::Park { park } else { 0 },
            not_before_ms: decision.not_before_ms,
        }));
        park += u64::from(decision.next == Next::Park);
    }
    // A group lands whole or not at all.
    let broken_group = batch.group && !events.is_empty();
    match merge.filter(|_| !broken_group) {
        Some(merge) => events.push(Event::BatchMerged(pb::BatchMerged {
            batch: id.0,
            merge: merge.commit.to_vec(),
            tree: merge.tree.to_vec(),
            commits: members.iter().filter_map(|member| member.result.as_ref().ok()).map(|oid| oid.to_vec()).collect(),
        })),
        None => events.push(Event::BatchClosed(pb::BatchClosed { batch: id.0, end: BatchEnd::Empty.into() })),
    }
    events
}

fn staged(state: &State, now: Millis, node: NodeId, result: &Result<Oid, Vec<String>>) -> Option<Event> {
    if !matches!(state.subtask(node).phase(), Phase::Delivered { staged: None, .. }) {
        return None;
    }
    Some(match result {
        Ok(commit) => Event::Staged(pb::Staged { node: node.0, commit: commit.to_vec() }),
        Err(paths) => {
            let decision = retry::after_rejection(state, node, now);
            Event::MemberConflicted(pb::MemberConflicted {
                batch: 0,
                node: node.0,
                paths: paths.clone(),
                next: decision.next.into(),
                park: decision.park,
                not_before_ms: decision.not_before_ms,
            })
        }
    })
}

fn sealed(state: &State, id: BatchId, merge: &Merge) -> Vec<Event> {
    let waits = state.batch(id).is_some_and(|batch| batch.step == Step::Sealing);
    let event =
        || Event::BatchSealed(pb::BatchSealed { batch: id.0, merge: merge.commit.to_vec(), tree: merge.tree.to_vec() });
    if waits { vec![event()] } else { Vec::new() }
}

fn ref_moved(state: &State, id: BatchId, result: &MoveResult) -> Vec<Event> {
    let Some(batch) = state.batch(id).filter(|batch| batch.step == Step::Moving) else { return Vec::new() };
    match result {
        MoveResult::Moved => {
            vec![Event::Landed(pb::Landed { batch: id.0, commit: batch.merge.commit.to_vec() })]
        }
        MoveResult::Foreign { found } => failed_command(
            state,
            &format!(
                "the integration branch is at {}, neither at {} nor at {}: somebody else moved it; \
                 nothing was overwritten. Put it back, then resume",
                found.short(),
                batch.tip.short(),
                batch.merge.commit.short()
            ),
        ),
    }
}

/// The batch waits where it is, and so does the job, until a person says that it is mended.
fn failed_command(state: &State, reason: &str) -> Vec<Event> {
    if state.landing.blocked || is_closed(state) {
        return Vec::new();
    }
    let reason = reason.to_owned();
    vec![Event::JobPaused(pb::JobPaused { reason, command_failed: true, ..pb::JobPaused::default() })]
}
