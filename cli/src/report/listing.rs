//! The report's tables: landed subtasks, receipts, gate runs, each as lines of formatted text.
//!
//! Beyond [`LANDED_ROWS_MAX`] landed subtasks the table becomes one line a map and the largest
//! changes; beyond [`RECEIPTS_MAX`] receipts the marked ones come first, then the newest. A note
//! says so each time.

use std::collections::BTreeSet;

use longhaul_common::coverage::words;
use longhaul_proto::{Receipt, SubtaskRow};
use serde::Serialize;

use super::{
    ReportInput, format,
    group::{self, MapSum, Outcome},
    plain,
};

/// Landed subtasks listed one by one.
pub const LANDED_ROWS_MAX: usize = 200;
/// Landed subtasks listed when there are more than that.
const LANDED_TOP: usize = 20;
/// Maps listed one by one.
const MAPS_MAX: usize = 40;
/// Receipts listed.
pub const RECEIPTS_MAX: usize = 100;
/// Subtasks named in one receipt.
const MEMBERS_MAX: usize = 8;
/// Protected paths named in one receipt.
const PROTECTED_MAX: usize = 4;
/// Log ends shown, of gates that did not land anything first.
const TAILS_MAX: usize = 10;
/// Lines and characters of one log end.
const TAIL_LINES: usize = 40;
const TAIL_CHARS: usize = 4_000;
/// Characters of an id, a path or a name.
pub const ID_CHARS: usize = 120;
/// Characters of a gate command.
const COMMAND_CHARS: usize = 300;

/// An id ready to be shown.
pub fn id(id: &str) -> String {
    format::clip(&plain::line(id), ID_CHARS)
}

/// One subtask, as text.
#[derive(Debug, Serialize)]
pub struct RowLine {
    /// The subtask.
    pub id: String,
    /// Its outcome's name, also the CSS class.
    pub class: &'static str,
    /// Its state.
    pub state: String,
    /// Who did the work.
    pub agent: String,
    /// Files changed.
    pub files: String,
    /// Lines added and removed.
    pub lines: String,
    /// Executions.
    pub attempts: String,
    /// Wall time of all attempts.
    pub time: String,
    /// Tokens used.
    pub tokens: String,
    /// Dollars or tokens.
    pub cost: String,
    /// Leading characters of the commit.
    pub commit: String,
    /// Leading characters of the gated merge.
    pub merge: String,
}

impl RowLine {
    /// The line for `row`.
    pub fn of(row: &SubtaskRow) -> Self {
        Self {
            id: id(&row.id),
            class: Outcome::of(&row.state).name(),
            state: id(&row.state),
            agent: id(&row.agent),
            files: format::count(row.files.into()),
            lines: lines(row.lines_added, row.lines_removed),
            attempts: row.attempts.to_string(),
            time: format::duration(row.spent_ms),
            tokens: format::tokens(row.tokens),
            cost: format::cost(row.usd_micros, row.tokens),
            commit: id(&format::short(&row.commit)),
            merge: id(&format::short(&row.merge)),
        }
    }
}

fn lines(added: u64, removed: u64) -> String {
    format!("+{} −{}", format::count(added), format::count(removed))
}

/// One map, as text.
#[derive(Debug, Serialize)]
pub struct MapLine {
    /// The map, or words for subtasks outside any.
    pub map: String,
    /// All its subtasks.
    pub total: String,
    /// Those that landed.
    pub landed: String,
    /// Those that needed no change.
    pub unchanged: String,
    /// All others.
    pub rest: String,
    /// Lines added and removed.
    pub lines: String,
    /// Wall time of all attempts.
    pub time: String,
    /// Dollars or tokens.
    pub cost: String,
}

impl MapLine {
    fn of(sum: &MapSum) -> Self {
        let (landed, unchanged) = (sum.of(Outcome::Landed), sum.of(Outcome::Unchanged));
        Self {
            map: if sum.map.is_empty() { "(no map)".to_owned() } else { id(&sum.map) },
            total: format::count(sum.total),
            landed: format::count(landed),
            unchanged: format::count(unchanged),
            rest: format::count(sum.total - landed - unchanged),
            lines: lines(sum.lines_added, sum.lines_removed),
            time: format::duration(sum.spent_ms),
            cost: format::cost(sum.usd_micros, sum.tokens),
        }
    }
}

/// What landed: by map where there are many, then subtask by subtask.
#[derive(Debug, Serialize)]
pub struct Landed {
    /// What the tables leave out.
    pub note: String,
    /// One line a map; empty while every subtask is listed and there is one map.
    pub maps: Vec<MapLine>,
    /// The subtasks, or the largest of them.
    pub rows: Vec<RowLine>,
}

impl Landed {
    /// The landed subtasks of `rows`.
    pub fn of(rows: &[SubtaskRow]) -> Self {
        let landed = || rows.iter().filter(|row| row.state == "landed");
        let total = landed().count();
        let mut sums = group::by_map(rows);
        if total <= LANDED_ROWS_MAX {
            let maps = if sums.len() > 1 { map_lines(&mut sums) } else { Vec::new() };
            let rows = landed().map(RowLine::of).collect();
            return Self { note: String::new(), maps, rows };
        }
        let size = |row: &SubtaskRow| row.lines_added.saturating_add(row.lines_removed);
        let top = group::top_by(landed(), LANDED_TOP, size);
        Self {
            note: format!(
                "{} landed. Summed up by map, with the {} largest changes; the JUnit report lists \
                 every subtask.",
                format::plural(total as u64, "subtask"),
                top.len(),
            ),
            maps: map_lines(&mut sums),
            rows: top.into_iter().map(RowLine::of).collect(),
        }
    }
}

fn map_lines(sums: &mut Vec<MapSum>) -> Vec<MapLine> {
    if sums.len() > MAPS_MAX {
        let left = sums.split_off(MAPS_MAX);
        let map = format!("({} other maps)", format::count(left.len() as u64));
        let mut rest = MapSum { map, ..MapSum::default() };
        left.iter().for_each(|sum| rest.merge(sum));
        sums.push(rest);
    }
    sums.iter().map(MapLine::of).collect()
}

/// One landing with its proof, as text.
#[derive(Debug, Serialize)]
pub struct ReceiptLine {
    /// Number of the batch.
    pub batch: u64,
    /// Leading characters of the gated merge, and all of it.
    pub merge: String,
    /// The merge in full.
    pub merge_full: String,
    /// Leading characters of its tree.
    pub tree: String,
    /// The tree in full.
    pub tree_full: String,
    /// The gate run.
    pub gate: u64,
    /// The command that ran.
    pub command: String,
    /// What it returned.
    pub exit: i32,
    /// Leading characters of the log's hash.
    pub log: String,
    /// The hash in full.
    pub log_full: String,
    /// How long the gate took.
    pub took: String,
    /// When it landed, in UTC.
    pub at: String,
    /// The first members.
    pub members: String,
    /// `flaky`, `unproven`, `exit 1`, `protected: …`: what a person should know.
    pub marks: Vec<String>,
}

impl ReceiptLine {
    fn of(receipt: &Receipt) -> Self {
        let members = receipt.members.iter().map(|member| member.subtask.as_str());
        Self {
            batch: receipt.batch,
            merge: id(&format::short(&receipt.merge)),
            merge_full: id(&receipt.merge),
            tree: id(&format::short(&receipt.tree)),
            tree_full: id(&receipt.tree),
            gate: receipt.gate,
            command: format::clip(&plain::line(&receipt.gate_command), COMMAND_CHARS),
            exit: receipt.exit_code,
            log: id(&format::short(&receipt.log_hash)),
            log_full: id(&receipt.log_hash),
            took: format::duration(receipt.duration_ms),
            at: format::utc(receipt.at_ms),
            members: format::some_of(members, MEMBERS_MAX, id),
            marks: marks(receipt),
        }
    }
}

fn marks(receipt: &Receipt) -> Vec<String> {
    let mut marks = Vec::new();
    if receipt.exit_code != 0 {
        marks.push(format!("exit {}", receipt.exit_code));
    }
    if receipt.flaky {
        marks.push("flaky".to_owned());
    }
    if receipt.unproven {
        let why = receipt.coverage.as_ref().map(|coverage| format!(": {}", plain::line(&words(coverage))));
        marks.push(format!("unproven{}", why.unwrap_or_default()));
    }
    let touched: BTreeSet<&str> =
        receipt.members.iter().flat_map(|member| member.protected_touched.iter().map(String::as_str)).collect();
    if !touched.is_empty() {
        let paths = format::some_of(touched.into_iter(), PROTECTED_MAX, id);
        marks.push(format!("protected: {paths}"));
    }
    marks
}

/// The proof of what landed.
#[derive(Debug, Serialize)]
pub struct Receipts {
    /// What the table leaves out, and what the marks mean.
    pub note: String,
    /// The receipts shown.
    pub rows: Vec<ReceiptLine>,
}

impl Receipts {
    /// All of `receipts`, or the marked and the newest.
    pub fn of(receipts: &[Receipt]) -> Self {
        let mut shown: Vec<&Receipt> = receipts.iter().collect();
        let mut note = String::new();
        if receipts.len() > RECEIPTS_MAX {
            shown.sort_by_key(|receipt| (marks(receipt).is_empty(), std::cmp::Reverse(receipt.at_ms)));
            shown.truncate(RECEIPTS_MAX);
            note = format!(
                "{RECEIPTS_MAX} of {}: the marked ones first, then the newest. ",
                format::plural(receipts.len() as u64, "receipt"),
            );
        }
        if receipts.iter().any(|receipt| receipt.unproven) {
            note.push_str("Unproven: nothing tells that the gate executed all changed lines of code. ");
        }
        if receipts.iter().any(|receipt| receipt.flaky) {
            note.push_str("Flaky: the gate gave two verdicts on this tree. ");
        }
        let note = note.trim_end().to_owned();
        Self { note, rows: shown.into_iter().map(ReceiptLine::of).collect() }
    }
}

/// The end of one gate run's log.
#[derive(Debug, Serialize)]
pub struct Tail {
    /// The gate run.
    pub gate: u64,
    /// Whether it landed a batch.
    pub landed: bool,
    /// The text.
    pub text: String,
}

/// What the gate did.
#[derive(Debug, Serialize)]
pub struct Gates {
    /// Runs, landings, what is running, failures by class; one sentence each.
    pub sentences: Vec<String>,
    /// Ends of logs, of runs that landed nothing first.
    pub tails: Vec<Tail>,
}

impl Gates {
    /// The gate runs of `input`.
    pub fn of(input: &ReportInput) -> Self {
        let landed: BTreeSet<u64> = input.receipts.iter().map(|receipt| receipt.gate).collect();
        let mut tails: Vec<Tail> = input
            .gate_tails
            .iter()
            .map(|(gate, text)| (*gate, landed.contains(gate), text))
            .filter(|(_, _, text)| !text.trim().is_empty())
            .map(|(gate, landed, text)| Tail { gate, landed, text: text.clone() })
            .collect();
        tails.sort_by_key(|tail| (tail.landed, std::cmp::Reverse(tail.gate)));
        let mut sentences = gate_sentences(input);
        if tails.len() > TAILS_MAX {
            sentences.push(format!("The ends of {TAILS_MAX} of {} logs are shown.", tails.len()));
            tails.truncate(TAILS_MAX);
        }
        for tail in &mut tails {
            tail.text = format::tail(&plain::text(&tail.text), TAIL_LINES, TAIL_CHARS);
        }
        Self { sentences, tails }
    }
}

fn gate_sentences(input: &ReportInput) -> Vec<String> {
    let status = &input.status;
    let took = input.receipts.iter().fold(0_u64, |sum, r| sum.saturating_add(r.duration_ms));
    let mut sentences = vec![format!(
        "{}, {} ({} of gate time in them).",
        format::plural(status.gates_run, "gate run"),
        format::plural(status.landings.into(), "landing"),
        format::duration(took),
    )];
    if status.base_gate_green {
        sentences.push("The gate was green on the pinned base before any work started.".to_owned());
    } else {
        sentences.push("The gate is not known to have been green on the pinned base.".to_owned());
    }
    if !status.gates.is_empty() {
        let running = format::plural(status.gates.len() as u64, "gate");
        sentences.push(format!("{running} running when this was written."));
    }
    if !status.failures.is_empty() {
        let classes = status.failures.iter();
        let classes: Vec<String> = classes.take(MAPS_MAX).map(|(class, n)| format!("{} {n}", id(class))).collect();
        sentences.push(format!("Attempts that did not succeed, by cause: {}.", classes.join(", ")));
    }
    sentences
}
