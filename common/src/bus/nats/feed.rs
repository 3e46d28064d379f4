//! Subscriptions, each a task that sets itself up again whenever its source ends, errs or
//! vanishes.
//!
//! Presence, progress and events come from ephemeral consumers, from the subscription on. After an
//! interruption a consumer starts behind the last message it saw, by the server's own clock, so
//! what the stream still has is not lost. A subscriber that is slow leaves its messages in the
//! stream, where the oldest go first.

use std::sync::Arc;
use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::super::{Channel, Incoming, SUBSCRIBER_QUEUE, Subject};
use super::backoff;
use super::bus::Shared;

/// Messages handed over and not yet looked at, of an ephemeral consumer.
const HANDED_OVER_MAX: usize = 1_024;

/// Longest wait between two attempts to subscribe.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a coordinator's subscription waits for the streams that it makes itself.
const STREAMS_MAX: Duration = Duration::from_secs(2);

/// The server gives a sign of life this often while there is nothing to say.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long one request for messages stands.
pub(super) const PULL: Duration = Duration::from_secs(30);

/// Messages asked for at once.
const BATCH: usize = 1_000;

/// When the server forgets a consumer that nobody reads.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Room of a subscription's queue, by channel. A slow reader of plain messages loses the newest.
pub(super) fn room(channel: Option<Channel>) -> usize {
    match channel {
        Some(Channel::Worker) | None => super::claim::HELD_MAX,
        Some(Channel::Everyone) => SUBSCRIBER_QUEUE / 64,
        Some(_) => HANDED_OVER_MAX,
    }
}

/// One subscription.
pub(super) struct Feed {
    /// The bus.
    pub shared: Arc<Shared>,
    /// A subject or pattern.
    pub subject: Subject,
    /// To the subscriber.
    pub out: mpsc::Sender<Incoming>,
    /// Counts as being set up until it was, or failed once.
    pub setting_up: Option<SettingUp>,
}

/// Counts a subscription as being set up while it exists.
pub(super) struct SettingUp(Arc<Shared>);

impl SettingUp {
    /// From now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.subscribing.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for SettingUp {
    fn drop(&mut self) {
        self.0.subscribing.send_modify(|count| *count -= 1);
    }
}

/// What a source does when it stands.
pub(super) trait Source {
    /// Sets it up.
    async fn open(&mut self, feed: &Feed) -> Result<PullConsumer, String>;
    /// Hands on what comes until the source fails, and says why.
    async fn pump(&mut self, feed: &Feed, consumer: &PullConsumer) -> String;
    /// The subscriber is gone.
    async fn close(&mut self);
}

impl Feed {
    /// Runs until the bus ends or the subscriber is gone.
    pub(super) async fn run(self) {
        let (shared, what) = (Arc::clone(&self.shared), self.what());
        let plain = self.subject.channel().is_none_or(|channel| channel == Channel::Everyone);
        let durable = self.subject.channel() == Some(Channel::Worker) && !self.subject.is_pattern();
        let run = async {
            if plain {
                self.run_plain().await;
            } else if durable {
                self.run_source(super::claim::Claims::default()).await;
            } else {
                self.run_source(Ephemeral::default()).await;
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => {}
            () = run => {}
        }
        shared.link.works(&what);
    }

    async fn run_source(mut self, mut source: impl Source) {
        let out = self.out.clone();
        tokio::select! {
            () = out.closed() => {}
            () = self.serve(&mut source) => {}
        }
        source.close().await;
    }

    async fn run_plain(mut self) {
        let mut failures = 0;
        loop {
            match self.shared.client.subscribe(self.shared.address.of(&self.subject)).await {
                Ok(mut heard) => {
                    self.shared.round_trip().await;
                    self.setting_up = None;
                    // The client library subscribes again on every new connection.
                    loop {
                        let message = tokio::select! {
                            () = self.out.closed() => return,
                            message = heard.next() => message,
                        };
                        let Some(message) = message else { break };
                        let Some(subject) = self.shared.address.read(&message.subject) else { continue };
                        let _full = self.out.try_send(Incoming::new(subject, message.payload));
                    }
                }
                Err(error) => self.shared.link.trouble(&self.what(), &error.to_string()),
            }
            self.setting_up = None;
            failures += 1;
            tokio::time::sleep(backoff::delay(failures, RETRY_MAX)).await;
        }
    }

    async fn serve(&mut self, source: &mut impl Source) {
        let mut failures = 0;
        loop {
            let connection = self.shared.link.up().await;
            if self.shared.makes_streams {
                // Trying before would only fail, and messages would be sent in between.
                let made = self.shared.streams.made_on(connection);
                let _or_try_regardless = tokio::time::timeout(STREAMS_MAX, made).await;
            }
            let mut made = self.shared.streams.made();
            let cause = match source.open(self).await {
                Ok(consumer) => {
                    self.setting_up = None;
                    failures = 0;
                    self.shared.link.works(&self.what());
                    tokio::select! {
                        () = self.shared.link.replaced(connection) => continue,
                        cause = source.pump(self, &consumer) => cause,
                    }
                }
                Err(cause) => cause,
            };
            self.setting_up = None;
            failures += 1;
            self.shared.link.trouble(&self.what(), &cause);
            self.shared.streams.ask();
            tokio::select! {
                () = tokio::time::sleep(backoff::delay(failures, RETRY_MAX)) => {}
                _ = made.changed() => {}
            }
        }
    }

    fn what(&self) -> String {
        format!("subscribing to {}", self.subject)
    }

    /// The stream that carries the subject.
    pub(super) fn stream(&self) -> String {
        self.subject.channel().and_then(|channel| self.shared.address.stream(channel)).unwrap_or_default()
    }
}

/// Where a consumer starts that is set up again.
pub(super) fn start(after: Option<DateTime>) -> DeliverPolicy {
    match after {
        Some(after) => DeliverPolicy::ByStartTime { start_time: after + Duration::from_nanos(1) },
        None => DeliverPolicy::New,
    }
}

/// The standing request for a consumer's messages.
pub(super) async fn messages(consumer: &PullConsumer, batch: usize) -> Result<pull::Stream, String> {
    let request = consumer.stream().max_messages_per_batch(batch).expires(PULL).heartbeat(HEARTBEAT);
    request.messages().await.map_err(|error| error.to_string())
}

/// A consumer without a name and without acknowledgements.
#[derive(Default)]
struct Ephemeral {
    /// When, by the server's clock, the last message seen was published.
    seen: Option<DateTime>,
}

impl Source for Ephemeral {
    async fn open(&mut self, feed: &Feed) -> Result<PullConsumer, String> {
        let config = pull::Config {
            deliver_policy: start(self.seen),
            ack_policy: AckPolicy::None,
            filter_subject: feed.shared.address.of(&feed.subject),
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = feed.shared.context.create_consumer_on_stream(config, feed.stream()).await;
        let consumer = made.map_err(|error| error.to_string())?;
        self.seen.get_or_insert(consumer.cached_info().created);
        Ok(consumer)
    }

    async fn pump(&mut self, feed: &Feed, consumer: &PullConsumer) -> String {
        let mut heard = match messages(consumer, BATCH).await {
            Ok(heard) => heard,
            Err(cause) => return cause,
        };
        let mut expected = 1;
        while let Some(message) = heard.next().await {
            let message = match message {
                Ok(message) => message,
                Err(error) => return error.to_string(),
            };
            let Ok((number, published)) = message.info().map(|info| (info.consumer_sequence, info.published)) else {
                continue;
            };
            if number != expected {
                return format!("message {expected} is missing, {number} came");
            }
            expected += 1;
            self.seen = Some(published);
            let Some(subject) = feed.shared.address.read(&message.subject) else { continue };
            if feed.out.send(Incoming::new(subject, message.payload.clone())).await.is_err() {
                return "nobody listens".to_owned();
            }
        }
        "the consumer ended".to_owned()
    }
    async fn close(&mut self) {}
}
