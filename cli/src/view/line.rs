//! A line of a terminal as pieces of toned text: measured and cut before it is coloured, so escape
//! sequences never count as columns and are never cut in half.
//!
//! Widths are sums over characters, which is at least what any terminal draws for a combined
//! sequence: a line may come out short, never too long.

use unicode_width::UnicodeWidthChar;

use super::style::{Style, Tone, VERB_COLUMNS};
use crate::report::plain;

/// Characters without width that one line may hold: stacked accents are cheap to send.
const COMBINING_MAX: usize = 64;

/// Columns a character fills; none for combining ones.
fn columns_of(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns `text` fills; it must hold no control characters.
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// `text` cut to `max` columns, the last one an ellipsis where something was cut.
pub fn clip(text: &str, max: usize) -> String {
    let mut out = String::new();
    let (mut used, mut combining) = (0, 0);
    let mut fitting = 0;
    for c in text.chars() {
        let width = columns_of(c);
        combining += usize::from(width == 0);
        if combining > COMBINING_MAX {
            break;
        }
        if used + width > max {
            out.truncate(fitting);
            if max > 0 {
                out.push('…');
            }
            return out;
        }
        out.push(c);
        used += width;
        // The longest prefix that leaves a column for the ellipsis.
        if used < max {
            fitting = out.len();
        }
    }
    out
}

/// A line under construction.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pieces: Vec<(Tone, String)>,
}

impl Line {
    /// A line that begins with a verb in cargo's column; on screens narrower than 40 columns the
    /// verb is not indented.
    pub fn verb(tone: Tone, verb: &str, columns: usize) -> Self {
        let verb = plain::line(verb);
        let verb = if columns < 40 { format!("{verb} ") } else { format!("{verb:>VERB_COLUMNS$} ") };
        Self { pieces: vec![(tone, verb)] }
    }

    /// A line indented as if it had a verb.
    pub fn indented(columns: usize) -> Self {
        Self::verb(Tone::Text, "", columns)
    }

    /// Adds `text`, which must come from this program.
    #[must_use]
    pub fn text(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.pieces.push((tone, text.into()));
        self
    }

    /// Adds text from anywhere, as one plain line.
    #[must_use]
    pub fn foreign(self, tone: Tone, text: &str) -> Self {
        self.text(tone, plain::line(text))
    }

    /// Adds text from anywhere, cut or padded to exactly `width` columns.
    #[must_use]
    pub fn column(self, tone: Tone, text: &str, width: usize) -> Self {
        let text = clip(&plain::line(text), width);
        let pad = width.saturating_sub(columns(&text));
        self.text(tone, format!("{text}{:pad$}", ""))
    }

    /// Columns the line fills.
    pub fn columns(&self) -> usize {
        self.pieces.iter().map(|(_, text)| columns(text)).sum()
    }

    /// The line cut to `max` columns and coloured, without blanks at its end.
    pub fn render(&self, max: usize, style: Style) -> String {
        let mut out = String::new();
        let mut left = max;
        let mut pending = String::new();
        for (index, (tone, text)) in self.pieces.iter().enumerate() {
            let more = self.pieces[index + 1..].iter().any(|(_, text)| !text.trim().is_empty());
            let width = columns(text);
            // A piece that fits exactly still has to show that others do not.
            let cut = if width < left || (width == left && !more) { text.clone() } else { clip_marked(text, left) };
            let done = cut.len() != text.len() || left <= width;
            left = left.saturating_sub(columns(&cut));
            let kept = cut.trim_end();
            if !kept.is_empty() {
                out.push_str(&std::mem::take(&mut pending));
                out.push_str(&style.paint(*tone, kept));
            }
            pending.push_str(&cut[kept.len()..]);
            if done {
                break;
            }
        }
        out
    }
}

/// `text` from anywhere after a verb, wrapped with its lines indented alike, at most `lines_max`
/// of them; the last one ends with an ellipsis where something was left out.
pub fn paragraph(head: (Tone, &str), tone: Tone, text: &str, columns: usize, lines_max: usize) -> Vec<Line> {
    let first = Line::verb(head.0, head.1, columns);
    let width = columns.saturating_sub(first.columns()).max(1);
    let mut lines = wrap(text, width);
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            *last = clip_marked(last, width);
        }
    }
    let indent = " ".repeat(first.columns());
    let heads = std::iter::once(first).chain(std::iter::repeat(Line::default().text(Tone::Text, indent)));
    heads.zip(lines).map(|(head, text)| head.text(tone, text)).collect()
}

/// Cuts `text` to `max` columns and always ends it with an ellipsis.
fn clip_marked(text: &str, max: usize) -> String {
    if columns(text) > max { clip(text, max) } else { clip(&format!("{text}\u{2026}"), max) }
}

/// `text` from anywhere broken into lines of at most `max` columns, at blanks where possible.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(1);
    let mut lines = Vec::new();
    for paragraph in plain::text(text).lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let mut word = word;
            if !line.is_empty() && columns(&line) + 1 + columns(word) > max {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            while columns(&line) + columns(word) > max {
                let fits = |(at, c): &(usize, char)| columns(&word[..at + c.len_utf8()]) <= max;
                let at = word.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8());
                let at = if at == 0 { word.chars().next().map_or(0, char::len_utf8) } else { at };
                lines.push(word[..at].to_owned());
                word = &word[at..];
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_by_columns() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdef", 5), "abcd…");
        assert_eq!(clip("世界世界", 8), "世界世界");
        assert_eq!(clip("世界世界", 7), "世界世…");
        assert_eq!(clip("世界世界", 6), "世界…");
        assert_eq!(clip("世", 1), "…");
        assert_eq!(clip("x", 0), "");
    }

    #[test]
    fn never_wider_than_asked_in_any_tone() {
        let line = Line::verb(Tone::Good, "Landed", 80)
            .foreign(Tone::Strong, "lazy-foo")
            .text(Tone::Soft, " in ")
            .foreign(Tone::Text, "\u{1b}[31m世界 👩‍👩‍👧 ❤️ e\u{301}\u{1b}[0m and a long end");
        for max in 0..90 {
            let plain = line.render(max, Style::plain());
            assert!(columns(&plain) <= max, "{max}: {plain:?}");
            let coloured = line.render(max, Style::coloured());
            assert_eq!(plain::text(&coloured), plain, "{max}");
        }
        assert!(line.render(200, Style::plain()).ends_with("and a long end"));
        assert!(line.render(30, Style::plain()).ends_with('…'));
    }

    #[test]
    fn a_piece_that_fits_exactly_shows_that_more_follows() {
        let line = Line::default().text(Tone::Text, "abcd").text(Tone::Text, "ef");
        assert_eq!(line.render(4, Style::plain()), "abc…");
        assert_eq!(line.render(6, Style::plain()), "abcdef");
    }

    #[test]
    fn columns_are_padded_and_cut() {
        let line = Line::default().column(Tone::Text, "世", 4).text(Tone::Text, "|");
        assert_eq!(line.render(20, Style::plain()), "世  |");
        let line = Line::default().column(Tone::Text, "abcdef", 4).text(Tone::Text, "|");
        assert_eq!(line.render(20, Style::plain()), "abc…|");
    }

    #[test]
    fn stacked_accents_are_bounded() {
        let zalgo = format!("a{}", "\u{301}".repeat(10_000));
        assert!(clip(&zalgo, 10).chars().count() <= COMBINING_MAX + 1);
    }

    #[test]
    fn paragraphs_hang_and_end() {
        let render =
            |lines: Vec<Line>| -> Vec<String> { lines.iter().map(|line| line.render(40, Style::plain())).collect() };
        let lines = paragraph((Tone::Good, "Done"), Tone::Text, &"word ".repeat(30), 40, 2);
        assert_eq!(render(lines), ["        Done word word word word word", "             word word word word word…"]);
        let all = paragraph((Tone::Good, "Done"), Tone::Text, "short", 40, 2);
        assert_eq!(render(all), ["        Done short"]);
    }

    #[test]
    fn wraps_at_blanks_and_breaks_long_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("世界", 1), ["世", "界", ""]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
    }
}
