//! A worker that names endpoints which are not its own, and one that listens to what comes to its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_common::server::{ServerAccess, connect_to_worker};
use longhaul_proto::jobs_client::JobsClient;
use longhaul_proto::results_client::ResultsClient;
use longhaul_proto::worker_client::WorkerClient;
use longhaul_proto::worker_server::{Worker, WorkerServer};
use longhaul_proto::{
    AttachRequest, AttachWork, CancelWork, DrainRequest, Introduction, ProbeReply, ProbeRequest, SteerWork, TraceLine,
    WorkReply,
};
use longhaul_tests::fleet::{Extras, FleetSpec, Guard, Person};
use longhaul_tests::nats::NatsServer;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};

use crate::rig::{HEAD, JOB, Rig, greeting};
use crate::rogue::{Rogue, RogueSpec};

/// What the hostile worker lets the coordinator show it.
const OWN: &str = "the-token-of-w2-alone";

/// Work that only the hostile worker takes, and never ends.
const BAIT: &str = r#"
[agent.edit]
kind = "command"
run = "true"

[[task]]
id = "bait"
write = ["src/f0.txt"]
instructions = "Say goodbye"
ladder = ["edit"]
labels = ["odd"]

[gate]
run = "true"
"#;

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
        world.job(&format!("{HEAD}{BAIT}"));
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
                slots: (1, 0),
                labels: vec!["odd".to_owned()],
                claims: BTreeMap::new(),
                endpoint: own.clone(),
            },
            None,
        );
        let overheard = Overheard::default();
        overheard.serve(&rogue, listener);
        rig.expect(0, Some(&alice), &["run", "--detach"]);
        rig.wait("the bait is taken", || rogue.assigned().into_iter().next());
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

    /// The first line of what a person sees who attaches to the bait: the server looks for it at the
    /// hostile worker's own service.
    fn attach(&self) -> String {
        let access = ServerAccess { token: Some(self.alice.token.clone()), ..self.access.clone() };
        self.rogue.runtime.block_on(async {
            let request = AttachRequest { job: JOB.to_owned(), subtask: "bait".to_owned() };
            let mut jobs = JobsClient::new(access.connect().expect("a connection"));
            let mut lines = jobs.attach(request).await.expect("it is live").into_inner();
            lines.message().await.expect("a stream").expect("a line").line
        })
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
    if NatsServer::is_missing() {
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
    let told = stage.attach();
    assert!(told.contains("plain text"), "{told}");
    // Under another's endpoint: what is sent there is what the hostile worker said itself.
    stage.introduce("w2", &honest).expect("it may say so");
    let told = stage.attach();
    assert!(told.contains("cannot be reached"), "{told}");
    assert_eq!(stage.probe(&honest, OWN).expect_err("not its token").code(), Code::Unauthenticated);
    // At its own endpoint, it hears the token it made up, and nothing that it did not know.
    stage.introduce("w2", &stage.own).expect("its own");
    let told = stage.attach();
    assert!(told.contains("it only listens"), "{told}");
    assert_eq!(stage.overheard.tokens(), [format!("Bearer {OWN}")]);
    // The honest worker is reached where it was.
    let row = stage.row("w1").expect("still there");
    assert_eq!((&row["endpoint"], &row["unreached"]), (&honest.into(), &"".into()));
}
