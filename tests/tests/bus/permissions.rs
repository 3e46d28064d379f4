//! A worker held to what `deploy/nats/accounts.conf.example` allows it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus as _, Link, Subject};
use longhaul_tests::nats::NatsServer;
use nkeys::KeyPair;

use crate::rig::{config, incoming, message, say, soon, taken, w1};

/// How long a request is given that the server does not answer.
const UNANSWERED: Duration = Duration::from_millis(500);

struct Guarded {
    server: NatsServer,
    coordinator: KeyPair,
    w1: KeyPair,
    seeds: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Option<Self> {
        longhaul_common::tls::install();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/accounts.conf.example");
        let example = std::fs::read_to_string(example).expect("the example is there");
        let (coordinator, w1) = (KeyPair::new_user(), KeyPair::new_user());
        let keys = format!("COORDINATOR_NKEY: {}\nW1_NKEY: {}\n", coordinator.public_key(), w1.public_key());
        let server = NatsServer::for_test(|| NatsServer::configured(&(keys + &example)))?;
        Some(Self { server, coordinator, w1, seeds: tempfile::tempdir().expect("a folder") })
    }

    async fn bus(&self, key: &KeyPair, role: NatsRole) -> NatsBus {
        let seed = self.seeds.path().join(key.public_key());
        std::fs::write(&seed, key.seed().expect("it has a seed")).expect("writable");
        let mut settings = config(&self.server.url(), role);
        settings.fleet = "default".to_owned();
        settings.nkey_seed = Some(seed);
        NatsBus::connect(settings).await.expect("the settings are right")
    }

    /// A client that uses w1's key for what it likes, and what the server told it.
    async fn sly(&self) -> (async_nats::Client, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let options = async_nats::ConnectOptions::with_nkey(self.w1.seed().expect("it has a seed"))
            .custom_inbox_prefix("_INBOX.w1")
            .event_callback(move |event| {
                telling.lock().expect("no test panicked").push(event.to_string());
                std::future::ready(())
            });
        (options.connect(self.server.url()).await.expect("it may connect"), told)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_can_work_with_what_it_is_allowed() {
    let Some(guarded) = Guarded::start() else { return };
    let coordinator = guarded.bus(&guarded.coordinator, NatsRole::Coordinator).await;
    soon("streams", coordinator.subscribed()).await;
    let job = "j".parse().expect("valid");
    let mut reports = coordinator.subscribe(&Subject::reports(&job));
    let mut presences = coordinator.subscribe(&Subject::presences());
    let worker = guarded.bus(&guarded.w1, w1()).await;
    let mut assigned = worker.subscribe(&Subject::worker("w1"));
    let mut told = worker.subscribe(&Subject::everyone());
    soon("the worker listens", worker.subscribed()).await;
    say(&coordinator, &Subject::worker("w1"), "work");
    say(&coordinator, &Subject::everyone(), "hello");
    let first = incoming(&mut assigned).await;
    drop(first);
    assert_eq!((taken(&mut assigned).await, taken(&mut told).await), ("work".to_owned(), "hello".to_owned()));
    say(&worker, &Subject::presence("w1"), "here");
    say(&worker, &Subject::report(&job, "w1"), "half");
    assert_eq!((taken(&mut presences).await, taken(&mut reports).await), ("here".to_owned(), "half".to_owned()));
    assert_eq!((worker.link(), coordinator.link()), (Link::Up, Link::Up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_do_what_is_anothers() {
    let Some(guarded) = Guarded::start() else { return };
    let coordinator = guarded.bus(&guarded.coordinator, NatsRole::Coordinator).await;
    soon("streams", coordinator.subscribed()).await;
    let mut presences = coordinator.subscribe(&Subject::presences());
    soon("the coordinator listens", coordinator.subscribed()).await;
    coordinator.publish(message(&Subject::worker("w2"), "", "a secret of w2")).expect("room");
    soon("it is there", coordinator.flushed()).await;
    let (client, told) = guarded.sly().await;
    let mut context = jetstream::new(client.clone());
    context.set_timeout(UNANSWERED);

    let mut overheard = client.subscribe("lh.default.worker.w2").await.expect("asked");
    client.publish("lh.default.presence.w2", "I am w2".into()).await.expect("asked");
    client.publish("lh.default.presence.w1", "I am w1".into()).await.expect("asked");
    assert_eq!(taken(&mut presences).await, "I am w1", "the other was not let through");
    let stolen = pull::Config {
        durable_name: Some("w1".to_owned()),
        filter_subject: "lh.default.worker.w2".to_owned(),
        ..pull::Config::default()
    };
    assert!(context.create_consumer_on_stream(stolen, "LH_default_WORKER").await.is_err());
    let nameless = pull::Config { filter_subject: "lh.default.worker.>".to_owned(), ..pull::Config::default() };
    assert!(context.create_consumer_on_stream(nameless, "LH_default_WORKER").await.is_err());
    assert!(context.delete_stream("LH_default_WORKER").await.is_err());
    let own = jetstream::stream::Config { name: "MINE".to_owned(), ..jetstream::stream::Config::default() };
    assert!(context.create_stream(own).await.is_err());
    // Words that lie: the subject it may use, the filter it may not.
    let body = r#"{"stream_name":"LH_default_WORKER","config":{"durable_name":"w1","ack_policy":"explicit","filter_subject":"lh.default.worker.w2"}}"#;
    let subject = "$JS.API.CONSUMER.CREATE.LH_default_WORKER.w1.lh.default.worker.w1";
    let answer = client.request(subject, body.into()).await.expect("this it may ask");
    assert!(String::from_utf8_lossy(&answer.payload).contains("\"error\""), "{:?}", answer.payload);

    coordinator.publish(message(&Subject::worker("w2"), "", "another secret")).expect("room");
    soon("it is out", coordinator.flushed()).await;
    assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut overheard)).flatten().is_none());
    let told = told.lock().expect("no test panicked").join("\n");
    for refused in ["lh.default.worker.w2", "lh.default.presence.w2", "STREAM.DELETE", "STREAM.CREATE"] {
        assert!(told.contains(refused), "{refused} was not refused: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_says_what_it_is_refused() {
    let Some(guarded) = Guarded::start() else { return };
    let coordinator = guarded.bus(&guarded.coordinator, NatsRole::Coordinator).await;
    soon("streams", coordinator.subscribed()).await;
    // The key of one worker, the name of another.
    let worker = guarded.bus(&guarded.w1, NatsRole::Worker("w2".parse().expect("valid"))).await;
    let _assigned = worker.subscribe(&Subject::worker("w2"));
    let cause = soon("it is said", async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            if let Link::Down { cause } = worker.link()
                && cause.contains("worker.w2")
            {
                return cause;
            }
        }
    })
    .await;
    assert!(cause.contains("Permissions Violation"), "{cause}");
}
