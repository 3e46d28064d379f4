//! Whether and how output is coloured: decided once for a stream, from the environment.
//!
//! `CLICOLOR_FORCE` (set, not `0`) turns colours on, `NO_COLOR` (set, not empty) and `TERM=dumb`
//! turn them off, otherwise a terminal has them and anything else has none
//! (<https://no-color.org>, <https://bixense.com/clicolors>). `NO_COLOR` wins over
//! `CLICOLOR_FORCE`: who asks for none must get none.
//!
//! This is the one module of the view that reads the environment and the size of the terminal.

use std::io::IsTerminal;

use owo_colors::OwoColorize;

/// Columns of the verb at the start of a line, as in cargo.
pub const VERB_COLUMNS: usize = 12;
/// Size assumed where a terminal does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// What a piece of text means; the style decides how that looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    #[default]
    Text,
    /// Stands out: names, headings.
    Strong,
    /// Steps back: details, units.
    Soft,
    /// Went well.
    Good,
    /// Is under way.
    Active,
    /// Needs attention soon.
    Warn,
    /// Went wrong.
    Bad,
}

/// How text is written to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// No colours, ASCII bars.
    pub const fn plain() -> Self {
        Self { colour: false }
    }

    /// Colours, whatever the stream.
    pub const fn coloured() -> Self {
        Self { colour: true }
    }

    /// The style for standard output.
    pub fn stdout() -> Self {
        Self::decide(std::io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    /// The style for standard error.
    pub fn stderr() -> Self {
        Self::decide(std::io::stderr().is_terminal(), |name| std::env::var(name).ok())
    }

    /// The policy itself, for any stream and environment.
    pub fn decide(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name, off: &str| variable(name).is_some_and(|value| !value.is_empty() && value != off);
        let dumb = variable("TERM").as_deref() == Some("dumb");
        let forced = set("CLICOLOR_FORCE", "0");
        let refused = set("NO_COLOR", "");
        Self { colour: !refused && (forced || (terminal && !dumb)) }
    }

    /// Whether this style writes colours.
    pub const fn is_coloured(self) -> bool {
        self.colour
    }

    /// `text` in a tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        match tone {
            Tone::Text => text.to_owned(),
            Tone::Strong => text.bold().to_string(),
            Tone::Soft => text.dimmed().to_string(),
            Tone::Good => text.green().bold().to_string(),
            Tone::Active => text.cyan().bold().to_string(),
            Tone::Warn => text.yellow().bold().to_string(),
            Tone::Bad => text.red().bold().to_string(),
        }
    }

    /// A verb, right-aligned in [`VERB_COLUMNS`] columns, as cargo does.
    pub fn verb(self, tone: Tone, verb: &str) -> String {
        self.paint(tone, &format!("{verb:>VERB_COLUMNS$}"))
    }
}

/// Whether live progress can be drawn on standard error: a terminal that moves its cursor.
pub fn can_draw() -> bool {
    std::io::stderr().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Columns and rows of the terminal on standard error, or a usual size.
pub fn columns_rows() -> (usize, usize) {
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((terminal_size::Width(columns), terminal_size::Height(rows))) if columns > 0 && rows > 0 => {
            (columns.into(), rows.into())
        }
        _ => SIZE_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(terminal: bool, variables: &[(&str, &str)]) -> bool {
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Style::decide(terminal, find).is_coloured()
    }

    #[test]
    fn the_policy() {
        assert!(decide(true, &[]));
        assert!(decide(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!decide(false, &[]));
        assert!(!decide(true, &[("NO_COLOR", "1")]));
        assert!(!decide(true, &[("TERM", "dumb")]));
        assert!(decide(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(decide(true, &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")]));
        assert!(!decide(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!decide(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn verbs_are_aligned_and_plain_text_is_untouched() {
        assert_eq!(Style::plain().verb(Tone::Good, "Landed"), "      Landed");
        assert_eq!(Style::plain().paint(Tone::Bad, "x"), "x");
        assert!(Style::coloured().verb(Tone::Good, "Landed").contains("      Landed"));
        assert_eq!(Style::coloured().paint(Tone::Bad, ""), "");
    }
}
