//! The loop around the engine: a thread of its own, so that a commit never waits for a runtime.
//!
//! Everything that arrived while the last commit ran is decided together and made durable by one
//! sync (group commit); only then are commands performed and answers sent. A disk that cannot be
//! written holds everything back and is tried again until it can.

use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use longhaul_proto::{Audited, Plan, Record};
use tokio::sync::oneshot;

use crate::checkpoint::{CheckpointError, Store};
use crate::core::{Command, Input, JobPhase, Millis, Request, State};
use crate::engine::{Disposition, Engine, FeedError};
pub use crate::handle::{Gone, Handle};
use crate::handle::{Signals, WaitingAsking, WaitingPresences};

/// Inputs decided together at most.
pub const GROUP_MAX: usize = 4_096;

/// Longest wait without looking at the time.
pub const TICK: Duration = Duration::from_millis(1_000);

/// Wait before a failed commit is tried again.
pub const COMMIT_RETRY: Duration = Duration::from_millis(1_000);

/// The wall clock, in milliseconds since the Unix epoch.
pub trait Clock: Send {
    /// Now.
    fn now_ms(&self) -> Millis;
}

/// What the driver does to the world. Calls must not block for long.
pub trait Effects: Send {
    /// Carries out a command; its outcome comes back as a message.
    fn perform(&mut self, command: &Command, state: &State);

    /// Durable records, in order.
    fn committed(&mut self, records: Vec<Record>, state: &State);

    /// Truth could not be written; the driver tries again.
    fn cannot_commit(&mut self, error: &CheckpointError);

    /// A snapshot was due, and written or not. Nothing waits for it; it is tried again later.
    fn snapshot_tried(&mut self, tried: Result<(), &CheckpointError>);

    /// After every turn.
    fn turned(&mut self, state: &State, now: Millis);
}

/// A question to the state, answered on the driver's thread.
pub type Query = Box<dyn FnOnce(&State, Millis) + Send>;

/// What can be sent to the driver.
pub enum Message {
    /// An outcome.
    Input(Input),
    /// Workers said that they are there.
    Presences(WaitingPresences),
    /// Agents wait for people.
    Asking(WaitingAsking),
    /// A durable result; the answer comes when its record is durable.
    Deliver(Input, oneshot::Sender<Disposition>),
    /// A person's request and who that is; answered with the number of events it led to.
    Request(Request, Option<Audited>, oneshot::Sender<Result<usize, String>>),
    /// The next generation's plan, and who asked for it.
    Open(Box<Plan>, Audited, oneshot::Sender<Result<usize, String>>),
    /// A question.
    Query(Query),
    /// Finish the turn, write a snapshot, end.
    Stop,
}

enum Answer {
    Disposition(oneshot::Sender<Disposition>, Disposition),
    Request(oneshot::Sender<Result<usize, String>>, Result<usize, String>),
}

/// How the driver ended.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A defect of the core; the journal holds everything decided before.
    #[error(transparent)]
    Core(#[from] FeedError),
    /// Truth could not be written and the end was asked for.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A defect; the journal holds everything decided before.
    #[error("the coordinator's own thread panicked; its log says where, and nothing durable is lost")]
    Panicked,
}

/// The engine, its clock and its effects.
pub struct Driver<S, E, C> {
    engine: Engine<S>,
    effects: E,
    clock: C,
    stopping: bool,
    signals: Signals,
}

impl<S: Store, E: Effects, C: Clock> Driver<S, E, C> {
    /// Ready to run.
    pub fn new(engine: Engine<S>, effects: E, clock: C, signals: Signals) -> Self {
        Self { engine, effects, clock, stopping: false, signals }
    }

    /// Runs until told to stop or every sender is gone; gives the last state.
    pub fn run(mut self, messages: &Receiver<Message>) -> Result<State, DriverError> {
        self.turn(Vec::new())?;
        while !self.stopping {
            let first = match messages.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut group: Vec<Message> = first.into_iter().collect();
            group.extend(messages.try_iter().take(GROUP_MAX));
            self.turn(group)?;
        }
        if !matches!(self.engine.state().job_phase(), JobPhase::Empty) {
            // It only saves replay: a disk that is full must not make a clean end look like a failure.
            self.snapshot(true);
        }
        Ok(self.engine.state().clone())
    }

    fn patience(&self) -> Duration {
        let now = self.engine.now();
        let due = self.engine.state().next_due_ms(now).map(|at| at - now);
        let due = due.and_then(|ms| u64::try_from(ms.max(1)).ok()).map_or(TICK, Duration::from_millis);
        due.min(TICK)
    }

    fn turn(&mut self, group: Vec<Message>) -> Result<(), DriverError> {
        self.engine.tell_time(self.clock.now_ms())?;
        let mut answers = Vec::new();
        let mut queries = Vec::new();
        for message in group {
            match message {
                Message::Input(input) => {
                    self.engine.feed(&input)?;
                }
                Message::Deliver(input, reply) => {
                    let disposition = self.engine.feed(&input)?;
                    answers.push(Answer::Disposition(reply, disposition));
                }
                Message::Presences(waiting) => self.hear(&waiting)?,
                Message::Asking(waiting) => self.hear_asking(&waiting)?,
                Message::Request(request, asked, reply) => {
                    let led = self.engine.request(&request, asked.as_ref());
                    answers.push(Answer::Request(reply, refusable(led)?));
                }
                Message::Open(plan, asked, reply) => {
                    let led = self.engine.open_plan(*plan, Some(&asked));
                    answers.push(Answer::Request(reply, refusable(led)?));
                }
                Message::Query(query) => queries.push(query),
                Message::Stop => self.stopping = true,
            }
            if !self.stopping {
                self.engine.settle()?;
            }
        }
        if !self.stopping {
            self.engine.settle()?;
        }
        self.commit_and_release(answers)?;
        for query in queries {
            query(self.engine.state(), self.engine.now());
        }
        self.effects.turned(self.engine.state(), self.engine.now());
        Ok(())
    }

    fn hear(&mut self, waiting: &WaitingPresences) -> Result<(), DriverError> {
        let presences = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for (worker, view) in presences {
            self.engine.feed(&Input::Presence { worker, view })?;
        }
        Ok(())
    }

    fn hear_asking(&mut self, waiting: &WaitingAsking) -> Result<(), DriverError> {
        let asking = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for ((id, worker), asking) in asking {
            self.engine.feed(&Input::Asking { worker, id, asking: Box::new(asking) })?;
        }
        Ok(())
    }

    fn commit_and_release(&mut self, answers: Vec<Answer>) -> Result<(), DriverError> {
        let records = loop {
            match self.engine.commit() {
                Ok(records) => break records,
                Err(error) if self.stopping || self.signals.stop_is_asked() => return Err(error.into()),
                Err(error) => {
                    self.signals.tell_trouble(Some(error.to_string()));
                    self.effects.cannot_commit(&error);
                    std::thread::sleep(COMMIT_RETRY);
                }
            }
        };
        self.signals.tell_trouble(None);
        if !records.is_empty() {
            self.effects.committed(records, self.engine.state());
        }
        for answer in answers {
            // Whoever asked may have left.
            match answer {
                Answer::Disposition(reply, disposition) => drop(reply.send(disposition)),
                Answer::Request(reply, result) => drop(reply.send(result)),
            }
        }
        if !self.stopping {
            for command in self.engine.take_commands() {
                self.effects.perform(&command, self.engine.state());
            }
        }
        self.snapshot(false);
        Ok(())
    }

    fn snapshot(&mut self, force: bool) {
        match self.engine.snapshot(force) {
            Ok(false) => {}
            Ok(true) => self.effects.snapshot_tried(Ok(())),
            Err(error) => self.effects.snapshot_tried(Err(&error)),
        }
    }
}

/// A refusal is an answer; everything else ends the driver.
fn refusable(led: Result<usize, FeedError>) -> Result<Result<usize, String>, DriverError> {
    match led {
        Ok(events) => Ok(Ok(events)),
        Err(FeedError::Refused(refusal)) => Ok(Err(refusal.0)),
        Err(error) => Err(error.into()),
    }
}
