//! Two ends of one bus.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use longhaul_common::bus::nats::{NatsBus, NatsConfig, NatsRole};
use longhaul_common::bus::{Bus, Incoming, MemoryBus, Message, Subject, Subscription};
use longhaul_tests::nats::NatsServer;

/// Longest wait for anything that has to happen.
pub const SOON: Duration = Duration::from_secs(30);

/// A coordinator's end and a worker's.
pub struct Rig {
    pub coordinator: Arc<dyn Bus>,
    pub worker: Arc<dyn Bus>,
    pub nats: Option<(NatsBus, NatsBus)>,
    pub server: Option<NatsServer>,
}

/// Settings for a local server.
pub fn config(url: &str, role: NatsRole) -> NatsConfig {
    NatsConfig {
        urls: vec![url.to_owned()],
        fleet: "test".to_owned(),
        name: "test".to_owned(),
        replicas: 1,
        ca: None,
        cert: None,
        key: None,
        creds: None,
        nkey_seed: None,
        token: None,
        role,
    }
}

/// The role of worker `w1`.
pub fn w1() -> NatsRole {
    NatsRole::Worker("w1".parse().expect("valid"))
}

impl Rig {
    /// One process.
    pub async fn memory() -> Option<Self> {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
        Some(Self { coordinator: Arc::clone(&bus), worker: bus, nats: None, server: None })
    }

    /// Two connections to a server; `None` where there is no server to be had.
    pub async fn nats() -> Option<Self> {
        longhaul_common::tls::install();
        let server = NatsServer::for_test(|| NatsServer::start(&[]))?;
        let coordinator = connect(&server.url(), NatsRole::Coordinator).await;
        // A worker that comes before the streams is a case of its own.
        soon("the streams stand", coordinator.subscribed()).await;
        let worker = connect(&server.url(), w1()).await;
        Some(Self {
            coordinator: Arc::new(coordinator.clone()),
            worker: Arc::new(worker.clone()),
            nats: Some((coordinator, worker)),
            server: Some(server),
        })
    }

    /// Both connections of a rig over NATS.
    pub fn buses(&self) -> &(NatsBus, NatsBus) {
        self.nats.as_ref().expect("over NATS")
    }

    /// Returns when every subscription hears, and all that was published is out.
    pub async fn settled(&self) {
        let Some((coordinator, worker)) = &self.nats else { return };
        for bus in [coordinator, worker] {
            soon("subscriptions stand", bus.subscribed()).await;
            soon("messages are out", bus.flushed()).await;
        }
    }
}

/// A bus on a server.
pub async fn connect(url: &str, role: NatsRole) -> NatsBus {
    NatsBus::connect(config(url, role)).await.expect("the settings are right")
}

/// Waits for something that has to happen soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

/// A message.
pub fn message(subject: &Subject, id: &str, text: &str) -> Message {
    Message { subject: subject.clone(), id: id.to_owned(), payload: Bytes::copy_from_slice(text.as_bytes()) }
}

/// Publishes a text.
pub fn say(bus: &dyn Bus, subject: &Subject, text: &str) {
    bus.publish(message(subject, "", text)).expect("there is room");
}

/// The next message, not taken.
pub async fn incoming(heard: &mut Subscription) -> Incoming {
    soon("a message", heard.next()).await.expect("the bus is there")
}

/// The next message, taken, as text.
pub async fn taken(heard: &mut Subscription) -> String {
    String::from_utf8(incoming(heard).await.taken().to_vec()).expect("text")
}

/// All that comes up to and with a text.
pub async fn up_to(heard: &mut Subscription, end: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != end) {
        all.push(taken(heard).await);
    }
    all
}
