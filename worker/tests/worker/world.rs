//! A repository, its store, a bus, a sink and a worker, all below one temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use longhaul_common::bus::{Bus, MemoryBus, Message, Subject, Subscription};
use longhaul_common::server::ServerAccess;
use longhaul_common::{JobId, Oid};
use longhaul_proto::{
    Ack, AcpAgent, Agent, AgentProgram, Assignment, CancelWork, CodemodAgent, CodexAgent, CommandAgent, CommandLine,
    Failure, Finished, FromWorker, Gate, GateResult, Patch, Permissions, Policy, Presence, Repo, RepoEnv, Sandbox,
    Task, ToWorker, Wip, Work, agent, assignment, finished, from_worker, report, to_worker,
};
use longhaul_worker::{Delivery, ResultSink, Scope, Shutdown, SinkError, WorkerConfig, WorkerError};
use prost::Message as _;
use tokio::sync::{mpsc, watch};

/// Longest wait for anything; only a failing test ever waits so long.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub fn shim() -> Vec<std::ffi::OsString> {
    vec![env!("CARGO_BIN_EXE_longhaul-shim-test").into(), "__shim".into()]
}

pub fn sh(line: &str) -> CommandLine {
    CommandLine { shell: line.to_owned(), ..CommandLine::default() }
}

pub fn command(line: &str) -> Agent {
    let run = CommandAgent { run: Some(sh(line)), ..CommandAgent::default() };
    Agent { name: "script".into(), kind: Some(agent::Kind::Command(run)) }
}

pub fn codemod(yaml: &str) -> Agent {
    let rules = CodemodAgent { rules_path: "rules.yml".into(), rules_yaml: yaml.into() };
    Agent { name: "rules".into(), kind: Some(agent::Kind::Codemod(rules)) }
}

/// An agent of the test's own binary that talks, and what it may.
pub fn talker(protocol: &str, scenario: &str, execute: &str) -> Agent {
    let shim = env!("CARGO_BIN_EXE_longhaul-shim-test").to_owned();
    let argv = [shim, "agent".to_owned(), protocol.to_owned(), scenario.to_owned()].to_vec();
    let permissions = Permissions { execute: execute.to_owned(), ..Permissions::default() };
    let program = Some(AgentProgram {
        run: Some(CommandLine { argv, ..CommandLine::default() }),
        permissions: Some(permissions),
        ..AgentProgram::default()
    });
    let kind = match protocol {
        "codex" => agent::Kind::Codex(CodexAgent { program, ..CodexAgent::default() }),
        _ => agent::Kind::Acp(AcpAgent { program, ..AcpAgent::default() }),
    };
    Agent { name: "talker".into(), kind: Some(kind) }
}

pub fn git(at: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(at).args([
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "-c",
        "protocol.file.allow=always",
    ]);
    let out = command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git runs");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Keeps what is delivered; refuses while told to.
pub struct Sink {
    results: mpsc::UnboundedSender<Finished>,
    pub refusing: AtomicBool,
    pub tries: AtomicU64,
    /// Work in progress, in order.
    pub wips: watch::Sender<Vec<Wip>>,
    /// Logs, in order.
    pub logs: std::sync::Mutex<Vec<(String, String)>>,
    store: PathBuf,
}

impl ResultSink for Sink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<Ack, SinkError>> {
        Box::pin(async move {
            self.tries.fetch_add(1, Ordering::SeqCst);
            if self.refusing.load(Ordering::SeqCst) {
                return Err(SinkError::Unavailable("told to".into()));
            }
            if let Some(pack) = &delivery.pack {
                let mut import = Command::new("git");
                import.arg("-C").arg(&self.store).args(["index-pack", "--strict", "--fix-thin", "--stdin"]);
                let file = std::fs::File::open(pack).expect("the pack exists");
                let out = import.stdin(file).output().expect("git runs");
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
            let finished = match delivery.report.body {
                Some(report::Body::Finished(finished)) => finished,
                Some(report::Body::Wip(wip)) => {
                    self.wips.send_modify(|wips| wips.push(wip));
                    return Ok(Ack { disposition: "kept".into() });
                }
                _ => panic!("not a result"),
            };
            for (name, path) in &delivery.logs {
                let text = read_log(path);
                self.logs.lock().expect("no test panics with it").push((name.clone(), text));
            }
            assert_eq!(finished.logs.len(), delivery.logs.len(), "every log is delivered");
            self.results.send(finished).expect("the test listens");
            Ok(Ack { disposition: "kept".into() })
        })
    }
}

/// A log as people see it.
fn read_log(path: &Path) -> String {
    let log = longhaul_common::log_file::open(path).expect("the log exists");
    std::io::read_to_string(log).expect("the log is text")
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub bus: Arc<MemoryBus>,
    pub sink: Arc<Sink>,
    results: mpsc::UnboundedReceiver<Finished>,
    from: Subscription,
    pub shutdown: Shutdown,
    pub scope: Scope,
    /// Changes the settings of workers that are started.
    pub configure: Box<dyn Fn(&mut WorkerConfig) + Send>,
    running: Option<tokio::task::JoinHandle<Result<(), WorkerError>>>,
    next_id: u64,
    pub repo: Repo,
    pub policy: Policy,
    pub task: Task,
    pub files: Vec<String>,
}

impl World {
    /// A repository with these files in its one commit, and a worker with one slot of each kind.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let user = dir.path().join("user");
        std::fs::create_dir(&user).expect("made");
        git(&user, &["init", "-q", "-b", "main"]);
        let store = dir.path().join("store.git");
        let (results, received) = mpsc::unbounded_channel();
        let bus = Arc::new(MemoryBus::default());
        let from = Box::pin(futures::stream::select(
            bus.subscribe(&Subject::presences()),
            bus.subscribe(&Subject::reports(&job())),
        ));
        let sink = Sink {
            results,
            refusing: AtomicBool::new(false),
            tries: AtomicU64::new(0),
            wips: watch::Sender::default(),
            logs: Default::default(),
            store: store.clone(),
        };
        let mut world = Self {
            repo: Repo {
                name: "r".into(),
                path: user.display().to_string(),
                env: Some(RepoEnv::default()),
                ..Repo::default()
            },
            dir,
            bus,
            sink: Arc::new(sink),
            results: received,
            from,
            shutdown: Shutdown::default(),
            scope: Scope::Job(job()),
            configure: Box::new(|_| {}),
            running: None,
            next_id: 0,
            policy: Policy::default(),
            task: Task { instructions: "Do it\nand well".into(), whole_repository: true, ..Task::default() },
            files: Vec::new(),
        };
        world.commit(files);
        git(world.dir.path(), &["clone", "-q", "--bare", "user", "store.git"]);
        world.start();
        world
    }

    pub fn user(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store.git")
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("worker")
    }

    /// The folder of a slot, e.g. `work-0`.
    pub fn slot(&self, name: &str) -> PathBuf {
        self.root().join("slots").join(longhaul_common::layout::repo_key(&self.user())).join(name)
    }

    /// Commits files on top and pins the base to it.
    pub fn commit(&mut self, files: &[(&str, &str)]) -> Oid {
        let user = self.user();
        for (path, content) in files {
            let path = user.join(path);
            std::fs::create_dir_all(path.parent().expect("has a parent")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        git(&user, &["add", "-A"]);
        git(&user, &["commit", "-q", "--allow-empty", "-m", "change"]);
        self.pin()
    }

    /// Pins the base to the user's HEAD.
    pub fn pin(&mut self) -> Oid {
        if self.store().exists() {
            git(&self.store(), &["fetch", "-q", "origin", "+refs/heads/*:refs/heads/*"]);
        }
        let head: Oid = git(&self.user(), &["rev-parse", "HEAD"]).parse().expect("an id");
        self.repo.base = head.to_vec();
        head
    }

    pub fn start(&mut self) {
        self.shutdown = Shutdown::default();
        let mut config = WorkerConfig::new("w", self.root(), shim());
        (self.configure)(&mut config);
        let scope = self.scope.clone();
        let worker = longhaul_worker::run(config, scope, self.bus.clone(), self.sink.clone(), self.shutdown.clone());
        self.running = Some(tokio::spawn(worker));
    }

    pub async fn stop(&mut self) {
        self.shutdown.stop.cancel();
        self.ended().await.expect("the worker ends well");
    }

    /// Waits until the worker ends by itself.
    pub async fn ended(&mut self) -> Result<(), WorkerError> {
        let running = self.running.take().expect("started");
        tokio::time::timeout(WAIT_MAX, running).await.expect("ends in time").expect("does not panic")
    }

    /// What its programs do is told to the test outside their workspaces, where a sandbox lets none write.
    pub fn unconfined(&mut self) {
        self.policy.set_sandbox(Sandbox::DangerFullAccess);
    }

    pub fn assignment(&mut self, kind: assignment::Kind) -> Assignment {
        self.next_id += 1;
        Assignment {
            files_commit: Vec::new(),
            job: job().to_string(),
            id: self.next_id,
            worker: "w".into(),
            base: self.repo.base.clone(),
            repo: Some(self.repo.clone()),
            policy: Some(self.policy.clone()),
            job_dir: self.dir.path().display().to_string(),
            store: self.store().display().to_string(),
            kind: Some(kind),
        }
    }

    pub fn work(&mut self, ladder: Vec<Agent>) -> Assignment {
        let work = Work {
            subtask: "s1".into(),
            task: Some(self.task.clone()),
            may_be_unchanged: self.task.may_be_unchanged,
            ladder,
            files: self.files.clone(),
            attempt_number: 1,
            author_name: "Ada <Evil>".into(),
            author_email: "ada@example.org".into(),
            ..Work::default()
        };
        self.assignment(assignment::Kind::Work(work))
    }

    /// Sends once the worker listens; the bus does not keep what nobody hears.
    pub async fn send(&self, message: to_worker::Message) {
        tokio::task::yield_now().await;
        let payload = ToWorker { message: Some(message) }.encode_to_vec();
        let message = Message { subject: Subject::worker("w"), id: String::new(), payload: payload.into() };
        self.bus.publish(message).expect("fits");
    }

    pub async fn assign(&mut self, assignment: Assignment) {
        self.heard(|message| matches!(message, from_worker::Message::Presence(_))).await;
        self.send(to_worker::Message::Assign(assignment)).await;
    }

    pub async fn cancel(&self, id: u64) {
        let cancel = CancelWork { job: job().to_string(), id, reason: "test".into() };
        self.send(to_worker::Message::Cancel(cancel)).await;
    }

    /// Waits until the worker says something.
    pub async fn heard(&mut self, wanted: impl Fn(&from_worker::Message) -> bool) -> from_worker::Message {
        let wait = async {
            loop {
                let payload = self.from.next().await.expect("the bus stays open").taken();
                let message = FromWorker::decode(payload).expect("decodes").message.expect("has one");
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, wait).await.expect("the worker says it")
    }

    /// Waits until the output of a running program says `line`.
    pub async fn heard_line(&mut self, line: &str) {
        self.heard(|message| match message {
            from_worker::Message::Report(report) => {
                matches!(&report.body, Some(report::Body::Progress(progress)) if progress.line == line)
            }
            from_worker::Message::Presence(_) => false,
        })
        .await;
    }

    pub async fn result(&mut self) -> Finished {
        tokio::time::timeout(WAIT_MAX, self.results.recv()).await.expect("a result in time").expect("the sink lives")
    }

    pub fn no_result(&mut self) -> bool {
        self.results.try_recv().is_err()
    }

    /// Waits until the worker announces itself so.
    pub async fn present(&mut self, wanted: impl Fn(&Presence) -> bool) -> Presence {
        let message =
            self.heard(|message| matches!(message, from_worker::Message::Presence(presence) if wanted(presence))).await;
        let from_worker::Message::Presence(presence) = message else { panic!("not a presence") };
        presence
    }

    /// Makes a worker of a fleet of it, which fetches from this world as a server.
    pub async fn as_fleet(&mut self, more: impl Fn(&mut WorkerConfig) + Send + 'static) {
        self.stop().await;
        let url = format!("file://{}", self.dir.path().display());
        self.scope = Scope::All;
        self.configure = Box::new(move |config| {
            config.server = Some(ServerAccess { url: url.clone(), ..ServerAccess::default() });
            more(config);
        });
        self.start();
    }

    /// Runs a subtask to its end.
    pub async fn run(&mut self, ladder: Vec<Agent>) -> finished::Outcome {
        let assignment = self.work(ladder);
        self.assign(assignment).await;
        self.result().await.outcome.expect("has an outcome")
    }

    pub async fn patch(&mut self, ladder: Vec<Agent>) -> Patch {
        match self.run(ladder).await {
            finished::Outcome::Patch(patch) => patch,
            other => panic!("no patch: {other:?}"),
        }
    }

    pub async fn failure(&mut self, ladder: Vec<Agent>) -> Failure {
        match self.run(ladder).await {
            finished::Outcome::Failure(failure) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    pub async fn gate(&mut self, gate: Gate) -> GateResult {
        let assignment = self.assignment(assignment::Kind::Gate(gate));
        self.assign(assignment).await;
        match self.result().await.outcome.expect("has an outcome") {
            finished::Outcome::Gate(result) => result,
            other => panic!("no verdict: {other:?}"),
        }
    }

    /// A file of a delivered commit, from the store.
    pub fn show(&self, commit: &[u8], path: &str) -> String {
        let commit = Oid::from_bytes(commit).expect("an id");
        git(&self.store(), &["show", &format!("{commit}:{path}")])
    }
}

pub fn job() -> JobId {
    "job-1".parse().expect("a name")
}
