//! The fault proxy, and the bus behind it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus as _, Link, Subject};
use longhaul_tests::nats::NatsServer;
use longhaul_tests::proxy::{Mischief, Proxy, Settings, Way};

use crate::rig::{connect, message, say, soon, taken, w1};

/// A coordinator at the server, and a worker behind a proxy.
struct Behind {
    _server: NatsServer,
    proxy: Proxy,
    coordinator: NatsBus,
    worker: NatsBus,
}

impl Behind {
    async fn start(settings: Settings) -> Option<Self> {
        longhaul_common::tls::install();
        let server = NatsServer::for_test(|| NatsServer::start(&[]))?;
        let coordinator = connect(&server.url(), NatsRole::Coordinator).await;
        soon("streams", coordinator.subscribed()).await;
        let proxy = Proxy::start(&server.addr(), settings).await.expect("a free port");
        let worker = connect(&format!("nats://{}", proxy.addr()), w1()).await;
        Some(Self { _server: server, proxy, coordinator, worker })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healed_partition_brings_what_was_held() {
    let Some(behind) = Behind::start(Settings::default()).await else { return };
    let subject = Subject::worker("w1");
    let mut heard = behind.worker.subscribe(&subject);
    soon("it listens", behind.worker.subscribed()).await;
    for way in [Some(Way::Down), Some(Way::Up), None] {
        match way {
            Some(way) => behind.proxy.partition_one_way(way),
            None => behind.proxy.partition(),
        }
        behind.coordinator.publish(message(&subject, &format!("{way:?}"), "held")).expect("room");
        soon("it is out", behind.coordinator.flushed()).await;
        if way != Some(Way::Up) {
            assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut heard)).is_none());
        }
        behind.proxy.heal();
        assert_eq!(taken(&mut heard).await, "held", "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_made_again() {
    let Some(behind) = Behind::start(Settings::default()).await else { return };
    let subject = Subject::worker("w1");
    let mut heard = behind.worker.subscribe(&subject);
    soon("it listens", behind.worker.subscribed()).await;
    for round in 0..5 {
        behind.proxy.cut();
        behind.coordinator.publish(message(&subject, &round.to_string(), &round.to_string())).expect("room");
        assert_eq!(taken(&mut heard).await, round.to_string());
    }
    soon("the link is up", async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while behind.worker.link() != Link::Up {
            looks.tick().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_takes_its_time() {
    let delay = Duration::from_millis(30);
    let Some(behind) = Behind::start(Settings { delay, jitter: delay, seed: 3, ..Settings::default() }).await else {
        return;
    };
    let subject = Subject::worker("w1");
    let mut heard = behind.worker.subscribe(&subject);
    soon("it listens", behind.worker.subscribed()).await;
    let began = Instant::now();
    say(&behind.coordinator, &subject, "late");
    assert_eq!(taken(&mut heard).await, "late");
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_through_mischief_arrives_once() {
    let mischief = Mischief { drop: 50, duplicate: 100, reorder: 100 };
    let Some(behind) = Behind::start(Settings { seed: 11, ..Settings::default() }).await else { return };
    let subject = Subject::event(&"j".parse().expect("valid"));
    let mut watched = behind.coordinator.subscribe(&subject);
    soon("it listens", behind.coordinator.subscribed()).await;
    behind.proxy.set(|settings| settings.mischief = Some(mischief));
    // Events of the worker's end pass the proxy upwards: each is answered or sent again.
    for number in 0..200 {
        behind.worker.publish(message(&subject, &number.to_string(), &number.to_string())).expect("room");
    }
    let mut came = BTreeSet::new();
    while came.len() < 200 {
        assert!(came.insert(taken(&mut watched).await), "ids keep the second of two away");
    }
    let (log, _) = behind.proxy.log();
    for word in ["drop", "duplicate", "hold"] {
        assert!(log.iter().any(|line| line.contains(word)), "no {word}: {log:?}");
    }
}
