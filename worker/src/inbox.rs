//! The worker's loop: messages, outcomes and requests go to the desk; what it answers is done.
//!
//! The loop is the only owner of the desk. One task carries each assignment and tells the loop what
//! became of it, so nothing is decided in two places.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::JobId;
use longhaul_common::bus::{Bus, Incoming, Subject, Subscription};
use longhaul_proto::{Assignment, PROTOCOL, ToWorker, assignment, to_worker};
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{ResultSink, Scope, Shutdown, WorkerConfig, WorkerError};
use crate::live::Request;
use crate::room;
use crate::session::desk::{Desk, Input, Key, Kind, Leave, Output};
use crate::worker::{Links, Worker};

/// Time between two announcements of presence.
const PRESENCE_EVERY: Duration = Duration::from_secs(2);

/// How long the end waits for running assignments: their processes have two seconds.
const END_MAX: Duration = Duration::from_secs(3);

/// An assignment that is waiting, executing, or in the outbox.
#[derive(Clone)]
pub(crate) struct Carried {
    pub cancel: CancellationToken,
    /// Cancelled before `cancel` when it is to be handed back.
    pub leave: CancellationToken,
    /// Someone asked again: deliver now instead of after the pause.
    pub again: Arc<Notify>,
}

/// Runs a worker until it is told to end, drained, or refused. Results that are not acknowledged by
/// then stay in the outbox for the next process; a drain that ends so says it
/// ([`WorkerError::Undelivered`]).
pub async fn run(
    config: WorkerConfig,
    scope: Scope,
    bus: Arc<dyn Bus>,
    sink: Arc<dyn ResultSink>,
    shutdown: Shutdown,
) -> Result<(), WorkerError> {
    let subject = Subject::worker(&config.name);
    let messages = futures::stream::select(bus.subscribe(&subject), bus.subscribe(&Subject::everyone()));
    let requests = config.live.requests();
    let (tell, told) = mpsc::unbounded_channel();
    let (stop, drain) = (shutdown.stop.clone(), shutdown.drain.clone());
    let worker = Arc::new(Worker::open(config, &scope, Links { bus, sink, stop, drain, tell }).await?);
    let sealed = worker.sealed(&scope).await?;
    let (desk, first) = Desk::resume(scope.job().cloned(), sealed);
    let mut inbox = Inbox {
        drain_ms: worker.config.drain_ms,
        hand_back: Duration::from_millis(worker.config.hand_back_ms),
        worker: Arc::clone(&worker),
        desk,
        carried: BTreeMap::new(),
        tasks: JoinSet::new(),
        arriving: None,
        drain: shutdown.drain.clone(),
    };
    let watching = tokio::spawn(room::watch(Arc::clone(&worker)));
    let ended = match inbox.perform(first) {
        Some(leave) => Ok(Ended::Left(leave)),
        None => {
            inbox.turn(Sources { messages: Box::pin(messages), requests, told, drain: shutdown.drain, subject }).await
        }
    };
    worker.stop.cancel();
    // The folder is free for the next process when this returns.
    let all = async {
        while inbox.tasks.join_next().await.is_some() {}
        watching.await
    };
    if tokio::time::timeout(END_MAX, all).await.is_err() {
        tracing::warn!("assignments still running at the end are dropped; their processes are killed");
    }
    if let Some(telemetry) = &worker.config.telemetry {
        telemetry.flush().await;
    }
    match ended? {
        Ended::Left(Leave::Drained) => Ok(()),
        Ended::Left(Leave::Refused(reason)) => Err(WorkerError::Refused { reason }),
        Ended::Late => match worker.sealed(&scope).await?.len() {
            0 => Ok(()),
            results => Err(WorkerError::Undelivered { results, outbox: worker.config.root.join("outbox") }),
        },
    }
}

/// How the loop ended.
enum Ended {
    /// As the desk says.
    Left(Leave),
    /// The time to hand back and deliver was over before all of it was done.
    Late,
}

/// Where inputs come from.
struct Sources {
    messages: Subscription,
    requests: Option<mpsc::Receiver<Request>>,
    told: mpsc::UnboundedReceiver<Input>,
    drain: CancellationToken,
    subject: Subject,
}

struct Inbox {
    worker: Arc<Worker>,
    desk: Desk,
    carried: BTreeMap<Key, Carried>,
    tasks: JoinSet<()>,
    /// The assignment whose input the desk is taking.
    arriving: Option<Box<Assignment>>,
    drain_ms: u64,
    hand_back: Duration,
    /// Cancelled whoever asks for a drain, so that whoever runs the worker sees it.
    drain: CancellationToken,
}

impl Inbox {
    async fn turn(&mut self, sources: Sources) -> Result<Ended, WorkerError> {
        let Sources { mut messages, mut requests, mut told, drain, subject } = sources;
        let stop = self.worker.stop.clone();
        let mut presence = tokio::time::interval(PRESENCE_EVERY);
        presence.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drained_at = None;
        let mut overdue = false;
        loop {
            let leave = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Left(Leave::Drained)),
                () = drain.cancelled(), if !self.desk.is_draining() => self.feed(Input::Drain),
                Some(input) = told.recv() => self.feed(input),
                Some(request) = next(&mut requests) => self.request(request),
                message = messages.next() => match message {
                    Some(incoming) => self.take(incoming),
                    None => return Err(WorkerError::BusEnded { subject: subject.to_string() }),
                },
                // Once: it stays due, and would be all that is ever done from then on.
                () = due(drained_at, self.drain_ms, Duration::ZERO), if !overdue => {
                    overdue = true;
                    self.feed(Input::Overdue)
                }
                () = due(drained_at, self.drain_ms, self.hand_back) => return Ok(Ended::Late),
                _ = presence.tick() => {
                    self.announce();
                    None
                }
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = done {
                        tracing::error!(%error, "whoever carried an assignment failed");
                    }
                    None
                }
            };
            if let Some(leave) = leave {
                return Ok(Ended::Left(leave));
            }
            if self.desk.is_draining() && drained_at.is_none() {
                drained_at = Some(tokio::time::Instant::now());
            }
        }
    }

    /// One input to the desk, and everything it answers; the end, if that was it.
    fn feed(&mut self, input: Input) -> Option<Leave> {
        let out = self.desk.take(input);
        self.perform(out)
    }

    fn request(&mut self, request: Request) -> Option<Leave> {
        match request {
            Request::Cancel(key, reason) => self.feed(Input::Cancel(key, reason)),
            Request::Drain(within_ms) => {
                if within_ms > 0 {
                    self.drain_ms = within_ms;
                }
                self.begin_drain()
            }
        }
    }

    fn begin_drain(&mut self) -> Option<Leave> {
        self.drain.cancel();
        self.feed(Input::Drain)
    }

    fn take(&mut self, incoming: Incoming) -> Option<Leave> {
        let message = match ToWorker::decode(incoming.payload.clone()).map(|message| message.message) {
            Ok(Some(message)) => message,
            Ok(None) => {
                incoming.taken();
                tracing::warn!("a message of a kind this worker does not know");
                return None;
            }
            Err(error) => {
                incoming.taken();
                tracing::warn!(%error, "a message that cannot be read");
                return None;
            }
        };
        let to_worker::Message::Assign(assignment) = message else {
            incoming.taken();
            return self.told_by_coordinator(message);
        };
        let Some(key) = key_of(&assignment.job, assignment.id) else {
            incoming.taken();
            return None;
        };
        let kind = kind_of(&assignment);
        self.arriving = Some(Box::new(assignment));
        let leave = self.feed(Input::Assign(key.clone(), kind));
        self.arriving = None;
        // What is not held may come again, when there is room for it.
        if self.desk.answers_for(&key) {
            incoming.taken();
        }
        leave
    }

    fn told_by_coordinator(&mut self, message: to_worker::Message) -> Option<Leave> {
        match message {
            to_worker::Message::Assign(_) => None,
            to_worker::Message::Cancel(cancel) => {
                self.feed(Input::Cancel(key_of(&cancel.job, cancel.id)?, cancel.reason))
            }
            to_worker::Message::Hello(hello) => {
                if hello.protocol_max != 0 && !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL) {
                    tracing::warn!(
                        coordinator = hello.version,
                        "this worker speaks protocol {PROTOCOL}, the coordinator {} to {}",
                        hello.protocol_min,
                        hello.protocol_max
                    );
                }
                self.feed(Input::Hello)
            }
            to_worker::Message::Refusal(refusal) => self.feed(Input::Refusal(refusal.reason)),
            to_worker::Message::Drain(drain) => {
                // One that was sent to a process before this may come late.
                let meant = drain.incarnation == self.worker.incarnation;
                tracing::info!(meant, "the coordinator asks for a drain");
                if meant { self.begin_drain() } else { None }
            }
            to_worker::Message::Askers(askers) => {
                self.worker.config.rates.divide(askers.workers);
                None
            }
            to_worker::Message::Answer(answer) => {
                let key = key_of(&answer.job, answer.id)?;
                let told = self.worker.config.live.answer(&key, answer.asked_ms, answer.decision.unwrap_or_default());
                tracing::info!(job = answer.job, id = answer.id, told, "an answer for an agent");
                None
            }
            to_worker::Message::Steer(steer) => {
                let told = self.worker.config.live.tell(&key_of(&steer.job, steer.id)?, steer.text);
                tracing::info!(job = steer.job, id = steer.id, ?told, "words for an agent");
                None
            }
        }
    }

    fn perform(&mut self, out: Vec<Output>) -> Option<Leave> {
        for output in out {
            match output {
                Output::Start(key, _) => self.start(key),
                Output::Deliver(key) => self.deliver(key),
                Output::DeliverAgain(key) => {
                    if let Some(carried) = self.carried.get(&key) {
                        carried.again.notify_one();
                    }
                }
                Output::CancelIt(key, reason) => {
                    if let Some(carried) = self.carried.get(&key) {
                        tracing::info!(job = %key.job, id = key.id, reason, "assignment cancelled");
                        carried.cancel.cancel();
                    }
                }
                Output::HandBack(key) => {
                    if let Some(carried) = self.carried.get(&key) {
                        carried.leave.cancel();
                        carried.cancel.cancel();
                    }
                }
                Output::Announce => self.announce(),
                Output::Refuse(key, why) => tracing::info!(job = %key.job, id = key.id, %why, "assignment not taken"),
                Output::End(leave) => {
                    self.announce();
                    return Some(leave);
                }
            }
        }
        self.carried.retain(|key, _| self.desk.holds(key));
        None
    }

    fn carried(&mut self, key: &Key) -> Carried {
        let carried = Carried {
            cancel: self.worker.stop.child_token(),
            leave: CancellationToken::new(),
            again: Arc::new(Notify::new()),
        };
        self.carried.insert(key.clone(), carried.clone());
        carried
    }

    fn start(&mut self, key: Key) {
        let Some(assignment) = self.arriving.take() else { return };
        let (carried, worker) = (self.carried(&key), Arc::clone(&self.worker));
        self.tasks.spawn(crate::carry::carry(worker, *assignment, key, carried));
    }

    /// Whoever carried it delivers it; what an earlier process sealed has nobody yet.
    fn deliver(&mut self, key: Key) {
        if self.carried.contains_key(&key) {
            return;
        }
        let (carried, worker) = (self.carried(&key), Arc::clone(&self.worker));
        self.tasks.spawn(async move {
            if worker.deliver(&key, &carried).await {
                worker.tell(Input::Acknowledged(key));
            }
        });
    }

    fn announce(&self) {
        self.worker.announce(&self.desk);
    }
}

async fn next(requests: &mut Option<mpsc::Receiver<Request>>) -> Option<Request> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// Ends when a drain that began is older than its time and `more`; never before there is one.
async fn due(began: Option<tokio::time::Instant>, drain_ms: u64, more: Duration) {
    match began {
        Some(began) => tokio::time::sleep_until(began + Duration::from_millis(drain_ms) + more).await,
        None => std::future::pending().await,
    }
}

fn key_of(job: &str, id: u64) -> Option<Key> {
    match job.parse::<JobId>() {
        Ok(job) => Some(Key { job, id }),
        Err(error) => {
            tracing::warn!(%error, "a message of no job");
            None
        }
    }
}

fn kind_of(assignment: &Assignment) -> Kind {
    match assignment.kind {
        Some(assignment::Kind::Gate(_)) => Kind::Gate,
        _ => Kind::Work,
    }
}
