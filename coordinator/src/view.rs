//! What people see of a job, built from its state: the messages of the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use longhaul_common::git::Store;
use longhaul_common::layout::JobLayout;
use longhaul_common::question::sentence;
use longhaul_common::{AttemptId, NodeId, Oid, sign};
use longhaul_proto as pb;
use longhaul_proto::{FailureClass, GatePurpose, JobOutcome, ParkReason};

use crate::capsules::capsule_of;
use crate::checkpoint::Index;
use crate::core::{BaseGate, JobPhase, Millis, Phase, Shortage, State, shortages};
use crate::landing::{Refs, read_receipts};

mod books;
mod event;
mod forecast;
mod questions;

pub use event::{retired_event, watch_event};

/// Parks listed one by one; the counts say how many there are.
const PARKS_MAX: usize = 200;

/// Workers named in warnings.
const WORKERS_MAX: usize = 20;

/// An attempt is slow beyond this multiple of the mean of finished ones…
const SLOW_FACTOR: u64 = 3;

/// …and at least this long.
const SLOW_MS_MIN: u64 = 20_000;

/// Last words of what is running, by attempt or gate id and by the worker that said them; volatile.
pub type ProgressMap = BTreeMap<(u64, String), pb::Progress>;

/// The name of a failure class in reports.
pub fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Unspecified => "unknown",
        FailureClass::Agent => "agent",
        FailureClass::Check => "check",
        FailureClass::Footprint => "footprint",
        FailureClass::Protected => "protected",
        FailureClass::Result => "result",
        FailureClass::Conflict => "conflict",
        FailureClass::Gate => "gate",
        FailureClass::Infrastructure => "infrastructure",
        FailureClass::Setup => "setup",
        FailureClass::Cancelled => "cancelled",
        FailureClass::DiskFull => "disk-full",
        FailureClass::HandedBack => "handed-back",
        FailureClass::Provider => "provider",
        FailureClass::ProviderLimit => "provider-limit",
        FailureClass::Sandbox => "sandbox",
        FailureClass::Asked => "asked",
        FailureClass::Split => "split",
    }
}

/// The name of a park reason in reports.
pub fn park_name(reason: Option<ParkReason>) -> &'static str {
    match reason {
        Some(ParkReason::Pilot) => "pilot",
        Some(ParkReason::Attempts) => "attempts",
        Some(ParkReason::Conflict) => "conflict",
        Some(ParkReason::Gate) => "gate",
        Some(ParkReason::Protected) => "protected",
        Some(ParkReason::Disk) => "disk",
        Some(ParkReason::User) => "user",
        Some(ParkReason::Footprint) => "footprint",
        Some(ParkReason::Budget) => "budget",
        Some(ParkReason::Provider) => "provider",
        Some(ParkReason::Approval) => "approval",
        Some(ParkReason::Ask) => "ask",
        Some(ParkReason::Unspecified) | None => "unknown",
    }
}

/// The name of a gate's purpose.
pub fn purpose_name(purpose: i32) -> &'static str {
    match GatePurpose::try_from(purpose) {
        Ok(GatePurpose::Base) => "base",
        Ok(GatePurpose::Batch) => "batch",
        Ok(GatePurpose::Control) => "control",
        Ok(GatePurpose::Final) => "final",
        _ => "gate",
    }
}

/// The whole job at a glance. `live` tells whether a coordinator runs it.
pub fn job_status(state: &State, now: Millis, progress: &ProgressMap, live: bool) -> pb::JobStatus {
    let (phase, phase_reason) = phase(state, live);
    let plan = state.plan();
    let repo = plan.repo.clone().unwrap_or_default();
    let spent = state.spend.total();
    let elapsed_ms = state.active_ms(if live { now } else { state.now_ms() });
    pb::JobStatus {
        job: state.job().to_owned(),
        goal: plan.goal.clone(),
        phase: phase.to_owned(),
        phase_reason,
        paused_by_budget: matches!(state.job_phase(), JobPhase::Paused { by_budget: true, .. }),
        generation: state.generation(),
        counts: Some(*state.counts()),
        running: running(state, now, progress),
        parked: parked(state),
        gates: gates(state),
        base: Oid::from_bytes(&repo.base).map(|oid| oid.to_string()).unwrap_or_default(),
        tip: state.landing.tip.to_string(),
        branch: Refs::of(state.job()).branch(state.restarts()),
        started_ms: state.started_ms(),
        elapsed_ms,
        eta_ms: eta(state, elapsed_ms),
        attempts: state.spend.attempts,
        tokens: spent.tokens,
        usd_micros: spent.usd_micros,
        gates_run: state.landing.gates_run,
        seq: state.seq(),
        warnings: warnings(state, now, live),
        live,
        source_path: plan.source_path.clone(),
        retries: state.retries(),
        landings: state.landing.landings,
        repo_path: repo.path,
        closed_ms: state.closed_ms(),
        base_gate_green: state.landing.base_gate == BaseGate::Green,
        budget: Some(*state.limits()),
        failures: failures(state),
        bytes: None,
        books: Some(books::books(state)),
        forecast: forecast::forecast(state, now),
        measures_coverage: plan.gate.as_ref().is_some_and(|gate| gate.coverage.is_some()),
        landings_proven: state.landing.proven,
    }
}

fn phase(state: &State, live: bool) -> (&'static str, String) {
    match state.job_phase() {
        JobPhase::Empty => ("empty", String::new()),
        JobPhase::Open if !live => ("stopped", String::new()),
        JobPhase::Open => match &state.landing.halted {
            Some(reason) => ("halted", reason.clone()),
            None => ("running", String::new()),
        },
        JobPhase::Paused { reason, .. } => ("paused", reason.clone()),
        JobPhase::Closed { outcome, reason } => (outcome_name(*outcome), reason.clone()),
    }
}

/// The name of a job's outcome.
pub fn outcome_name(outcome: i32) -> &'static str {
    match JobOutcome::try_from(outcome) {
        Ok(JobOutcome::Done) => "done",
        Ok(JobOutcome::Partial) => "partial",
        Ok(JobOutcome::Cancelled) => "cancelled",
        _ => "failed",
    }
}

/// By class, without what somebody wanted so: work that a worker gave back, and work that was ended.
fn failures(state: &State) -> BTreeMap<String, u32> {
    let class = |number: i32| FailureClass::try_from(number).unwrap_or_default();
    let all = state.failures().iter().map(|(&number, &count)| (class(number), count));
    let failed = all.filter(|(class, _)| !matches!(class, FailureClass::HandedBack | FailureClass::Cancelled));
    failed.map(|(class, count)| (class_name(class).to_owned(), count)).collect()
}

/// Mean time of an attempt so far, in milliseconds.
fn mean_ms(state: &State) -> Option<u64> {
    let (mut total, mut count) = (0_u64, 0_u64);
    for node in state.nodes() {
        let subtask = state.subtask(node);
        if subtask.finished_ms > 0 && subtask.spent_ms > 0 {
            total += subtask.spent_ms;
            count += u64::from(subtask.attempts.max(1));
        }
    }
    (count > 0).then(|| total / count)
}

fn running(state: &State, now: Millis, progress: &ProgressMap) -> Vec<pb::RunningRow> {
    let mean = mean_ms(state);
    let row = |(&id, live): (&AttemptId, &crate::core::LiveAttempt)| {
        let words = progress.get(&(id.0, live.worker.clone())).cloned().unwrap_or_default();
        let age = u64::try_from(now - live.since_ms).unwrap_or(0);
        pb::RunningRow {
            subtask: state.node(live.node).id.clone(),
            attempt: id.0,
            attempt_number: state.subtask(live.node).attempts,
            since_ms: live.since_ms,
            step: words.step,
            line: words.line,
            // Who waits for a person is not slow.
            slow: mean.is_some_and(|mean| age > (mean * SLOW_FACTOR).max(SLOW_MS_MIN))
                && state.asks(live.node).is_none(),
        }
    };
    state.attempts().iter().map(row).collect()
}

fn parked(state: &State) -> Vec<pb::ParkRow> {
    let open = questions::open(state);
    let rows = state.nodes().filter_map(|node| match state.subtask(node).phase() {
        phase @ Phase::Parked { park, text, .. } => {
            let row = pb::ParkRow {
                subtask: state.node(node).id.clone(),
                park: park.0,
                reason: park_name(phase.park_reason()).to_owned(),
                text: text.clone(),
                ..pb::ParkRow::default()
            };
            Some(match state.asks(node) {
                Some((_, question)) => questions::filled(row, question, &open),
                None => row,
            })
        }
        // Its agent waits in its slot.
        _ => state.asks(node).map(|(park, question)| {
            let row = pb::ParkRow {
                subtask: state.node(node).id.clone(),
                park: park.0,
                reason: park_name(Some(ParkReason::Ask)).to_owned(),
                text: sentence(question),
                waiting: true,
                ..pb::ParkRow::default()
            };
            questions::filled(row, question, &open)
        }),
    });
    rows.take(PARKS_MAX).collect()
}

fn gates(state: &State) -> Vec<pb::GateRow> {
    let members = |run: &crate::core::GateRun| match &state.landing.batch {
        Some(batch) if batch.id == run.batch => u32::try_from(batch.members.len()).unwrap_or(u32::MAX),
        _ => 0,
    };
    state
        .landing
        .gates
        .iter()
        .map(|(id, run)| pb::GateRow {
            gate: id.0,
            purpose: purpose_name(run.purpose).to_owned(),
            members: members(run),
            since_ms: run.asked_ms,
        })
        .collect()
}

/// Remaining work at the pace so far; 0 while nothing can be said.
fn eta(state: &State, elapsed_ms: u64) -> u64 {
    let counts = state.counts();
    let done = u64::from(counts.landed + counts.unchanged);
    let open = u64::from(counts.waiting + counts.ready + counts.backoff + counts.running + counts.landing);
    if done == 0 || open == 0 || state.closed_ms() > 0 { 0 } else { elapsed_ms * open / done }
}

fn warnings(state: &State, now: Millis, live: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if live {
        lines.extend(shortages(state, now).iter().map(Shortage::sentence));
    }
    lines.extend(open_boundaries(state, now));
    let pilots =
        state.nodes().filter(|&node| state.subtask(node).phase().park_reason() == Some(ParkReason::Pilot)).count();
    if pilots > 0 {
        lines.push(format!(
            "{pilots} subtasks wait for a yes to their pilot: look at what landed, then `longhaul approve --all`"
        ));
    }
    lines.extend(questions::warnings(state));
    if let Some(reason) = &state.landing.halted {
        lines.push(format!("landing is halted: {reason}; mend it, then `longhaul resume`"));
    }
    lines.extend(books::warnings(state));
    lines.extend(books::providers(state, now));
    lines.extend(forecast::warning(state, now));
    lines
}

/// What programs of the job are not kept from.
fn open_boundaries(state: &State, now: Millis) -> Vec<String> {
    if state.plan().policy.as_ref().is_some_and(|policy| policy.sandbox() == pb::Sandbox::DangerFullAccess) {
        return vec![
            "no sandbox: policy.sandbox is danger-full-access, programs may do what the worker's user may".to_owned(),
        ];
    }
    let was = state.unenforced().iter().map(|(worker, what)| (worker.as_str(), what.as_str()));
    let is = state.fleet.present(now).map(|(worker, view)| (worker, view.unenforced.as_str()));
    let is: BTreeSet<(&str, &str)> = is.filter(|(_, what)| !what.is_empty()).collect();
    let was = was.filter(|said| !is.contains(said)).map(|(worker, what)| (worker, "did", what));
    let lines = is.iter().map(|(worker, what)| (*worker, "does", *what)).chain(was);
    let lines = lines.map(|(worker, when, what)| format!("the sandbox of {worker} {when} not enforce {what}"));
    lines.take(WORKERS_MAX).collect()
}

/// One subtask as a row.
pub fn subtask_row(state: &State, node: NodeId) -> pb::SubtaskRow {
    let subtask = state.subtask(node);
    let plan_node = state.node(node);
    let candidate = subtask.phase().candidate().or_else(|| subtask.held());
    let patch = candidate.map(|candidate| candidate.patch.as_ref());
    let (commit, merge, landed_ms) = match subtask.phase() {
        Phase::Landed(landed) => (landed.commit.to_string(), landed.merge.to_string(), landed.at_ms),
        _ => (patch.map(|patch| hex(&patch.commit)).unwrap_or_default(), String::new(), 0),
    };
    pb::SubtaskRow {
        id: plan_node.id.clone(),
        state: subtask.phase().name().to_owned(),
        map: state.task(node).map.clone(),
        attempts: subtask.attempts,
        reason: reason(state, node),
        sign: subtask.sign().to_owned(),
        spent_ms: subtask.spent_ms,
        tokens: subtask.tokens,
        usd_micros: subtask.usd_micros,
        commit,
        merge,
        agent: patch.map(|patch| patch.agent.clone()).unwrap_or_default(),
        files: patch.map_or(0, |patch| u32::try_from(patch.files.len()).unwrap_or(u32::MAX)),
        lines_added: patch.map_or(0, |patch| patch.lines_added),
        lines_removed: patch.map_or(0, |patch| patch.lines_removed),
        started_ms: subtask.started_ms,
        finished_ms: subtask.finished_ms,
        landed_ms,
        key: hex(&plan_node.key),
        deps: plan_node.deps.iter().map(|&dep| state.node(NodeId(dep)).id.clone()).collect(),
    }
}

fn reason(state: &State, node: NodeId) -> String {
    let subtask = state.subtask(node);
    let failure = subtask.last_failure.as_ref().map(|failure| sign::named(&failure.sign, &failure.message));
    let failure = failure.unwrap_or_default();
    match subtask.phase() {
        Phase::Parked { text, .. } => text.clone(),
        Phase::Closed { reason, .. } => reason.clone(),
        Phase::Running { .. } => state.asks(node).map_or(failure, |(_, question)| sentence(question)),
        Phase::Backoff { .. } | Phase::Ready => failure,
        _ => String::new(),
    }
}

/// Rows that match a request, and how many matched before its limit.
pub fn subtask_list(state: &State, request: &pb::SubtasksRequest) -> pb::SubtaskList {
    let matches = |node: &NodeId| {
        let name = state.subtask(*node).phase().name();
        let right_state = request.states.is_empty() || request.states.iter().any(|wanted| wanted == name);
        right_state && (request.map.is_empty() || state.task(*node).map == request.map)
    };
    let all: Vec<NodeId> = state.nodes().filter(matches).collect();
    let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    pb::SubtaskList {
        rows: all.iter().take(limit).map(|&node| subtask_row(state, node)).collect(),
        total: u32::try_from(all.len()).unwrap_or(u32::MAX),
    }
}

/// A subtask in full, without what only files know (attempts, capsule).
pub fn subtask_detail(state: &State, node: NodeId) -> pb::SubtaskDetail {
    let subtask = state.subtask(node);
    let plan_node = state.node(node);
    let remarks = plan_node.remarks.iter().chain(&subtask.remarks).cloned().collect();
    pb::SubtaskDetail {
        row: Some(subtask_row(state, node)),
        instructions: crate::capsule::instructions(state, node),
        files: plan_node.files.clone(),
        claims: plan_node.claims.clone(),
        attempts: Vec::new(),
        receipt: receipt_row(state, node),
        capsule: None,
        remarks,
    }
}

/// Adds what only files know: attempts from the index, logs, the last capsule, the receipt.
pub fn complete_detail(
    detail: &mut pb::SubtaskDetail,
    job: &str,
    layout: &JobLayout,
    store: &Path,
    index: Option<&Index>,
) {
    add_attempts(detail, layout, index);
    if let Some(last) = detail.attempts.last() {
        detail.capsule = capsule_of(layout, last.attempt);
    }
    let Some(row) = &mut detail.receipt else { return };
    let receipts = Store::open_own(store).and_then(|store| read_receipts(&store, &Refs::of(job))).unwrap_or_default();
    if let Some(receipt) = receipts.iter().find(|receipt| receipt.merge == row.merge) {
        prove(row, receipt);
    }
}

/// Adds the attempts and the names of their logs.
pub fn add_attempts(detail: &mut pb::SubtaskDetail, layout: &JobLayout, index: Option<&Index>) {
    let id = detail.row.as_ref().map(|row| row.id.clone()).unwrap_or_default();
    detail.attempts = index.and_then(|index| index.attempts_of(&id).ok()).unwrap_or_default();
    for attempt in &mut detail.attempts {
        attempt.logs = log_names(&layout.logs(attempt.attempt));
    }
}

/// Adds what the landing's receipt says.
pub fn prove(row: &mut pb::ReceiptRow, receipt: &pb::Receipt) {
    row.tree.clone_from(&receipt.tree);
    row.command.clone_from(&receipt.gate_command);
    row.exit_code = receipt.exit_code;
    row.log_hash.clone_from(&receipt.log_hash);
    row.unproven = receipt.unproven;
    row.coverage.clone_from(&receipt.coverage);
}

fn log_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn receipt_row(state: &State, node: NodeId) -> Option<pb::ReceiptRow> {
    let Phase::Landed(landed) = state.subtask(node).phase() else { return None };
    let patch = &landed.candidate.patch;
    Some(pb::ReceiptRow {
        attempt_commit: hex(&patch.commit),
        landing_commit: landed.commit.to_string(),
        merge: landed.merge.to_string(),
        tree: String::new(),
        command: String::new(),
        exit_code: 0,
        log_hash: String::new(),
        unproven: true,
        protected_touched: patch.protected_touched.clone(),
        flaky: landed.flaky,
        gate: landed.gate.0,
        coverage: None,
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
