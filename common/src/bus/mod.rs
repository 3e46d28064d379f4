//! The dispatch plane: small messages between coordinator and workers.
//!
//! Delivery is at most once and not durable by contract, whatever the engine offers: truth is in
//! the journal, results go up the data plane, and whoever misses a message is told again from
//! state. One file builds every subject.

mod memory;
mod subject;

use std::pin::Pin;

use bytes::Bytes;
use tokio_stream::Stream;

pub use memory::MemoryBus;
pub use subject::Subject;

/// Largest payload in bytes: NATS's default limit is 1 MiB, and headers need room.
pub const PAYLOAD_MAX: usize = 1_000_000;

/// Messages queued for one slow subscriber before the oldest are dropped.
pub const SUBSCRIBER_QUEUE: usize = 65_536;

/// A stream of the payloads published on a subject since the subscription.
pub type Subscription = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

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
}

/// What carries messages: in one process [`MemoryBus`], between machines NATS.
pub trait Bus: Send + Sync + 'static {
    /// Hands a payload to all current subscribers of the subject.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError>;

    /// All payloads published on the subject from now on.
    fn subscribe(&self, subject: &Subject) -> Subscription;
}
