//! The worker's gRPC service, over loopback.

use std::net::{IpAddr, Ipv4Addr};

use longhaul_common::server::{Connection, connect_to_worker};
use longhaul_proto::worker_client::WorkerClient;
use longhaul_proto::{
    AttachWork, CancelWork, DrainRequest, FailureClass, Introduction, ProbeRequest, SteerWork, finished,
};
use longhaul_worker::Live;
use longhaul_worker::credential::Credential;
use longhaul_worker::service::{Served, ServiceConfig, ServiceError, serve};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{World, command, job};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn served(listen: IpAddr, live: &Live, stop: &CancellationToken) -> Served {
    let config = ServiceConfig { listen: (listen, 0).into(), credential: Credential::new().expect("made") };
    serve(config, live.clone(), stop.clone()).await.expect("listens")
}

/// A client that shows what one worker handed over, at the endpoint of another.
fn client(at: &Served, shown: &Introduction) -> WorkerClient<Connection> {
    let connection = connect_to_worker(&at.endpoint(), &shown.token, &shown.certificate);
    WorkerClient::new(connection.expect("an address"))
}

/// An address of this machine that others reach: a packet would leave by it. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn one_can_look_attach_cancel_and_drain() {
    let mut world = World::new(&[("a", "1\n")]);
    world.stop().await;
    let (live, stop) = (Live::default(), CancellationToken::new());
    let served = served(LOOPBACK, &live, &stop).await;
    let endpoint = served.endpoint();
    world.configure = Box::new(move |config| {
        config.live = live.clone();
        config.endpoint = Some(endpoint.clone());
    });
    world.start();
    let mut client = client(&served, &served.introduction("w"));
    let work = world.work(vec![command("echo one; echo two; echo running; read never < /dev/zero; sleep 1000")]);
    world.assign(work).await;
    world.heard(|message| matches!(message, longhaul_proto::from_worker::Message::Report(_))).await;
    let attach = AttachWork { job: job().to_string(), id: 1 };
    let mut lines = loop {
        match client.attach(attach.clone()).await {
            Ok(lines) => break lines.into_inner(),
            Err(status) => assert_eq!(status.code(), Code::NotFound),
        }
    };
    loop {
        let line = lines.message().await.expect("streams").expect("it still runs");
        if line.line == "running" {
            assert_eq!((line.step.as_str(), line.id), ("script", 1));
            break;
        }
    }
    let probe = client.probe(ProbeRequest {}).await.expect("answers").into_inner();
    assert_eq!((probe.running[0].subtask.as_str(), probe.running[0].step.as_str()), ("s1", "script"));
    assert_eq!(probe.presence.expect("announced").endpoint, served.endpoint());
    let steer = SteerWork { job: job().to_string(), id: 1, text: "left".into() };
    assert_eq!(client.steer(steer).await.expect_err("a command takes none").code(), Code::FailedPrecondition);
    let cancel = CancelWork { job: job().to_string(), id: 1, reason: "test".into() };
    client.cancel(cancel).await.expect("taken");
    let Some(finished::Outcome::Failure(failure)) = world.result().await.outcome else { panic!("no failure") };
    assert_eq!(failure.class(), FailureClass::Cancelled);
    while lines.message().await.expect("streams").is_some() {}
    assert_eq!(client.attach(attach).await.expect_err("it ended").code(), Code::NotFound);
    client.drain(DrainRequest { within_ms: 1_000 }).await.expect("taken");
    world.ended().await.expect("drained");
    stop.cancel();
    served.task.await.expect("ends");
}

#[tokio::test]
async fn nobody_comes_in_with_another_workers_token() {
    let (live, stop) = (Live::default(), CancellationToken::new());
    let (one, two) = (served(LOOPBACK, &live, &stop).await, served(LOOPBACK, &live, &stop).await);
    let (of_one, of_two) = (one.introduction("one"), two.introduction("two"));
    let nothing = Introduction { token: String::new(), ..of_one.clone() };
    for wrong in [&of_two, &nothing] {
        let refused = client(&one, wrong).probe(ProbeRequest {}).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    client(&one, &of_one).probe(ProbeRequest {}).await.expect("let in");
    assert!(!format!("{of_one:?} {one:?}").contains(&of_one.token), "shown by no debug print");
    stop.cancel();
    one.task.await.expect("ends");
    two.task.await.expect("ends");
}

#[tokio::test]
async fn beyond_loopback_it_is_tls_and_known_by_its_own_certificate() {
    longhaul_common::tls::install();
    let (live, stop) = (Live::default(), CancellationToken::new());
    let everywhere = ServiceConfig { listen: ([0, 0, 0, 0], 0).into(), credential: Credential::new().expect("made") };
    let refused = serve(everywhere, live.clone(), stop.clone()).await.expect_err("no address");
    assert!(matches!(refused, ServiceError::Nowhere { .. }) && refused.to_string().contains("127.0.0.1"), "{refused}");
    let Some(address) = outward() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let (one, two) = (served(address, &live, &stop).await, served(address, &live, &stop).await);
    let (of_one, of_two) = (one.introduction("one"), two.introduction("two"));
    assert!(of_one.endpoint.starts_with("https://"), "{}", of_one.endpoint);
    client(&one, &of_one).probe(ProbeRequest {}).await.expect("let in");
    // Another worker that answers at the endpoint is not taken for it: the token stays here.
    let refused = client(&one, &of_two).probe(ProbeRequest {}).await.expect_err("another's certificate");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let plain = Introduction { endpoint: one.endpoint().replace("https", "http"), ..of_one.clone() };
    let connection = connect_to_worker(&plain.endpoint, &plain.token, "").expect("an address");
    WorkerClient::new(connection).probe(ProbeRequest {}).await.expect_err("no plain text");
    stop.cancel();
    one.task.await.expect("ends");
    two.task.await.expect("ends");
}
