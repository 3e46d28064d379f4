//! The bus of one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

use super::{Bus, BusError, PAYLOAD_MAX, SUBSCRIBER_QUEUE, Subject, Subscription};

/// Subjects and their subscribers, in memory; clones share them.
#[derive(Clone, Default)]
pub struct MemoryBus {
    subjects: Arc<Mutex<BTreeMap<Subject, broadcast::Sender<Bytes>>>>,
}

impl MemoryBus {
    fn sender(&self, subject: &Subject) -> broadcast::Sender<Bytes> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.entry(subject.clone()).or_insert_with(|| broadcast::channel(SUBSCRIBER_QUEUE).0).clone()
    }
}

impl Bus for MemoryBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(BusError::TooLarge { subject: subject.clone(), bytes: payload.len() });
        }
        // Without a subscriber the message is lost, as the contract says.
        let _unheard = self.sender(subject).send(payload);
        Ok(())
    }

    fn subscribe(&self, subject: &Subject) -> Subscription {
        let receiver = self.sender(subject).subscribe();
        Box::pin(BroadcastStream::new(receiver).filter_map(Result::ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_subscriber_hears_what_comes_after() {
        let bus = MemoryBus::default();
        let subject = Subject::to_worker("w1");
        bus.publish(&subject, Bytes::from_static(b"before")).expect("fits");
        let (mut one, mut two) = (bus.subscribe(&subject), bus.subscribe(&subject));
        bus.publish(&subject, Bytes::from_static(b"after")).expect("fits");
        bus.publish(&Subject::to_worker("w2"), Bytes::from_static(b"other")).expect("fits");
        assert_eq!(one.next().await.expect("open"), "after");
        assert_eq!(two.next().await.expect("open"), "after");
        let large = Bytes::from(vec![0; PAYLOAD_MAX + 1]);
        assert!(matches!(bus.publish(&subject, large), Err(BusError::TooLarge { .. })));
    }
}
