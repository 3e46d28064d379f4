//! The worker's loop: messages in, presence out, one task for each assignment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::JobId;
use longhaul_common::bus::{Bus, Subject};
use longhaul_proto::{Assignment, Holding, Presence, ToWorker, assignment, from_worker, to_worker};
use prost::Message as _;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{ResultSink, WorkerConfig, WorkerError};
use crate::outbox::Outbox;
use crate::report::publish;
use crate::workspace::{Pool, PoolLimits};

/// Time between two announcements of presence.
const PRESENCE_EVERY: Duration = Duration::from_secs(2);

/// Assignments held at once, waiting ones included. A coordinator that sends more than this worker
/// announced slots sees the rest missing in its presence.
const HELD_MAX: usize = 1_024;

/// Acknowledged assignments remembered, so that a late duplicate is not executed again.
const DONE_MAX: usize = 4_096;

/// How long the end waits for running assignments: their processes have two seconds.
const END_MAX: Duration = Duration::from_secs(3);

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub config: Arc<WorkerConfig>,
    pub job: JobId,
    pub bus: Arc<dyn Bus>,
    pub sink: Arc<dyn ResultSink>,
    pub outbox: Outbox,
    pub pool: Pool,
    pub work: Arc<Semaphore>,
    pub gates: Arc<Semaphore>,
    pub shutdown: CancellationToken,
    held: Mutex<Held>,
    /// A slot became free.
    freed: Notify,
}

#[derive(Default)]
struct Held {
    now: BTreeMap<u64, Carried>,
    done: std::collections::VecDeque<u64>,
}

/// An assignment that is waiting, executing, or in the outbox.
#[derive(Clone)]
pub(crate) struct Carried {
    pub cancel: CancellationToken,
    /// Someone asked again: deliver now instead of after the pause.
    pub again: Arc<Notify>,
}

/// Runs a worker for one job until the shutdown. Results that are not acknowledged by then stay in
/// the outbox for the next process.
pub async fn run(
    config: WorkerConfig,
    job: JobId,
    bus: Arc<dyn Bus>,
    sink: Arc<dyn ResultSink>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let subject = Subject::worker(&config.name);
    let mut messages = bus.subscribe(&subject);
    let worker = Arc::new(open(config, job, bus, sink, shutdown).await?);
    let mut tasks = JoinSet::new();
    leftovers(&worker, &mut tasks).await;
    let mut presence = tokio::time::interval(PRESENCE_EVERY);
    let ended = loop {
        tokio::select! {
            biased;
            () = worker.shutdown.cancelled() => break Ok(()),
            message = messages.next() => match message {
                Some(incoming) => take(&worker, &mut tasks, &incoming.taken()),
                None => break Err(WorkerError::BusEnded { subject: subject.to_string() }),
            },
            () = worker.freed.notified() => worker.announce(),
            _ = presence.tick() => worker.announce(),
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    };
    worker.shutdown.cancel();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(END_MAX, all).await.is_err() {
        tracing::warn!("assignments still running at the end are dropped; their processes are killed");
    }
    ended
}

async fn open(
    config: WorkerConfig,
    job: JobId,
    bus: Arc<dyn Bus>,
    sink: Arc<dyn ResultSink>,
    shutdown: CancellationToken,
) -> Result<Worker, WorkerError> {
    let (root, for_job) = (config.root.clone(), job.clone());
    let opened = tokio::task::spawn_blocking(move || Outbox::open(&root, &for_job)).await;
    let opened = opened.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let outbox = opened.map_err(|source| WorkerError::Root { path: config.root.clone(), source })?;
    let limits = PoolLimits { slot_bytes_max: config.slot_bytes_max };
    Ok(Worker {
        pool: Pool::new(config.root.join("slots"), limits),
        work: Arc::new(Semaphore::new(config.work_slots as usize)),
        gates: Arc::new(Semaphore::new(config.gate_slots as usize)),
        config: Arc::new(config),
        job,
        bus,
        sink,
        outbox,
        shutdown,
        held: Mutex::default(),
        freed: Notify::new(),
    })
}

/// Delivers what earlier processes left, each once, before anything new is taken; what the
/// coordinator cannot keep yet is tried again beside the new work.
async fn leftovers(worker: &Arc<Worker>, tasks: &mut JoinSet<()>) {
    let ids = match worker.outbox.sealed(&worker.job) {
        Ok(ids) => ids,
        Err(error) => {
            tracing::error!(%error, "the outbox cannot be read");
            return;
        }
    };
    let held: Vec<_> = ids.into_iter().filter_map(|id| Some((id, worker.hold(id)?))).collect();
    worker.announce();
    for (id, holding) in held {
        let first = tokio::select! {
            first = worker.deliver_once(worker.job.as_str(), id) => first,
            () = worker.shutdown.cancelled() => return,
        };
        if first {
            worker.let_go(id);
            continue;
        }
        let worker = Arc::clone(worker);
        tasks.spawn(async move {
            let job = worker.job.as_str().to_owned();
            if worker.deliver(&job, id, &holding).await {
                worker.let_go(id);
            }
        });
    }
}

fn take(worker: &Arc<Worker>, tasks: &mut JoinSet<()>, payload: &[u8]) {
    match ToWorker::decode(payload).map(|message| message.message) {
        Ok(Some(to_worker::Message::Assign(assignment))) => assign(worker, tasks, assignment),
        Ok(Some(to_worker::Message::Cancel(cancel))) => {
            if let Some(holding) = worker.holding(cancel.id).filter(|_| cancel.job == worker.job.as_str()) {
                tracing::info!(id = cancel.id, reason = cancel.reason, "assignment cancelled");
                holding.cancel.cancel();
            }
        }
        Ok(Some(to_worker::Message::Hello(_))) => worker.announce(),
        Ok(Some(to_worker::Message::Refusal(_) | to_worker::Message::Steer(_))) => {}
        Ok(None) => tracing::warn!("a message of a kind this worker does not know"),
        Err(error) => tracing::warn!(%error, "a message that cannot be read"),
    }
}

fn assign(worker: &Arc<Worker>, tasks: &mut JoinSet<()>, assignment: Assignment) {
    if assignment.job != worker.job.as_str() {
        tracing::warn!(job = assignment.job, "an assignment of another job");
        return;
    }
    if let Some(holding) = worker.holding(assignment.id) {
        holding.again.notify_one();
        return;
    }
    let Some(holding) = worker.hold(assignment.id) else {
        tracing::info!(id = assignment.id, "an assignment that is done, or one too many");
        return;
    };
    let worker = Arc::clone(worker);
    tasks.spawn(async move {
        let id = assignment.id;
        if crate::carry::carry(&worker, assignment, &holding).await {
            worker.let_go(id);
        }
    });
}

impl Worker {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holding(&self, id: u64) -> Option<Carried> {
        self.held().now.get(&id).cloned()
    }

    /// Notes a new assignment; `None` when it is known as done or there are too many.
    fn hold(&self, id: u64) -> Option<Carried> {
        let mut held = self.held();
        if held.done.contains(&id) || held.now.len() >= HELD_MAX {
            return None;
        }
        let holding = Carried { cancel: self.shutdown.child_token(), again: Arc::new(Notify::new()) };
        held.now.insert(id, holding.clone());
        Some(holding)
    }

    /// Forgets an assignment after its durable ack.
    fn let_go(&self, id: u64) {
        let mut held = self.held();
        held.now.remove(&id);
        held.done.push_back(id);
        if held.done.len() > DONE_MAX {
            held.done.pop_front();
        }
        drop(held);
        self.freed.notify_one();
    }

    /// Publishes presence.
    fn announce(&self) {
        let presence = Presence {
            worker: self.config.name.clone(),
            work_slots: self.config.work_slots,
            gate_slots: self.config.gate_slots,
            holding: vec![Holding { job: self.job.to_string(), ids: self.held().now.keys().copied().collect() }],
            protocol: longhaul_proto::PROTOCOL,
            ..Presence::default()
        };
        publish(&*self.bus, &Subject::presence(&self.config.name), from_worker::Message::Presence(presence));
    }

    /// The permits an assignment of a kind takes one of.
    pub fn permits(&self, kind: Option<&assignment::Kind>) -> Arc<Semaphore> {
        match kind {
            Some(assignment::Kind::Gate(_)) => Arc::clone(&self.gates),
            _ => Arc::clone(&self.work),
        }
    }
}
