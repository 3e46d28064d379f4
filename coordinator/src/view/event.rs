//! One journal record as a line for people and as an event for programs.

use longhaul_common::{Oid, question, sign};
use longhaul_proto::{AnswerScope, BatchEnd, Next, Outcome, Question, Record, Verdict, WatchEvent};

use super::{class_name, outcome_name, purpose_name};
use crate::core::{Event, State};

/// Describes a record with the names of the open plan. `None` for records only programs need.
pub fn watch_event(state: &State, record: &Record) -> Option<WatchEvent> {
    let mut out = WatchEvent { seq: record.seq, at_ms: record.at_ms, ..WatchEvent::default() };
    describe(state, record.event.as_ref()?, &mut out);
    out.counts = Some(*state.counts());
    Some(out)
}

/// What stands for the records after `after_seq` that are retired, where the oldest kept one is
/// `first`. `None` when none is missing.
pub fn retired_event(after_seq: u64, first: u64) -> Option<WatchEvent> {
    let (from, to) = (after_seq + 1, first.saturating_sub(1));
    (from <= to).then(|| WatchEvent {
        seq: to,
        event: "retired".to_owned(),
        text: format!(
            "events {from} to {to} are no longer kept: snapshots stand for them; `longhaul report` shows everything"
        ),
        ..WatchEvent::default()
    })
}

fn name_of(state: &State, node: u32) -> String {
    state.plan().nodes.get(node as usize).map_or_else(|| format!("#{node}"), |node| node.id.clone())
}

fn describe(state: &State, event: &Event, out: &mut WatchEvent) {
    let name = |node: u32| name_of(state, node);
    let (kind, text) = match event {
        Event::JobOpened(event) => ("job_opened", format!("job {}", event.job)),
        Event::PlanOpened(event) => {
            let nodes = event.plan.as_ref().map_or(0, |plan| plan.nodes.len());
            let carried = event.carried.len();
            (
                "plan_opened",
                format!("generation {} with {nodes} subtasks, {carried} of them carried over", event.generation),
            )
        }
        Event::Assigned(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            ("assigned", format!("{} to {} (attempt {})", name(event.node), event.worker, event.attempt))
        }
        Event::LeaseExpired(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            ("lease_expired", format!("{}: {}", name(event.node), event.why))
        }
        Event::Delivered(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            let patch = event.patch.clone().unwrap_or_default();
            out.commit = super::hex(&patch.commit);
            let seconds = event.timing.map_or(0, |timing| timing.total_ms) as f64 / 1000.0;
            let size = format!("{} files, +{} −{}", patch.files.len(), patch.lines_added, patch.lines_removed);
            ("delivered", format!("{} in {seconds:.1} s ({size})", name(event.node)))
        }
        Event::SpareKept(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            ("spare_kept", format!("{}: a later result is kept as a spare", name(event.node)))
        }
        Event::Held(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            let findings = event.patch.as_ref().map(|patch| patch.findings.join("; ")).unwrap_or_default();
            ("held", format!("{} waits for a yes (`longhaul approve {}`): {findings}", name(event.node), event.park))
        }
        Event::Unchanged(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            ("unchanged", format!("{}: nothing to change", name(event.node)))
        }
        Event::Split(event) => {
            out.attempt = event.attempt;
            out.subtasks =
                std::iter::once(name(event.node)).chain(event.nodes.iter().map(|node| node.id.clone())).collect();
            ("split", format!("{} into {} parts", name(event.node), event.nodes.len()))
        }
        Event::AttemptFailed(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            out.next = next_name(event.next()).to_owned();
            let failure = event.failure.clone().unwrap_or_default();
            let class = class_name(failure.class());
            (
                "attempt_failed",
                format!("{} ({class}): {}", name(event.node), sign::named(&failure.sign, &failure.message)),
            )
        }
        Event::Parked(event) => {
            out.subtasks = vec![name(event.node)];
            ("parked", format!("{}: {}", name(event.node), event.text))
        }
        other => return describe_asked(state, other, out),
    };
    kind.clone_into(&mut out.event);
    out.text = text;
}

fn describe_asked(state: &State, event: &Event, out: &mut WatchEvent) {
    let name = |node: u32| name_of(state, node);
    let (kind, text) = match event {
        Event::AttemptAsked(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            let asks = event.question.as_ref().map(|question| asked(event.park, question));
            ("asked", format!("{}: {}", name(event.node), asks.as_deref().unwrap_or("goes on without an answer")))
        }
        Event::AttemptTold(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            ("told", format!("{} by {}", name(event.node), event.by))
        }
        Event::Decided(event) => ("decided", decided(event)),
        Event::Woken(event) => {
            out.subtasks = vec![name(event.node)];
            ("woken", format!("{} by {}", name(event.node), event.by))
        }
        other => return describe_gate(state, other, out),
    };
    kind.clone_into(&mut out.event);
    out.text = text;
}

fn describe_gate(state: &State, event: &Event, out: &mut WatchEvent) {
    let short = |bytes: &[u8]| Oid::from_bytes(bytes).map(Oid::short).unwrap_or_default();
    let (kind, text) = match event {
        Event::GateAsked(event) => {
            (out.gate, out.batch) = (event.gate, event.batch);
            ("gate_asked", format!("{} ({}) on {}", event.gate, purpose_name(event.purpose), short(&event.commit)))
        }
        Event::GateDone(event) => {
            out.gate = event.gate;
            let result = event.result.clone().unwrap_or_default();
            let verdict = match result.verdict() {
                Verdict::Green => "green".to_owned(),
                Verdict::Red => format!("red (exit {})", result.exit_code),
                _ => format!("inconclusive: {}", result.reason),
            };
            ("gate_done", format!("{} is {verdict} after {:.1} s", event.gate, event.duration_ms as f64 / 1000.0))
        }
        Event::GateLost(event) => {
            out.gate = event.gate;
            ("gate_lost", format!("gate {}: {}", event.gate, event.why))
        }
        other => return describe_landing(state, other, out),
    };
    kind.clone_into(&mut out.event);
    out.text = text;
}

fn describe_landing(state: &State, event: &Event, out: &mut WatchEvent) {
    let name = |node: u32| name_of(state, node);
    let short = |bytes: &[u8]| Oid::from_bytes(bytes).map(Oid::short).unwrap_or_default();
    let (kind, text) = match event {
        Event::BatchOpened(event) => {
            out.batch = event.batch;
            out.subtasks = event.members.iter().map(|&node| name(node)).collect();
            ("batch_opened", format!("{} of {}: {}", event.batch, event.members.len(), listed(&out.subtasks)))
        }
        Event::BatchMerged(event) => {
            out.batch = event.batch;
            ("batch_merged", format!("{} merged as {}", event.batch, short(&event.merge)))
        }
        Event::MemberConflicted(event) => {
            (out.batch, out.subtasks) = (event.batch, vec![name(event.node)]);
            out.next = next_name(event.next()).to_owned();
            ("conflicted", format!("{} in {}", name(event.node), listed(&event.paths)))
        }
        Event::MemberRejected(event) => {
            (out.batch, out.subtasks) = (event.batch, vec![name(event.node)]);
            out.next = next_name(event.next()).to_owned();
            ("rejected", format!("{}: the gate is red with it and green without it", name(event.node)))
        }
        Event::BatchClosed(event) => {
            out.batch = event.batch;
            let why = match event.end() {
                BatchEnd::Split => "is red and is tried in halves",
                BatchEnd::Rejected => "was rejected",
                BatchEnd::Empty => "has nothing left to land",
                BatchEnd::Halted => "waits: landing is halted",
                _ => "was cancelled",
            };
            ("batch_closed", format!("{} {why}", event.batch))
        }
        Event::BatchSealed(event) => {
            out.batch = event.batch;
            ("batch_sealed", format!("{} with its derived files as {}", event.batch, short(&event.merge)))
        }
        Event::LandIntent(event) => {
            out.batch = event.batch;
            ("land_intent", format!("batch {} moves the branch to {}", event.batch, short(&event.new)))
        }
        Event::Landed(event) => {
            (out.batch, out.commit) = (event.batch, super::hex(&event.commit));
            ("landed", format!("batch {} as {}", event.batch, short(&event.commit)))
        }
        Event::Staged(event) => {
            out.subtasks = vec![name(event.node)];
            ("staged", format!("{} for its group", name(event.node)))
        }
        other => return describe_rest(state, other, out),
    };
    kind.clone_into(&mut out.event);
    out.text = text;
}

fn describe_rest(state: &State, event: &Event, out: &mut WatchEvent) {
    let name = |node: u32| name_of(state, node);
    let (kind, text) = match event {
        Event::NodeClosed(event) => {
            out.subtasks = vec![name(event.node)];
            let kind = match event.outcome() {
                Outcome::Skipped => "skipped",
                Outcome::Cancelled => "cancelled",
                _ => "failed",
            };
            (kind, format!("{}: {}", name(event.node), event.reason))
        }
        Event::Retried(event) => {
            out.subtasks = vec![name(event.node)];
            ("retried", format!("{} on request {}", name(event.node), event.remark))
        }
        Event::RevertAsked(event) => {
            out.subtasks = vec![name(event.node)];
            ("revert_asked", format!("{} on request {}", name(event.node), event.reason))
        }
        Event::JobPaused(event) => ("job_paused", event.reason.clone()),
        Event::JobResumed(_) => ("job_resumed", "going on".to_owned()),
        Event::SpendSettled(event) => {
            out.attempt = event.attempt;
            let text = match event.written_off_by.as_str() {
                "" => format!("attempt {}: what was in doubt is settled by its late report", event.attempt),
                by => format!("attempt {}: what is in doubt is written off by {by}", event.attempt),
            };
            ("spend_settled", text)
        }
        Event::LimitsChanged(_) => ("limits_changed", "new limits".to_owned()),
        Event::LandingHalted(event) => ("landing_halted", event.reason.clone()),
        Event::Recovered(event) => {
            let seconds = event.downtime_ms as f64 / 1000.0;
            (
                "recovered",
                format!(
                    "going on after {seconds:.0} s, with {} attempts and {} gate runs in question",
                    event.lost_attempts.len(),
                    event.lost_gates.len()
                ),
            )
        }
        Event::JobClosed(event) => {
            let outcome = outcome_name(event.outcome);
            let text =
                if event.reason.is_empty() { outcome.to_owned() } else { format!("{outcome}: {}", event.reason) };
            ("job_closed", text)
        }
        Event::WipSaved(event) => {
            (out.attempt, out.subtasks) = (event.attempt, vec![name(event.node)]);
            let turn = event.wip.as_ref().map_or(0, |wip| wip.turn);
            out.commit = super::hex(event.wip.as_ref().map_or(&[][..], |wip| &wip.commit));
            ("wip_saved", format!("{}: work in progress saved after turn {turn}", name(event.node)))
        }
        Event::WorkerQuarantined(event) => {
            ("worker_quarantined", format!("{} gets nothing more for now: {}", event.worker, event.reason))
        }
        Event::WorkerReleased(event) => {
            ("worker_released", format!("{} may have work again, says {}", event.worker, event.by))
        }
        Event::Unenforced(event) => {
            ("unenforced", format!("the sandbox of {} does not enforce {}", event.worker, event.what))
        }
        Event::Audited(event) => {
            ("audited", format!("{} ({}): {} {}", event.who, event.role, event.what, event.detail))
        }
        _ => ("event", String::new()),
    };
    kind.clone_into(&mut out.event);
    out.text = text;
}

/// A question with the command that answers it.
fn asked(park: u64, question: &Question) -> String {
    let verb = if question::wants_words(question) { "answer" } else { "approve" };
    format!("{} (`longhaul {verb} {park}`)", question::sentence(question))
}

fn decided(event: &longhaul_proto::Decided) -> String {
    let words = event.decision.as_ref().map(question::decided).unwrap_or_default();
    match event.scope() {
        AnswerScope::Job => format!("{words}, for the whole job"),
        AnswerScope::Map => format!("{words}, for all of {}", event.of),
        AnswerScope::Once | AnswerScope::Unspecified => format!("{words}, for {}", event.of),
    }
}

fn next_name(next: Next) -> &'static str {
    match next {
        Next::Retry => "retry",
        Next::Park => "park",
        Next::PromoteSpare => "spare",
        Next::Fail | Next::Unspecified => "fail",
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names if names.len() <= 3 => names.join(", "),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
        _ => String::new(),
    }
}
