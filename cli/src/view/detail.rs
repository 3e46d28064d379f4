//! One subtask in full, and why something is not running.

use longhaul_common::coverage::words;
use longhaul_proto::{AttemptRow, Capsule, Explanation, ReceiptRow, SubtaskDetail};

use super::{
    canvas::{Canvas, PROSE_WIDTH},
    line::{self, Line},
    status::{joined, state_tone},
    style::{Tone, VERB_COLUMNS},
};
use crate::report::{format, plain};

/// Entries of a list (files, remarks, causes) shown; more are counted.
const ENTRIES_MAX: usize = 20;
/// Lines of instructions or of a failure shown.
const LINES_MAX: usize = 30;

/// A page under construction: a name in the verb column, then one or more lines of text.
struct Page<'a> {
    canvas: &'a Canvas,
    lines: Vec<String>,
}

impl<'a> Page<'a> {
    const fn new(canvas: &'a Canvas) -> Self {
        Self { canvas, lines: Vec::new() }
    }

    fn push(&mut self, line: &Line) {
        self.lines.push(line.render(self.canvas.width, self.canvas.style()));
    }

    fn verb(&self, tone: Tone, name: &str) -> Line {
        Line::verb(tone, name, self.canvas.width)
    }

    fn fact(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.push(&self.verb(Tone::Soft, name).foreign(Tone::Text, value));
        }
    }

    /// Text of several lines, wrapped.
    fn block(&mut self, name: &str, text: &str, tone: Tone) {
        let indent = if self.canvas.width < 40 { 1 } else { VERB_COLUMNS + 1 };
        let width = self.canvas.width.min(PROSE_WIDTH).saturating_sub(indent);
        let lines = line::wrap(text.trim(), width);
        for (at, text) in lines.iter().take(LINES_MAX).enumerate() {
            let name = if at == 0 { name } else { "" };
            self.push(&self.verb(Tone::Soft, name).text(tone, text.as_str()));
        }
        self.more(lines.len().saturating_sub(LINES_MAX), "line");
    }

    fn entries(&mut self, name: &str, entries: &[String]) {
        for (at, entry) in entries.iter().take(ENTRIES_MAX).enumerate() {
            let name = if at == 0 { name } else { "" };
            self.push(&self.verb(Tone::Soft, name).foreign(Tone::Text, entry));
        }
        self.more(entries.len().saturating_sub(ENTRIES_MAX), "entry");
    }

    fn more(&mut self, n: usize, what: &str) {
        if n > 0 {
            let text = match (n, what) {
                (1, what) => format!("and 1 more {what}"),
                (n, "entry") => format!("and {} more entries", format::count(n as u64)),
                (n, what) => format!("and {} more {what}s", format::count(n as u64)),
            };
            self.push(&Line::indented(self.canvas.width).text(Tone::Soft, text));
        }
    }
}

/// Everything known about one subtask.
pub fn subtask(detail: &SubtaskDetail, canvas: &Canvas) -> String {
    let mut page = Page::new(canvas);
    let row = detail.row.clone().unwrap_or_default();
    let head = page.verb(state_tone(&row.state), &row.state).foreign(Tone::Strong, &row.id);
    page.push(&head);
    page.block("Reason", &row.reason, Tone::Text);
    page.block("Does", &detail.instructions, Tone::Text);
    let work = [
        format::plural(row.attempts.into(), "attempt"),
        format::duration(row.spent_ms),
        format::cost(row.usd_micros, row.tokens),
    ];
    page.fact("Work", &work.join(", "));
    page.fact("Agent", &row.agent);
    if !row.commit.is_empty() {
        let change = format!(
            "{} with {}, +{} −{}",
            format::short(&row.commit),
            format::plural(row.files.into(), "file"),
            format::count(row.lines_added),
            format::count(row.lines_removed),
        );
        page.fact("Change", &change);
    }
    page.entries("Files", &detail.files);
    page.entries("Writes", &detail.claims);
    page.entries("After", &row.deps);
    page.entries("Remarks", &detail.remarks);
    for attempt in detail.attempts.iter().rev().take(ENTRIES_MAX).rev() {
        attempt_lines(&mut page, attempt);
    }
    if let Some(receipt) = &detail.receipt {
        receipt_lines(&mut page, receipt);
    }
    if let Some(capsule) = &detail.capsule {
        capsule_lines(&mut page, capsule);
    }
    joined(&page.lines)
}

fn attempt_lines(page: &mut Page<'_>, attempt: &AttemptRow) {
    let tone = match attempt.outcome.as_str() {
        "delivered" | "unchanged" => Tone::Good,
        "running" => Tone::Active,
        "failed" | "lost" => Tone::Warn,
        _ => Tone::Soft,
    };
    let took = attempt.timing.map_or(0, |timing| timing.total_ms);
    let mut line = page
        .verb(tone, &format!("Attempt {}", attempt.attempt))
        .foreign(tone, &attempt.outcome)
        .text(Tone::Soft, format!(" {}", format::local(attempt.at_ms, &page.canvas.zone)));
    if took > 0 {
        line = line.text(Tone::Soft, format!(", {}", format::duration(took)));
    }
    if let Some(usage) = attempt.usage.filter(|usage| usage.tokens > 0) {
        line = line.text(Tone::Soft, format!(", {}", format::cost(usage.usd_micros, usage.tokens)));
    }
    if !attempt.worker.is_empty() {
        line = line.text(Tone::Soft, " on ").foreign(Tone::Soft, &attempt.worker);
    }
    page.push(&line);
    let sign = &attempt.sign;
    let message = if attempt.message.contains(sign.as_str()) { String::new() } else { sign.clone() };
    let why: Vec<String> = [&attempt.class, &message, &attempt.message]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(|text| plain::text(text))
        .collect();
    page.block("", &why.join(": "), Tone::Text);
    if !attempt.logs.is_empty() {
        let names: Vec<String> = attempt.logs.iter().map(|name| plain::line(name)).collect();
        let line = Line::indented(page.canvas.width);
        page.push(&line.text(Tone::Soft, format!("logs: {}", names.join(", "))));
    }
}

fn receipt_lines(page: &mut Page<'_>, receipt: &ReceiptRow) {
    let mut marks = Vec::new();
    if receipt.flaky {
        marks.push("flaky".to_owned());
    }
    marks.push(if receipt.unproven { "unproven".to_owned() } else { "proven".to_owned() });
    if !receipt.protected_touched.is_empty() {
        let touched: Vec<String> =
            receipt.protected_touched.iter().take(ENTRIES_MAX).map(|path| plain::line(path)).collect();
        marks.push(format!("protected: {}", touched.join(", ")));
    }
    let line = page.verb(Tone::Good, "Receipt").foreign(
        Tone::Text,
        &format!("merge {}, tree {}", format::short(&receipt.merge), format::short(&receipt.tree)),
    );
    page.push(&line.text(Tone::Warn, if marks.is_empty() { String::new() } else { format!("  {}", marks.join(", ")) }));
    page.fact("Gate", &format!("{} exited with {}", receipt.command, receipt.exit_code));
    page.fact("Log hash", &receipt.log_hash);
    page.fact("Coverage", &receipt.coverage.as_ref().map(words).unwrap_or_default());
}

fn capsule_lines(page: &mut Page<'_>, capsule: &Capsule) {
    let tokens = format!("{} tokens", format::count(capsule.tokens.into()));
    page.fact("Capsule", &tokens);
    page.entries("Rules", &capsule.constraints);
    page.entries("Decided", &capsule.decisions);
    page.block("Next", &capsule.next, Tone::Text);
    page.entries("Clipped", &capsule.clipped);
}

/// Why a subtask, or the job, is where it is, and what a person can do.
pub fn explanation(explanation: &Explanation, canvas: &Canvas) -> String {
    let mut page = Page::new(canvas);
    let subject = if explanation.subtask.is_empty() { "the job" } else { &explanation.subtask };
    let head = page.verb(state_tone(&explanation.state), &explanation.state).foreign(Tone::Strong, subject);
    page.push(&head);
    if explanation.causes.is_empty() {
        page.fact("Because", "nothing holds it back");
    }
    for (at, cause) in explanation.causes.iter().take(ENTRIES_MAX).enumerate() {
        page.block(if at == 0 { "Because" } else { "and" }, cause, Tone::Text);
    }
    page.more(explanation.causes.len().saturating_sub(ENTRIES_MAX), "cause");
    for (at, next) in explanation.next.iter().take(ENTRIES_MAX).enumerate() {
        // Whole, whatever the width: it is there to be copied.
        let line = page.verb(Tone::Active, if at == 0 { "Next" } else { "" }).foreign(Tone::Strong, next);
        page.lines.push(line.render(usize::MAX, canvas.style()));
    }
    joined(&page.lines)
}
