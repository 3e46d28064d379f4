//! The fleet's streams, and the coordinator's task that keeps them in being.
//!
//! All are in memory and bounded by age and bytes, the oldest going first: nothing in them is
//! worth more than the moment.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use tokio::sync::{Notify, watch};

use super::super::{Channel, PAYLOAD_MAX};
use super::backoff;
use super::bus::Shared;

/// How long an assignment waits for its worker. Ids are known as long: a server refuses a window
/// that is longer than the age.
pub(super) const WORKER_AGE: Duration = Duration::from_secs(60);
/// Bytes of assignments kept, for 60 s of them.
const WORKER_BYTES: i64 = 192 << 20;

const PRESENCE_AGE: Duration = Duration::from_secs(30);
const PRESENCE_BYTES: i64 = 16 << 20;

const REPORT_AGE: Duration = Duration::from_secs(60);
const REPORT_BYTES: i64 = 32 << 20;

const EVENT_AGE: Duration = Duration::from_secs(10 * 60);
const EVENT_BYTES: i64 = 64 << 20;
/// How long the ids of events are known.
const EVENT_IDS: Duration = Duration::from_secs(120);

/// Longest wait between two attempts to make the streams.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Channels that have a stream.
const STREAMED: [Channel; 4] = [Channel::Worker, Channel::Presence, Channel::Report, Channel::Event];

/// Who misses a stream asks here; who waits for one hears here that they were made.
#[derive(Debug)]
pub(super) struct Streams {
    asked: Notify,
    /// Connection on which they were made last, and how often so far.
    made: watch::Sender<(u64, u64)>,
}

impl Streams {
    /// Not made yet.
    pub(super) fn new() -> Self {
        Self { asked: Notify::new(), made: watch::Sender::new((0, 0)) }
    }

    /// Something of the streams is missing.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Changes whenever the streams were made or found whole.
    pub(super) fn made(&self) -> watch::Receiver<(u64, u64)> {
        self.made.subscribe()
    }

    /// Returns once they were made, or found whole, on this connection or a later one.
    pub(super) async fn made_on(&self, connection: u64) {
        let mut made = self.made.subscribe();
        let _cannot_fail = made.wait_for(|(on, _)| *on >= connection).await;
    }
}

fn config(shared: &Shared, channel: Channel) -> Option<Config> {
    let (age, bytes, ids) = match channel {
        Channel::Worker => (WORKER_AGE, WORKER_BYTES, WORKER_AGE),
        Channel::Presence => (PRESENCE_AGE, PRESENCE_BYTES, PRESENCE_AGE),
        Channel::Report => (REPORT_AGE, REPORT_BYTES, REPORT_AGE),
        Channel::Event => (EVENT_AGE, EVENT_BYTES, EVENT_IDS),
        Channel::Everyone => return None,
    };
    Some(Config {
        name: shared.address.stream(channel)?,
        subjects: vec![shared.address.pattern(channel)],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::Memory,
        max_age: age,
        max_bytes: bytes,
        // Headers need room beside the payload.
        max_message_size: i32::try_from(PAYLOAD_MAX + PAYLOAD_MAX / 40).ok()?,
        max_messages_per_subject: if channel == Channel::Presence { 1 } else { -1 },
        duplicate_window: ids,
        num_replicas: shared.replicas,
        ..Config::default()
    })
}

async fn make(shared: &Shared) -> Result<(), String> {
    for channel in STREAMED {
        let Some(config) = config(shared, channel) else { continue };
        let name = config.name.clone();
        let made = shared.context.create_or_update_stream(config).await;
        made.map_err(|error| format!("cannot make the stream {name}: {error}"))?;
    }
    Ok(())
}

/// Makes the streams on every connection and whenever somebody misses one, until the bus ends.
pub(super) async fn keep(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = keep_for_ever(&shared) => {}
    }
}

async fn keep_for_ever(shared: &Shared) {
    let mut failures = 0;
    loop {
        let connection = shared.link.up().await;
        match make(shared).await {
            Ok(()) => {
                failures = 0;
                shared.link.works("streams");
                shared.streams.made.send_modify(|(on, times)| (*on, *times) = (connection, *times + 1));
                tokio::select! {
                    () = shared.streams.asked.notified() => {}
                    () = shared.link.replaced(connection) => {}
                }
            }
            Err(cause) => {
                failures += 1;
                shared.link.trouble("streams", &cause);
                tokio::time::sleep(backoff::delay(failures, RETRY_MAX)).await;
            }
        }
    }
}
