//! The progress bar: cells shared out between outcomes so that none that occurs is invisible.

use longhaul_proto::Counts;

use super::{
    line::Line,
    style::{Style, Tone},
};
use crate::report::{digest::outcome_counts, group::Outcome};

struct Part {
    n: u64,
    tone: Tone,
    ascii: char,
    block: char,
}

fn parts(counts: &Counts) -> Vec<Part> {
    let of =
        |wanted: Outcome| outcome_counts(counts).iter().find(|(outcome, _)| *outcome == wanted).map_or(0, |(_, n)| *n);
    let active = u64::from(counts.running) + u64::from(counts.landing);
    let part = |n, tone, ascii, block| Part { n, tone, ascii, block };
    vec![
        part(of(Outcome::Landed) + of(Outcome::Unchanged), Tone::Good, '=', '━'),
        part(of(Outcome::Dropped), Tone::Soft, '-', '━'),
        part(of(Outcome::Failed), Tone::Bad, 'x', '━'),
        part(of(Outcome::Parked), Tone::Warn, '!', '━'),
        part(active, Tone::Active, '>', '━'),
        part(of(Outcome::Open).saturating_sub(active), Tone::Soft, ' ', '─'),
    ]
}

/// Cells for each of `amounts`, `width` in all: in proportion, rounded down, but one at least for
/// each that is not zero, at the cost of the largest; what rounding left goes to the largest
/// fractions. Too narrow for that, or nothing to show: everything to the last.
fn share_out(amounts: &[u64], width: usize) -> Vec<usize> {
    let total: u128 = amounts.iter().map(|n| u128::from(*n)).sum();
    let kinds = amounts.iter().filter(|n| **n > 0).count();
    let mut cells = vec![0; amounts.len()];
    if total == 0 || kinds > width {
        if let Some(last) = cells.last_mut() {
            *last = width;
        }
        return cells;
    }
    let scaled = |n: u64| u128::from(n) * width as u128;
    for (cell, n) in cells.iter_mut().zip(amounts).filter(|(_, n)| **n > 0) {
        *cell = usize::try_from(scaled(*n) / total).unwrap_or(width).max(1);
    }
    let mut by_fraction: Vec<usize> = (0..amounts.len()).filter(|at| amounts[*at] > 0).collect();
    by_fraction.sort_by_key(|at| std::cmp::Reverse(scaled(amounts[*at]) % total));
    let given: usize = cells.iter().sum();
    for at in by_fraction.iter().cycle().take(width.saturating_sub(given)) {
        cells[*at] += 1;
    }
    for _ in 0..given.saturating_sub(width) {
        if let Some(largest) = cells.iter_mut().max() {
            *largest -= 1;
        }
    }
    cells
}

/// Adds a bar `width` columns wide to `line`; plain styles get brackets and ASCII.
pub fn bar(line: Line, counts: &Counts, width: usize, style: Style) -> Line {
    let parts = parts(counts);
    let amounts: Vec<u64> = parts.iter().map(|part| part.n).collect();
    let inner = if style.is_coloured() { width } else { width.saturating_sub(2) };
    let mut line = if style.is_coloured() { line } else { line.text(Tone::Text, "[") };
    for (part, cells) in parts.iter().zip(share_out(&amounts, inner)) {
        let glyph = if style.is_coloured() { part.block } else { part.ascii };
        line = line.text(part.tone, glyph.to_string().repeat(cells));
    }
    if style.is_coloured() { line } else { line.text(Tone::Text, "]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_visible_and_the_width_is_exact() {
        for width in 6..120 {
            let cells = share_out(&[99_990, 0, 1, 1, 8, 0], width);
            assert_eq!(cells.iter().sum::<usize>(), width);
            assert!(cells[2] >= 1 && cells[3] >= 1 && cells[4] >= 1 && cells[1] == 0);
        }
        assert_eq!(share_out(&[0, 0], 5), [0, 5]);
        assert_eq!(share_out(&[u64::MAX / 2, u64::MAX / 2], 10), [5, 5]);
    }

    #[test]
    fn a_plain_bar_reads_without_colour() {
        let counts = Counts { total: 10, landed: 5, failed: 1, parked: 1, running: 1, waiting: 2, ..Counts::default() };
        let line = bar(Line::default(), &counts, 12, Style::plain());
        assert_eq!(line.render(40, Style::plain()), "[=====x!>  ]");
    }
}
