//! Streams with three copies, on a cluster of three: one member is lost, and nothing else.

use std::collections::BTreeSet;
use std::net::TcpListener;

use async_nats::jetstream;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::bus::{Bus as _, Subject};
use longhaul_tests::nats::NatsServer;

use crate::rig::{config, incoming, say, soon, taken, w1};

/// Ports for the members to find each other by: free a moment ago.
fn ports() -> Vec<u16> {
    let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

fn cluster() -> anyhow::Result<Vec<NatsServer>> {
    let ports = ports();
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let routes = routes.join(",");
    let member = |(at, port): (usize, &u16)| {
        let (name, listen) = (format!("n{at}"), format!("nats://127.0.0.1:{port}"));
        NatsServer::start(&["-n", &name, "--cluster_name", "three", "-cluster", &listen, "-routes", &routes])
    };
    ports.iter().enumerate().map(member).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_have_three_copies_and_outlive_a_member() {
    longhaul_common::tls::install();
    if NatsServer::is_missing() {
        return;
    }
    let mut members = cluster().expect("three servers");
    let urls: Vec<String> = members.iter().map(NatsServer::url).collect();
    let connect = async |role: NatsRole| {
        let mut settings = config(&urls[0], role);
        (settings.urls, settings.replicas) = (urls.clone(), 3);
        NatsBus::connect(settings).await.expect("the settings are right")
    };
    let coordinator = connect(NatsRole::Coordinator).await;
    soon("a leader makes the streams", coordinator.subscribed()).await;
    let client = async_nats::connect(urls.clone()).await.expect("a connection");
    let context = jetstream::new(client);
    for name in ["LH_test_WORKER", "LH_test_PRESENCE", "LH_test_REPORT", "LH_test_EVENT"] {
        let stream = context.get_stream(name).await.expect("it is there");
        let info = stream.cached_info();
        let others = info.cluster.as_ref().map(|cluster| cluster.replicas.len());
        assert_eq!((info.config.num_replicas, others), (3, Some(2)), "{name}");
    }
    let subject = Subject::worker("w1");
    let worker = connect(w1()).await;
    let mut heard = worker.subscribe(&subject);
    soon("the worker listens", worker.subscribed()).await;
    say(&coordinator, &subject, "before");
    let untaken = incoming(&mut heard).await;
    // Whichever it is, a majority has the stream, the consumer and the message that nobody took.
    members[0].kill();
    drop(untaken);
    say(&coordinator, &subject, "after");
    // At least once: what was on its way when the line was cut may come again.
    let mut all = BTreeSet::new();
    while all.len() < 2 {
        all.insert(taken(&mut heard).await);
    }
    assert_eq!(Vec::from_iter(all), ["after", "before"]);
}
