//! Repaints a few lines in place at the bottom of a terminal, with lasting lines above them.
//!
//! Each repaint is one write: cursor up over what was drawn, clear to the end of the screen, the
//! new lines. It is bracketed as a synchronised update, so terminals that know that do not flicker.
//! After a resize to fewer columns the old lines have wrapped; how many rows they fill is computed
//! from their width, so nothing is left behind. The cursor is hidden while drawing and shown again
//! when the painter is dropped, also on a panic; a process killed outright leaves it hidden.
//!
//! Write errors (a closed terminal) end drawing for good and are not reported: progress must never
//! fail the work.

use std::io::{Stderr, Write};

use longhaul_proto::JobStatus;

use super::{line, live::Live, style};
use crate::report::plain;

const HIDE: &str = "\u{1b}[?25l";
const SHOW: &str = "\u{1b}[?25h";
const BEGIN: &str = "\u{1b}[?2026h";
const END: &str = "\u{1b}[?2026l";
/// Rows of a frame on a terminal with room for more: the rest is for what was printed above.
const ROWS_MAX: usize = 24;
const CLEAR_DOWN: &str = "\u{1b}[J";

/// Live progress on standard error.
#[derive(Debug)]
pub struct Painter {
    region: Region<Stderr>,
    live: Live,
}

impl Painter {
    /// A painter on standard error: live on a terminal, lasting lines only elsewhere.
    pub fn stderr() -> Self {
        let region = Region::new(std::io::stderr(), style::can_draw());
        Self { region, live: Live::new(style::stderr().style()) }
    }

    /// Draws a frame for `status` in place of the last one, at the terminal's present size.
    pub fn draw(&mut self, status: &JobStatus, now_ms: i64) {
        let (columns, rows) = style::columns_rows();
        let lines = self.live.frame(status, now_ms, columns, rows.saturating_sub(1).min(ROWS_MAX));
        self.region.draw(lines, columns);
    }

    /// Prints `line` for good, above the live region.
    pub fn print_above(&mut self, line: &str) {
        self.region.print(&[line.to_owned()]);
    }

    /// Removes the live region and shows the cursor; drawing may go on afterwards.
    pub fn clear(&mut self) {
        self.region.clear();
    }
}

/// Draws frames and lasting lines on one stream.
#[derive(Debug)]
pub struct Region<W: Write> {
    out: W,
    live: bool,
    hidden: bool,
    /// What stands on the screen now.
    frame: Vec<String>,
    columns: usize,
}

impl<W: Write> Region<W> {
    /// A region on `out`; without `live`, frames are ignored and lasting lines are just printed.
    pub const fn new(out: W, live: bool) -> Self {
        Self { out, live, hidden: false, frame: Vec::new(), columns: 80 }
    }

    /// Replaces the live region by `lines`, on a terminal `columns` wide. There must be fewer lines
    /// than the terminal has rows: the cursor rests on the row below them.
    pub fn draw(&mut self, lines: Vec<String>, columns: usize) {
        if self.live {
            self.repaint(lines, columns);
        }
    }

    /// Prints `lines` for good, above the live region.
    pub fn print(&mut self, lines: &[String]) {
        if self.live {
            let frame = std::mem::take(&mut self.frame);
            let above = self.rows_of(&frame);
            self.write(above, lines, frame);
            return;
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        drop(written);
    }

    /// Removes the live region and shows the cursor; drawing may go on afterwards.
    pub fn clear(&mut self) {
        if !self.frame.is_empty() {
            self.repaint(Vec::new(), self.columns);
        }
        if self.hidden {
            self.hidden = false;
            let written = self.out.write_all(SHOW.as_bytes()).and_then(|()| self.out.flush());
            drop(written);
        }
    }

    fn repaint(&mut self, lines: Vec<String>, columns: usize) {
        self.columns = columns.max(1);
        let frame = std::mem::take(&mut self.frame);
        let above = self.rows_of(&frame);
        self.write(above, &[], lines);
    }

    /// Rows of the screen that `lines` fill at the present width.
    fn rows_of(&self, lines: &[String]) -> usize {
        let rows = |text: &String| line::columns(&plain::text(text)).div_ceil(self.columns).max(1);
        lines.iter().map(rows).sum()
    }

    fn write(&mut self, above: usize, lasting: &[String], frame: Vec<String>) {
        let mut text = String::from(BEGIN);
        if !self.hidden && !frame.is_empty() {
            text.push_str(HIDE);
            self.hidden = true;
        }
        if above > 0 {
            text.push_str(&format!("\u{1b}[{above}A\r"));
        }
        text.push_str(CLEAR_DOWN);
        for line in lasting.iter().chain(&frame) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str(END);
        self.frame = frame;
        if self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).is_err() {
            self.live = false;
            self.frame.clear();
        }
    }
}

impl<W: Write> Drop for Region<W> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    /// What a terminal `columns` wide shows after `bytes`: enough of one for what is written here.
    fn screen(bytes: &[u8], columns: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut rows: Vec<String> = vec![String::new()];
        let mut at = 0;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => {
                    assert_eq!(chars.next(), Some('['));
                    let code: String = chars.by_ref().take_while(|c| !matches!(c, 'A' | 'J' | 'h' | 'l')).collect();
                    if let Ok(up) = code.parse::<usize>() {
                        at -= up;
                    } else if code.is_empty() {
                        rows.truncate(at + 1);
                        rows[at].clear();
                    }
                }
                '\r' => {}
                '\n' => {
                    at += 1;
                    rows.resize(rows.len().max(at + 1), String::new());
                }
                c => {
                    if rows[at].chars().count() == columns {
                        at += 1;
                        rows.resize(rows.len().max(at + 1), String::new());
                    }
                    rows[at].push(c);
                }
            }
        }
        rows
    }

    #[test]
    fn frames_replace_each_other_and_events_stay() {
        let mut out = Vec::new();
        {
            let mut region = Region::new(&mut out, true);
            region.draw(lines(&["one", "two", "three"]), 40);
            region.print(&lines(&["Landed a"]));
            region.draw(lines(&["four"]), 40);
            region.print(&lines(&["Landed b"]));
        }
        assert_eq!(screen(&out, 40), ["Landed a", "Landed b", ""]);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text.matches(HIDE).count(), 1);
        assert!(text.ends_with(SHOW), "the cursor is back");
    }

    #[test]
    fn wrapped_lines_are_counted_after_a_resize() {
        let mut out = Vec::new();
        let mut region = Region::new(&mut out, true);
        let indented = format!("{}\u{1b}[1mx\u{1b}[0m", " ".repeat(30));
        region.draw(lines(&[&indented, "y"]), 40);
        region.draw(lines(&["short"]), 20);
        drop(region);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("\u{1b}[3A"), "{text:?}");
    }

    #[test]
    fn without_a_terminal_there_are_only_events() {
        let mut out = Vec::new();
        {
            let mut region = Region::new(&mut out, false);
            region.draw(lines(&["frame"]), 40);
            region.print(&lines(&["Landed a"]));
        }
        assert_eq!(out, b"Landed a\n");
    }

    #[test]
    fn a_closed_terminal_ends_drawing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut region = Region::new(Closed, true);
        region.draw(lines(&["one"]), 40);
        assert!(!region.live);
        region.draw(lines(&["two"]), 40);
    }
}
