//! The bus of one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

use super::{Bus, BusError, Incoming, Link, Message, PAYLOAD_MAX, SUBSCRIBER_QUEUE, Subject, Subscription};

/// Each subject or pattern with what its subscribers hear from.
type Subscribed = BTreeMap<Subject, broadcast::Sender<(Subject, Bytes)>>;

/// Subjects, patterns and their subscribers, in memory; clones share them.
#[derive(Clone, Default)]
pub struct MemoryBus {
    subscribed: Arc<Mutex<Subscribed>>,
}

impl Bus for MemoryBus {
    fn publish(&self, message: Message) -> Result<(), BusError> {
        let Message { subject, payload, .. } = message;
        if payload.len() > PAYLOAD_MAX {
            return Err(BusError::TooLarge { subject, bytes: payload.len() });
        }
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        subscribed.retain(|_, sender| sender.receiver_count() > 0);
        for (_, sender) in subscribed.iter().filter(|(pattern, _)| pattern.matches(&subject)) {
            // Without a subscriber the message is lost, as the contract says.
            let _unheard = sender.send((subject.clone(), payload.clone()));
        }
        Ok(())
    }

    fn subscribe(&self, subject: &Subject) -> Subscription {
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = subscribed.entry(subject.clone()).or_insert_with(|| broadcast::channel(SUBSCRIBER_QUEUE).0);
        let heard = BroadcastStream::new(sender.subscribe()).filter_map(Result::ok);
        Box::pin(heard.map(|(subject, payload)| Incoming::new(subject, payload)))
    }

    fn link(&self) -> Link {
        Link::Up
    }
}
