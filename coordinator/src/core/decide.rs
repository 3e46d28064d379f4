//! What an input means: the events it leads to at once. What follows from them is `advance`'s.

use longhaul_common::{AttemptId, BatchId, GateId, NodeId};
use longhaul_proto as pb;
use longhaul_proto::{BatchEnd, FailureClass, Next, Outcome, finished};

use super::input::{Input, MemberMerge, Merge, MoveResult, Request};
use super::{Event, JobPhase, Millis, Phase, PhaseKind, State, Step, retry};

/// A request that cannot be met, said to the person who made it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The events an input leads to. A stale input leads to none.
pub fn decide(state: &State, now: Millis, input: &Input) -> Result<Vec<Event>, Refusal> {
    Ok(match input {
        Input::Presence { .. } | Input::Tick => Vec::new(),
        Input::Finished { id, finished } => finished_event(state, now, *id, finished).into_iter().collect(),
        Input::Merged { batch, members, merge } => merged(state, now, *batch, members, merge.as_ref()),
        Input::Staged { node, result } => staged(state, now, *node, result).into_iter().collect(),
        Input::Sealed { batch, merge } => sealed(state, *batch, merge),
        Input::RefMoved { batch, result } => ref_moved(state, *batch, result),
        Input::CommandFailed { reason } => failed_command(state, reason),
        Input::Gap { ms } => vec![Event::Recovered(pb::Recovered { downtime_ms: *ms, ..pb::Recovered::default() })],
        Input::Request(request) => return requested(state, request),
    })
}

fn finished_event(state: &State, now: Millis, id: u64, report: &pb::Finished) -> Option<Event> {
    if let Some(run) = state.landing.gates.get(&GateId(id)) {
        let result = match &report.outcome {
            Some(finished::Outcome::Gate(result)) => result.clone(),
            other => inconclusive(other),
        };
        let duration_ms = u64::try_from(now - run.asked_ms).unwrap_or(0);
        return Some(Event::GateDone(pb::GateDone { gate: id, result: Some(result), duration_ms }));
    }
    let attempt = AttemptId(id);
    if let Some(live) = state.attempts.get(&attempt) {
        return Some(attempt_event(state, now, id, live.node, report));
    }
    // A lost lease that finished after all: wanted while its node is open.
    let node = *state.lost.get(&attempt)?;
    let Some(finished::Outcome::Patch(patch)) = &report.outcome else { return None };
    match state.subtask(node).phase().kind() {
        PhaseKind::Ready | PhaseKind::Backoff => Some(attempt_event(state, now, id, node, report)),
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

fn attempt_event(state: &State, now: Millis, attempt: u64, node: NodeId, report: &pb::Finished) -> Event {
    let (timing, usage) = (report.timing, report.usage);
    match &report.outcome {
        Some(finished::Outcome::Patch(patch)) => {
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
                _ => pb::Failure {
                    class: FailureClass::Infrastructure.into(),
                    message: "the worker sent a report without a result".to_owned(),
                    ..pb::Failure::default()
                },
            };
            let decision = retry::after_failure(state, node, failure.class(), now);
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

fn merged(state: &State, now: Millis, id: BatchId, members: &[MemberMerge], merge: Option<&Merge>) -> Vec<Event> {
    let Some(batch) = state.batch(id).filter(|batch| batch.step == Step::Merging) else { return Vec::new() };
    let mut events = Vec::new();
    let mut park = state.next_park();
    for member in members {
        let Err(paths) = &member.result else { continue };
        let decision = retry::after_rejection(state, member.node, FailureClass::Conflict, now);
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

fn staged(
    state: &State,
    now: Millis,
    node: NodeId,
    result: &Result<longhaul_common::Oid, Vec<String>>,
) -> Option<Event> {
    if !matches!(state.subtask(node).phase(), Phase::Delivered { staged: None, .. }) {
        return None;
    }
    Some(match result {
        Ok(commit) => Event::Staged(pb::Staged { node: node.0, commit: commit.to_vec() }),
        Err(paths) => {
            let decision = retry::after_rejection(state, node, FailureClass::Conflict, now);
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

fn paused(state: &State, reason: &str) -> Vec<Event> {
    match state.job_phase() {
        JobPhase::Open => {
            vec![Event::JobPaused(pb::JobPaused { reason: reason.to_owned(), ..pb::JobPaused::default() })]
        }
        _ => Vec::new(),
    }
}

/// The batch waits where it is, and so does the job, until a person says that it is mended.
fn failed_command(state: &State, reason: &str) -> Vec<Event> {
    if state.landing.blocked || is_closed(state) {
        return Vec::new();
    }
    let reason = reason.to_owned();
    vec![Event::JobPaused(pb::JobPaused { reason, by_budget: false, command_failed: true })]
}

fn requested(state: &State, request: &Request) -> Result<Vec<Event>, Refusal> {
    let events = match request {
        Request::Pause { .. } | Request::Cancel { .. } | Request::Approve { .. } if is_closed(state) => {
            let next =
                "`longhaul retry` or `longhaul revert` opens it again, an edited job file opens a new generation";
            return Err(Refusal(format!("the job is closed: {next}")));
        }
        Request::Pause { reason } => paused(state, reason),
        Request::Resume { limits } => resume(state, limits.as_ref()),
        Request::Cancel { nodes, whole_job, reason } => cancel(state, nodes, *whole_job, reason),
        Request::Retry { nodes, remark } => try_again(state, nodes, remark),
        Request::Approve { parks, by } => approve(state, parks, by),
        Request::Revert { node, parent, parent_tree, reason } => revert(state, *node, *parent, *parent_tree, reason)?,
    };
    Ok(reopened(state, events))
}

fn is_closed(state: &State) -> bool {
    matches!(state.job_phase(), JobPhase::Closed { .. })
}

/// Something to do in a closed job opens it again first.
fn reopened(state: &State, mut events: Vec<Event>) -> Vec<Event> {
    let opens = events.iter().any(|event| matches!(event, Event::JobResumed(_)));
    if is_closed(state) && !events.is_empty() && !opens {
        events.insert(0, Event::JobResumed(pb::JobResumed { by: "request".to_owned() }));
    }
    events
}

fn resume(state: &State, limits: Option<&pb::Budget>) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(budget) = limits {
        events.push(Event::LimitsChanged(pb::LimitsChanged { budget: Some(*budget) }));
    }
    // A finished job stays finished, unless it ended before it could begin.
    let wakes = match state.job_phase() {
        JobPhase::Open | JobPhase::Empty => state.landing.halted.is_some(),
        JobPhase::Paused { .. } => true,
        JobPhase::Closed { .. } => state.landing.has_red_verdict(),
    };
    if wakes {
        events.push(Event::JobResumed(pb::JobResumed { by: "request".to_owned() }));
    }
    events
}

fn cancel(state: &State, nodes: &[NodeId], whole_job: bool, reason: &str) -> Vec<Event> {
    let moving = |node: NodeId| match state.subtask(node).phase() {
        Phase::Landing { batch, candidate } => {
            candidate.reverts.is_some() || state.batch(*batch).is_some_and(|batch| batch.step == Step::Moving)
        }
        Phase::Delivered { candidate, .. } => candidate.reverts.is_some(),
        _ => false,
    };
    let all: Vec<NodeId> = if whole_job { state.nodes().collect() } else { nodes.to_vec() };
    all.into_iter()
        .filter(|&node| !state.subtask(node).phase().kind().is_terminal() && !moving(node))
        .map(|node| {
            Event::NodeClosed(pb::NodeClosed {
                node: node.0,
                outcome: Outcome::Cancelled.into(),
                reason: reason.to_owned(),
            })
        })
        .collect()
}

/// The named ones that are parked or closed without a result, and whatever was skipped for them.
fn try_again(state: &State, nodes: &[NodeId], remark: &str) -> Vec<Event> {
    let mut order: Vec<NodeId> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut stack: Vec<NodeId> = nodes.iter().rev().copied().collect();
    while let Some(node) = stack.pop() {
        let phase = state.subtask(node).phase();
        let again = match phase {
            Phase::Parked { .. } => true,
            Phase::Closed { outcome, .. } => *outcome != i32::from(Outcome::Reverted) || nodes.contains(&node),
            _ => false,
        };
        if !again || !seen.insert(node) {
            continue;
        }
        order.push(node);
        stack.extend(state.graph.dependents(node).filter(|&after| state.subtask(after).phase().name() == "skipped"));
    }
    order
        .into_iter()
        .map(|node| {
            let remark = if nodes.contains(&node) { remark.to_owned() } else { String::new() };
            Event::Retried(pb::Retried { node: node.0, remark })
        })
        .collect()
}

fn approve(state: &State, parks: &[longhaul_common::ParkId], by: &str) -> Vec<Event> {
    let wanted: std::collections::BTreeSet<_> = parks.iter().collect();
    state
        .nodes()
        .filter_map(|node| match state.subtask(node).phase() {
            Phase::Parked { park, .. } if wanted.contains(park) => {
                Some(Event::Woken(pb::Woken { node: node.0, park: park.0, by: by.to_owned() }))
            }
            _ => None,
        })
        .collect()
}

fn revert(
    state: &State,
    node: NodeId,
    parent: longhaul_common::Oid,
    parent_tree: longhaul_common::Oid,
    reason: &str,
) -> Result<Vec<Event>, Refusal> {
    let id = &state.node(node).id;
    let Phase::Landed(landed) = state.subtask(node).phase() else {
        return Err(Refusal(format!("{id:?} has not landed, so there is nothing to revert")));
    };
    let built_on: Vec<&str> = state
        .graph
        .dependents(node)
        .filter(|&after| state.subtask(after).phase().kind() == PhaseKind::Landed)
        .map(|after| state.node(after).id.as_str())
        .collect();
    if let Some(first) = built_on.first() {
        return Err(Refusal(format!("{id:?} has landed dependents ({first:?} among them): revert those first")));
    }
    let patch = pb::Patch {
        commit: parent.to_vec(),
        tree: parent_tree.to_vec(),
        base: landed.commit.to_vec(),
        files: landed.candidate.patch.files.clone(),
        lines_added: landed.candidate.patch.lines_removed,
        lines_removed: landed.candidate.patch.lines_added,
        agent: "revert".to_owned(),
        protected_touched: landed.candidate.patch.protected_touched.clone(),
        summary: format!("reverts {id}"),
    };
    Ok(vec![Event::RevertAsked(pb::RevertAsked { node: node.0, patch: Some(patch), reason: reason.to_owned() })])
}
