//! What every page is drawn for: how wide, in which colours, for which clock and place.

use jiff::tz::TimeZone;

use super::style::Style;

/// The widest a page is set, where nothing says otherwise: longer lines are hard to read.
pub const WIDTH_DEFAULT: usize = 100;

/// Width, colours, time and zone of a rendering.
#[derive(Clone, Debug)]
pub struct Canvas {
    /// Columns a line may fill; [`usize::MAX`] for a file or a pipe, where nothing is cut.
    pub columns: usize,
    /// Colours or none.
    pub style: Style,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The zone times are shown in.
    pub zone: TimeZone,
}

impl Canvas {
    /// A canvas without colours, in UTC.
    pub fn plain(columns: usize, now_ms: i64) -> Self {
        Self { columns, style: Style::plain(), now_ms, zone: TimeZone::UTC }
    }
}
