//! The last words of a run: only what needs a person, then counts, cost, the branch and what to
//! run next. What went well is one number.
//!
//! Sentences wrap; commands are neither cut nor wrapped, whatever the width, because they are there
//! to be copied.

use longhaul_proto::{Counts, JobStatus, SubtaskRow};

use super::{
    canvas::Canvas,
    line::{Line, paragraph},
    status::{joined, phase_tone},
    style::{Tone, VERB_COLUMNS},
};
use crate::report::{
    count, format,
    group::{self, Outcome, Reason},
    headline,
    next::Commands,
    plain,
};

/// Reasons shown; more are counted.
const REASONS_MAX: usize = 12;
/// Subtasks named for one reason.
const NAMED_MAX: usize = 4;
/// Lines of one reason.
const REASON_LINES: usize = 3;
/// Lines of the headline and of the figures: room for either at 20 columns.
const SENTENCE_LINES: usize = 20;
/// Warnings shown.
const WARNINGS_MAX: usize = 5;
/// Commands offered.
const NEXT_MAX: usize = 6;

/// The summary of a job that stopped; `branch` is the one its result was exported to, empty where
/// it was not; `rows` are the job's subtasks, those that landed may be missing.
pub fn summary(status: &JobStatus, branch: &str, rows: &[SubtaskRow], canvas: &Canvas) -> String {
    let columns = canvas.width;
    let counts = status.counts.unwrap_or_else(|| count(rows));
    let reasons = group::by_reason(status, rows);
    let mut lines = vec![Line::default().text(Tone::Soft, "─".repeat(columns.min(VERB_COLUMNS)))];
    for reason in reasons.iter().take(REASONS_MAX) {
        lines.extend(reason_lines(reason, columns));
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    if more > 0 {
        let text = format!("and {}: longhaul report", format::plural(more as u64, "further reason"));
        lines.push(Line::indented(columns).text(Tone::Soft, text));
    }
    for warning in status.warnings.iter().take(WARNINGS_MAX) {
        lines.extend(paragraph((Tone::Warn, "Warning"), Tone::Text, warning, columns, REASON_LINES));
    }
    lines.extend(facts(status, &counts, columns));
    if !branch.is_empty() {
        let line = Line::verb(Tone::Good, "Branch", columns).foreign(Tone::Strong, branch);
        lines.push(line.text(Tone::Soft, " at ").foreign(Tone::Text, &format::short(&status.tip)));
    }
    let mut lines: Vec<String> = lines.iter().map(|line| line.render(columns, canvas.style())).collect();
    for (at, command) in commands(status, &reasons, &counts, !branch.is_empty()).iter().enumerate() {
        let verb = if at == 0 { "Next" } else { "" };
        let line = Line::verb(Tone::Active, verb, columns).text(Tone::Text, command.as_str());
        lines.push(line.render(usize::MAX, canvas.style()));
    }
    joined(&lines)
}

fn facts(status: &JobStatus, counts: &Counts, columns: usize) -> Vec<Line> {
    let verb = match status.phase.as_str() {
        "" => "Summary".to_owned(),
        phase => capitalised(&plain::line(phase)),
    };
    let said = headline(status, counts);
    let mut lines = paragraph((phase_tone(&status.phase), &verb), Tone::Strong, &said, columns, SENTENCE_LINES);
    let because = &status.phase_reason;
    if !because.is_empty() {
        lines.extend(paragraph((Tone::Soft, "Because"), Tone::Text, because, columns, REASON_LINES));
    }
    lines.extend(paragraph((Tone::Soft, "Work"), Tone::Text, &work(status), columns, SENTENCE_LINES));
    lines
}

fn reason_lines(reason: &Reason<'_>, columns: usize) -> Vec<Line> {
    let tone = match reason.outcome {
        Outcome::Failed => Tone::Bad,
        Outcome::Parked => Tone::Warn,
        _ => Tone::Soft,
    };
    let ids = reason.rows.iter().map(|row| row.id.as_str());
    let names = format::some_of(ids, NAMED_MAX, plain::line);
    let verb = plain::line(reason.state).to_uppercase();
    let text = match reason.text.as_str() {
        "" if reason.outcome == Outcome::Open => "not finished",
        "" => "no reason recorded",
        text => text,
    };
    let text = match reason.rows.len() {
        1 => text.to_owned(),
        n => format!("{}× {text}", format::count(n as u64)),
    };
    let mut lines = paragraph((tone, &verb), Tone::Text, &text, columns, REASON_LINES);
    lines.extend(paragraph((Tone::Soft, ""), Tone::Soft, &names, columns, REASON_LINES));
    lines
}

fn work(status: &JobStatus) -> String {
    let mut parts = vec![format::plural(status.attempts, "attempt")];
    if status.retries > 0 {
        parts.push(if status.retries == 1 {
            "1 retry".to_owned()
        } else {
            format!("{} retries", format::count(status.retries))
        });
    }
    parts.push(format::plural(status.gates_run, "gate run"));
    parts.push(format::plural(status.landings.into(), "landing"));
    if status.tokens > 0 {
        parts.push(format!("{} tokens", format::tokens(status.tokens)));
    }
    parts.join(", ")
}

/// The last command of each reason that needs a person (the one that moves it on), then those of
/// the job, each once.
fn commands(status: &JobStatus, reasons: &[Reason<'_>], counts: &Counts, exported: bool) -> Vec<String> {
    let spell = Commands { phase: &status.phase, job: "" };
    let needs = |reason: &&Reason<'_>| matches!(reason.outcome, Outcome::Failed | Outcome::Parked);
    let mut each: Vec<String> =
        reasons.iter().filter(needs).filter_map(|reason| spell.for_reason(reason).pop()).collect();
    let named = reasons.iter().any(|reason| reason.outcome == Outcome::Failed);
    if counts.failed > 0 && !named {
        each.extend(spell.for_failed());
    }
    let job = spell.for_job(counts.landed.into(), exported);
    let room = NEXT_MAX.saturating_sub(job.len());
    let mut commands: Vec<String> = Vec::new();
    for command in each {
        if commands.len() < room && !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands.extend(job);
    commands
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
