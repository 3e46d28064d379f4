//! Takes every event of a session: the trace keeps it, watchers see it, progress is measured by it,
//! and whoever goes in circles is ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use longhaul_common::price::Tokens;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::event::{AgentEvent, ToolKind};
use crate::agent::stuck::{Seen, Stuck, Verdict, Watch};
use crate::process::OnLine;
use crate::trace::Trace;

/// Longest line for watchers, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// Uses of tools that have begun and not ended; of more the oldest are forgotten.
const OPEN_MAX: usize = 1_000;

/// What is known of a session from outside.
pub struct Witness {
    trace: Trace,
    on_line: OnLine,
    heard: Instant,
    used: Tokens,
    session: String,
    on_progress: OnProgress,
    circles: Option<Circles>,
    uses: watch::Sender<Uses>,
}

/// Uses of tools that came to an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// All.
    pub all: u64,
    /// Those that may have changed something.
    pub changing: u64,
}

/// Told when there is something new worth saving: the session, and what it used here.
pub type OnProgress = Box<dyn FnMut(Progress, &str, Tokens) + Send>;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A tool was used.
    Tool,
    /// A turn ended.
    Turn,
}

/// Sees whether an agent goes in circles.
struct Circles {
    watch: Watch,
    /// What was begun, by its id.
    open: BTreeMap<String, String>,
    stop: CancellationToken,
    stuck: Option<Stuck>,
}

impl Circles {
    /// Takes an event; a warning, if there is one.
    fn see(&mut self, event: &AgentEvent) -> Option<Stuck> {
        match event {
            AgentEvent::ToolStarted { id, title, input, .. } => self.begin(id, title, input),
            AgentEvent::ToolUpdated { id, input, .. } => self.begin(id, "", input),
            AgentEvent::ToolEnded { id, failed, output } => {
                let call = self.open.remove(id)?;
                match self.watch.see(Seen::Called { call: &call, result: output, failed: *failed })? {
                    Verdict::Warn(stuck) => return Some(stuck),
                    Verdict::End(stuck) => {
                        self.stuck = Some(stuck);
                        self.stop.cancel();
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// A use whose arguments nobody told cannot be compared with another.
    fn begin(&mut self, id: &str, title: &str, input: &Value) {
        if input.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        if self.open.len() >= OPEN_MAX {
            self.open.pop_first();
        }
        self.open.insert(id.to_owned(), format!("{title} {input}").trim_start().to_owned());
    }
}

impl Witness {
    /// Of a session that begins.
    pub fn new(trace: Trace, on_line: OnLine, on_progress: OnProgress) -> Self {
        let (heard, used, session) = (Instant::now(), Tokens::default(), String::new());
        let uses = watch::Sender::default();
        Self { trace, on_line, heard, used, session, on_progress, circles: None, uses }
    }

    /// Ends the session by this token when it goes in circles.
    pub fn watching(mut self, stop: CancellationToken) -> Self {
        self.circles = Some(Circles { watch: Watch::default(), open: BTreeMap::new(), stop, stuck: None });
        self
    }

    /// How often tools were used, as it grows.
    pub fn uses(&self) -> watch::Receiver<Uses> {
        self.uses.subscribe()
    }

    /// How it went in circles, if it was ended for that.
    pub fn stuck(&self) -> Option<Stuck> {
        self.circles.as_ref().and_then(|circles| circles.stuck.clone())
    }

    /// Something happened.
    pub fn tell(&mut self, event: &AgentEvent) {
        self.note(event);
        match event {
            AgentEvent::Usage(used) => self.used = self.used.plus(*used),
            AgentEvent::Session { id, .. } => self.session.clone_from(id),
            AgentEvent::ToolStarted { kind: ToolKind::Edit | ToolKind::Execute | ToolKind::Other, .. } => {
                self.uses.send_modify(|uses| uses.changing += 1);
            }
            AgentEvent::ToolEnded { .. } => {
                self.uses.send_modify(|uses| uses.all += 1);
                (self.on_progress)(Progress::Tool, &self.session, self.used);
            }
            AgentEvent::TurnEnded { .. } => (self.on_progress)(Progress::Turn, &self.session, self.used),
            _ => {}
        }
        if let Some(stuck) = self.circles.as_mut().and_then(|circles| circles.see(event)) {
            let message = format!("it may be stuck ({}): {stuck}", stuck.name());
            self.note(&AgentEvent::Warning { message });
        }
    }

    /// Something happened earlier, and is only known now.
    pub fn note(&mut self, event: &AgentEvent) {
        self.trace.write(event);
        if let Some(line) = event.line() {
            let first = line.lines().next().unwrap_or_default();
            (self.on_line)(longhaul_common::text::clip_head(first, LINE_BYTES_MAX));
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
    pub fn used(&self) -> Tokens {
        self.used
    }

    /// The trace, to be finished.
    pub fn into_trace(self) -> Trace {
        self.trace
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn uses(witness: &mut Witness, times: usize, input: impl Fn(usize) -> Value) {
        for n in 0..times {
            let (id, title) = (n.to_string(), "read".to_owned());
            witness.tell(&AgentEvent::ToolStarted { id: id.clone(), kind: ToolKind::Read, title, input: json!({}) });
            witness.tell(&AgentEvent::ToolUpdated { id: id.clone(), input: input(n), output: String::new() });
            witness.tell(&AgentEvent::ToolEnded { id, failed: false, output: "the same".into() });
        }
    }

    #[test]
    fn who_goes_in_circles_is_ended_and_nobody_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let trace = |name: &str| Trace::create(&dir.path().join(name), Default::default()).expect("made");
        let new = |name: &str, stop: &CancellationToken| {
            Witness::new(trace(name), Arc::new(|_| {}), Box::new(|_, _, _| {})).watching(stop.clone())
        };
        let stop = CancellationToken::new();
        let mut witness = new("a", &stop);
        uses(&mut witness, 50, |n| json!({"path": n}));
        uses(&mut witness, 50, |_| json!({}));
        assert!(witness.stuck().is_none() && !stop.is_cancelled(), "others, and those nobody knows the input of");
        uses(&mut witness, 50, |_| json!({"path": "x"}));
        assert_eq!(witness.stuck().map(|stuck| stuck.name()), Some("same-call"));
        assert!(stop.is_cancelled());
    }
}
