//! The picture of a run: when each subtask was worked on, how it ended, when batches landed.
//!
//! Up to [`BARS_MAX`] subtasks are bars in lanes, one lane for each one running at the same time
//! ([`super::lanes`]). More, or more lanes than fit a page, become one band a map with a stacked
//! column for each slice of time ([`super::bands`]). Only geometry and text are made here; the
//! page's template draws and escapes them. Times out of order or unset never panic: a subtask
//! without a start is not drawn, an end before its start is the start.

use std::collections::BTreeMap;

use longhaul_proto::SubtaskRow;
use serde::Serialize;

use super::{
    ReportInput, bands, format,
    group::Outcome,
    lanes::{self, Bar},
    listing,
};

/// Subtasks drawn one by one.
pub const BARS_MAX: usize = 500;
/// Lanes drawn one by one.
pub const LANES_MAX: usize = 100;
/// Width of the picture, in its own units (CSS pixels at full size).
pub const WIDTH: f64 = 1080.0;
/// Left of the first bar in bands, where the names of maps stand.
pub const NAMES_WIDTH: f64 = 168.0;
/// Above the first lane: axis labels and the strip of landings.
pub const TOP: f64 = 40.0;
const EDGE: f64 = 6.0;
/// Fewest and most marks on the time axis lie around this number.
const MARKS: u64 = 8;
/// Landings drawn across the lanes; more would hide them.
const LONG_LANDINGS_MAX: usize = 60;
/// Least distance between two landings.
const LANDING_STEP: f64 = 3.0;

/// Geometry and text of the picture.
#[derive(Debug, Serialize)]
pub struct Timeline {
    /// Width of the picture.
    pub width: f64,
    /// Height of the picture.
    pub height: f64,
    /// Where the lanes begin.
    pub top: f64,
    /// What the picture shows, for people who cannot see it.
    pub description: String,
    /// What it leaves out, and how to read it.
    pub note: String,
    /// Marks of the time axis.
    pub marks: Vec<Mark>,
    /// Landings.
    pub landings: Vec<Mark>,
    /// Whether landings are so many that only their strip is drawn.
    pub dense: bool,
    /// One bar a subtask; empty when there are bands.
    pub bars: Vec<Bar>,
    /// One band a map; empty when there are bars.
    pub bands: Vec<bands::Band>,
    /// The outcomes that occur, for the legend.
    pub legend: Vec<&'static str>,
}

/// A position in time with its text.
#[derive(Debug, Serialize)]
pub struct Mark {
    /// Distance from the left.
    pub x: f64,
    /// The text.
    pub label: String,
}

/// One subtask that was started.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The subtask.
    pub row: &'a SubtaskRow,
    /// How it ended.
    pub outcome: Outcome,
    /// First assignment, Unix milliseconds.
    pub start_ms: i64,
    /// End of the last attempt, or the time of the report while it runs.
    pub end_ms: i64,
}

/// Maps time to the horizontal axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The left end, Unix milliseconds.
    pub from_ms: i64,
    /// From the left end to the right, at least a second.
    pub span_ms: u64,
    /// Position of the left end.
    pub left: f64,
    /// Position of the right end.
    pub right: f64,
}

impl Scale {
    /// Position of a time, rounded to a tenth; times outside the range stay at its ends.
    pub fn x(&self, ms: i64) -> f64 {
        let into = u64::try_from(ms.saturating_sub(self.from_ms)).unwrap_or(0).min(self.span_ms);
        tenth(self.left + (self.right - self.left) * into as f64 / self.span_ms as f64)
    }
}

/// Rounds to a tenth, to keep the page small.
pub fn tenth(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

impl Timeline {
    /// The picture of `input`; nothing when no subtask was started.
    pub fn of(input: &ReportInput) -> Option<Self> {
        let pieces = pieces(input);
        let from_ms = pieces.iter().map(|piece| piece.start_ms).min()?;
        let until_ms = until_ms(input, &pieces);
        let span_ms = format::between_ms(from_ms, until_ms).max(1_000);
        let scale = |left| Scale { from_ms, span_ms, left, right: WIDTH - EDGE };

        let packed = (pieces.len() <= BARS_MAX).then(|| lanes::pack(&pieces));
        let packed = packed.filter(|lanes| lanes.len() <= LANES_MAX);
        let (scale, bars, bands, height, how) = match packed {
            Some(lanes) => {
                let scale = scale(EDGE);
                let (bars, height) = lanes::bars(&lanes, &scale);
                let how = format!("{} side by side at most.", format::plural(lanes.len() as u64, "subtask"));
                (scale, bars, Vec::new(), height, how)
            }
            None => {
                let scale = scale(NAMES_WIDTH);
                let (bands, height) = bands::of(&pieces, &scale);
                let how = "Each column counts the subtasks that ended in its slice of time; \
                           each band is scaled to its own busiest slice."
                    .to_owned();
                (scale, Vec::new(), bands, height, how)
            }
        };
        let landings = landings(input, &scale);
        let unstarted = input.rows.len() - pieces.len();
        let note = match unstarted {
            0 => how,
            n => format!("{how} {} never started, so not drawn.", format::plural(n as u64, "subtask")),
        };
        Some(Self {
            width: WIDTH,
            height: tenth(height),
            top: TOP,
            description: format!(
                "Timeline of {} over {}",
                format::plural(pieces.len() as u64, "subtask"),
                format::duration(span_ms),
            ),
            note,
            marks: marks(&scale),
            dense: landings.len() > LONG_LANDINGS_MAX,
            landings,
            bars,
            bands,
            legend: legend(&pieces),
        })
    }
}

fn pieces(input: &ReportInput) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = input
        .rows
        .iter()
        .filter(|row| row.started_ms > 0)
        .map(|row| {
            let running = row.state == "running";
            let end = if running { input.generated_ms } else { row.finished_ms };
            Piece { row, outcome: Outcome::of(&row.state), start_ms: row.started_ms, end_ms: end.max(row.started_ms) }
        })
        .collect();
    pieces.sort_by_key(|piece| piece.start_ms);
    pieces
}

fn until_ms(input: &ReportInput, pieces: &[Piece<'_>]) -> i64 {
    let ends = pieces.iter().map(|piece| piece.end_ms.max(piece.row.landed_ms));
    let landings = input.receipts.iter().map(|receipt| receipt.at_ms);
    ends.chain(landings).max().unwrap_or(0)
}

fn legend(pieces: &[Piece<'_>]) -> Vec<&'static str> {
    let occurs = |outcome: &Outcome| pieces.iter().any(|piece| piece.outcome == *outcome);
    Outcome::ALL.into_iter().filter(occurs).map(Outcome::name).collect()
}

fn marks(scale: &Scale) -> Vec<Mark> {
    const STEPS_S: [u64; 22] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800,
        604_800, 1_209_600, 2_592_000,
    ];
    let fits = |step: &&u64| scale.span_ms / (**step * 1_000) <= MARKS;
    let last = scale.span_ms / MARKS;
    let step_ms = STEPS_S.iter().find(fits).map_or(last, |step| step * 1_000);
    // Closer to the right end a label would be cut off.
    let room_ms = scale.span_ms - scale.span_ms / 30;
    (0..=MARKS)
        .map(|n| n * step_ms)
        .filter(|at| *at <= room_ms)
        .map(|at| Mark { x: scale.x(scale.from_ms.saturating_add_unsigned(at)), label: offset(at) })
        .collect()
}

/// Time since the start without the units that are zero: `0`, `45s`, `1h 30m`, `2d`.
fn offset(ms: u64) -> String {
    let seconds = ms / 1_000;
    let units = [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let parts: Vec<String> = units.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

/// Landings closer together than [`LANDING_STEP`] are one mark with a sum.
fn landings(input: &ReportInput, scale: &Scale) -> Vec<Mark> {
    let step = |ms| (scale.x(ms) / LANDING_STEP).round() as i64;
    let mut at: BTreeMap<i64, Vec<(u64, usize, i64)>> = BTreeMap::new();
    for receipt in input.receipts.iter().filter(|receipt| receipt.at_ms > 0) {
        let landing = (receipt.batch, receipt.members.len(), receipt.at_ms);
        at.entry(step(receipt.at_ms)).or_default().push(landing);
    }
    if at.is_empty() {
        for row in input.rows.iter().filter(|row| row.landed_ms > 0) {
            at.entry(step(row.landed_ms)).or_default().push((0, 1, row.landed_ms));
        }
    }
    at.into_iter()
        .map(|(step, landings)| Mark {
            x: tenth((step as f64 * LANDING_STEP).min(scale.right)),
            label: landing_label(&landings),
        })
        .collect()
}

fn landing_label(landings: &[(u64, usize, i64)]) -> String {
    let members: usize = landings.iter().map(|(_, members, _)| members).sum();
    let subtasks = format::plural(members as u64, "subtask");
    match landings {
        [(batch, _, ms)] if *batch > 0 => {
            format!("batch {batch} landed {subtasks} at {}", format::utc(*ms))
        }
        [.., (_, _, ms)] => format!("{subtasks} landed until {}", format::utc(*ms)),
        [] => String::new(),
    }
}

/// The text shown over a piece: id, how it ended, tries, time, agent, reason.
pub fn title(piece: &Piece<'_>) -> String {
    const REASON_CHARS: usize = 160;
    let row = piece.row;
    let mut title = format!("{} — {}", listing::id(&row.id), listing::id(&row.state));
    if row.attempts > 1 {
        title.push_str(&format!(", {} attempts", row.attempts));
    }
    title.push_str(&format!(", {}", format::duration(row.spent_ms)));
    if !row.agent.is_empty() {
        title.push_str(&format!(", by {}", listing::id(&row.agent)));
    }
    if !row.reason.is_empty() {
        let reason = super::plain::line(&row.reason);
        title.push_str(&format!("\n{}", format::clip(&reason, REASON_CHARS)));
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(span_ms: u64) -> Scale {
        Scale { from_ms: 1_000_000, span_ms, left: 0.0, right: 1000.0 }
    }

    #[test]
    fn marks_are_round_and_few_for_every_span() {
        for span_ms in [1_000, 7_000, 61_000, 3_700_000, 86_400_000, 30 * 86_400_000, u64::MAX / 4] {
            let marks = marks(&scale(span_ms));
            assert!((1..=9).contains(&marks.len()), "{span_ms}: {marks:?}");
        }
        let labels: Vec<String> = marks(&scale(5_500_000)).into_iter().map(|mark| mark.label).collect();
        assert_eq!(labels, ["0", "15m", "30m", "45m", "1h", "1h 15m"]);
    }

    #[test]
    fn positions_stay_inside_whatever_the_time() {
        let scale = scale(1_000);
        for ms in [i64::MIN, -1, 0, 1_000_500, i64::MAX] {
            assert!((0.0..=1000.0).contains(&scale.x(ms)));
        }
    }

    #[test]
    fn nothing_started_is_no_picture() {
        assert!(Timeline::of(&ReportInput::default()).is_none());
    }

    #[test]
    fn landings_close_together_are_one_mark() {
        let receipt = |batch, at_ms| longhaul_proto::Receipt {
            batch,
            at_ms,
            members: vec![longhaul_proto::ReceiptMember::default()],
            ..longhaul_proto::Receipt::default()
        };
        let input = ReportInput {
            receipts: (1..=5_000).map(|n| receipt(n, 1_000_000 + n as i64)).collect(),
            ..ReportInput::default()
        };
        let marks = landings(&input, &scale(10_000_000));
        assert_eq!(marks.len(), 1);
        assert!(marks[0].label.starts_with("5,000 subtasks landed until"), "{}", marks[0].label);
    }
}
