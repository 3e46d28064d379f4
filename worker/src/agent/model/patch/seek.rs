//! Where in a file the lines of a chunk are, first exactly, then ever more leniently.

/// How much two lines may differ and still be the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fuzz {
    Exact,
    TrailingSpace,
    SurroundingSpace,
    /// Typographic dashes, quotes and spaces count as the plain ones.
    Punctuation,
}

const LEVELS: [Fuzz; 4] = [Fuzz::Exact, Fuzz::TrailingSpace, Fuzz::SurroundingSpace, Fuzz::Punctuation];

impl Fuzz {
    fn same(self, one: &str, two: &str) -> bool {
        match self {
            Self::Exact => one == two,
            Self::TrailingSpace => one.trim_end() == two.trim_end(),
            Self::SurroundingSpace => one.trim() == two.trim(),
            Self::Punctuation => one.trim().chars().map(plain).eq(two.trim().chars().map(plain)),
        }
    }
}

fn plain(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        other => other,
    }
}

/// The first place at or after `start` where all lines of `pattern` follow one another. One that
/// is said to be at the end of the file is looked for there first.
pub fn seek(lines: &[&str], pattern: &[&str], start: usize, at_end: bool) -> Option<usize> {
    let last = lines.len().checked_sub(pattern.len())?;
    let fits = |at: usize, fuzz: Fuzz| pattern.iter().zip(&lines[at..]).all(|(one, two)| fuzz.same(one, two));
    if at_end && last >= start && LEVELS.iter().any(|&fuzz| fits(last, fuzz)) {
        return Some(last);
    }
    LEVELS.iter().find_map(|&fuzz| (start..=last).find(|&at| fits(at, fuzz)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_match_wins_wherever_it_is() {
        let lines = ["  a", "a ", "a", "b", "\u{201c}c\u{201d} \u{2013} d", "a"];
        for (pattern, start, at_end, found) in [
            (&["a"][..], 0, false, Some(2)),
            (&["a"], 3, false, Some(5)),
            (&["a"], 0, true, Some(5)),
            (&["a", "b"], 0, false, Some(2)),
            (&["a  ", "a"], 0, false, Some(1)),
            (&["a  ", "a "], 0, false, Some(1)),
            (&["\ta", "a"], 0, false, Some(0)),
            (&["\"c\" - d"], 0, false, Some(4)),
            (&["b", "c"], 0, false, None),
            (&["b"], 0, true, Some(3)),
            (&["b"], 4, false, None),
            (&["a"; 7], 0, false, None),
            (&["a"; 7], 0, true, None),
        ] {
            assert_eq!(seek(&lines, pattern, start, at_end), found, "{pattern:?} from {start}");
        }
        assert_eq!(seek(&[], &["a"], 0, true), None);
    }
}
