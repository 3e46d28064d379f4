//! Columns of text on a terminal: as wide as their content, and narrowed in a fixed order when the
//! screen is too small. The last column takes what is left.

use super::{
    canvas::Canvas,
    line::{self, Line},
    style::Tone,
};
use crate::report::plain;

/// A name keeps at least this many columns.
const NAME_MIN: usize = 12;
const GAP: usize = 2;

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    tone: Tone,
    text: String,
}

impl Cell {
    /// A cell; the text may come from anywhere.
    pub fn new(tone: Tone, text: &str) -> Self {
        Self { tone, text: plain::line(text) }
    }
}

/// A heading and whether its column holds numbers, aligned to the right.
pub type Heading = (&'static str, bool);

/// The lines of a table. Columns that do not fit are dropped from the right, except the first; the
/// first is cut down to [`NAME_MIN`] before that.
pub fn table(headings: &[Heading], rows: &[Vec<Cell>], canvas: &Canvas) -> Vec<String> {
    let mut widths: Vec<usize> = headings.iter().map(|(name, _)| line::columns(name)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(line::columns(&cell.text));
        }
    }
    let shown = fit(&mut widths, canvas.width);
    let head: Vec<Cell> = headings.iter().map(|(name, _)| Cell::new(Tone::Soft, name)).collect();
    std::iter::once(&head)
        .chain(rows)
        .map(|row| draw(row, headings, &widths[..shown]).render(canvas.width, canvas.style()))
        .collect()
}

/// Narrows the first column, then drops columns from the right; how many remain.
fn fit(widths: &mut [usize], columns: usize) -> usize {
    let mut shown = widths.len();
    while shown > 1 {
        let last_min = widths[shown - 1].min(NAME_MIN);
        let fixed: usize = widths[1..shown - 1].iter().sum::<usize>() + last_min + GAP * (shown - 1);
        let name_min = widths[0].min(NAME_MIN);
        if let Some(room) = columns.checked_sub(fixed).filter(|room| *room >= name_min) {
            widths[0] = widths[0].min(room);
            let used = fixed - last_min + widths[0];
            widths[shown - 1] = widths[shown - 1].min(columns - used);
            return shown;
        }
        shown -= 1;
    }
    shown
}

fn draw(row: &[Cell], headings: &[Heading], widths: &[usize]) -> Line {
    let mut line = Line::default();
    for (at, ((cell, (_, number)), width)) in row.iter().zip(headings).zip(widths).enumerate() {
        if at > 0 {
            line = line.text(Tone::Text, " ".repeat(GAP));
        }
        if *number {
            let pad = width.saturating_sub(line::columns(&cell.text));
            line = line.text(Tone::Text, " ".repeat(pad)).text(cell.tone, line::clip(&cell.text, *width));
        } else {
            line = line.column(cell.tone, &cell.text, *width);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [Heading; 3] = [("Name", false), ("Size", true), ("Why", false)];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name, size, why| {
            vec![Cell::new(Tone::Strong, name), Cell::new(Tone::Text, size), Cell::new(Tone::Soft, why)]
        };
        vec![row("a-rather-long-name", "1,204", "because"), row("世界", "7", "a longer reason to read")]
    }

    #[test]
    fn columns_line_up() {
        let lines = table(&HEADINGS, &rows(), &Canvas::plain(100, 0));
        assert_eq!(
            lines,
            [
                "Name                 Size  Why",
                "a-rather-long-name  1,204  because",
                "世界                    7  a longer reason to read",
            ]
        );
    }

    #[test]
    fn every_width_fits() {
        for columns in 1..120 {
            for line in table(&HEADINGS, &rows(), &Canvas::plain(columns, 0)) {
                assert!(line::columns(&line) <= columns, "{columns}: {line:?}");
            }
        }
        let narrow = table(&HEADINGS, &rows(), &Canvas::plain(20, 0));
        assert_eq!(narrow[1], "a-rather-lon…  1,204");
    }
}
