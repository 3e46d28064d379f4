//! What a person's request means.

use std::collections::BTreeSet;

use longhaul_common::{AttemptId, NodeId, Oid, ParkId, question};
use longhaul_proto as pb;
use longhaul_proto::{Answer, AnswerScope, Outcome};

use super::asked::{Said, answered};
use super::input::Request;
use super::{Event, JobPhase, Millis, Phase, PhaseKind, State, Step, deadline};

/// A request that cannot be met, said to the person who made it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The events a request leads to.
pub(super) fn requested(state: &State, now: Millis, request: &Request) -> Result<Vec<Event>, Refusal> {
    let events = match request {
        Request::Pause { .. } | Request::Cancel { .. } | Request::Approve { .. } if is_closed(state) => {
            let next =
                "`longhaul retry` or `longhaul revert` opens it again, an edited job file opens a new generation";
            return Err(Refusal(format!("the job is closed: {next}")));
        }
        Request::Pause { reason } => paused(state, reason),
        Request::Resume { limits, write_off } => resume(state, now, limits.as_ref(), write_off),
        Request::Cancel { nodes, whole_job, reason } => cancel(state, nodes, *whole_job, reason),
        Request::Retry { nodes, remark } => again_with_gates(state, try_again(state, nodes, remark)?),
        Request::Approve { parks, scope, by } => approve(state, parks, *scope, by)?,
        Request::Answer { park, text, scope, by } => answer(state, *park, text, (*scope, by))?,
        Request::Reject { park, reason, scope, by } => reject(state, *park, reason, (*scope, by))?,
        Request::Release { worker, by } => release(state, worker, by)?,
        Request::Revert { node, parent, parent_tree, reason } => revert(state, *node, *parent, *parent_tree, reason)?,
    };
    Ok(reopened(state, events))
}

/// Whether the job is over.
pub(super) fn is_closed(state: &State) -> bool {
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

fn paused(state: &State, reason: &str) -> Vec<Event> {
    match state.job_phase() {
        JobPhase::Open => {
            vec![Event::JobPaused(pb::JobPaused { reason: reason.to_owned(), ..pb::JobPaused::default() })]
        }
        _ => Vec::new(),
    }
}

fn resume(state: &State, now: Millis, limits: Option<&pb::Budget>, write_off: &str) -> Vec<Event> {
    let mut budget = limits.copied().unwrap_or(*state.limits());
    // Who goes on after the deadline wants work to be done without it, unless there is a new one.
    if budget.deadline_ms == state.limits().deadline_ms && deadline::is_too_late(state, now) {
        budget.deadline_ms = 0;
    }
    let mut events: Vec<Event> = Vec::new();
    if limits.is_some() || budget != *state.limits() {
        events.push(Event::LimitsChanged(pb::LimitsChanged { budget: Some(budget) }));
    }
    if !write_off.is_empty() {
        let given_up =
            |id: &AttemptId| pb::SpendSettled { attempt: id.0, usage: None, written_off_by: write_off.to_owned() };
        events.extend(state.spend.in_doubt().keys().map(|id| Event::SpendSettled(given_up(id))));
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

/// Whether it ended while it waited for a yes to its pilot.
fn ended_without_yes(state: &State, node: NodeId) -> bool {
    let subtask = state.subtask(node);
    // Older journals know of no yes: what was begun had one.
    let had_yes = subtask.approved || subtask.attempts > 0;
    state.node(node).behind_pilot && !had_yes && subtask.phase().kind() == PhaseKind::Closed
}

/// The named ones that are parked or closed without a result, and whatever was skipped for them.
fn try_again(state: &State, nodes: &[NodeId], remark: &str) -> Result<Vec<Event>, Refusal> {
    if let Some(&node) = nodes.iter().find(|&&node| ended_without_yes(state, node)) {
        let id = &state.node(node).id;
        return Err(Refusal(format!(
            "{id:?} ended while it waited for a yes to the pilot of its map, so it has none: `longhaul run` opens the \
             next generation, which asks again"
        )));
    }
    let mut order: Vec<NodeId> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut stack: Vec<NodeId> = nodes.iter().rev().copied().collect();
    while let Some(node) = stack.pop() {
        let phase = state.subtask(node).phase();
        let again = match phase {
            // A yes to a pilot is `approve`'s, and its role.
            Phase::Parked { reason, .. } => *reason != i32::from(pb::ParkReason::Pilot),
            Phase::Closed { outcome, .. } => *outcome != i32::from(Outcome::Reverted) || nodes.contains(&node),
            _ => false,
        };
        if !again || ended_without_yes(state, node) || !seen.insert(node) {
            continue;
        }
        order.push(node);
        stack.extend(state.graph.dependents(node).filter(|&after| state.subtask(after).phase().name() == "skipped"));
    }
    let retried = order.into_iter().map(|node| {
        let remark = if nodes.contains(&node) { remark.to_owned() } else { String::new() };
        Event::Retried(pb::Retried { node: node.0, remark })
    });
    Ok(retried.collect())
}

/// Who tries anything again while landing is halted for the workers that its gate took down says
/// that this is mended.
fn again_with_gates(state: &State, mut events: Vec<Event>) -> Vec<Event> {
    if state.landing.lost.are_too_many() && *state.job_phase() == JobPhase::Open {
        events.push(Event::JobResumed(pb::JobResumed { by: "request".to_owned() }));
    }
    events
}

fn approve(state: &State, parks: &[ParkId], scope: AnswerScope, by: &str) -> Result<Vec<Event>, Refusal> {
    let wanted: BTreeSet<_> = parks.iter().collect();
    if let [park] = parks
        && let Some((_, question)) = state.asker(*park)
    {
        if question::wants_words(question) {
            return Err(Refusal(format!("a yes is no answer to it: `longhaul answer {park} \"…\"`")));
        }
        return answered(state, *park, &Said { answer: Answer::Yes, text: "", scope, by });
    }
    let woken = state
        .nodes()
        .filter_map(|node| match state.subtask(node).phase() {
            Phase::Parked { park, .. } if wanted.contains(park) => {
                Some(Event::Woken(pb::Woken { node: node.0, park: park.0, by: by.to_owned() }))
            }
            _ => None,
        })
        .collect();
    Ok(woken)
}

/// The text reaches the next attempt as a remark, or as the answer to what an agent asked; an answer
/// ends any park, a pilot's too.
fn answer(state: &State, park: ParkId, text: &str, (scope, by): (AnswerScope, &str)) -> Result<Vec<Event>, Refusal> {
    if state.asker(park).is_some() {
        if text.trim().is_empty() {
            return Err(Refusal(format!("an agent waits for words under {park}: say what the answer is")));
        }
        return answered(state, park, &Said { answer: Answer::Words, text, scope, by });
    }
    let node = state
        .nodes()
        .find(|&node| matches!(state.subtask(node).phase(), Phase::Parked { park: id, .. } if *id == park));
    let node = node.ok_or_else(|| Refusal(format!("no subtask waits with park {park}: it was woken before")))?;
    if text.trim().is_empty() {
        return Err(Refusal(format!(
            "nobody asked anything under {park}, and no words were said: `longhaul approve {park}` lets it go on as it is"
        )));
    }
    Ok(vec![Event::Retried(pb::Retried { node: node.0, remark: text.to_owned() })])
}

/// A no to an agent is an answer. Where a result was held, trying again drops it, and the next attempt
/// is told what it was held for.
fn reject(state: &State, park: ParkId, reason: &str, (scope, by): (AnswerScope, &str)) -> Result<Vec<Event>, Refusal> {
    if state.asker(park).is_some() {
        return answered(state, park, &Said { answer: Answer::No, text: reason, scope, by });
    }
    let held = state.nodes().find_map(|node| match state.subtask(node).phase() {
        Phase::Parked { park: id, .. } if *id == park => state.subtask(node).held().map(|held| (node, held)),
        _ => None,
    });
    let (node, held) = held.ok_or_else(|| {
        Refusal(format!("nothing waits for a yes under {park}; `longhaul retry` and `longhaul cancel` name subtasks"))
    })?;
    let mut remark =
        format!("the result before this attempt was rejected by a person: {}", held.patch.findings.join("; "));
    if !reason.is_empty() {
        remark.push_str(&format!("\nThe reason: {reason}"));
    }
    Ok(vec![Event::Retried(pb::Retried { node: node.0, remark })])
}

fn release(state: &State, worker: &str, by: &str) -> Result<Vec<Event>, Refusal> {
    match state.infirmary.of(worker).filter(|health| health.until_ms > 0) {
        Some(_) => Ok(vec![Event::WorkerReleased(pb::WorkerReleased { worker: worker.to_owned(), by: by.to_owned() })]),
        None => Err(Refusal(format!("{worker:?} is not in quarantine"))),
    }
}

fn revert(state: &State, node: NodeId, parent: Oid, parent_tree: Oid, reason: &str) -> Result<Vec<Event>, Refusal> {
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
        ..pb::Patch::default()
    };
    Ok(vec![Event::RevertAsked(pb::RevertAsked { node: node.0, patch: Some(patch), reason: reason.to_owned() })])
}
