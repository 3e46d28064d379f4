//! Takes every event of a session: the trace keeps it, watchers see it, progress is measured by it.

use std::time::{Duration, Instant};

use super::event::AgentEvent;
use super::usage::Used;
use crate::process::OnLine;
use crate::trace::Trace;

/// Longest line for watchers, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// What is known of a session from outside.
pub struct Witness {
    trace: Trace,
    on_line: OnLine,
    heard: Instant,
    used: Used,
    session: String,
    on_progress: OnProgress,
}

/// Told when there is something new worth saving: the session, and what it used here.
pub type OnProgress = Box<dyn FnMut(Progress, &str, Used) + Send>;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A tool was used.
    Tool,
    /// A turn ended.
    Turn,
}

impl Witness {
    /// Of a session that begins.
    pub fn new(trace: Trace, on_line: OnLine, on_progress: OnProgress) -> Self {
        Self { trace, on_line, heard: Instant::now(), used: Used::default(), session: String::new(), on_progress }
    }

    /// Something happened.
    pub fn tell(&mut self, event: &AgentEvent) {
        self.trace.write(event);
        if let Some(line) = event.line() {
            let first = line.lines().next().unwrap_or_default();
            (self.on_line)(longhaul_common::text::clip_head(first, LINE_BYTES_MAX));
        }
        match event {
            AgentEvent::Usage(used) => self.used = self.used.with(*used),
            AgentEvent::Session { id, .. } => self.session.clone_from(id),
            AgentEvent::ToolEnded { .. } => (self.on_progress)(Progress::Tool, &self.session, self.used),
            AgentEvent::TurnEnded { .. } => (self.on_progress)(Progress::Turn, &self.session, self.used),
            _ => {}
        }
    }

    /// The program showed a sign of life, whatever it was.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Ends when nothing was heard for the limit.
    pub fn silence(&self, limit: Option<Duration>) -> impl Future<Output = Duration> + use<> {
        let due = limit.map(|limit| (tokio::time::Instant::from_std(self.heard + limit), limit));
        async move {
            match due {
                Some((due, limit)) => {
                    tokio::time::sleep_until(due).await;
                    limit
                }
                None => std::future::pending().await,
            }
        }
    }

    /// What it says it used.
    pub fn used(&self) -> Used {
        self.used
    }

    /// The trace, to be finished.
    pub fn into_trace(self) -> Trace {
        self.trace
    }
}
