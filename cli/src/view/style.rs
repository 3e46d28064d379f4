//! Whether and how output is coloured: decided once for a stream, from the environment.
//!
//! `CLICOLOR_FORCE` (set, not `0`) turns colours on, `NO_COLOR` (set, not empty) and `TERM=dumb`
//! turn them off, otherwise a terminal has them and anything else has none
//! (<https://no-color.org>, <https://bixense.com/clicolors>). `NO_COLOR` wins over
//! `CLICOLOR_FORCE`: who asks for none must get none.
//!
//! This is the one module of the view that looks at the process's surroundings: environment,
//! terminal, clock and zone. Everything else gets a [`Canvas`].

use std::io::IsTerminal;

use jiff::{Timestamp, tz::TimeZone};
use owo_colors::OwoColorize;

use super::{canvas::Canvas, line::Line};

/// Columns of the verb at the start of a line, as in cargo.
pub const VERB_COLUMNS: usize = 12;
/// Size assumed where a terminal does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);
/// Columns for a file or a pipe: nothing a person would want whole is cut.
const PIPE_WIDTH: usize = 1_000;

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
}

/// The canvas of standard output, as it is now.
pub fn stdout() -> Canvas {
    let stream = std::io::stdout();
    let size = terminal_size::terminal_size_of(&stream);
    canvas(stream.is_terminal(), size)
}

/// The canvas of standard error, as it is now.
pub fn stderr() -> Canvas {
    let stream = std::io::stderr();
    let size = terminal_size::terminal_size_of(&stream);
    canvas(stream.is_terminal(), size)
}

fn canvas(terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Canvas {
    let style = Style::decide(terminal, variable);
    let columns = size.map_or(SIZE_DEFAULT.0, |(width, _)| usize::from(width.0).max(1));
    Canvas {
        terminal,
        colour: style.is_coloured(),
        width: if terminal { columns } else { PIPE_WIDTH },
        now_ms: Timestamp::now().as_millisecond(),
        zone: TimeZone::system(),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether live progress can be drawn on standard error: a terminal that moves its cursor.
pub fn can_draw() -> bool {
    std::io::stderr().is_terminal() && variable("TERM").is_some_and(|term| term != "dumb")
}

/// Columns and rows of the terminal on standard error, or a usual size.
pub fn columns_rows() -> (usize, usize) {
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((columns, rows)) if columns.0 > 0 && rows.0 > 0 => (columns.0.into(), rows.0.into()),
        _ => SIZE_DEFAULT,
    }
}

/// A word of the program's own: a verb in cargo's column, then text from anywhere, uncut.
pub fn verb_line(canvas: &Canvas, verb: &str, text: &str) -> String {
    Line::verb(Tone::Good, verb, canvas.width).foreign(Tone::Text, text).render(usize::MAX, canvas.style())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(terminal: bool, variables: &[(&str, &str)]) -> bool {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
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
        let canvas = Canvas::plain(80, 0);
        assert_eq!(verb_line(&canvas, "Landed", "a\nb"), "      Landed a b");
        assert_eq!(Style::plain().paint(Tone::Bad, "x"), "x");
        let coloured = Canvas { colour: true, ..canvas };
        assert!(verb_line(&coloured, "Landed", "a").contains("      Landed"));
        assert_eq!(Style::coloured().paint(Tone::Bad, ""), "");
    }
}
