//! "Why is this not running?", answered as data.

use longhaul_common::NodeId;
use longhaul_common::question::{sentence, wants_words};
use longhaul_proto::{Explanation, ParkReason, Question};

use super::allowance::{self, Short};
use super::footprint::Footprint;
use super::landing::{BaseGate, Step};
use super::shortage::{self, Shortage};
use super::{JobPhase, Millis, Phase, State};

/// How many names a list of causes gives.
const NAMES_MAX: usize = 5;

/// Why a subtask is where it is, and what a person can do about it.
pub fn explain(state: &State, node: NodeId, now: Millis) -> Explanation {
    let subtask = state.subtask(node);
    let id = state.node(node).id.clone();
    let mut out =
        Explanation { subtask: id.clone(), state: subtask.phase().name().to_owned(), ..Explanation::default() };
    match subtask.phase() {
        Phase::Waiting => waiting(state, node, &mut out),
        Phase::Ready => ready(state, node, now, &mut out),
        Phase::Backoff { until_ms } => {
            out.causes.push(format!("its next attempt begins in {} s", ((until_ms - now).max(0) + 999) / 1000));
            failure(state, node, &mut out);
        }
        Phase::Running { attempt } => {
            let since = state.attempts().get(attempt).map_or(now, |live| live.since_ms);
            out.causes.push(format!("attempt {attempt} has been running for {} s", (now - since).max(0) / 1000));
            if let Some((park, question)) = state.asks(node) {
                out.causes.push(format!("its agent waits for a person: {}", sentence(question)));
                asked(park.0, question, &mut out);
            }
            out.next.push(format!("longhaul logs {id}"));
        }
        Phase::Delivered { .. } => delivered(state, node, &mut out),
        Phase::Landing { batch, .. } => landing(state, *batch, now, &mut out),
        Phase::Parked { park, text, .. } => {
            out.causes.push(text.clone());
            failure(state, node, &mut out);
            parked(state, node, park.0, &id, &mut out);
        }
        Phase::Landed(landed) => {
            out.causes.push(format!("landed as {} in {}", landed.commit.short(), landed.merge.short()));
        }
        Phase::Unchanged => {
            let checked = if state.task(node).check.is_empty() { "" } else { ", and its checks pass" };
            out.causes.push(format!("there was nothing to change{checked}"));
        }
        Phase::Closed { reason, .. } => {
            out.causes.push(reason.clone());
            failure(state, node, &mut out);
            out.next.push(format!("longhaul retry {id}"));
        }
    }
    job(state, &mut out);
    out
}

fn job(state: &State, out: &mut Explanation) {
    if let JobPhase::Paused { reason, .. } = state.job_phase() {
        out.causes.push(format!("the job is paused: {reason}"));
        out.next.push("longhaul resume".to_owned());
    }
    if let Some(reason) = &state.landing.halted {
        out.causes.push(format!("landing is halted: {reason}"));
        out.next.push("longhaul resume".to_owned());
    }
}

fn names(state: &State, nodes: &[NodeId]) -> String {
    let mut list: Vec<String> = nodes
        .iter()
        .take(NAMES_MAX)
        .map(|&node| format!("{} ({})", state.node(node).id, state.subtask(node).phase().name()))
        .collect();
    if nodes.len() > NAMES_MAX {
        list.push(format!("{} more", nodes.len() - NAMES_MAX));
    }
    list.join(", ")
}

fn waiting(state: &State, node: NodeId, out: &mut Explanation) {
    let missing: Vec<NodeId> = state
        .node(node)
        .deps
        .iter()
        .map(|&dep| NodeId(dep))
        .filter(|&dep| !state.subtask(dep).phase().kind().is_terminal())
        .collect();
    out.causes.push(format!("it waits for {}", names(state, &missing)));
    if let Some(parked) = missing.iter().find(|&&dep| matches!(state.subtask(dep).phase(), Phase::Parked { .. })) {
        out.next.push(format!("longhaul explain {}", state.node(*parked).id));
    }
}

fn ready(state: &State, node: NodeId, now: Millis, out: &mut Explanation) {
    if state.landing.base_gate != BaseGate::Green {
        out.causes.push("the gate has not been seen green on the base yet".to_owned());
        if state.landing.gates.is_empty() {
            told(shortage::of_gate(state, now), out);
        }
        return;
    }
    let blockers = state.held().blockers(&Footprint::of(state.plan(), node), 100);
    if !blockers.is_empty() {
        out.causes.push(format!("its footprint overlaps with {}", names(state, &blockers)));
    }
    let (live, most) = (state.attempts().len(), state.limits().parallel.max(1));
    if live >= most as usize {
        out.causes.push(format!("{live} attempts are running, which is the limit (budget.parallel = {most})"));
    }
    if let Some((provider, until)) = state.provider_awaited(node, now) {
        let seconds = (until - now + 999) / 1000;
        out.causes.push(format!("the limit of the provider {provider} was reached: it is asked again in {seconds} s"));
    }
    if let Err(Short::Held) = allowance::of(state, node) {
        let cause = "what is left of the budget is reserved by attempts under way, or in doubt";
        out.causes.push(format!("{cause}: it begins when one of them reports"));
        out.next.push("longhaul status".to_owned());
    }
    told(shortage::of_work(state, &state.task(node).labels, now), out);
    if out.causes.is_empty() {
        out.causes.push("it is next in line: subtasks on a longer way to the end go first".to_owned());
    }
}

/// Why nobody takes it, if that is so.
fn told(shortage: Option<Shortage>, out: &mut Explanation) {
    if let Some(shortage) = shortage {
        out.causes.extend(shortage.causes);
        out.next.push(shortage.next);
    }
}

fn delivered(state: &State, node: NodeId, out: &mut Explanation) {
    let waiting_group = state.group_of(node).map(|group| {
        group
            .members
            .iter()
            .copied()
            .filter(|&member| !matches!(state.subtask(member).phase(), Phase::Delivered { .. }))
    });
    match waiting_group.map(Iterator::collect::<Vec<_>>) {
        Some(members) if !members.is_empty() => {
            out.causes.push(format!("it lands together with {}", names(state, &members)));
        }
        _ => {
            let ahead = state.landing.queue.iter().take_while(|&&queued| queued != node).count();
            out.causes.push(format!("it waits for a batch, with {ahead} results before it"));
        }
    }
}

fn landing(state: &State, id: longhaul_common::BatchId, now: Millis, out: &mut Explanation) {
    let Some(batch) = state.batch(id) else { return };
    let what = match batch.step {
        Step::Merging => "is being merged",
        Step::NeedsGate { .. } => "waits for a gate slot",
        Step::Gating { .. } => "is in the gate",
        Step::Red => "was red and is tried again",
        Step::Controlling { .. } => "was red twice; the gate runs on the bare branch to see whose fault it is",
        Step::Sealing => "gets its derived files",
        Step::Green | Step::Moving => "is green and moves the branch",
    };
    out.causes.push(format!("its batch of {} {what}", batch.members.len()));
    if matches!(batch.step, Step::NeedsGate { .. } | Step::Red) && state.landing.gates.is_empty() {
        told(shortage::of_gate(state, now), out);
    }
}

fn failure(state: &State, node: NodeId, out: &mut Explanation) {
    let subtask = state.subtask(node);
    if let Some(failure) = &subtask.last_failure {
        out.causes.push(format!("attempt {} ended so: {}", subtask.attempts, failure.message));
    }
}

fn parked(state: &State, node: NodeId, park: u64, id: &str, out: &mut Explanation) {
    match state.subtask(node).phase().park_reason() {
        Some(ParkReason::Pilot) => out.next.push(format!("longhaul approve {park}")),
        Some(ParkReason::Ask) => {
            state.asks(node).into_iter().for_each(|(_, question)| asked(park, question, out));
        }
        Some(ParkReason::Approval) => {
            out.next.push(format!("longhaul diff {id}"));
            out.next.push(format!("longhaul approve {park}"));
            out.next.push(format!("longhaul reject {park} \"…\""));
        }
        _ => {
            out.next.push(format!("longhaul logs {id}"));
            out.next.push(format!("longhaul retry {id} --remark \"…\""));
        }
    }
}

/// How a question is answered.
fn asked(park: u64, question: &Question, out: &mut Explanation) {
    if wants_words(question) {
        out.next.push(format!("longhaul answer {park} \"…\""));
    } else {
        out.next.push(format!("longhaul approve {park} --scope once|map|job"));
        out.next.push(format!("longhaul reject {park} \"…\""));
    }
}
