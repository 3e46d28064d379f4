//! An agent asks a person and waits for the answer, its session alive and in its slot.
//!
//! The coordinator is told again and again that it waits, so no lost message and no coordinator that
//! begins anew keeps the answer from it. Nothing here ever allows anything: whoever is not told an
//! answer in time ends, and its subtask is parked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longhaul_common::question::{decided, sentence};
use longhaul_proto::{Asking, Decision, Question, report};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::agent::talk::AgentEvent;
use crate::report::Reporter;
use crate::standstill::Standstill;

/// Time between two words to the coordinator that an agent waits.
const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// What came of a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited {
    /// A person decided.
    Told(Box<Decision>),
    /// Nobody did in time, or there is no time to wait: the attempt ends with the question.
    Late,
    /// The attempt was ended.
    Cancelled,
}

impl Waited {
    /// It, for the trace.
    pub fn event(&self) -> AgentEvent {
        let answer = match self {
            Self::Told(decision) => decided(decision),
            Self::Late | Self::Cancelled => String::new(),
        };
        AgentEvent::PersonAnswered { answer }
    }
}

/// What the agents of one attempt ask with; clones are the same.
#[derive(Clone)]
pub struct Asks {
    /// How long one waits; `None` is not at all.
    wait: Option<Duration>,
    reporter: Reporter,
    cancel: CancellationToken,
    /// The worker is about to leave.
    leaving: CancellationToken,
    still: Standstill,
    /// When the last question was asked, in milliseconds since the epoch.
    last_ms: Arc<AtomicI64>,
}

impl Asks {
    /// Of an attempt that `cancel` ends.
    pub fn new(
        reporter: Reporter,
        wait: Option<Duration>,
        (cancel, leaving): (CancellationToken, CancellationToken),
        still: Standstill,
    ) -> Self {
        Self { wait, reporter, cancel, leaving, still, last_ms: Arc::default() }
    }

    /// How long an agent that asks now waits at the longest; `None` when it ends at once.
    pub fn patience(&self) -> Option<Duration> {
        self.wait.filter(|_| !self.leaving.is_cancelled())
    }

    /// A question that is waited with, for the trace.
    pub fn event(&self, question: &Question) -> AgentEvent {
        let wait_s = self.patience().unwrap_or_default().as_secs();
        AgentEvent::PersonAsked { question: sentence(question), wait_s }
    }

    /// Asks and waits. One at a time.
    pub async fn ask(&self, question: Question) -> Waited {
        let Some(wait) = self.patience() else { return Waited::Late };
        let mut open = self.open(question);
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        let mut again = tokio::time::interval(AGAIN_EVERY);
        let waited = loop {
            tokio::select! {
                biased;
                told = &mut open.answer => break told.map_or(Waited::Late, |decision| Waited::Told(Box::new(decision))),
                () = self.cancel.cancelled() => break Waited::Cancelled,
                () = self.leaving.cancelled() => break Waited::Late,
                () = &mut over => break Waited::Late,
                _ = again.tick() => open.say(),
            }
        };
        // Answered, or what the attempt ends with: the coordinator keeps the question either way.
        open.ended = waited != Waited::Cancelled;
        waited
    }

    fn open(&self, question: Question) -> Open<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let asked_ms = now_ms.max(self.last_ms.load(Ordering::Relaxed).saturating_add(1));
        self.last_ms.store(asked_ms, Ordering::Relaxed);
        let answer = self.reporter.expect_answer(asked_ms);
        let asking = Asking { question: Some(question), asked_ms };
        Open { asks: self, asking, answer, ended: false, _still: self.still.begin() }
    }
}

/// A question that is open. When its agent ends without one of the three, it is taken back.
struct Open<'a> {
    asks: &'a Asks,
    asking: Asking,
    answer: oneshot::Receiver<Decision>,
    ended: bool,
    _still: crate::standstill::Standing,
}

impl Open<'_> {
    fn say(&self) {
        self.asks.reporter.say(report::Body::Asking(self.asking.clone()));
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.asking.question = None;
            self.say();
        }
    }
}
