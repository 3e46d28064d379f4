//! The sending side of a driver.
//!
//! Its channel has no bound of its own and needs none: each command has at most one outcome on its
//! way, presences are kept as the last one of each worker and questions as the last one of each attempt, where
//! one message stands for all of them, and whoever asks or delivers waits for the answer, [`ASKERS_MAX`] at a time (deliveries have a
//! bound of their own in [`crate::results`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_proto::{Asking, Audited, Plan};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::core::{Input, Millis, Request, State, WorkerView};
use crate::driver::{Message, Query};
use crate::engine::Disposition;

/// Questions and requests that wait for one driver at the same time; more wait outside.
pub const ASKERS_MAX: usize = 1_024;

/// The last word of each worker that the driver has not looked at yet.
pub type WaitingPresences = Arc<Mutex<BTreeMap<String, WorkerView>>>;

/// Questions that wait for one driver at the same time; more are said again soon.
pub const ASKING_MAX: usize = 16_384;

/// What agents ask that wait, by attempt and the worker that says so.
pub type WaitingAsking = Arc<Mutex<BTreeMap<(u64, String), Asking>>>;

/// What a driver and its handles tell each other beside the channel, where a driver that cannot
/// commit reads nothing.
#[derive(Clone)]
pub struct Signals {
    stop_asked: Arc<AtomicBool>,
    trouble: Arc<watch::Sender<Option<String>>>,
}

impl Signals {
    /// Whether the driver is to end.
    pub fn stop_is_asked(&self) -> bool {
        self.stop_asked.load(Ordering::Acquire)
    }

    /// Truth cannot be written, or can be again: nobody waits for an answer meanwhile.
    pub fn tell_trouble(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|known| {
            let changed = *known != trouble;
            *known = trouble;
            changed
        });
    }
}

/// To talk to a driver; clones talk to the same one.
#[derive(Clone)]
pub struct Handle {
    sender: Sender<Message>,
    stop_asked: Arc<AtomicBool>,
    /// Why the journal cannot be written at the moment.
    trouble: Arc<watch::Sender<Option<String>>>,
    presences: WaitingPresences,
    asking: WaitingAsking,
    askers: Arc<Semaphore>,
}

/// Why the driver does not answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Gone {
    /// It is gone: it ended or failed, and said why to whoever started it.
    #[error("the coordinator of this job has ended")]
    Ended,
    /// Truth cannot be written. Nothing is lost and everything waits; what was asked before may
    /// still be done once it can be.
    #[error("the journal cannot be written, everything waits and nothing is lost: {cause}")]
    Unwritten {
        /// The disk's word.
        cause: String,
    },
}

impl Handle {
    /// Over the channel a driver reads.
    pub fn new(sender: Sender<Message>) -> Self {
        Self {
            sender,
            stop_asked: Arc::default(),
            trouble: Arc::new(watch::Sender::new(None)),
            presences: Arc::default(),
            asking: Arc::default(),
            askers: Arc::new(Semaphore::new(ASKERS_MAX)),
        }
    }

    /// For the driver of this handle.
    pub fn signals(&self) -> Signals {
        Signals { stop_asked: Arc::clone(&self.stop_asked), trouble: Arc::clone(&self.trouble) }
    }

    /// Whether truth can be written; otherwise why not.
    pub fn writable(&self) -> Result<(), Gone> {
        self.trouble.borrow().clone().map_or(Ok(()), |cause| Err(Gone::Unwritten { cause }))
    }

    /// Returns once truth can be written.
    pub async fn wait_writable(&self) {
        // The sender lives as long as this handle.
        drop(self.trouble.subscribe().wait_for(Option::is_none).await);
    }

    /// The answer, or why there is none at the moment.
    async fn answered<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Gone> {
        let mut trouble = self.trouble.subscribe();
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| Gone::Ended),
            cause = trouble.wait_for(Option::is_some) => {
                let cause = cause.ok().and_then(|cause| cause.clone()).unwrap_or_default();
                Err(Gone::Unwritten { cause })
            }
        }
    }

    /// Sends an outcome; a driver that is gone does not miss it, it is derived anew at restart.
    pub fn input(&self, input: Input) {
        drop(self.sender.send(Message::Input(input)));
    }

    /// Says that a worker is there. Of several words of one worker only the last is looked at, so
    /// that no flood of them keeps deliveries waiting.
    pub fn presence(&self, worker: String, view: WorkerView) {
        let mut waiting = self.presences.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.is_empty();
        waiting.insert(worker, view);
        drop(waiting);
        if first {
            drop(self.sender.send(Message::Presences(Arc::clone(&self.presences))));
        }
    }

    /// Says that an agent waits for a person. Of one attempt only the last word is looked at.
    pub fn asking(&self, attempt: u64, worker: String, asking: Asking) {
        let mut waiting = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, key) = (waiting.is_empty(), (attempt, worker));
        if waiting.len() >= ASKING_MAX && !waiting.contains_key(&key) {
            return;
        }
        waiting.insert(key, asking);
        drop(waiting);
        if first {
            drop(self.sender.send(Message::Asking(Arc::clone(&self.asking))));
        }
    }

    /// Delivers a durable result and waits for its durable record.
    pub async fn deliver(&self, input: Input) -> Result<Disposition, Gone> {
        self.writable()?;
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Deliver(input, reply)).map_err(|_| Gone::Ended)?;
        self.answered(answer).await
    }

    /// Makes a request and waits for its durable record; gives the number of events it led to, or
    /// why it was refused.
    pub async fn request(&self, request: Request) -> Result<Result<usize, String>, Gone> {
        self.ask(|reply| Message::Request(request, None, reply)).await
    }

    /// As [`Handle::request`]; who asked is in the journal before what it led to.
    pub async fn request_by(&self, asked: Audited, request: Request) -> Result<Result<usize, String>, Gone> {
        self.ask(|reply| Message::Request(request, Some(asked), reply)).await
    }

    /// Opens the next generation and waits for its durable record; an error is why it was refused.
    pub async fn open_plan(&self, asked: Audited, plan: Box<Plan>) -> Result<Result<usize, String>, Gone> {
        self.ask(|reply| Message::Open(plan, asked, reply)).await
    }

    /// Asks the state something.
    pub async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State, Millis) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        self.ask(|reply| {
            let query: Query = Box::new(move |state, now| drop(reply.send(question(state, now))));
            Message::Query(query)
        })
        .await
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Gone> {
        let _place = self.askers.acquire().await.map_err(|_| Gone::Ended)?;
        self.writable()?;
        let (reply, answer) = oneshot::channel();
        self.sender.send(message(reply)).map_err(|_| Gone::Ended)?;
        self.answered(answer).await
    }

    /// Asks the state something from a thread; the question sends its own answer.
    pub fn input_query(&self, question: Query) {
        drop(self.sender.send(Message::Query(question)));
    }

    /// Whether the end was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop_asked.load(Ordering::Acquire)
    }

    /// Asks the driver to end after its turn.
    pub fn stop(&self) {
        self.stop_asked.store(true, Ordering::Release);
        drop(self.sender.send(Message::Stop));
    }
}
