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

#[cfg(test)]
impl Asks {
    /// For sessions in which nobody is waited for.
    pub fn none() -> Self {
        tests::World::new(None).asks
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use longhaul_common::bus::{Bus as _, MemoryBus, Subject, Subscription};
    use longhaul_proto::{FromWorker, QuestionKind, from_worker};
    use prost::Message as _;

    use super::*;
    use crate::live::Live;
    use crate::session::desk::Key;

    const WAIT: Duration = Duration::from_secs(60);

    pub(super) struct World {
        pub asks: Asks,
        live: Live,
        key: Key,
        cancel: CancellationToken,
        leaving: CancellationToken,
        heard: Subscription,
    }

    impl World {
        pub fn new(wait: Option<Duration>) -> Self {
            let (live, key) = (Live::default(), Key { job: "a".parse().expect("a name"), id: 3 });
            let bus = Arc::new(MemoryBus::default());
            let heard = bus.subscribe(&Subject::reports(&key.job));
            let reporter = Reporter::new(bus, key.clone(), "w", live.begin(&key, "s"));
            let (cancel, leaving) = (CancellationToken::new(), CancellationToken::new());
            let asks = Asks::new(reporter, wait, (cancel.clone(), leaving.clone()), Standstill::default());
            Self { asks, live, key, cancel, leaving, heard }
        }

        fn ask(&self, text: &str) -> tokio::task::JoinHandle<Waited> {
            let asks = self.asks.clone();
            let question = Question { kind: QuestionKind::Words.into(), text: text.into(), ..Question::default() };
            tokio::spawn(async move { asks.ask(question).await })
        }

        /// What the worker says next: what it asks, and when it asked.
        async fn hears(&mut self) -> (Option<String>, i64) {
            let said = FromWorker::decode(self.heard.next().await.expect("a word").taken()).expect("a message");
            let Some(from_worker::Message::Report(report)) = said.message else { panic!("no report") };
            let Some(report::Body::Asking(asking)) = report.body else { panic!("it asks nothing") };
            (asking.question.map(|question| question.text), asking.asked_ms)
        }

        fn answer(&self, asked_ms: i64, text: &str) -> bool {
            self.live.answer(&self.key, asked_ms, Decision { text: text.into(), ..Decision::default() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_until_it_is_told() {
        let mut world = World::new(Some(WAIT));
        let waits = world.ask("Which?");
        let (text, asked_ms) = world.hears().await;
        assert_eq!(text.as_deref(), Some("Which?"));
        assert_eq!(world.hears().await, (text.clone(), asked_ms), "a lost message is said again");
        assert!(!world.answer(asked_ms - 1, "of another question") && world.answer(asked_ms, "the first"));
        assert!(matches!(waits.await.expect("ends"), Waited::Told(told) if told.text == "the first"));
        let _second = world.ask("And now?");
        let (text, later_ms) = loop {
            match world.hears().await {
                (text, ms) if ms == asked_ms => assert_eq!(text.as_deref(), Some("Which?"), "it is not taken back"),
                other => break other,
            }
        };
        assert!(text.as_deref() == Some("And now?") && later_ms > asked_ms);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_in_time_a_worker_that_leaves_and_an_end_are_no_answers() {
        let world = World::new(None);
        assert_eq!(world.ask("Which?").await.expect("ends"), Waited::Late);
        let world = World::new(Some(WAIT));
        assert_eq!(world.ask("Which?").await.expect("ends"), Waited::Late);
        assert!(world.asks.still.so_far() >= WAIT);
        let mut world = World::new(Some(WAIT));
        let waits = world.ask("Which?");
        world.hears().await;
        world.leaving.cancel();
        assert_eq!(waits.await.expect("ends"), Waited::Late);
        assert_eq!((world.asks.patience(), world.ask("Which?").await.expect("ends")), (None, Waited::Late));
        let mut world = World::new(Some(WAIT));
        let waits = world.ask("Which?");
        let (_, asked_ms) = world.hears().await;
        world.cancel.cancel();
        assert_eq!(waits.await.expect("ends"), Waited::Cancelled);
        assert!(!world.answer(asked_ms, "too late"));
        assert_eq!(world.hears().await, (None, asked_ms), "it is taken back");
    }
}
