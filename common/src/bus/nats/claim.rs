//! A worker's own subject: a durable consumer whose messages come again until they are taken.
//!
//! What lies in the local queue is kept from coming again by signs of progress; what a receiver
//! dropped is given back and comes again soon. The consumer is named after the worker and filters
//! exactly its subject, so that a worker may be allowed this and nothing else. An existing consumer
//! is gone on with; a vanished one is made again behind the last message it gave.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{self, AckKind};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::Incoming;
use super::feed::{Feed, Source, messages, start};

/// Messages given to a worker and not yet taken.
pub(super) const HELD_MAX: usize = 4_096;

/// Without a sign of progress for this long, a message comes again: short, because a message that
/// was sent into a connection just cut waits as long. One that comes too early is told apart.
const ACK_WAIT: Duration = Duration::from_secs(6);

/// Time between two signs of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Messages taken last: one that comes again, because its acknowledgement was lost, is not handed
/// on a second time.
const REMEMBERED_MAX: usize = 4_096;

/// A message that was dropped comes again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// When the server forgets the consumer of a worker that stays away.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60);

/// Messages asked for at once.
const BATCH: usize = 500;

/// One message: when it was published, and its number in the stream. A stream made anew starts
/// counting again, so the number alone would not do.
type Key = (DateTime, u64);

/// What became of a message.
struct Done {
    key: Key,
    taken: bool,
}

/// Tells what became of a message, at the latest when it is dropped.
struct Claim {
    key: Key,
    taken: bool,
    done: mpsc::UnboundedSender<Done>,
}

impl Claim {
    fn take(mut self) {
        self.taken = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without a receiver the subscription is gone, and the message comes again by itself.
        let _gone = self.done.send(Done { key: self.key, taken: self.taken });
    }
}

/// The messages of one worker's subject that are not taken yet.
pub(super) struct Claims {
    held: BTreeMap<Key, Acker>,
    taken: BTreeSet<Key>,
    /// One entry at most for each message held: bounded by [`HELD_MAX`].
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
    /// When, by the server's clock, the last message seen was published.
    seen: Option<DateTime>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { held: BTreeMap::new(), taken: BTreeSet::new(), done: mpsc::unbounded_channel(), seen: None }
    }
}

impl Source for Claims {
    async fn open(&mut self, feed: &Feed) -> Result<PullConsumer, String> {
        let (context, stream) = (&feed.shared.context, feed.stream());
        let name = feed.subject.worker_name().unwrap_or_default().to_owned();
        let mut config = pull::Config {
            durable_name: Some(name.clone()),
            deliver_policy: start(self.seen),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: i64::try_from(HELD_MAX).unwrap_or(i64::MAX),
            filter_subject: feed.shared.address.of(&feed.subject),
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            ..pull::Config::default()
        };
        let existing: Result<PullConsumer, _> = context.get_consumer_from_stream(&name, &stream).await;
        if let Ok(existing) = existing {
            // Where it started cannot be changed; everything else follows this version.
            let info = existing.cached_info();
            config.deliver_policy = info.config.deliver_policy;
            self.seen = self.seen.max(Some(info.created)).max(info.delivered.last_active);
        }
        let made = context.create_consumer_on_stream(config, &stream).await;
        let consumer: PullConsumer = made.map_err(|error| error.to_string())?;
        self.seen.get_or_insert(consumer.cached_info().created);
        Ok(consumer)
    }

    async fn pump(&mut self, feed: &Feed, consumer: &PullConsumer) -> String {
        let mut heard = match messages(consumer, BATCH).await {
            Ok(heard) => heard,
            Err(cause) => return cause,
        };
        let mut progress = tokio::time::interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = heard.next() => match message {
                    Some(Ok(message)) => self.hand_on(feed, message).await,
                    Some(Err(error)) => return error.to_string(),
                    None => return "the consumer ended".to_owned(),
                },
                Some(done) = self.done.1.recv() => self.settle(done).await,
                _ = progress.tick() => self.keep(feed).await,
            }
        }
    }

    async fn close(&mut self) {
        while let Ok(done) = self.done.1.try_recv() {
            self.settle(done).await;
        }
        for acker in std::mem::take(&mut self.held).into_values() {
            let _unsent = acker.ack_with(AckKind::Nak(None)).await;
        }
    }
}

impl Claims {
    async fn hand_on(&mut self, feed: &Feed, message: jetstream::Message) {
        let Ok(key) = message.info().map(|info| (info.published, info.stream_sequence)) else { return };
        let Some(subject) = feed.shared.address.read(&message.subject) else { return };
        self.seen = self.seen.max(Some(key.0));
        let (message, acker) = message.split();
        if self.taken.contains(&key) {
            let _unsent = acker.ack_with(AckKind::Ack).await;
            return;
        }
        if self.held.insert(key, acker).is_some() {
            // It came again while it lies in the queue: the signs of progress were lost.
            return;
        }
        let claim = Claim { key, taken: false, done: self.done.0.clone() };
        let incoming = Incoming::acknowledged(subject, message.payload, move || claim.take());
        // The queue has room for all that may be held; dropped, the message is given back.
        let _full = feed.out.try_send(incoming);
    }

    async fn settle(&mut self, done: Done) {
        let Some(acker) = self.held.remove(&done.key) else { return };
        if done.taken {
            self.taken.insert(done.key);
            if self.taken.len() > REMEMBERED_MAX {
                self.taken.pop_first();
            }
        }
        let kind = if done.taken { AckKind::Ack } else { AckKind::Nak(Some(AGAIN_AFTER)) };
        // Unsent, the message comes again: what the contract says.
        let _unsent = acker.ack_with(kind).await;
    }

    async fn keep(&mut self, feed: &Feed) {
        for acker in self.held.values() {
            if !feed.shared.link.is_up() {
                return;
            }
            let _unsent = acker.ack_with(AckKind::Progress).await;
        }
    }
}
