//! The report's content, decided once for Markdown and HTML: what is shown, in which order, how
//! much of it, in which words. The renderers only choose layout and escaping.
//!
//! Every list has a limit below and a sentence that says what it leaves out. With them, the
//! content is bounded whatever the size of the job.

use longhaul_proto::{Counts, JobStatus};
use serde::Serialize;

use super::{
    ReportInput, format,
    group::{self, Outcome, Reason},
    headline::headline,
    listing::{self, Gates, Landed, Receipts, RowLine},
    next::Commands,
    plain,
};

/// Groups of subtasks that did not land.
const REASONS_MAX: usize = 40;
/// Subtasks named in one group.
const REASON_IDS_MAX: usize = 12;
/// Characters of a reason.
const REASON_CHARS: usize = 600;
/// Characters of the goal.
const GOAL_CHARS: usize = 1_000;
/// Warnings of the job.
const WARNINGS_MAX: usize = 20;
/// The slowest subtasks.
const SLOWEST_MAX: usize = 20;

/// The report as text, formatted but not escaped; empty strings where there is nothing to say.
#[derive(Debug, Serialize)]
pub struct Digest {
    /// The job's id.
    pub job: String,
    /// What the job is for.
    pub goal: String,
    /// Phase, and its reason where there is one.
    pub phase: String,
    /// The sentence at the top.
    pub headline: String,
    /// Name and value pairs: branch, commits, times.
    pub facts: Vec<Fact>,
    /// What the job warned about.
    pub warnings: Vec<String>,
    /// Figures for the top of the page.
    pub tiles: Vec<Tile>,
    /// The outcomes that occurred, with their part of the whole.
    pub shares: Vec<Share>,
    /// What did not land and why.
    pub problems: Vec<Problem>,
    /// Which problems are not listed.
    pub problems_note: String,
    /// What landed.
    pub landed: Landed,
    /// Proof of what landed.
    pub receipts: Receipts,
    /// Where the time went.
    pub slowest: Vec<RowLine>,
    /// What the gate did.
    pub gates: Gates,
    /// When the report was made, in UTC.
    pub generated: String,
}

/// A name and its value.
#[derive(Debug, Serialize)]
pub struct Fact {
    /// The name.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Whether the value is a name of git's, shown in a fixed-width face.
    pub code: bool,
}

/// A figure.
#[derive(Debug, Serialize)]
pub struct Tile {
    /// What it measures.
    pub label: &'static str,
    /// The figure.
    pub value: String,
    /// Context in a few words.
    pub note: String,
}

/// How many subtasks had one outcome.
#[derive(Debug, Serialize)]
pub struct Share {
    /// The outcome's name, also the CSS class.
    pub class: &'static str,
    /// How many, with separators.
    pub count: String,
    /// Part of all subtasks, in percent, with two decimals.
    pub percent: String,
}

/// Subtasks that did not land for one reason.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The outcome's name, also the CSS class.
    pub class: &'static str,
    /// E.g. `12 failed`.
    pub title: String,
    /// The reason.
    pub reason: String,
    /// The first few subtasks.
    pub ids: Vec<String>,
    /// How many more there are, as words.
    pub more: String,
    /// What a person can run.
    pub next: Vec<String>,
}

impl Digest {
    /// Decides what the report of `input` says.
    pub fn of(input: &ReportInput) -> Self {
        let status = &input.status;
        let counts = input.counts();
        let reasons = group::by_reason(status, &input.rows);
        Self {
            job: format::clip(&plain::line(&status.job), listing::ID_CHARS),
            goal: format::clip(&plain::line(&status.goal), GOAL_CHARS),
            phase: phase(status),
            headline: headline(status, &counts),
            facts: facts(status),
            warnings: warnings(status),
            tiles: tiles(input, &counts),
            shares: shares(&counts),
            problems: reasons.iter().take(REASONS_MAX).map(|r| problem(r, status)).collect(),
            problems_note: problems_note(&reasons),
            landed: Landed::of(&input.rows),
            receipts: Receipts::of(&input.receipts),
            slowest: group::top_by(input.rows.iter(), SLOWEST_MAX, |row| row.spent_ms)
                .into_iter()
                .map(RowLine::of)
                .collect(),
            gates: Gates::of(input),
            generated: format::utc(input.generated_ms),
        }
    }
}

fn phase(status: &JobStatus) -> String {
    let reason = format::clip(&plain::line(&status.phase_reason), REASON_CHARS);
    let phase = plain::line(&status.phase);
    match (phase.is_empty(), reason.is_empty()) {
        (true, _) => "unknown".to_owned(),
        (_, true) => phase,
        _ => format!("{phase}: {reason}"),
    }
}

fn facts(status: &JobStatus) -> Vec<Fact> {
    let text = |name, value: String| Fact { name, value, code: false };
    let code = |name, value: &str| Fact { name, value: plain::line(value), code: true };
    let mut facts = vec![
        code("Branch", &status.branch),
        code("Base", &format::short(&status.base)),
        code("Tip", &format::short(&status.tip)),
        code("Repository", &status.repo_path),
        code("Job file", &status.source_path),
    ];
    for (name, ms) in [("Started", status.started_ms), ("Closed", status.closed_ms)] {
        if ms > 0 {
            facts.push(text(name, format::utc(ms)));
        }
    }
    if status.generation > 1 {
        facts.push(text("Generation", status.generation.to_string()));
    }
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

fn warnings(status: &JobStatus) -> Vec<String> {
    let said = status.warnings.iter().take(WARNINGS_MAX);
    let mut warnings: Vec<String> = said.map(|text| format::clip(&plain::line(text), REASON_CHARS)).collect();
    let more = status.warnings.len().saturating_sub(WARNINGS_MAX);
    if more > 0 {
        warnings.push(format!("And {}.", format::plural(more as u64, "further warning")));
    }
    warnings
}

fn tiles(input: &ReportInput, counts: &Counts) -> Vec<Tile> {
    let status = &input.status;
    let budget = status.budget.unwrap_or_default();
    let spent: u64 = input.rows.iter().fold(0, |sum, row| sum.saturating_add(row.spent_ms));
    let sum = |key: fn(&longhaul_proto::SubtaskRow) -> u64| {
        let landed = input.rows.iter().filter(|row| row.state == "landed");
        landed.fold(0_u64, |sum, row| sum.saturating_add(key(row)))
    };
    let allowed = if budget.usd_micros > 0 {
        format!("of {} allowed", format::usd(budget.usd_micros))
    } else if status.tokens > 0 {
        format!("{} tokens", format::tokens(status.tokens))
    } else {
        "no model used".to_owned()
    };
    vec![
        Tile {
            label: "Landed",
            value: format::count(counts.landed.into()),
            note: format!("of {}", format::plural(counts.total.into(), "subtask")),
        },
        Tile {
            label: "Time",
            value: format::duration(status.elapsed_ms),
            note: format!("{} of work", format::duration(spent)),
        },
        Tile { label: "Cost", value: format::usd(status.usd_micros), note: allowed },
        Tile {
            label: "Attempts",
            value: format::count(status.attempts),
            note: match status.retries {
                1 => "1 retry".to_owned(),
                n => format!("{} retries", format::count(n)),
            },
        },
        Tile {
            label: "Gate runs",
            value: format::count(status.gates_run),
            note: format::plural(status.landings.into(), "landing"),
        },
        Tile {
            label: "Lines landed",
            value: format!("+{}", format::count(sum(|row| row.lines_added))),
            note: format!("−{} removed", format::count(sum(|row| row.lines_removed))),
        },
    ]
}

/// The number of subtasks with each outcome, the good ones first.
pub fn outcome_counts(counts: &Counts) -> [(Outcome, u64); 6] {
    let sum = |parts: &[u32]| parts.iter().map(|n| u64::from(*n)).sum();
    Outcome::ALL.map(|outcome| {
        let n = match outcome {
            Outcome::Landed => sum(&[counts.landed]),
            Outcome::Unchanged => sum(&[counts.unchanged]),
            Outcome::Parked => sum(&[counts.parked]),
            Outcome::Failed => sum(&[counts.failed]),
            Outcome::Dropped => sum(&[counts.skipped, counts.cancelled, counts.reverted]),
            Outcome::Open => sum(&[counts.waiting, counts.ready, counts.backoff, counts.running, counts.landing]),
        };
        (outcome, n)
    })
}

fn shares(counts: &Counts) -> Vec<Share> {
    let total = counts.total.max(1);
    outcome_counts(counts)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(outcome, n)| Share {
            class: outcome.name(),
            count: format::count(n),
            percent: format!("{:.2}", n as f64 * 100.0 / f64::from(total)),
        })
        .collect()
}

fn problem(reason: &Reason<'_>, status: &JobStatus) -> Problem {
    let shown = reason.rows.iter().take(REASON_IDS_MAX);
    let more = reason.rows.len().saturating_sub(REASON_IDS_MAX);
    let text = match (reason.text.is_empty(), reason.outcome) {
        (false, _) => format::clip(&reason.text, REASON_CHARS),
        (true, Outcome::Open) => "not finished".to_owned(),
        (true, _) => "no reason recorded".to_owned(),
    };
    Problem {
        class: reason.outcome.name(),
        title: format!("{} {}", format::count(reason.rows.len() as u64), plain::line(reason.state)),
        reason: text,
        ids: shown.map(|row| listing::id(&row.id)).collect(),
        more: if more > 0 { format!("and {} more", format::count(more as u64)) } else { String::new() },
        next: Commands { phase: &status.phase, job: &status.job }.for_reason(reason),
    }
}

fn problems_note(reasons: &[Reason<'_>]) -> String {
    let left = reasons.get(REASONS_MAX..).unwrap_or_default();
    if left.is_empty() {
        return String::new();
    }
    let rows: u64 = left.iter().map(|reason| reason.rows.len() as u64).sum();
    format!(
        "{} with {} are not shown here; the JUnit report lists every subtask.",
        format::plural(left.len() as u64, "further reason"),
        format::plural(rows, "subtask"),
    )
}
