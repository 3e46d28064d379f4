//! What a worker executes at the moment, as its gRPC service shows it, and what the service asks.
//!
//! Lines of output are kept for as long as an assignment runs, the last [`LINES_MAX`] of each; one
//! who attaches gets them first and then every new one. A reader that is too slow loses lines, the
//! assignment never waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use longhaul_common::JobId;
use longhaul_common::text::clip_head;
use longhaul_proto::{Decision, Presence, RunningWork, TraceLine};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::session::desk::Key;

/// Lines kept of each assignment.
pub const LINES_MAX: usize = 200;

/// Longest line kept, in bytes.
const LINE_BYTES_MAX: usize = 1_000;

/// Lines a slow reader may be behind.
const BEHIND_MAX: usize = 1_024;

/// Requests of the service that wait for the worker.
const REQUESTS_MAX: usize = 64;

/// Words of people that wait for an agent to read them; more are refused.
const WORDS_MAX: usize = 64;

/// What the service asks of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// End an assignment.
    Cancel(Key, String),
    /// Drain within so many milliseconds; 0 is the worker's own setting.
    Drain(u64),
}

/// What became of words for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It hears them during its turn or at its end.
    Taken,
    /// What runs takes none, or has not read the last ones yet.
    NotTaken,
    /// The assignment is not executed here.
    Unknown,
}

/// Shared by a worker and its service; clones are the same.
#[derive(Clone, Debug)]
pub struct Live {
    state: Arc<Mutex<State>>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct State {
    presence: Presence,
    running: BTreeMap<Key, Running>,
    /// Taken by the worker when it starts.
    requests: Option<mpsc::Receiver<Request>>,
}

#[derive(Debug)]
struct Running {
    subtask: String,
    step: String,
    since_ms: i64,
    lines: VecDeque<TraceLine>,
    new: broadcast::Sender<TraceLine>,
    /// To an agent that takes words.
    words: Option<mpsc::Sender<String>>,
    /// To an agent that waits for a person, by when it asked.
    answer: Option<(i64, oneshot::Sender<Decision>)>,
}

impl Default for Live {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        let state = State { presence: Presence::default(), running: BTreeMap::new(), requests: Some(receiver) };
        Self { state: Arc::new(Mutex::new(state)), requests: sender }
    }
}

impl Live {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An assignment began; it is shown until the value is dropped.
    pub fn begin(&self, key: &Key, subtask: &str) -> Shown {
        let running = Running {
            subtask: subtask.to_owned(),
            step: String::new(),
            since_ms: now_ms(),
            lines: VecDeque::new(),
            new: broadcast::channel(BEHIND_MAX).0,
            words: None,
            answer: None,
        };
        self.state().running.insert(key.clone(), running);
        Shown { live: self.clone(), key: key.clone() }
    }

    /// What was announced last.
    pub fn presence(&self) -> Presence {
        self.state().presence.clone()
    }

    pub(crate) fn announced(&self, presence: &Presence) {
        self.state().presence.clone_from(presence);
    }

    /// What is executed.
    pub fn running(&self) -> Vec<RunningWork> {
        let state = self.state();
        let row = |(key, running): (&Key, &Running)| RunningWork {
            job: key.job.to_string(),
            id: key.id,
            step: running.step.clone(),
            subtask: running.subtask.clone(),
            since_ms: running.since_ms,
        };
        state.running.iter().map(row).collect()
    }

    /// The last lines of an assignment and those to come; `None` when it is not executed here.
    fn attach(&self, key: &Key) -> Option<(Vec<TraceLine>, broadcast::Receiver<TraceLine>)> {
        let state = self.state();
        let running = state.running.get(key)?;
        Some((running.lines.iter().cloned().collect(), running.new.subscribe()))
    }

    /// The same as a stream, until the assignment ends.
    pub fn output(&self, job: &JobId, id: u64) -> Option<BoxStream<'static, TraceLine>> {
        let (last, new) = self.attach(&Key { job: job.clone(), id })?;
        let new = stream::unfold(new, |mut new| async move {
            loop {
                match new.recv().await {
                    Ok(line) => return Some((line, new)),
                    // A reader that is too slow misses lines.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Some(stream::iter(last).chain(new).boxed())
    }

    /// Words of a person for the agent at work.
    pub fn tell(&self, key: &Key, words: String) -> Told {
        let state = self.state();
        let Some(running) = state.running.get(key) else { return Told::Unknown };
        let taken = running.words.as_ref().is_some_and(|sender| sender.try_send(words).is_ok());
        if taken { Told::Taken } else { Told::NotTaken }
    }

    /// What a person decided about what an agent asked then; false when it does not wait for it, or any longer.
    pub fn answer(&self, key: &Key, asked_ms: i64, decision: Decision) -> bool {
        let mut state = self.state();
        let Some(running) = state.running.get_mut(key) else { return false };
        let waits = running.answer.take_if(|(asked, _)| *asked == asked_ms);
        waits.is_some_and(|(_, sender)| sender.send(decision).is_ok())
    }

    /// Hands a request to the worker; false when it is too busy or gone.
    pub fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }

    pub(crate) fn requests(&self) -> Option<mpsc::Receiver<Request>> {
        self.state().requests.take()
    }
}

/// An assignment that is shown as running.
#[derive(Debug)]
pub struct Shown {
    live: Live,
    key: Key,
}

impl Shown {
    /// A new step began.
    pub fn step(&self, step: &str) {
        if let Some(running) = self.live.state().running.get_mut(&self.key) {
            step.clone_into(&mut running.step);
        }
        self.line("");
    }

    /// An agent takes words from now on, until the receiver is dropped.
    pub fn listen(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(WORDS_MAX);
        if let Some(running) = self.live.state().running.get_mut(&self.key) {
            running.words = Some(sender);
        }
        receiver
    }

    /// The answer to the question that an agent asks then, when it comes. An earlier one is waited for no longer.
    pub fn expect_answer(&self, asked_ms: i64) -> oneshot::Receiver<Decision> {
        let (sender, receiver) = oneshot::channel();
        if let Some(running) = self.live.state().running.get_mut(&self.key) {
            running.answer = Some((asked_ms, sender));
        }
        receiver
    }

    /// A line of output.
    pub fn line(&self, line: &str) {
        let mut state = self.live.state();
        let Some(running) = state.running.get_mut(&self.key) else { return };
        let line = TraceLine {
            id: self.key.id,
            step: running.step.clone(),
            line: clip_head(line, LINE_BYTES_MAX).to_owned(),
            at_ms: now_ms(),
        };
        if running.lines.len() == LINES_MAX {
            running.lines.pop_front();
        }
        running.lines.push_back(line.clone());
        // Nobody may be attached.
        let _unheard = running.new.send(line);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.live.state().running.remove(&self.key);
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_new_ones_come() {
        let live = Live::default();
        let key = Key { job: "a".parse().expect("a name"), id: 3 };
        assert!(live.attach(&key).is_none());
        let shown = live.begin(&key, "s");
        shown.step("check");
        for number in 0..=LINES_MAX {
            shown.line(&number.to_string());
        }
        let (last, mut new) = live.attach(&key).expect("it runs");
        assert_eq!((last.len(), last[0].line.as_str()), (LINES_MAX, "1"));
        shown.line("new");
        let line = new.try_recv().expect("told");
        assert_eq!((line.line.as_str(), line.step.as_str(), line.id), ("new", "check", 3));
        assert_eq!(live.running()[0].subtask, "s");
        drop(shown);
        assert!(new.try_recv().is_err() && live.running().is_empty());
    }

    #[test]
    fn words_reach_an_agent_while_it_listens() {
        let (live, key) = (Live::default(), Key { job: "a".parse().expect("a name"), id: 3 });
        let told = |words: &str| live.tell(&key, words.to_owned());
        assert_eq!(told("x"), Told::Unknown);
        let shown = live.begin(&key, "s");
        assert_eq!(told("x"), Told::NotTaken);
        let mut words = shown.listen();
        assert_eq!(told("use tabs"), Told::Taken);
        assert_eq!(words.try_recv().as_deref(), Ok("use tabs"));
        for _ in 0..WORDS_MAX {
            assert_eq!(told("more"), Told::Taken);
        }
        assert_eq!(told("too much"), Told::NotTaken);
        drop(words);
        assert_eq!(told("x"), Told::NotTaken);
    }

    #[test]
    fn an_answer_reaches_the_question_it_is_to_and_once() {
        let (live, key) = (Live::default(), Key { job: "a".parse().expect("a name"), id: 3 });
        let decision = |text: &str| Decision { text: text.to_owned(), ..Decision::default() };
        let answered = |asked_ms: i64, text: &str| live.answer(&key, asked_ms, decision(text));
        assert!(!answered(1, "x"), "it does not run");
        let shown = live.begin(&key, "s");
        assert!(!answered(1, "x"), "nobody asks");
        let _given_up = shown.expect_answer(1);
        let mut waits = shown.expect_answer(2);
        assert!(!answered(1, "late") && answered(2, "yes") && !answered(2, "again"));
        assert_eq!(waits.try_recv(), Ok(decision("yes")));
        drop(shown.expect_answer(3));
        assert!(!answered(3, "x"), "it waits no longer");
    }
}
