//! A worker that names endpoints which are not its own, and one that listens to what comes to its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_common::server::{ServerAccess, connect_to_worker};
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::worker_client::WorkerClient;
use longhaul_proto::worker_server::{Worker, WorkerServer};
use longhaul_proto::{
    AttachWork, CancelWork, DrainRequest, Introduction, ProbeReply, ProbeRequest, SteerWork, TraceLine, WorkReply,
};
use longhaul_tests::fleet::{Extras, FleetSpec, Guard, Person};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};

use crate::rig::{HEAD, Rig, greeting, possible};
use crate::rogue::{Rogue, RogueSpec};

/// What the hostile worker lets the coordinator show it.
const OWN: &str = "the-token-of-w2-alone";

struct Stage {
    rig: Rig,
    access: ServerAccess,
    rogue: Rogue,
    alice: Person,
    overheard: Overheard,
    own: String,
}

impl Stage {
    fn set() -> Self {
        let world = greeting(1);
        world.job(&format!("{HEAD}[gate]\nrun = \"true\"\n"));
        let mut guard = Guard::new(&world).expect("a guard");
        guard.worker_by_token(&world, "w1").expect("w1");
        let token = guard.worker_by_token(&world, "w2").expect("w2");
        let alice = guard.person(&world, "alice", &["submit", "approve", "read"]).expect("alice");
        let seed = guard.seed_file("w2");
        let extras = Extras::guarded(guard).with("w1", &["--listen", "127.0.0.1:0"]);
        let rig = Rig::start(world, &FleetSpec { workers: 1, ..FleetSpec::default() }, extras);
        let access = ServerAccess {
            url: rig.fleet.url(),
            ca: Some(rig.ca()),
            token: Some(token.token),
            ..ServerAccess::default()
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = format!("http://{}", listener.local_addr().expect("bound"));
        let rogue = Rogue::start(
            RogueSpec {
                name: "w2",
                access: access.clone(),
                nats: rig.nats().url().replacen("nats://", "tls://", 1),
                seed,
                slots: (0, 0),
                labels: Vec::new(),
                claims: BTreeMap::new(),
                endpoint: own.clone(),
            },
            None,
        );
        let overheard = Overheard::default();
        overheard.serve(&rogue, listener);
        Self { rig, access, rogue, alice, overheard, own }
    }

    fn introduce(&self, worker: &str, endpoint: &str) -> Result<(), Status> {
        let said = Introduction {
            worker: worker.to_owned(),
            endpoint: endpoint.to_owned(),
            token: OWN.to_owned(),
            certificate: String::new(),
        };
        let access = self.access.clone();
        self.rogue.runtime.block_on(async {
            let connection = access.connect().expect("a connection");
            ResultsClient::new(connection).introduce(said).await.map(drop)
        })
    }

    /// A worker as `workers --json` shows it.
    fn row(&self, worker: &str) -> Option<serde_json::Value> {
        let shown = self.rig.expect(0, Some(&self.alice), &["workers", "--json"]).stdout;
        let mut rows = shown.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        rows.find(|row| row["worker"] == worker)
    }

    fn probe(&self, endpoint: &str, token: &str) -> Result<(), Status> {
        let (endpoint, token) = (endpoint.to_owned(), token.to_owned());
        self.rogue.runtime.block_on(async {
            let connection = connect_to_worker(&endpoint, &token, "").expect("an address");
            WorkerClient::new(connection).probe(ProbeRequest {}).await.map(drop)
        })
    }
}

/// The hostile worker's own service: it keeps what callers show, and does nothing.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<Vec<String>>>);

impl Overheard {
    fn serve(&self, rogue: &Rogue, listener: std::net::TcpListener) {
        let _in_runtime = rogue.runtime.enter();
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let router = tonic::transport::Server::builder().add_service(WorkerServer::new(self.clone()));
        rogue.runtime.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    }

    fn keep<T>(&self, request: &Request<T>) -> Status {
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(shown.to_owned());
        Status::unavailable("it only listens")
    }

    fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl Worker for Overheard {
    type AttachStream = ReceiverStream<Result<TraceLine, Status>>;

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        Err(self.keep(&request))
    }

    async fn attach(&self, request: Request<AttachWork>) -> Result<Response<Self::AttachStream>, Status> {
        Err(self.keep(&request))
    }

    async fn steer(&self, request: Request<SteerWork>) -> Result<Response<WorkReply>, Status> {
        Err(self.keep(&request))
    }

    async fn cancel(&self, request: Request<CancelWork>) -> Result<Response<WorkReply>, Status> {
        Err(self.keep(&request))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<WorkReply>, Status> {
        Err(self.keep(&request))
    }
}

#[test]
fn a_hostile_worker_learns_no_token_that_opens_another() {
    if !possible() {
        return;
    }
    let stage = Stage::set();
    let honest = stage.rig.wait("w1 has introduced itself", || {
        let row = stage.row("w1")?;
        (row["unreached"] == "").then(|| row["endpoint"].as_str().unwrap_or_default().to_owned())
    });
    // In the name of another.
    let refused = stage.introduce("w1", &stage.own).expect_err("another's name");
    assert_eq!(refused.code(), Code::PermissionDenied);
    // In clear text on the network: nothing is ever sent there, and it is shown.
    let refused = stage.introduce("w2", "http://192.0.2.1:7118").expect_err("clear text");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let row = stage.row("w2").expect("it announces itself");
    assert!(row["unreached"].as_str().is_some_and(|why| why.contains("plain text")), "{row}");
    let ran = stage.rig.expect(2, Some(&stage.alice), &["drain", "w2"]);
    assert!(ran.stderr.contains("plain text"), "{}", ran.stderr);
    // Under another's endpoint: what is sent there is what the hostile worker said itself.
    stage.introduce("w2", &honest).expect("it may say so");
    let ran = stage.rig.expect(2, Some(&stage.alice), &["drain", "w2"]);
    assert!(ran.stderr.contains("does not let this server in"), "{}", ran.stderr);
    assert_eq!(stage.row("w1").expect("still there")["state"], "present", "the other was not drained");
    assert_eq!(stage.probe(&honest, OWN).expect_err("not its token").code(), Code::Unauthenticated);
    // At its own endpoint, it hears the token it made up, and nothing that it did not know.
    stage.introduce("w2", &stage.own).expect("its own");
    stage.rig.expect(6, Some(&stage.alice), &["drain", "w2"]);
    assert_eq!(stage.overheard.tokens(), [format!("Bearer {OWN}")]);
    // The honest worker is reached as before.
    stage.rig.expect(0, Some(&stage.alice), &["drain", "w1"]);
}
