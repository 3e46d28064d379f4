//! What every page is drawn for: how wide, in which colours, for which clock and place.

use jiff::tz::TimeZone;

use super::style::Style;

/// The widest that prose is set: longer lines are hard to read.
pub const PROSE_WIDTH: usize = 100;

/// Where output goes, and when and where it is read. [`super::style::stdout`] and
/// [`super::style::stderr`] make one from the process's surroundings.
#[derive(Clone, Debug)]
pub struct Canvas {
    /// Whether a person's terminal shows it, rather than a file or a pipe.
    pub terminal: bool,
    /// Whether colours are written.
    pub colour: bool,
    /// Columns a line may fill.
    pub width: usize,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The zone times are shown in.
    pub zone: TimeZone,
}

impl Canvas {
    /// A terminal without colours, in UTC: for tests.
    #[cfg(test)]
    pub fn plain(width: usize, now_ms: i64) -> Self {
        Self { terminal: true, colour: false, width, now_ms, zone: TimeZone::UTC }
    }

    /// How text is coloured on it.
    pub fn style(&self) -> Style {
        if self.colour { Style::coloured() } else { Style::plain() }
    }
}
