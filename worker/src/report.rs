//! Progress of an assignment, as watchers see it: volatile, throttled, never waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use longhaul_common::bus::{Bus, Message, Subject};
use longhaul_common::text::clip_head;
use longhaul_proto::{FromWorker, Progress, Report, from_worker, report};
use prost::Message as _;

use crate::live::Shown;
use crate::process::OnLine;
use crate::session::desk::Key;

/// Shortest time between two lines of one assignment; changes of step are always sent.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// Longest line sent, in bytes.
const LINE_BYTES_MAX: usize = 200;

/// Sends the progress of one assignment.
#[derive(Clone)]
pub struct Reporter {
    bus: Arc<dyn Bus>,
    key: Key,
    worker: String,
    shown: Arc<Shown>,
    now: Arc<Mutex<(String, Option<Instant>)>>,
}

impl Reporter {
    /// For one assignment, which is `shown` to who looks at the worker itself.
    pub fn new(bus: Arc<dyn Bus>, key: Key, worker: &str, shown: Shown) -> Self {
        Self { bus, key, worker: worker.to_owned(), shown: Arc::new(shown), now: Arc::default() }
    }

    /// A report of the assignment.
    pub fn report(&self, body: report::Body) -> Report {
        Report { job: self.key.job.to_string(), id: self.key.id, worker: self.worker.clone(), body: Some(body) }
    }

    /// A new step began.
    pub fn step(&self, step: &str) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (step.to_owned(), None);
        self.shown.step(step);
        self.send(step, "");
    }

    /// Words of people for the agent at work, until the receiver is dropped.
    pub fn listen(&self) -> tokio::sync::mpsc::Receiver<String> {
        self.shown.listen()
    }

    /// The answer to the question that is asked then, when it comes.
    pub fn expect_answer(&self, asked_ms: i64) -> tokio::sync::oneshot::Receiver<longhaul_proto::Decision> {
        self.shown.expect_answer(asked_ms)
    }

    /// A callback for the lines of the current step's output.
    pub fn lines(&self) -> OnLine {
        let reporter = self.clone();
        Arc::new(move |line| {
            reporter.shown.line(line);
            let step = {
                let mut now = reporter.now.lock().unwrap_or_else(PoisonError::into_inner);
                if now.1.is_some_and(|last| last.elapsed() < LINE_EVERY) {
                    return;
                }
                now.1 = Some(Instant::now());
                now.0.clone()
            };
            reporter.send(&step, line);
        })
    }

    fn send(&self, step: &str, line: &str) {
        let progress = Progress { step: step.to_owned(), line: clip_head(line, LINE_BYTES_MAX).to_owned() };
        self.say(report::Body::Progress(progress));
    }

    /// Says something that may be lost.
    pub fn say(&self, body: report::Body) {
        let report = self.report(body);
        let subject = Subject::report(&self.key.job, &self.worker);
        publish(&*self.bus, &subject, from_worker::Message::Report(report));
    }
}

/// Publishes a message of a worker. Losing one is within the bus's contract.
pub fn publish(bus: &dyn Bus, subject: &Subject, message: from_worker::Message) {
    let payload = FromWorker { message: Some(message) }.encode_to_vec();
    if let Err(error) =
        bus.publish(Message { subject: subject.clone(), id: String::new(), payload: Bytes::from(payload) })
    {
        tracing::warn!(%error, "message of the worker was not taken");
    }
}
