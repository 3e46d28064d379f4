//! The status of a job, the list of jobs and the list of subtasks, for a person at a terminal.

use longhaul_common::spec::PARALLEL_MAX;
use longhaul_proto::{JobBytes, JobStatus, SubtaskList, SubtaskRow, Usage};

pub use super::detail::{explanation, subtask};
use super::{
    canvas::Canvas,
    line::Line,
    live::Live,
    style::Tone,
    table::{self, Cell},
    workers::size,
};
use crate::report::{format, group::Outcome, plain};

/// Rows of the part that looks like the live view.
const LIVE_ROWS: usize = 40;
/// The widest the part that looks like the live view gets, in a pipe too.
const STATUS_WIDTH: usize = 160;
/// Subtasks listed on a terminal; more are counted.
pub const SUBTASKS_MAX: usize = 1_000;
/// Warnings shown.
const WARNINGS_MAX: usize = 10;

/// How a job's phase is toned.
pub fn phase_tone(phase: &str) -> Tone {
    match phase {
        "done" => Tone::Good,
        "running" => Tone::Active,
        "failed" => Tone::Bad,
        _ => Tone::Warn,
    }
}

/// How a subtask's state is toned.
pub fn state_tone(state: &str) -> Tone {
    match Outcome::of(state) {
        Outcome::Landed | Outcome::Unchanged => Tone::Good,
        Outcome::Failed => Tone::Bad,
        Outcome::Parked => Tone::Warn,
        Outcome::Dropped => Tone::Soft,
        Outcome::Open if state == "running" || state == "landing" => Tone::Active,
        Outcome::Open => Tone::Text,
    }
}

/// The page for one job: the live view as it is now, then where things are.
pub fn status(status: &JobStatus, canvas: &Canvas) -> String {
    let columns = canvas.width;
    let live = Live::new(canvas.style());
    let mut lines = live.frame(status, canvas.now_ms, canvas.width.min(STATUS_WIDTH), LIVE_ROWS);
    let fact = |name: &str, value: &str| {
        Line::verb(Tone::Soft, name, columns).foreign(Tone::Text, value).render(columns, canvas.style())
    };
    let branch = match (status.branch.as_str(), format::short(&status.base), format::short(&status.tip)) {
        ("", ..) => String::new(),
        (branch, base, tip) if base == tip || tip.is_empty() => format!("{branch} at {base}"),
        (branch, base, tip) => format!("{branch} from {base} to {tip}"),
    };
    let gate = match (status.gates_run, status.base_gate_green) {
        (0, _) => "not run yet".to_owned(),
        (n, true) => format!("{}, green on the base", format::plural(n, "run")),
        (n, false) => format!("{}, not known to be green on the base", format::plural(n, "run")),
    };
    let failures: Vec<String> = status.failures.iter().map(|(class, n)| format!("{class} {n}")).collect();
    let generation = if status.generation > 1 { status.generation.to_string() } else { String::new() };
    let facts = [
        ("Branch", branch),
        ("Gate", gate),
        ("Coverage", coverage(status)),
        ("Limits", limits(status)),
        ("Unsettled", unsettled(status)),
        ("Forecast", forecast(status)),
        ("Disk", status.bytes.as_ref().map(disk).unwrap_or_default()),
        ("Failures", failures.join(", ")),
        ("Generation", generation),
        ("Started", time(status.started_ms, canvas)),
        ("Closed", time(status.closed_ms, canvas)),
        ("Repository", status.repo_path.clone()),
        ("Job file", status.source_path.clone()),
    ];
    lines.extend(facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| fact(name, value)));
    for warning in status.warnings.iter().take(WARNINGS_MAX) {
        let line = Line::verb(Tone::Warn, "Warning", columns).foreign(Tone::Text, warning);
        lines.push(line.render(columns, canvas.style()));
    }
    joined(&lines)
}

fn time(ms: i64, canvas: &Canvas) -> String {
    if ms > 0 { format::local(ms, &canvas.zone) } else { String::new() }
}

/// What the job takes at its coordinator, and the bounds of it.
fn disk(bytes: &JobBytes) -> String {
    format!(
        "journal {} of {}, snapshots {}, logs {} of {}, store {}; {} free",
        size(bytes.journal),
        size(bytes.journal_max),
        size(bytes.snapshots),
        size(bytes.logs),
        size(bytes.logs_max),
        size(bytes.store),
        size(bytes.free)
    )
}

fn limits(status: &JobStatus) -> String {
    let budget = status.budget.unwrap_or_default();
    let mut parts = Vec::new();
    if budget.usd_micros > 0 {
        parts.push(format!("{} of {}", format::usd(status.usd_micros), format::usd(budget.usd_micros)));
    }
    if budget.tokens > 0 {
        parts.push(format!("{} of {} tokens", format::tokens(status.tokens), format::tokens(budget.tokens)));
    }
    if budget.wall_ms > 0 {
        parts.push(format!("{} of {}", format::duration(status.elapsed_ms), format::duration(budget.wall_ms)));
    }
    if budget.attempts > 0 {
        parts.push(format!("{} of {} attempts", format::count(status.attempts), format::count(budget.attempts)));
    }
    // On a server the workers are the limit, unless the job file or a flag says otherwise.
    if (1..PARALLEL_MAX).contains(&budget.parallel) {
        parts.push(format!("{} at a time", budget.parallel));
    }
    parts.join(", ")
}

/// How many landings executed all they changed, where that is measured.
fn coverage(status: &JobStatus) -> String {
    match status.measures_coverage {
        true => format!("{} of {} proven", status.landings_proven, format::plural(status.landings.into(), "landing")),
        false => String::new(),
    }
}

/// What may still be used, and what may have been.
fn unsettled(status: &JobStatus) -> String {
    let books = status.books.clone().unwrap_or_default();
    let part = |usage: Option<Usage>, what: &str| {
        let usage = usage.unwrap_or_default();
        (usage.tokens + usage.usd_micros > 0)
            .then(|| format!("{} {what}", format::cost(usage.usd_micros, usage.tokens)))
    };
    let parts = [part(books.reserved, "reserved"), part(books.in_doubt, "in doubt")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What the job will have cost, and how long it will take yet.
fn forecast(status: &JobStatus) -> String {
    let Some(forecast) = &status.forecast else { return String::new() };
    let cost = |usd, tokens| format::cost(usd, tokens);
    let mut parts = Vec::new();
    if forecast.usd_micros_p90 + forecast.tokens_p90 > 0 {
        let (p50, p90) =
            (cost(forecast.usd_micros_p50, forecast.tokens_p50), cost(forecast.usd_micros_p90, forecast.tokens_p90));
        parts.push(format!("{p50} in all, p90 {p90}"));
    }
    let (p50, p90) = (format::duration(forecast.left_ms_p50), format::duration(forecast.left_ms_p90));
    parts.push(format!("{p50} of work left, p90 {p90}"));
    format!("{} (by {} done)", parts.join("; "), format::plural(forecast.samples.into(), "subtask"))
}

/// What is the job's alone: without the store, which jobs of one repository share.
fn own(bytes: &JobBytes) -> u64 {
    bytes.journal + bytes.snapshots + bytes.logs + bytes.capsules + bytes.index + bytes.sessions
}

/// Lines as one text that ends with a line break.
pub fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// One line a job, in the order given.
pub fn jobs(jobs: &[JobStatus], canvas: &Canvas) -> String {
    if jobs.is_empty() {
        return "No jobs here. `longhaul init` writes a job file; `longhaul run` runs it.\n".to_owned();
    }
    let headings = [
        ("Job", false),
        ("Phase", false),
        ("Landed", true),
        ("Time", true),
        ("Cost", true),
        ("Disk", true),
        ("Goal", false),
    ];
    let row = |job: &JobStatus| {
        let counts = job.counts.unwrap_or_default();
        let landed = format!("{}/{}", counts.landed + counts.unchanged, counts.total);
        vec![
            Cell::new(Tone::Strong, &job.job),
            Cell::new(phase_tone(&job.phase), &job.phase),
            Cell::new(Tone::Text, &landed),
            Cell::new(Tone::Text, &format::duration(job.elapsed_ms)),
            Cell::new(Tone::Text, &format::cost(job.usd_micros, job.tokens)),
            Cell::new(Tone::Text, &job.bytes.as_ref().map(|bytes| size(own(bytes))).unwrap_or_default()),
            Cell::new(Tone::Soft, &job.goal),
        ]
    };
    let rows: Vec<Vec<Cell>> = jobs.iter().map(row).collect();
    joined(&table::table(&headings, &rows, canvas))
}

/// One line a subtask, in the order given; on a terminal at most [`SUBTASKS_MAX`].
pub fn subtasks(list: &SubtaskList, canvas: &Canvas) -> String {
    let rows = &list.rows;
    let max = if canvas.terminal { SUBTASKS_MAX } else { rows.len() };
    if rows.is_empty() {
        return "No subtasks match.\n".to_owned();
    }
    let headings = [("Subtask", false), ("State", false), ("Tries", true), ("Time", true), ("Result", false)];
    let row = |row: &SubtaskRow| {
        let result = match (row.reason.as_str(), row.commit.as_str()) {
            ("", "") => String::new(),
            ("", commit) => format!(
                "{} {} +{} −{}",
                format::short(commit),
                format::plural(row.files.into(), "file"),
                row.lines_added,
                row.lines_removed
            ),
            (reason, _) => reason.to_owned(),
        };
        vec![
            Cell::new(Tone::Strong, &row.id),
            Cell::new(state_tone(&row.state), &row.state),
            Cell::new(Tone::Text, &row.attempts.to_string()),
            Cell::new(Tone::Text, &format::duration(row.spent_ms)),
            Cell::new(Tone::Soft, &plain::line(&result)),
        ]
    };
    let shown: Vec<Vec<Cell>> = rows.iter().take(max).map(row).collect();
    let mut lines = table::table(&headings, &shown, canvas);
    let more = rows.len().max(list.total as usize).saturating_sub(max.min(rows.len()));
    if more > 0 {
        let line = Line::default().text(Tone::Soft, format!("and {} more; --json has all", format::count(more as u64)));
        lines.push(line.render(canvas.width, canvas.style()));
    }
    joined(&lines)
}
