//! The connection: the only place that knows the protocol's crate.
//!
//! Lines are read and checked here before the crate sees them: it would hold one of any length. What
//! the program sends arrives in order on one bounded channel; answers to requests come back through
//! the crate.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use agent_client_protocol::v1::{ConnectionTo, Responder};
use agent_client_protocol::{
    Agent, Client, Error, Lines as Transport, UntypedMessage, on_receive_notification, on_receive_request,
};
use futures::{Sink, Stream};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::agent::talk::{Nonsense, TalkError};
use crate::process::talk::{Input, Lines, Talk};

/// Messages of the program that wait to be taken.
const WAITING_MAX: usize = 256;

/// What the program sends that is no answer.
pub enum Incoming {
    /// It tells something.
    Notification(String, Value),
    /// It asks something.
    Request(String, Value, Reply),
    /// A line that is no message.
    Nonsense(String),
}

/// The way to answer a request.
pub struct Reply(Box<Responder<Value>>);

impl Reply {
    /// Answers.
    pub fn with(self, result: Value) {
        // A program that is gone needs no answer.
        drop(self.0.respond(result));
    }

    /// Says that nobody answers such requests.
    pub fn not_known(self) {
        drop(self.0.respond_with_error(Error::method_not_found()));
    }
}

/// A connection; its input ends when this is dropped.
pub struct Connection {
    to: ConnectionTo<Agent>,
    incoming: mpsc::Receiver<Incoming>,
    broken: Broken,
    task: JoinHandle<Result<(), Error>>,
}

/// Why there will be no further line.
type Broken = Arc<Mutex<Option<TalkError>>>;

type Outgoing = Pin<Box<dyn Sink<String, Error = io::Error> + Send>>;
type Arriving = Pin<Box<dyn Stream<Item = io::Result<String>> + Send>>;

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Over the pipes of a program.
    pub async fn open(talk: Talk) -> Result<Self, TalkError> {
        let (tell, incoming) = mpsc::channel(WAITING_MAX);
        let broken = Broken::default();
        let arriving = arriving(talk.lines, tell.clone(), Arc::clone(&broken));
        let transport = Transport::new(outgoing(talk.input), arriving);
        let (connected, to) = oneshot::channel();
        let task = tokio::spawn(serve(transport, tell, connected));
        let to = to.await.map_err(|_| TalkError::Ended)?;
        Ok(Self { to, incoming, broken, task })
    }

    /// What comes next.
    pub async fn next(&mut self) -> Result<Incoming, TalkError> {
        match self.incoming.recv().await {
            Some(incoming) => Ok(incoming),
            None => Err(self.why()),
        }
    }

    /// Why the connection ended.
    fn why(&self) -> TalkError {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(TalkError::Ended)
    }

    /// Asks the program; the answer comes while [`Connection::next`] is polled or not.
    pub fn ask(&self, method: &str, params: Value) -> impl Future<Output = Result<Value, TalkError>> + Send + use<> {
        let message = UntypedMessage::new(method, params);
        let (to, method, broken) = (self.to.clone(), method.to_owned(), Arc::clone(&self.broken));
        async move {
            let answered = match message {
                Ok(message) => to.send_request(message).block_task().await,
                Err(error) => Err(error),
            };
            answered.map_err(|error| {
                let why = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
                why.unwrap_or_else(|| TalkError::Answered { method, message: said(&error) })
            })
        }
    }

    /// Tells the program something.
    pub fn tell(&self, method: &str, params: Value) {
        if let Ok(message) = UntypedMessage::new(method, params) {
            // One that is gone shows so by its end.
            drop(self.to.send_notification(message));
        }
    }
}

/// An error in words: many have theirs in the data.
fn said(error: &Error) -> String {
    match &error.data {
        Some(Value::String(data)) => format!("{}: {data}", error.message),
        Some(data) => format!("{}: {data}", error.message),
        None => error.message.clone(),
    }
}

async fn serve(
    transport: Transport<Outgoing, Arriving>,
    tell: mpsc::Sender<Incoming>,
    connected: oneshot::Sender<ConnectionTo<Agent>>,
) -> Result<(), Error> {
    let asked = tell.clone();
    Client
        .v1()
        .name("longhaul")
        .on_receive_request(
            async move |request: UntypedMessage, responder: Responder<Value>, _: ConnectionTo<Agent>| {
                let (method, params) = request.into_parts();
                // Whoever listened is gone with the session.
                drop(asked.send(Incoming::Request(method, params, Reply(Box::new(responder)))).await);
                Ok(())
            },
            on_receive_request!(),
        )
        .on_receive_notification(
            async move |notification: UntypedMessage, _: ConnectionTo<Agent>| {
                let (method, params) = notification.into_parts();
                drop(tell.send(Incoming::Notification(method, params)).await);
                Ok(())
            },
            on_receive_notification!(),
        )
        .connect_with(transport, async move |to: ConnectionTo<Agent>| {
            drop(connected.send(to.clone()));
            to.incoming_closed().await;
            Ok(())
        })
        .await
}

fn outgoing(input: Input) -> Outgoing {
    Box::pin(futures::sink::unfold(input, async |mut input: Input, line: String| {
        input.write_line(&line).await.map_err(io::Error::other)?;
        Ok(input)
    }))
}

struct Reading {
    lines: Lines,
    nonsense: Nonsense,
    tell: mpsc::Sender<Incoming>,
    broken: Broken,
}

/// The lines that are messages.
fn arriving(lines: Lines, tell: mpsc::Sender<Incoming>, broken: Broken) -> Arriving {
    let reading = Reading { lines, nonsense: Nonsense::default(), tell, broken };
    Box::pin(futures::stream::unfold(Some(reading), async |reading: Option<Reading>| {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(line)) => Some((Ok(line), Some(reading))),
            Ok(None) => None,
            Err(error) => {
                let said = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                *reading.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some((Err(said), None))
            }
        }
    }))
}

impl Reading {
    async fn next(&mut self) -> Result<Option<String>, TalkError> {
        while let Some(line) = self.lines.next().await? {
            match self.nonsense.read(&line)? {
                Ok(_) => return Ok(Some(line)),
                Err(shown) if shown.is_empty() => {}
                Err(shown) => drop(self.tell.send(Incoming::Nonsense(shown)).await),
            }
        }
        Ok(None)
    }
}
