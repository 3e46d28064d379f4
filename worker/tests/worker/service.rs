//! The worker's gRPC service, over loopback.

use longhaul_common::server::ServerAccess;
use longhaul_proto::worker_client::WorkerClient;
use longhaul_proto::{AttachWork, CancelWork, DrainRequest, FailureClass, ProbeRequest, SteerWork, finished};
use longhaul_worker::Live;
use longhaul_worker::service::{Served, ServiceConfig, ServiceError, serve};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{World, command, job};

async fn served(token: Option<&str>, live: &Live, stop: &CancellationToken) -> Served {
    let config = ServiceConfig { listen: ([127, 0, 0, 1], 0).into(), token: token.map(str::to_owned) };
    serve(config, live.clone(), stop.clone()).await.expect("listens")
}

fn client(served: &Served, token: Option<&str>) -> WorkerClient<longhaul_common::server::Connection> {
    let access = ServerAccess { url: served.endpoint(), token: token.map(str::to_owned), ..ServerAccess::default() };
    WorkerClient::new(access.connect().expect("an address"))
}

#[tokio::test]
async fn one_can_look_attach_cancel_and_drain() {
    let mut world = World::new(&[("a", "1\n")]);
    world.stop().await;
    let (live, stop) = (Live::default(), CancellationToken::new());
    let served = served(None, &live, &stop).await;
    let endpoint = served.endpoint();
    world.configure = Box::new(move |config| {
        config.live = live.clone();
        config.endpoint = Some(endpoint.clone());
    });
    world.start();
    let mut client = client(&served, None);
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
async fn elsewhere_and_without_the_token_nobody_comes_in() {
    let (live, stop) = (Live::default(), CancellationToken::new());
    let open = ServiceConfig { listen: ([0, 0, 0, 0], 0).into(), token: None };
    assert!(matches!(serve(open, live.clone(), stop.clone()).await, Err(ServiceError::Open { .. })));
    let served = served(Some("the-token"), &live, &stop).await;
    for wrong in [None, Some("other")] {
        let refused = client(&served, wrong).probe(ProbeRequest {}).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    client(&served, Some("the-token")).probe(ProbeRequest {}).await.expect("let in");
    stop.cancel();
    served.task.await.expect("ends");
}
