//! Bars in lanes: each subtask goes to the first lane that is free when it starts, so the number
//! of lanes is the largest number that ran side by side.
//!
//! A bar is never narrower than [`BAR_MIN`], so very short ones may touch their neighbour. A label
//! stands inside its bar where it fits, right of it where the lane has room, and nowhere otherwise:
//! the title always has the full text.

use serde::Serialize;

use super::{
    listing,
    timeline::{Piece, Scale, TOP, WIDTH, tenth, title},
};

const BAR_MIN: f64 = 2.0;
/// Width of an average character at the label's size, in the widest usual system font (DejaVu Sans).
const CHAR_WIDTH: f64 = 6.6;
const LABEL_PAD: f64 = 6.0;
/// Fewest characters worth a label.
const LABEL_CHARS_MIN: usize = 8;
const LABEL_CHARS_MAX: usize = 40;
/// Lanes lower than this have no labels.
const LABELLED_HEIGHT: f64 = 12.0;

/// One subtask's bar.
#[derive(Debug, Serialize)]
pub struct Bar {
    /// Distance from the left.
    pub x: f64,
    /// Distance from the top.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
    /// The outcome's name, also the CSS class.
    pub class: &'static str,
    /// Everything about it, in a few words.
    pub title: String,
    /// The visible label; empty where there is no room.
    pub label: String,
    /// Where the label begins.
    pub label_x: f64,
    /// Baseline of the label.
    pub label_y: f64,
    /// Whether the label stands on the bar rather than right of it.
    pub inside: bool,
}

/// Assigns `pieces`, ordered by their start, to lanes.
pub fn pack<'a>(pieces: &[Piece<'a>]) -> Vec<Vec<Piece<'a>>> {
    let mut lanes: Vec<Vec<Piece<'a>>> = Vec::new();
    for piece in pieces {
        let free = |lane: &&mut Vec<Piece<'a>>| lane.last().is_none_or(|last| last.end_ms <= piece.start_ms);
        match lanes.iter_mut().find(free) {
            Some(lane) => lane.push(*piece),
            None => lanes.push(vec![*piece]),
        }
    }
    lanes
}

/// The bars of `lanes`, and the height of the picture.
pub fn bars(lanes: &[Vec<Piece<'_>>], scale: &Scale) -> (Vec<Bar>, f64) {
    let (height, gap) = match lanes.len() {
        0..=16 => (20.0, 5.0),
        17..=40 => (14.0, 3.0),
        _ => (7.0, 2.0),
    };
    let mut bars = Vec::new();
    for (index, lane) in lanes.iter().enumerate() {
        let y = tenth(TOP + index as f64 * (height + gap));
        for (at, piece) in lane.iter().enumerate() {
            let next_x = lane.get(at + 1).map_or(WIDTH, |next| scale.x(next.start_ms));
            bars.push(bar(piece, scale, (y, height), next_x));
        }
    }
    (bars, TOP + lanes.len() as f64 * (height + gap) + gap)
}

fn bar(piece: &Piece<'_>, scale: &Scale, (y, height): (f64, f64), next_x: f64) -> Bar {
    let x = scale.x(piece.start_ms);
    let full = scale.x(piece.end_ms) - x;
    // Subtasks that follow each other at once need a gap to be told apart.
    let w = tenth(if full > 6.0 { full - 1.0 } else { full.max(BAR_MIN) });
    let mark = piece.outcome.mark();
    let text = match mark {
        "" => listing::id(&piece.row.id),
        mark => format!("{mark} {}", listing::id(&piece.row.id)),
    };
    let (label, inside) =
        if height < LABELLED_HEIGHT { (String::new(), true) } else { place(&text, w, next_x - x - w) };
    Bar {
        x,
        y,
        w,
        h: height,
        class: piece.outcome.name(),
        title: title(piece),
        label,
        label_x: tenth(if inside { x + LABEL_PAD } else { x + w + LABEL_PAD - 2.0 }),
        label_y: tenth(y + height / 2.0 + 3.8),
        inside,
    }
}

/// The part of `text` that fits, and whether it stands on the bar.
fn place(text: &str, width: f64, free: f64) -> (String, bool) {
    let wanted = text.chars().count().min(LABEL_CHARS_MAX);
    let room = |space: f64| ((space - 2.0 * LABEL_PAD).max(0.0) / CHAR_WIDTH) as usize;
    let (inner, outer) = (room(width), room(free));
    let (chars, inside) = if inner >= wanted || inner >= outer { (inner, true) } else { (outer, false) };
    if chars < LABEL_CHARS_MIN.min(wanted) {
        return (String::new(), inside);
    }
    (keep_end(text, chars.min(LABEL_CHARS_MAX)), inside)
}

/// Cuts `text` before its end: the ids of a map differ there.
fn keep_end(text: &str, max: usize) -> String {
    let all = text.chars().count();
    if all <= max {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(all - max + 1).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use longhaul_proto::SubtaskRow;

    use super::*;
    use crate::report::group::Outcome;

    fn piece(row: &SubtaskRow, start_ms: i64, end_ms: i64) -> Piece<'_> {
        Piece { row, outcome: Outcome::Landed, start_ms, end_ms }
    }

    #[test]
    fn lanes_are_as_many_as_ran_side_by_side() {
        let row = SubtaskRow::default();
        let times = [(0, 10), (0, 5), (5, 9), (9, 12), (10, 11)];
        let pieces: Vec<_> = times.iter().map(|(s, e)| piece(&row, *s, *e)).collect();
        let lanes = pack(&pieces);
        let ends: Vec<Vec<i64>> = lanes.iter().map(|lane| lane.iter().map(|piece| piece.end_ms).collect()).collect();
        assert_eq!(ends, [vec![10, 11], vec![5, 9, 12]]);
    }

    #[test]
    fn labels_stand_where_they_fit() {
        assert_eq!(place("lazy-foo", 200.0, 0.0), ("lazy-foo".to_owned(), true));
        assert_eq!(place("lazy-foo", 4.0, 200.0), ("lazy-foo".to_owned(), false));
        assert_eq!(place("lazy-foo", 4.0, 4.0).0, "");
        let (cut, inside) = place("lazy-something-long", 70.0, 10.0);
        assert!(inside && cut.starts_with('…') && cut.ends_with("long"), "{cut}");
    }

    #[test]
    fn a_bar_without_length_is_still_visible() {
        let row = SubtaskRow::default();
        let lanes = pack(&[piece(&row, 500, 500)]);
        let scale = Scale { from_ms: 0, span_ms: 1_000, left: 0.0, right: 100.0 };
        let (bars, height) = bars(&lanes, &scale);
        assert_eq!((bars[0].x, bars[0].w), (50.0, BAR_MIN));
        assert!(height > TOP);
    }
}
