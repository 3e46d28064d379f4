//! Bands for runs too large for bars: one band a map, a stacked column for each slice of time,
//! coloured by how the subtasks that ended in it turned out.
//!
//! Bounded by [`BANDS_MAX`] × [`SLICES`] × the number of outcomes, whatever the size of the job;
//! one path an outcome and band keeps a full picture near 200 kB.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use super::{
    format,
    group::Outcome,
    listing,
    timeline::{Piece, Scale, TOP, tenth},
};

/// Maps with a band of their own; the rest share one.
const BANDS_MAX: usize = 16;
/// Columns of a band.
const SLICES: usize = 96;
const BAND_HEIGHT: f64 = 44.0;
const BAND_GAP: f64 = 12.0;
/// Characters of a map's name that fit left of its band.
const NAME_CHARS: usize = 24;

/// One map over time.
#[derive(Debug, Serialize)]
pub struct Band {
    /// Baseline of the columns.
    pub base: f64,
    /// Baseline of the name.
    pub name_y: f64,
    /// Baseline of the number of subtasks.
    pub count_y: f64,
    /// The map's name, cut to fit.
    pub name: String,
    /// The name in full, and its outcomes.
    pub title: String,
    /// How many subtasks.
    pub count: String,
    /// The columns of one outcome each.
    pub paths: Vec<Path>,
}

/// All columns of one outcome in one band.
#[derive(Debug, Serialize)]
pub struct Path {
    /// The outcome's name, also the CSS class.
    pub class: &'static str,
    /// SVG path data.
    pub d: String,
    /// E.g. `1,204 landed`.
    pub title: String,
}

#[derive(Default)]
struct Sums {
    total: u64,
    outcomes: BTreeMap<Outcome, u64>,
    slices: BTreeMap<usize, BTreeMap<Outcome, u64>>,
}

impl Sums {
    fn add(&mut self, outcome: Outcome, slice: usize) {
        self.total += 1;
        *self.outcomes.entry(outcome).or_default() += 1;
        *self.slices.entry(slice).or_default().entry(outcome).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.total += other.total;
        for (outcome, n) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += n;
        }
        for (slice, outcomes) in other.slices {
            let mine = self.slices.entry(slice).or_default();
            for (outcome, n) in outcomes {
                *mine.entry(outcome).or_default() += n;
            }
        }
    }

    fn tallest(&self) -> u64 {
        self.slices.values().map(|slice| slice.values().sum()).max().unwrap_or(1)
    }
}

/// The bands of `pieces`, the largest maps first, and the height of the picture.
pub fn of(pieces: &[Piece<'_>], scale: &Scale) -> (Vec<Band>, f64) {
    let mut maps: BTreeMap<&str, Sums> = BTreeMap::new();
    for piece in pieces {
        let into = format::between_ms(scale.from_ms, piece.end_ms.max(piece.row.landed_ms));
        let slice = (into as f64 / scale.span_ms as f64 * SLICES as f64) as usize;
        maps.entry(&piece.row.map).or_default().add(piece.outcome, slice.min(SLICES - 1));
    }
    let mut named: Vec<(String, Sums)> = maps
        .into_iter()
        .map(|(map, sums)| (if map.is_empty() { "(no map)".to_owned() } else { listing::id(map) }, sums))
        .collect();
    named.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.total));
    if named.len() > BANDS_MAX {
        let left = named.split_off(BANDS_MAX - 1);
        let name = format!("({} other maps)", format::count(left.len() as u64));
        let mut rest = Sums::default();
        left.into_iter().for_each(|(_, sums)| rest.merge(sums));
        named.push((name, rest));
    }
    let bands: Vec<Band> =
        named.iter().enumerate().map(|(index, (name, sums))| band(index, name, sums, scale)).collect();
    let height = TOP + bands.len() as f64 * (BAND_HEIGHT + BAND_GAP) + BAND_GAP;
    (bands, height)
}

fn band(index: usize, name: &str, sums: &Sums, scale: &Scale) -> Band {
    let base = TOP + index as f64 * (BAND_HEIGHT + BAND_GAP) + BAND_HEIGHT;
    let described: Vec<String> =
        sums.outcomes.iter().map(|(outcome, n)| format!("{} {}", format::count(*n), outcome.name())).collect();
    Band {
        base,
        name_y: base - BAND_HEIGHT / 2.0 - 2.0,
        count_y: base - BAND_HEIGHT / 2.0 + 13.0,
        name: format::clip(name, NAME_CHARS),
        title: format!("{name}: {}", described.join(", ")),
        count: format::plural(sums.total, "subtask"),
        paths: paths(sums, base, scale),
    }
}

fn paths(sums: &Sums, base: f64, scale: &Scale) -> Vec<Path> {
    let unit = BAND_HEIGHT / sums.tallest() as f64;
    let step = (scale.right - scale.left) / SLICES as f64;
    let mut data: BTreeMap<Outcome, String> = BTreeMap::new();
    for (slice, outcomes) in &sums.slices {
        let x = tenth(scale.left + *slice as f64 * step);
        let w = tenth(step - 1.0);
        let mut y = base;
        for outcome in Outcome::ALL {
            let Some(n) = outcomes.get(&outcome) else { continue };
            // A single failure among a thousand landings has to be seen.
            let h = tenth((*n as f64 * unit).max(1.0));
            let d = data.entry(outcome).or_default();
            write!(d, "M{x} {}h{w}v-{h}h-{w}z", tenth(y)).expect("writing to a string cannot fail");
            y -= h;
        }
    }
    data.into_iter()
        .map(|(outcome, d)| {
            let n = sums.outcomes.get(&outcome).copied().unwrap_or(0);
            Path { class: outcome.name(), d, title: format!("{} {}", format::count(n), outcome.name()) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use longhaul_proto::SubtaskRow;

    use super::*;

    const SCALE: Scale = Scale { from_ms: 1_000, span_ms: 96_000, left: 0.0, right: 960.0 };

    #[test]
    fn the_maps_beyond_the_limit_share_a_band() {
        let rows: Vec<SubtaskRow> =
            (0..100).map(|n| SubtaskRow { map: format!("m{n:02}"), ..SubtaskRow::default() }).collect();
        let piece = |row| Piece { row, outcome: Outcome::Landed, start_ms: 1_000, end_ms: 2_500 };
        let pieces: Vec<Piece<'_>> = rows.iter().map(piece).collect();
        let (bands, _) = of(&pieces, &SCALE);
        assert_eq!(bands.len(), BANDS_MAX);
        let shared = bands.iter().find(|band| band.name == "(85 other maps)");
        assert_eq!(shared.map(|band| band.count.as_str()), Some("85 subtasks"));
    }

    #[test]
    fn columns_are_stacked_and_one_failure_is_visible() {
        let row = SubtaskRow::default();
        let piece = |outcome| Piece { row: &row, outcome, start_ms: 1_000, end_ms: 1_000 };
        let mut pieces = vec![piece(Outcome::Landed); 1_000];
        pieces.push(piece(Outcome::Failed));
        let (bands, _) = of(&pieces, &SCALE);
        let paths = &bands[0].paths;
        assert_eq!(paths.iter().map(|path| path.class).collect::<Vec<_>>(), ["failed", "landed"]);
        assert_eq!(paths[0].d, "M0 40h9v-1h-9z");
    }
}
