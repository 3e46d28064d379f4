//! The report as Markdown (GitHub's dialect): one page that reads well unrendered too.
//!
//! Hostile text cannot become markup: names stand in code spans with a fence longer than any run
//! of backticks inside, prose is backslash-escaped, logs stand in fenced blocks.

use std::fmt::Write;

use super::{
    ReportInput,
    digest::{Digest, Problem},
    listing::{Gates, Landed, Receipts, RowLine},
};

/// The report of `input` as one Markdown page.
pub fn markdown(input: &ReportInput) -> String {
    let digest = Digest::of(input);
    let mut out = String::new();
    top(&mut out, &digest);
    problems(&mut out, &digest);
    landed(&mut out, &digest.landed);
    receipts(&mut out, &digest.receipts);
    slowest(&mut out, &digest.slowest);
    gates(&mut out, &digest.gates);
    line(&mut out, &format!("Written by Longhaul at {}.", digest.generated));
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn paragraph(out: &mut String, text: &str) {
    if !text.is_empty() {
        line(out, text);
        out.push('\n');
    }
}

fn top(out: &mut String, digest: &Digest) {
    paragraph(out, &format!("# {}", prose(&digest.headline)));
    if !digest.goal.is_empty() {
        paragraph(out, &format!("> {}", prose(&digest.goal)));
    }
    let mut facts = vec![format!("Job {}", code(&digest.job)), prose(&digest.phase)];
    for fact in &digest.facts {
        let value = if fact.code { code(&fact.value) } else { prose(&fact.value) };
        facts.push(format!("{} {value}", fact.name.to_lowercase()));
    }
    paragraph(out, &facts.join(" · "));
    let tiles: Vec<String> =
        digest.tiles.iter().map(|tile| format!("**{}** {} ({})", tile.label, tile.value, tile.note)).collect();
    paragraph(out, &tiles.join(" · "));
    for warning in &digest.warnings {
        paragraph(out, &format!("> **Warning:** {}", prose(warning)));
    }
}

fn problems(out: &mut String, digest: &Digest) {
    paragraph(out, "## What did not land, and why");
    if digest.problems.is_empty() {
        paragraph(out, "Nothing: every subtask landed or needed no change.");
    }
    for problem in &digest.problems {
        one_problem(out, problem);
    }
    paragraph(out, &digest.problems_note);
}

fn one_problem(out: &mut String, problem: &Problem) {
    paragraph(out, &format!("### {}: {}", prose(&problem.title), prose(&problem.reason)));
    let mut ids: Vec<String> = problem.ids.iter().map(|id| code(id)).collect();
    if !problem.more.is_empty() {
        ids.push(problem.more.clone());
    }
    line(out, &format!("- Subtasks: {}", ids.join(", ")));
    if !problem.next.is_empty() {
        let next: Vec<String> = problem.next.iter().map(|command| code(command)).collect();
        line(out, &format!("- Next: {}", next.join(" or ")));
    }
    out.push('\n');
}

/// A table; columns whose alignment is `>` are numbers.
fn table(out: &mut String, columns: &[(&str, char)], rows: impl Iterator<Item = Vec<String>>) {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let rules: Vec<&str> = columns.iter().map(|(_, align)| if *align == '>' { "---:" } else { "---" }).collect();
    line(out, &format!("| {} |", names.join(" | ")));
    line(out, &format!("| {} |", rules.join(" | ")));
    for row in rows {
        line(out, &format!("| {} |", row.join(" | ")));
    }
    out.push('\n');
}

fn landed(out: &mut String, landed: &Landed) {
    paragraph(out, "## What landed");
    paragraph(out, &landed.note);
    if !landed.maps.is_empty() {
        let columns = [
            ("Map", '<'),
            ("Subtasks", '>'),
            ("Landed", '>'),
            ("Unchanged", '>'),
            ("Other", '>'),
            ("Lines", '>'),
            ("Work", '>'),
            ("Cost", '>'),
        ];
        let maps = landed.maps.iter().map(|map| {
            vec![
                cell(&map.map),
                map.total.clone(),
                map.landed.clone(),
                map.unchanged.clone(),
                map.rest.clone(),
                map.lines.clone(),
                map.time.clone(),
                map.cost.clone(),
            ]
        });
        table(out, &columns, maps);
    }
    if landed.rows.is_empty() {
        paragraph(out, "Nothing landed.");
        return;
    }
    let columns = [
        ("Subtask", '<'),
        ("Agent", '<'),
        ("Files", '>'),
        ("Lines", '>'),
        ("Attempts", '>'),
        ("Time", '>'),
        ("Cost", '>'),
        ("Merge", '<'),
    ];
    let rows = landed.rows.iter().map(|row| {
        vec![
            cell(&row.id),
            cell(&row.agent),
            row.files.clone(),
            row.lines.clone(),
            row.attempts.clone(),
            row.time.clone(),
            row.cost.clone(),
            cell(&row.merge),
        ]
    });
    table(out, &columns, rows);
}

fn receipts(out: &mut String, receipts: &Receipts) {
    paragraph(out, "## Receipts");
    paragraph(out, &receipts.note);
    if receipts.rows.is_empty() {
        paragraph(out, "No landing yet, so no receipt.");
        return;
    }
    let columns = [
        ("Batch", '>'),
        ("Merge", '<'),
        ("Tree", '<'),
        ("Gate", '>'),
        ("Command", '<'),
        ("Exit", '>'),
        ("Log", '<'),
        ("Took", '>'),
        ("Marks", '<'),
        ("Subtasks", '<'),
    ];
    let rows = receipts.rows.iter().map(|receipt| {
        vec![
            receipt.batch.to_string(),
            cell(&receipt.merge),
            cell(&receipt.tree),
            receipt.gate.to_string(),
            cell(&receipt.command),
            receipt.exit.to_string(),
            cell(&receipt.log),
            receipt.took.clone(),
            prose(&receipt.marks.join(", ")),
            prose(&receipt.members),
        ]
    });
    table(out, &columns, rows);
    paragraph(out, "`longhaul verify` proves them consistent; `longhaul verify --rerun` proves the gates green again.");
}

fn slowest(out: &mut String, rows: &[RowLine]) {
    if rows.is_empty() {
        return;
    }
    paragraph(out, &format!("## Time and cost: the slowest {}", rows.len()));
    let columns = [("Subtask", '<'), ("State", '<'), ("Attempts", '>'), ("Time", '>'), ("Tokens", '>'), ("Cost", '>')];
    let rows = rows.iter().map(|row| {
        vec![
            cell(&row.id),
            prose(&row.state),
            row.attempts.clone(),
            row.time.clone(),
            row.tokens.clone(),
            row.cost.clone(),
        ]
    });
    table(out, &columns, rows);
}

fn gates(out: &mut String, gates: &Gates) {
    paragraph(out, "## Gate runs");
    paragraph(out, &prose(&gates.sentences.join(" ")));
    for tail in &gates.tails {
        let verdict = if tail.landed { "landed a batch" } else { "landed nothing" };
        paragraph(out, &format!("Gate run {} ({verdict}), end of its log:", tail.gate));
        let fence = "`".repeat(longest_backticks(&tail.text).max(2) + 1);
        line(out, &format!("{fence}text\n{}\n{fence}\n", tail.text));
    }
}

fn longest_backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// `text` as a code span; a dash for nothing.
fn code(text: &str) -> String {
    if text.is_empty() {
        return "–".to_owned();
    }
    let fence = "`".repeat(longest_backticks(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `text` as a code span inside a table, where a bar would end the cell even within the span.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// `text` as prose that cannot start markup.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                write!(out, "\\{c}").expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_spans_hold_any_text() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`a"), "`` `a ``");
        assert_eq!(cell("a|b"), "`a\\|b`");
        assert_eq!(code(""), "–");
    }

    #[test]
    fn prose_has_no_markup_left() {
        assert_eq!(prose("<img> *x* [y](z) a_b"), "&lt;img> \\*x\\* \\[y\\](z) a\\_b");
    }

    #[test]
    fn fences_outlast_the_log() {
        let mut out = String::new();
        let tail = super::super::listing::Tail { gate: 1, landed: false, text: "```\n````x".into() };
        gates(&mut out, &Gates { sentences: Vec::new(), tails: vec![tail] });
        assert!(out.contains("\n`````text\n```\n````x\n`````\n"), "{out}");
    }
}
