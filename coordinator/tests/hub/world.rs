//! A hub over the in-memory bus, its service on loopback, and workers that do nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::bus::{Bus, MemoryBus, Message, Subject};
use longhaul_common::layout::Layout;
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::hub::{Hub, HubError, HubSettings, Identity, Role};
use longhaul_coordinator::jobs::JobsService;
use longhaul_coordinator::results::Delivery;
use longhaul_proto as pb;
use longhaul_proto::jobs_client::JobsClient;
use longhaul_proto::{assignment, finished, from_worker, report, submit_part, to_worker};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Longest wait for anything: a test that gets there has failed.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Pause of a worker whose result was not taken.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, wait).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub fn git(repo: &Path, args: &[&str]) -> Vec<u8> {
    let out = Command::new("git").arg("-C").arg(repo).args(args).output().expect("git");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A folder with a user's repository and a server's state.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub base: Oid,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = folder.path().join("repo");
        std::fs::create_dir_all(&repo).expect("a folder");
        std::fs::write(repo.join("file"), "text\n").expect("written");
        git(&repo, &["init", "-q", "-b", "main"]);
        git(&repo, &["add", "-A"]);
        git(&repo, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]);
        let head = git(&repo, &["rev-parse", "HEAD"]);
        let base = String::from_utf8_lossy(&head).trim().parse().expect("an id");
        Self { folder, base }
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.folder.path().join("state"))
    }

    /// The base's history as a submission brings it.
    pub fn pack(&self) -> Vec<u8> {
        let repo = self.folder.path().join("repo");
        let list = self.folder.path().join("list");
        std::fs::write(&list, format!("{}\n", self.base)).expect("written");
        let input = std::fs::File::open(&list).expect("there");
        let mut command = Command::new("git");
        command.arg("-C").arg(repo).args(["pack-objects", "--revs", "--stdout", "-q"]).stdin(input);
        let out = command.output().expect("git");
        assert!(out.status.success());
        out.stdout
    }

    /// A plan of independent subtasks, on a path that this machine has not got.
    pub fn plan(&self, job: &str, ids: &[&str]) -> pb::Plan {
        let kind = Some(pb::agent::Kind::Command(pb::CommandAgent::default()));
        let node = |id: &&str| pb::Node {
            id: (*id).to_owned(),
            claims: vec![(*id).to_owned()],
            key: blake3::hash(id.as_bytes()).as_bytes().to_vec(),
            weight: 1,
            ..pb::Node::default()
        };
        pb::Plan {
            format: pb::FORMAT,
            job: job.to_owned(),
            goal: "nothing".into(),
            repo: Some(pb::Repo {
                path: "/nowhere/repo".into(),
                key: "repo-1".into(),
                base: self.base.to_vec(),
                ..pb::Repo::default()
            }),
            agents: vec![pb::Agent { name: "noop".into(), kind }],
            tasks: vec![pb::Task { id: "t".into(), ladder: vec![0], max_attempts: 1, ..pb::Task::default() }],
            nodes: ids.iter().map(node).collect(),
            gate: Some(pb::GateSpec { batch: 8, ..pb::GateSpec::default() }),
            budget: Some(pb::Budget { parallel: 8, ..pb::Budget::default() }),
            author_name: "t".into(),
            author_email: "t@t".into(),
            ..pb::Plan::default()
        }
    }
}

/// The hub of a place, served.
pub struct Server {
    pub hub: Hub,
    pub bus: Arc<dyn Bus>,
    url: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(place: &Place) -> Self {
        Self::over(place, Arc::new(MemoryBus::default())).await
    }

    pub async fn over(place: &Place, bus: Arc<dyn Bus>) -> Self {
        Self::with(place, bus, HubSettings::default()).await
    }

    pub async fn with(place: &Place, bus: Arc<dyn Bus>, settings: HubSettings) -> Self {
        let hub = Hub::open(place.layout(), Arc::clone(&bus), settings).await.expect("opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stop = CancellationToken::new();
        let service =
            tonic::service::interceptor::InterceptedService::new(JobsService::new(hub.clone()).server(), identify);
        let ends = stop.clone();
        let task = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming_shutdown(incoming, ends.cancelled_owned()).await.expect("served");
        });
        hub.call_workers();
        Self { hub, bus, url, stop, task }
    }

    pub async fn stop(self) {
        self.hub.stop().await;
        self.stop.cancel();
        soon("the end of the server", self.task).await.expect("no panic");
    }

    pub async fn client(&self) -> JobsClient<Channel> {
        JobsClient::connect(self.url.clone()).await.expect("connects")
    }

    /// Submits a plan with the place's pack.
    pub async fn submit(&self, place: &Place, plan: pb::Plan) -> Result<pb::SubmitReply, Status> {
        self.submit_as(place, plan, false).await
    }

    /// The same, where the job may have to be a new one.
    pub async fn submit_as(&self, place: &Place, plan: pb::Plan, new_job: bool) -> Result<pb::SubmitReply, Status> {
        let header = submit_part::Part::Header(pb::SubmitHeader { plan: Some(plan), new_job });
        let pack = place.pack();
        let pieces = pack.chunks(64).map(|piece| submit_part::Part::Pack(piece.to_vec()));
        let parts: Vec<pb::SubmitPart> =
            std::iter::once(header).chain(pieces).map(|part| pb::SubmitPart { part: Some(part) }).collect();
        self.client().await.submit(tokio_stream::iter(parts)).await.map(tonic::Response::into_inner)
    }

    /// Everything after a record, to the end of the stream.
    pub async fn watch(&self, job: &str, after_seq: u64) -> Vec<pb::WatchEvent> {
        let request = pb::WatchRequest { job: job.to_owned(), after_seq };
        let mut stream = self.client().await.watch(request).await.expect("watches").into_inner();
        let mut events = Vec::new();
        while let Some(event) = soon("an event or the end", stream.message()).await.expect("no error") {
            events.push(event);
        }
        events
    }

    pub async fn phase(&self, job: &str) -> String {
        let request = pb::GetRequest { job: job.to_owned() };
        self.client().await.get(request).await.expect("answers").into_inner().phase
    }
}

/// Takes the identity from the header `who`, as `name:role,role`; without one it is the user.
fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    let who = request.metadata().get("who").and_then(|who| who.to_str().ok()).map(str::to_owned);
    if let Some((name, roles)) = who.as_deref().and_then(|who| who.split_once(':')) {
        let role = |name: &str| match name {
            "read" => Role::Read,
            "submit" => Role::Submit,
            "approve" => Role::Approve,
            _ => Role::Work,
        };
        let roles: BTreeSet<Role> = roles.split(',').map(role).collect();
        request.extensions_mut().insert(Identity { name: name.to_owned(), roles });
    }
    Ok(request)
}

/// A request by somebody.
pub fn by<T>(who: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("who", who.parse().expect("plain"));
    request
}

/// A worker whose work the test does.
pub struct FakeWorker {
    pub name: String,
    bus: Arc<dyn Bus>,
    heard: mpsc::UnboundedReceiver<to_worker::Message>,
    held: Mutex<Vec<(String, u64)>>,
    slots: u32,
    protocol: u32,
    pub draining: bool,
    _listener: AbortOnDropHandle<()>,
}

impl FakeWorker {
    /// One at work on the only subtask of a job `one`, whose base its gate has passed.
    pub async fn at_work(server: &Server, place: &Place) -> (Self, pb::Assignment) {
        let mut worker = Self::new(server, "w", 1);
        server.submit(place, place.plan("one", &["a"])).await.expect("taken");
        let gate = worker.take().await;
        worker.finish(&server.hub, &gate).await;
        let attempt = worker.take().await;
        (worker, attempt)
    }

    pub fn new(server: &Server, name: &str, slots: u32) -> Self {
        Self::speaking(&server.bus, name, slots, pb::PROTOCOL)
    }

    pub fn speaking(bus: &Arc<dyn Bus>, name: &str, slots: u32, protocol: u32) -> Self {
        let mut inbox = bus.subscribe(&Subject::worker(name));
        let (sender, heard) = mpsc::unbounded_channel();
        let listener = tokio::spawn(async move {
            while let Some(incoming) = inbox.next().await {
                let message = pb::ToWorker::decode(incoming.taken()).expect("a message").message.expect("of a kind");
                drop(sender.send(message));
            }
        });
        let worker = Self {
            name: name.to_owned(),
            bus: Arc::clone(bus),
            heard,
            held: Mutex::default(),
            slots,
            protocol,
            draining: false,
            _listener: AbortOnDropHandle::new(listener),
        };
        worker.announce();
        worker
    }

    /// As of the process of this name.
    pub fn incarnation(&self) -> u64 {
        1 + self.name.len() as u64
    }

    pub fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), roles: [Role::Work].into() }
    }

    pub fn announce(&self) {
        let held = self.held.lock().expect("whole").clone();
        let holding = held.iter().map(|(job, id)| pb::Holding { job: job.clone(), ids: vec![*id] }).collect();
        let presence = pb::Presence {
            worker: self.name.clone(),
            work_slots: self.slots,
            gate_slots: 1,
            protocol: self.protocol,
            holding,
            draining: self.draining,
            incarnation: self.incarnation(),
            ..pb::Presence::default()
        };
        let payload = pb::FromWorker { message: Some(from_worker::Message::Presence(presence)) }.encode_to_vec().into();
        let message = Message { subject: Subject::presence(&self.name), id: String::new(), payload };
        self.bus.publish(message).expect("published");
    }

    pub async fn hear(&mut self) -> to_worker::Message {
        soon("a message", self.heard.recv()).await.expect("the bus lives")
    }

    /// Says that the agent of an attempt waits for a person.
    pub fn ask(&self, attempt: &pb::Assignment, asked_ms: i64) {
        let question = pb::Question {
            kind: pb::QuestionKind::Words.into(),
            text: "Which one?".to_owned(),
            ..pb::Question::default()
        };
        let report = pb::Report {
            job: attempt.job.clone(),
            id: attempt.id,
            worker: self.name.clone(),
            body: Some(report::Body::Asking(pb::Asking { question: Some(question), asked_ms })),
        };
        let subject = Subject::report(&attempt.job.parse().expect("a name"), &self.name);
        let payload = pb::FromWorker { message: Some(from_worker::Message::Report(report)) }.encode_to_vec().into();
        self.bus.publish(Message { subject, id: String::new(), payload }).expect("published");
    }

    /// The next answer to such an agent.
    pub async fn told(&mut self) -> pb::AnswerWork {
        loop {
            if let to_worker::Message::Answer(answer) = self.hear().await {
                return answer;
            }
        }
    }

    /// The next assignment, held from now on.
    pub async fn take(&mut self) -> pb::Assignment {
        loop {
            if let to_worker::Message::Assign(assignment) = self.hear().await {
                self.held.lock().expect("whole").push((assignment.job.clone(), assignment.id));
                self.announce();
                return assignment;
            }
        }
    }

    pub fn has_heard_nothing(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// Nothing to change, or green: taken when its record is durable. Like a worker it tries again
    /// when it is told to: an assignment can arrive before its job is listed as running.
    pub async fn finish(&self, hub: &Hub, assignment: &pb::Assignment) -> String {
        let taken = async {
            loop {
                match hub.deliver(&self.identity(), self.result(assignment)).await {
                    Err(HubError::Unavailable(_)) => tokio::time::sleep(AGAIN_AFTER).await,
                    answer => return answer,
                }
            }
        };
        let ack = soon("it is taken", taken).await.expect("taken");
        self.held.lock().expect("whole").retain(|held| *held != (assignment.job.clone(), assignment.id));
        self.announce();
        ack.disposition
    }

    pub fn result(&self, assignment: &pb::Assignment) -> Delivery {
        let outcome = match assignment.kind {
            Some(assignment::Kind::Gate(_)) => finished::Outcome::Gate(pb::GateResult {
                verdict: pb::Verdict::Green.into(),
                ..pb::GateResult::default()
            }),
            _ => finished::Outcome::Unchanged(pb::Unchanged::default()),
        };
        let finished = pb::Finished { outcome: Some(outcome), ..pb::Finished::default() };
        let report = pb::Report {
            job: assignment.job.clone(),
            id: assignment.id,
            worker: self.name.clone(),
            body: Some(report::Body::Finished(finished)),
        };
        Delivery { report, pack: None, logs: Vec::new() }
    }

    /// Does everything until it is dropped.
    pub fn work(mut self, hub: Hub) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let assignment = self.take().await;
                self.finish(&hub, &assignment).await;
            }
        }))
    }
}

/// The events of a job's journal.
pub fn journal(place: &Place, job: &str) -> Vec<longhaul_coordinator::core::Event> {
    let id: JobId = job.parse().expect("valid");
    let records = longhaul_coordinator::checkpoint::read_records(&place.layout().job(&id), 0).expect("readable");
    records.into_iter().filter_map(|record| record.event).collect()
}

/// Where a job's store is.
pub fn store(place: &Place) -> PathBuf {
    place.layout().store("repo-1")
}
