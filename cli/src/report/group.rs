//! Subtasks put together: by outcome, by map, and by the reason they did not land.
//!
//! A hundred failures with one cause are one thing to a person, so reasons group when they are
//! identical after escape sequences and extra blanks are removed. Nothing here truncates: limits
//! belong to [`super::digest`], which says what it left out.

use std::collections::BTreeMap;

use longhaul_proto::{JobStatus, ParkRow, SubtaskRow};
use serde::Serialize;

use super::plain;

/// What became of a subtask, as a person sorts them; the order is the order of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Closed without a result.
    Failed,
    /// Waits for a person, a quota or room.
    Parked,
    /// Skipped, cancelled, or reverted after landing.
    Dropped,
    /// Not finished yet.
    Open,
    /// Closed with nothing to change.
    Unchanged,
    /// On the integration branch, with a receipt.
    Landed,
}

impl Outcome {
    /// Every outcome, the good ones first: the order of bars and legends.
    pub const ALL: [Self; 6] = [Self::Landed, Self::Unchanged, Self::Open, Self::Parked, Self::Failed, Self::Dropped];

    /// The outcome a subtask's state stands for; a state this version does not know is open.
    pub fn of(state: &str) -> Self {
        match state {
            "landed" => Self::Landed,
            "unchanged" => Self::Unchanged,
            "parked" => Self::Parked,
            "failed" => Self::Failed,
            "skipped" | "cancelled" | "reverted" => Self::Dropped,
            _ => Self::Open,
        }
    }

    /// The word shown to people, also the CSS class.
    pub fn name(self) -> &'static str {
        match self {
            Self::Landed => "landed",
            Self::Unchanged => "unchanged",
            Self::Open => "open",
            Self::Parked => "parked",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    /// A mark that tells outcomes apart without colour; empty for the ones that went well.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Failed => "✕",
            Self::Parked => "‖",
            Self::Dropped => "–",
            Self::Open => "…",
            Self::Landed | Self::Unchanged => "",
        }
    }
}

/// Sums over the subtasks of one map; the name is empty for subtasks outside any map.
#[derive(Clone, Debug, Default)]
pub struct MapSum {
    /// The map's name.
    pub map: String,
    /// Subtasks by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// All of them.
    pub total: u64,
    /// Wall time spent in attempts.
    pub spent_ms: u64,
    /// Tokens used.
    pub tokens: u64,
    /// Cost in millionths of a dollar.
    pub usd_micros: u64,
    /// Lines added by results.
    pub lines_added: u64,
    /// Lines removed by results.
    pub lines_removed: u64,
}

impl MapSum {
    /// How many subtasks had this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Adds one subtask.
    pub fn add(&mut self, row: &SubtaskRow) {
        *self.outcomes.entry(Outcome::of(&row.state)).or_default() += 1;
        self.total += 1;
        self.spent_ms = self.spent_ms.saturating_add(row.spent_ms);
        self.tokens = self.tokens.saturating_add(row.tokens);
        self.usd_micros = self.usd_micros.saturating_add(row.usd_micros);
        self.lines_added = self.lines_added.saturating_add(row.lines_added);
        self.lines_removed = self.lines_removed.saturating_add(row.lines_removed);
    }

    /// Adds all of another sum; the name stays.
    pub fn merge(&mut self, other: &Self) {
        for (outcome, n) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += n;
        }
        self.total += other.total;
        self.spent_ms = self.spent_ms.saturating_add(other.spent_ms);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.usd_micros = self.usd_micros.saturating_add(other.usd_micros);
        self.lines_added = self.lines_added.saturating_add(other.lines_added);
        self.lines_removed = self.lines_removed.saturating_add(other.lines_removed);
    }
}

/// One sum a map, the largest maps first.
pub fn by_map(rows: &[SubtaskRow]) -> Vec<MapSum> {
    let mut sums: BTreeMap<&str, MapSum> = BTreeMap::new();
    for row in rows {
        let new = || MapSum { map: row.map.clone(), ..MapSum::default() };
        sums.entry(&row.map).or_insert_with(new).add(row);
    }
    let mut sums: Vec<MapSum> = sums.into_values().collect();
    sums.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.map.cmp(&b.map)));
    sums
}

/// Subtasks that did not land, for one and the same reason.
#[derive(Clone, Debug)]
pub struct Reason<'a> {
    /// How they ended.
    pub outcome: Outcome,
    /// Their state, e.g. `skipped`.
    pub state: &'a str,
    /// The reason as text; empty when none was recorded.
    pub text: String,
    /// Why they are parked (`pilot`, `conflict` …); empty for other states.
    pub park_reason: &'a str,
    /// What an agent asked (`question`, `command` …); empty for other parks.
    pub asks: &'a str,
    /// Ids of their parks, in row order.
    pub parks: Vec<u64>,
    /// The subtasks.
    pub rows: Vec<&'a SubtaskRow>,
}

/// Everything that neither landed nor closed unchanged, by identical state and reason: the
/// outcomes in order of attention, the largest groups first.
pub fn by_reason<'a>(status: &'a JobStatus, rows: &'a [SubtaskRow]) -> Vec<Reason<'a>> {
    let parks: BTreeMap<&str, &ParkRow> = status.parked.iter().map(|park| (park.subtask.as_str(), park)).collect();
    let mut groups: BTreeMap<(Outcome, &str, &str, String), Reason<'a>> = BTreeMap::new();
    for row in rows {
        let outcome = Outcome::of(&row.state);
        if matches!(outcome, Outcome::Landed | Outcome::Unchanged) {
            continue;
        }
        let park = parks.get(row.id.as_str()).filter(|_| outcome == Outcome::Parked);
        let park_reason = park.map_or("", |park| park.reason.as_str());
        let text = match park {
            Some(park) if row.reason.is_empty() => plain::line(&park.text),
            _ => plain::line(&row.reason),
        };
        let group = groups.entry((outcome, &row.state, park_reason, text.clone())).or_insert(Reason {
            outcome,
            state: &row.state,
            text,
            park_reason,
            asks: park.map_or("", |park| park.asks.as_str()),
            parks: Vec::new(),
            rows: Vec::new(),
        });
        group.parks.extend(park.map(|park| park.park));
        group.rows.push(row);
    }
    let mut groups: Vec<Reason<'a>> = groups.into_values().collect();
    groups.sort_by_key(|group| (group.outcome, std::cmp::Reverse(group.rows.len())));
    groups
}

/// The `max` rows with the largest `key`, largest first; rows whose key is 0 are left out.
pub fn top_by<'a>(
    rows: impl Iterator<Item = &'a SubtaskRow>,
    max: usize,
    key: impl Fn(&SubtaskRow) -> u64,
) -> Vec<&'a SubtaskRow> {
    let mut rows: Vec<&SubtaskRow> = rows.filter(|row| key(row) > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(key(row)));
    rows.truncate(max);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, state: &str, map: &str, reason: &str) -> SubtaskRow {
        SubtaskRow {
            id: id.into(),
            state: state.into(),
            map: map.into(),
            reason: reason.into(),
            ..SubtaskRow::default()
        }
    }

    #[test]
    fn identical_reasons_are_one_group_whatever_their_escapes() {
        let rows = [
            row("a", "failed", "m", "check failed: exit 101"),
            row("b", "failed", "m", "\u{1b}[31mcheck failed:\u{1b}[0m  exit 101\n"),
            row("c", "failed", "m", "agent timed out"),
            row("d", "landed", "m", ""),
            row("e", "skipped", "m", "agent timed out"),
        ];
        let status = JobStatus::default();
        let groups = by_reason(&status, &rows);
        let seen: Vec<_> = groups.iter().map(|g| (g.state, g.text.as_str(), g.rows.len())).collect();
        assert_eq!(
            seen,
            [
                ("failed", "check failed: exit 101", 2),
                ("failed", "agent timed out", 1),
                ("skipped", "agent timed out", 1),
            ]
        );
    }

    #[test]
    fn parks_bring_their_id_and_text() {
        let rows = [row("a", "parked", "m", ""), row("b", "parked", "m", "")];
        let park = |subtask: &str, park| ParkRow {
            subtask: subtask.into(),
            park,
            reason: "pilot".into(),
            text: "waits for a yes to the pilot".into(),
            ..ParkRow::default()
        };
        let status = JobStatus { parked: vec![park("b", 9), park("a", 4)], ..JobStatus::default() };
        let groups = by_reason(&status, &rows);
        assert_eq!(groups.len(), 1);
        assert_eq!((groups[0].park_reason, groups[0].parks.as_slice()), ("pilot", &[4, 9][..]));
    }

    #[test]
    fn maps_are_summed_largest_first() {
        let rows = [row("a", "landed", "small", ""), row("b", "landed", "big", ""), row("c", "failed", "big", "")];
        let sums = by_map(&rows);
        assert_eq!((sums[0].map.as_str(), sums[0].total, sums[0].of(Outcome::Failed)), ("big", 2, 1));
        assert_eq!(sums[1].of(Outcome::Landed), 1);
    }
}
