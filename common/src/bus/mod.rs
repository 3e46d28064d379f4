//! The dispatch plane: small messages between coordinator and workers.
//!
//! Delivery is not durable by contract, whatever the engine offers: a message may be lost, and one
//! that was not taken may come again. Truth is in the journal, results go up the data plane, and
//! whoever misses a message is told again from state. One file builds every subject.

mod memory;
pub mod nats;
mod subject;

use std::pin::Pin;

use bytes::Bytes;
use tokio_stream::Stream;

pub use memory::MemoryBus;
pub use subject::{Channel, Subject};

/// Largest payload in bytes: NATS's default limit is 1 MiB, and headers need room.
pub const PAYLOAD_MAX: usize = 1_000_000;

/// Messages queued for one slow subscriber before the oldest are dropped.
pub const SUBSCRIBER_QUEUE: usize = 65_536;

/// A message to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where to.
    pub subject: Subject,
    /// The same for the same message, different for every other: an engine may drop the second of
    /// two with one id. Empty for messages that are never told apart (presence, progress).
    pub id: String,
    /// An encoded protobuf message.
    pub payload: Bytes,
}

/// A message that came.
pub struct Incoming {
    /// Where it was published, never a pattern.
    pub subject: Subject,
    /// An encoded protobuf message.
    pub payload: Bytes,
    ack: Option<Box<dyn FnOnce() + Send>>,
}

impl Incoming {
    /// From an engine without acknowledgements.
    pub fn new(subject: Subject, payload: Bytes) -> Self {
        Self { subject, payload, ack: None }
    }

    /// From an engine that brings a message again until `ack` was called.
    pub fn acknowledged(subject: Subject, payload: Bytes, ack: impl FnOnce() + Send + 'static) -> Self {
        Self { subject, payload, ack: Some(Box::new(ack)) }
    }

    /// The receiver answers for it from now on; dropped before, it may come again.
    pub fn taken(self) -> Bytes {
        if let Some(ack) = self.ack {
            ack();
        }
        self.payload
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("subject", &self.subject).field("bytes", &self.payload.len()).finish()
    }
}

/// A stream of what is published on a subject, or on all that match a pattern, from the
/// subscription on. It ends only with the bus.
pub type Subscription = Pin<Box<dyn Stream<Item = Incoming> + Send>>;

/// Whether messages get through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// They do.
    Up,
    /// They do not at the moment; it is being mended without end.
    Down {
        /// Why, in words.
        cause: String,
    },
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The payload is over [`PAYLOAD_MAX`].
    #[error("message of {bytes} bytes on {subject} is over the limit of {PAYLOAD_MAX}")]
    TooLarge {
        /// Where it was to go.
        subject: Subject,
        /// Its size.
        bytes: usize,
    },
    /// Too many messages wait to be sent: the engine is down or slow. It may be sent again later.
    #[error("the bus is congested; a message on {subject} was not sent")]
    Congested {
        /// Where it was to go.
        subject: Subject,
    },
}

/// What carries messages: in one process [`MemoryBus`], between machines NATS.
pub trait Bus: Send + Sync + 'static {
    /// Queues a message for all current subscribers of its subject and returns at once.
    fn publish(&self, message: Message) -> Result<(), BusError>;

    /// All messages published from now on, on one subject or on all that match a pattern. A
    /// worker's own subject has one subscriber.
    fn subscribe(&self, subject: &Subject) -> Subscription;

    /// Whether messages get through at the moment.
    fn link(&self) -> Link;
}
