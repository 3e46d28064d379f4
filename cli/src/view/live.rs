//! One frame of live progress: what runs, how far it is, what needs a person.
//!
//! A frame fits any width from 20 columns and any height: lines are cut, never wrapped, and when
//! rows are short the least urgent lines go first, with a line that counts them. Order is stable
//! between frames (running subtasks by their start), so nothing jumps while it is read. Drawing is
//! [`Painter`]'s.

use longhaul_proto::{Counts, GateRow, JobStatus, ParkRow, RunningRow, SubtaskRow};

pub use super::painter::Painter;
use super::{
    line::{self, Line},
    progress,
    style::{Style, Tone},
};
use crate::report::{
    format,
    group::{Outcome, Reason},
    next::Commands,
    plain,
};

/// Below this, labels are short and details are left out.
const COMPACT: usize = 60;
/// The widest a progress bar gets.
const BAR_MAX: usize = 60;
/// Ids get at most this part of the width.
const ID_SHARE: usize = 3;
/// Parked subtasks shown while there is room.
const PARKED_MAX: usize = 3;
/// Gates shown.
const GATES_MAX: usize = 2;

/// Renders frames of live progress.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    style: Style,
}

impl Live {
    /// Frames in `style`.
    pub const fn new(style: Style) -> Self {
        Self { style }
    }

    /// The lines for `status` at `now_ms`: at most `rows`, each at most `columns` wide.
    pub fn frame(&self, status: &JobStatus, now_ms: i64, columns: usize, rows: usize) -> Vec<String> {
        let frame = Frame { status, now_ms, columns, style: self.style };
        let mut lines = frame.top();
        if rows <= lines.len() {
            // The bar says most in one line.
            lines.rotate_left(1);
            lines.truncate(rows);
        } else {
            frame.body(&mut lines, rows);
        }
        lines.iter().map(|line| line.render(columns, self.style)).collect()
    }
}

struct Frame<'a> {
    status: &'a JobStatus,
    now_ms: i64,
    columns: usize,
    style: Style,
}

impl Frame<'_> {
    fn counts(&self) -> Counts {
        self.status.counts.unwrap_or_default()
    }

    fn verb(&self, tone: Tone, verb: &str) -> Line {
        Line::verb(tone, verb, self.columns)
    }

    fn top(&self) -> Vec<Line> {
        vec![self.header(), self.progress(), self.time()]
    }

    fn header(&self) -> Line {
        let status = self.status;
        let (tone, verb) = match status.phase.as_str() {
            "running" => (Tone::Active, "Running"),
            "paused" => (Tone::Warn, "Paused"),
            "draining" => (Tone::Warn, "Draining"),
            "done" => (Tone::Good, "Done"),
            "partial" => (Tone::Warn, "Partial"),
            "failed" => (Tone::Bad, "Failed"),
            "cancelled" => (Tone::Warn, "Cancelled"),
            "stopped" => (Tone::Warn, "Stopped"),
            other => (Tone::Text, other),
        };
        let line = self.verb(tone, verb).foreign(Tone::Strong, &status.job);
        match (status.phase_reason.as_str(), status.goal.as_str()) {
            ("", "") => line,
            ("", goal) => line.text(Tone::Soft, "  ").foreign(Tone::Soft, goal),
            (reason, _) => line.text(Tone::Warn, "  ").foreign(Tone::Warn, reason),
        }
    }

    fn progress(&self) -> Line {
        let counts = self.counts();
        let done = counts.landed + counts.unchanged;
        let figures = format!("{}/{}", format::count(done.into()), format::count(counts.total.into()));
        let line = self.verb(Tone::Active, if self.columns < 40 { "" } else { "Progress" });
        let mut words = Vec::new();
        let kinds = [
            (counts.running + counts.landing, "running", Tone::Active),
            (counts.parked, "parked", Tone::Warn),
            (counts.failed, "failed", Tone::Bad),
        ];
        for (n, word, tone) in kinds.into_iter().filter(|(n, ..)| *n > 0) {
            words.push((tone, format!("{} {word}", format::count(n.into()))));
        }
        let words_columns: usize = words.iter().map(|(_, word)| word.len() + 3).sum();
        let taken = line.columns() + figures.len() + 2;
        let room = self.columns.saturating_sub(taken + words_columns);
        let line = if room >= 10 {
            progress::bar(line, &counts, room.min(BAR_MAX), self.style).text(Tone::Text, " ")
        } else {
            line
        };
        let mut line = line.text(Tone::Strong, figures);
        for (tone, word) in words {
            line = line.text(Tone::Soft, " · ").text(tone, word);
        }
        line
    }

    fn time(&self) -> Line {
        let status = self.status;
        let mut parts = vec![format::duration(status.elapsed_ms)];
        if status.eta_ms > 0 {
            parts.push(format!("about {} left", format::duration(status.eta_ms)));
        }
        if status.usd_micros > 0 || status.tokens > 0 {
            parts.push(format::cost(status.usd_micros, status.tokens));
        }
        if status.retries > 0 && self.columns >= COMPACT {
            parts.push(match status.retries {
                1 => "1 retry".to_owned(),
                n => format!("{} retries", format::count(n)),
            });
        }
        if status.landings > 0 && self.columns >= COMPACT {
            parts.push(format::plural(status.landings.into(), "landing"));
        }
        self.verb(Tone::Soft, if self.columns < 40 { "" } else { "Elapsed" }).text(Tone::Text, parts.join(" · "))
    }

    /// Fills what is left of `rows`: gates and parks keep a few rows, running subtasks get the rest.
    fn body(&self, lines: &mut Vec<Line>, rows: usize) {
        let free = rows - lines.len();
        let (running, gates, parked) = (&self.status.running, &self.status.gates, &self.status.parked);
        let parked_max = parked.len().min(PARKED_MAX).min(free.div_ceil(4));
        let gates_max = gates.len().min(GATES_MAX).min((free - parked_max).div_ceil(4));
        let running_max = running.len().min(free - parked_max - gates_max);
        // Rows that running subtasks do not need.
        let spare = free - parked_max - gates_max - running_max;
        let gates_max = gates.len().min(GATES_MAX).min(gates_max + spare);
        let spare = free - parked_max - gates_max - running_max;
        let parked_max = parked.len().min(PARKED_MAX).min(parked_max + spare);

        let mut order: Vec<&RunningRow> = running.iter().collect();
        order.sort_by_key(|row| (row.since_ms, row.attempt));
        self.some(lines, &order, running_max, "running", |row| self.running(row));
        let order: Vec<&GateRow> = gates.iter().collect();
        self.some(lines, &order, gates_max, "gates", |gate| self.gate(gate));
        let order: Vec<&ParkRow> = parked.iter().collect();
        self.some(lines, &order, parked_max, "parked", |park| self.parked(park));
    }

    /// `max` lines for `items`; where that is not all, the last one counts the rest.
    fn some<T>(&self, lines: &mut Vec<Line>, items: &[&T], max: usize, what: &str, draw: impl Fn(&T) -> Line) {
        let whole = if items.len() > max { max.saturating_sub(1) } else { items.len() };
        lines.extend(items.iter().take(whole).map(|item| draw(item)));
        if whole < max {
            let more = format::count((items.len() - whole) as u64);
            lines.push(Line::indented(self.columns).text(Tone::Soft, format!("and {more} more {what}")));
        }
    }

    fn id_columns(&self) -> usize {
        let longest = self.status.running.iter().map(|row| line::columns(&plain::line(&row.subtask)));
        longest.max().unwrap_or(0).min(self.columns / ID_SHARE).max(8)
    }

    fn running(&self, row: &RunningRow) -> Line {
        let took = format::duration(format::between_ms(row.since_ms, self.now_ms));
        let step = plain::line(&row.step);
        let mut line = if self.columns < COMPACT {
            Line::default().column(Tone::Strong, &row.subtask, self.columns / 2)
        } else {
            self.verb(Tone::Active, &line::clip(&step, 12)).column(Tone::Strong, &row.subtask, self.id_columns())
        };
        line = line.text(Tone::Soft, format!(" {took:>7}"));
        if row.attempt_number > 1 {
            line = line.text(Tone::Warn, format!(" RETRY {}", row.attempt_number));
        }
        if row.slow {
            line = line.text(Tone::Warn, " SLOW");
        }
        if self.columns < COMPACT {
            return line.text(Tone::Soft, " ").text(Tone::Soft, step);
        }
        line.text(Tone::Soft, "  ").text(Tone::Soft, plain::last_line(&row.line))
    }

    fn gate(&self, gate: &GateRow) -> Line {
        let took = format::duration(format::between_ms(gate.since_ms, self.now_ms));
        let line =
            self.verb(Tone::Active, "Gate").foreign(Tone::Strong, &gate.purpose).text(Tone::Soft, format!(" {took}"));
        match gate.members {
            0 => line,
            n => line.text(Tone::Soft, format!(" over {}", format::plural(n.into(), "subtask"))),
        }
    }

    fn parked(&self, park: &ParkRow) -> Line {
        let verb = if park.waiting { "Asks" } else { "Parked" };
        let line = self.verb(Tone::Warn, verb).foreign(Tone::Strong, &park.subtask);
        let row = SubtaskRow { id: park.subtask.clone(), ..SubtaskRow::default() };
        let reason = Reason {
            outcome: Outcome::Parked,
            state: "parked",
            text: String::new(),
            park_reason: &park.reason,
            asks: &park.asks,
            parks: vec![park.park],
            rows: vec![&row],
        };
        let commands = Commands { phase: &self.status.phase, job: "" };
        let hint = commands.for_reason(&reason).pop().unwrap_or_default();
        let why = if park.text.is_empty() { &park.reason } else { &park.text };
        // Half a command does something else than the whole.
        let fits = !hint.is_empty() && line.columns() + 2 + line::columns(&hint) < self.columns;
        let line = if fits { line.text(Tone::Soft, "  ").text(Tone::Text, hint) } else { line };
        line.text(Tone::Soft, "  ").foreign(Tone::Soft, why)
    }
}
