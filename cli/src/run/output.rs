//! What a running job prints: a live region on a terminal, plain lines off it, JSON lines with
//! `--json`. Data goes to stdout, progress to stderr.

use longhaul_proto::{JobStatus, SubtaskRow, WatchEvent};

use crate::context::Context;
use crate::exit::Exit;
use crate::view::{events, live, style, summary};

/// The chosen way to print.
pub struct Output {
    mode: Mode,
    after: u64,
    trouble: String,
    /// Warnings of the last look, with whether each was said.
    warnings: Vec<(String, bool)>,
}

enum Mode {
    Live(Box<live::Painter>),
    Plain,
    Json,
}

impl Output {
    /// By flags and terminal. Events up to `after` were shown by an earlier process.
    pub fn new(context: &Context, after: u64) -> Self {
        let mode = if context.json {
            Mode::Json
        } else if style::can_draw() {
            Mode::Live(Box::new(live::Painter::stderr()))
        } else {
            Mode::Plain
        };
        Self { mode, after, trouble: String::new(), warnings: Vec::new() }
    }

    /// Whether frames are drawn.
    pub fn is_live(&self) -> bool {
        matches!(self.mode, Mode::Live(_))
    }

    /// A durable event.
    pub fn event(&mut self, event: &WatchEvent) {
        if event.seq <= self.after {
            return;
        }
        self.after = event.seq;
        match &mut self.mode {
            Mode::Json => json_line(event),
            Mode::Plain => {
                if let Some(line) = events::line(event, &style::stderr()) {
                    eprintln!("{line}");
                }
            }
            Mode::Live(painter) => {
                if let Some(line) = events::line(event, &style::stderr()).filter(|_| events::is_notable(event)) {
                    painter.print_above(&line);
                }
            }
        }
    }

    /// A frame of the live region.
    pub fn draw(&mut self, status: &JobStatus, now_ms: i64) {
        if let Mode::Live(painter) = &mut self.mode {
            painter.draw(status, now_ms);
        }
    }

    /// A word of the program's own.
    pub fn say(&mut self, verb: &str, text: &str) {
        let line = style::verb_line(&style::stderr(), verb, text);
        match &mut self.mode {
            Mode::Live(painter) => painter.print_above(&line),
            Mode::Plain | Mode::Json => eprintln!("{line}"),
        }
    }

    /// Says once what keeps the journal from being written.
    pub fn trouble(&mut self, trouble: Option<&str>) {
        let trouble = trouble.unwrap_or_default();
        if self.trouble != trouble {
            trouble.clone_into(&mut self.trouble);
            if !trouble.is_empty() {
                self.say("Waiting", &format!("{trouble}; nothing is lost, it goes on when this is mended"));
            }
        }
    }

    /// Says what keeps a job waiting, once it was so at two looks in a row: between two of its steps
    /// it can look so for a moment.
    pub fn warn(&mut self, warnings: &[String]) {
        let before = std::mem::take(&mut self.warnings);
        for warning in warnings {
            let known = before.iter().find(|(text, _)| text == warning);
            if let Some((text, false)) = known {
                self.say("Waiting", text);
            }
            self.warnings.push((warning.clone(), known.is_some()));
        }
    }

    /// Takes the live region away.
    pub fn pause(&mut self) {
        if let Mode::Live(painter) = &mut self.mode {
            painter.clear();
        }
    }

    /// The end of the run.
    pub fn summary(&mut self, status: &JobStatus, rows: &[SubtaskRow], branch: &str, exit: Exit) {
        self.pause();
        match &self.mode {
            Mode::Json => json_line(&serde_json::json!({
                "event": "result",
                "version": 1,
                "exit": format!("{exit:?}").to_lowercase(),
                "branch": branch,
                "status": status,
            })),
            _ => eprint!("{}", summary::summary(status, branch, rows, &style::stderr())),
        }
    }
}

/// One JSON object on one line of stdout.
pub fn json_line(value: &impl serde::Serialize) {
    // A closed pipe ends the reader's interest, not the job.
    let text = serde_json::to_string(value).unwrap_or_default();
    drop(std::io::Write::write_all(&mut std::io::stdout().lock(), format!("{text}\n").as_bytes()));
}
