//! A worker with a right token that tries everything which is not its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use longhaul_common::bus::Subject;
use longhaul_common::server::ServerAccess;
use longhaul_coordinator::core::Event;
use longhaul_coordinator::web::SpoolLimits;
use longhaul_proto::jobs_client::JobsClient;
use longhaul_proto::{
    ApproveRequest, Assignment, CancelRequest, Finished, Patch, Presence, Progress, Report, ResultPart, RetryRequest,
    SteerRequest, SubmitPart, Unchanged, Wip, finished, from_worker, report, result_part,
};
use longhaul_tests::World;
use longhaul_tests::fleet::{Extras, FleetSpec, Guard, Person};
use longhaul_tests::nats::NatsServer;
use tonic::Code;

use crate::rig::{HEAD, JOB, Rig, git_in, greeting};
use crate::rogue::{Rogue, RogueSpec, end, finished as finished_report, log, part, say, whole};

/// Another job, of another repository, with which the hostile worker has nothing to do.
const THEIRS: &str = "theirs";

/// The agents wait until the test lets them go.
fn work(go: &Path) -> String {
    format!(
        r#"
[agent.wait]
kind = "command"
run = "while [ ! -e {} ]; do sleep 0.1; done; sed -i s/hello/goodbye/ src/f0.txt"

[[task]]
id = "honest"
write = ["src/f0.txt"]
instructions = "Say goodbye"
ladder = ["wait"]
wip_every = "off"
[[task]]
id = "bait"
write = ["src/f1.txt"]
instructions = "Say goodbye"
ladder = ["wait"]
labels = ["odd"]
wip_every = "off"

[gate]
run = "true"
"#,
        go.display()
    )
}

struct Stage {
    rig: Rig,
    rogue: Rogue,
    access: ServerAccess,
    /// The attempt of the honest worker in the same job, and the hostile worker's own.
    honest: u64,
    own: Assignment,
    seed: String,
    go: PathBuf,
    alice: Person,
}

impl Stage {
    fn set() -> Self {
        let world = greeting(2);
        let go = world.folder().join("go");
        world.job(&format!("{HEAD}{}", work(&go)));
        other_job(&world, &go);
        let mut guard = Guard::new(&world).expect("a guard");
        guard.worker_by_token(&world, "w1").expect("w1");
        let token = guard.worker_by_token(&world, "w2").expect("w2");
        let alice = guard.person(&world, "alice", &["submit", "approve", "read"]).expect("alice");
        let (seed_file, seed) = (guard.seed_file("w2"), guard.seed("w2").expect("a seed"));
        let rig = Rig::start(world, &FleetSpec { workers: 1, ..FleetSpec::default() }, Extras::guarded(guard));
        let access = ServerAccess {
            url: rig.fleet.url(),
            ca: Some(rig.ca()),
            token: Some(token.token),
            ..ServerAccess::default()
        };
        let rogue = Rogue::start(
            RogueSpec {
                name: "w2",
                access: access.clone(),
                nats: rig.nats().url().replacen("nats://", "tls://", 1),
                seed: seed_file,
                slots: (1, 0),
                labels: vec!["odd".to_owned()],
                claims: BTreeMap::new(),
                endpoint: String::new(),
            },
            None,
        );
        rig.expect(0, Some(&alice), &["run", "--detach"]);
        rig.expect(0, Some(&alice), &["run", "--detach", "other/longhaul.toml"]);
        let own = rig.wait("the bait is taken", || rogue.assigned().into_iter().next());
        let honest = rig.wait("the honest attempt is assigned", || attempt_of(&rig, JOB, "w1"));
        rig.wait("the other job runs", || attempt_of(&rig, THEIRS, "w1"));
        Self { rig, rogue, access, honest, own, seed, go, alice }
    }

    /// A report of the hostile worker's own attempt.
    fn wip(&self, commit: &str, tree: &str) -> Report {
        let wip = Wip { commit: bytes_of(commit), tree: bytes_of(tree), ..Wip::default() };
        Report { body: Some(report::Body::Wip(wip)), ..finished_report(JOB, self.own.id, "w2", Finished::default()) }
    }

    #[track_caller]
    fn refused(&self, parts: Vec<ResultPart>, code: Code) {
        let error = self.rogue.deliver(parts).expect_err("it is refused");
        assert_eq!(error.code(), code, "{}", error.message());
    }

    fn git(&self, folder: &Path, args: &[&str]) -> Output {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).args(args).envs(self.access.git_env()).env("GIT_TERMINAL_PROMPT", "0");
        git.output().expect("git")
    }
}

/// The attempt of a job that a worker has.
fn attempt_of(rig: &Rig, job: &str, worker: &str) -> Option<u64> {
    rig.events(job).into_iter().find_map(|event| match event {
        Event::Assigned(assigned) if assigned.worker == worker => Some(assigned.attempt),
        _ => None,
    })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

/// A second repository and a job file for it, beside the first.
fn other_job(world: &World, go: &Path) {
    let repo = world.folder().join("other/repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    git_in(&repo, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::create_dir_all(repo.join("src")).expect("a folder");
    std::fs::write(repo.join("src/f0.txt"), "hello, this is private\n").expect("written");
    git_in(&repo, &["add", "--all"]);
    git_in(&repo, &["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "-m", "start"]);
    let text = format!("{HEAD}{}", work(go)).replace(&format!("name = {JOB:?}"), &format!("name = {THEIRS:?}"));
    let start = text.find("[[task]]\nid = \"bait\"").expect("the bait");
    let stop = text.find("[gate]").expect("the gate");
    let text = format!("{}{}", &text[..start], &text[stop..]);
    std::fs::write(repo.with_file_name("longhaul.toml"), text).expect("written");
}

#[test]
fn a_hostile_worker_changes_nothing_that_is_not_its_own() {
    if NatsServer::is_missing() {
        return;
    }
    let stage = Stage::set();
    let before = stage.rig.mark(&[JOB, THEIRS]);
    answers_for_others(&stage);
    damaged_deliveries(&stage);
    repositories(&stage);
    requests(&stage);
    words_on_the_bus(&stage);
    assert_eq!(stage.rig.mark(&[JOB, THEIRS]), before, "what is refused changes nothing");
    let spool = std::fs::read_dir(stage.rig.fleet.server.root.join("spool")).expect("the spool").count();
    assert_eq!(spool, 0, "and leaves nothing");
    own_result_with_a_way_out(&stage);
    // The honest worker's result lands as if nobody else had been there.
    std::fs::write(&stage.go, "").expect("written");
    let landed = |event: &Event| matches!(event, Event::Landed(_));
    for job in [JOB, THEIRS] {
        stage.rig.wait("the honest results land", || stage.rig.events(job).iter().any(landed).then_some(()));
    }
    stage.rig.expect(0, Some(&stage.alice), &["cancel", "--whole-job", "--job", JOB]);
}

fn answers_for_others(stage: &Stage) {
    let unchanged =
        || Finished { outcome: Some(finished::Outcome::Unchanged(Unchanged::default())), ..Finished::default() };
    let of = |job: &str, id: u64, worker: &str| whole(finished_report(job, id, worker, unchanged()), &[]);
    stage.refused(of(JOB, stage.honest, "w2"), Code::PermissionDenied);
    stage.refused(of(JOB, stage.honest, "w1"), Code::PermissionDenied);
    stage.refused(of(JOB, stage.honest, "local"), Code::PermissionDenied);
    let theirs = attempt_of(&stage.rig, THEIRS, "w1").expect("it is assigned");
    stage.refused(of(THEIRS, theirs, "w2"), Code::PermissionDenied);
    stage.refused(of(JOB, 4_711, "w2"), Code::NotFound);
    stage.refused(of("nosuchjob", stage.own.id, "w2"), Code::NotFound);
    stage.refused(of("../guarded", stage.own.id, "w2"), Code::NotFound);
}

fn damaged_deliveries(stage: &Stage) {
    let (commit, tree) = ("11".repeat(20), "22".repeat(20));
    let report = || part(result_part::Part::Report(stage.wip(&commit, &tree)));
    let large = vec![0; (1 << 20) + 1];
    let over = part(result_part::Part::Pack(large.clone()));
    stage.refused(vec![report(), over, end(&large)], Code::InvalidArgument);
    stage.refused(vec![report(), log("a.log", &large), end(&[])], Code::InvalidArgument);
    stage.refused(vec![report(), part(result_part::Part::Pack(vec![0; 8 << 20])), end(&[])], Code::OutOfRange);
    for name in ["../../x", "/tmp/x", "a/b", ".."] {
        stage.refused(vec![report(), log(name, b"x"), end(&[])], Code::InvalidArgument);
    }
    // One piece more than a pack may have.
    let pieces = usize::try_from(SpoolLimits::default().pack_bytes >> 20).expect("it fits") + 1;
    let error = stage.rogue.deliver_endless(stage.wip(&commit, &tree), pieces).expect_err("it is refused");
    assert_eq!(error.code(), Code::ResourceExhausted, "{}", error.message());
}

fn repositories(stage: &Stage) {
    let mirror = stage.rig.world.folder().join("mirror");
    std::fs::create_dir_all(&mirror).expect("a folder");
    git_in(&mirror, &["init", "--quiet", "--bare"]);
    let base = stage.own.base.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fetched = stage.git(&mirror, &["fetch", "--quiet", &stage.access.at("git/guarded.git"), &base]);
    assert!(fetched.status.success(), "its own: {}", String::from_utf8_lossy(&fetched.stderr));
    for path in ["git/theirs.git", "git/../git/theirs.git", "git/nosuchjob.git", "git/guarded.git/../theirs.git"] {
        let fetched = stage.git(&mirror, &["fetch", &stage.access.at(path), "+refs/*:refs/stolen/*"]);
        let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
        assert!(!fetched.status.success() && said.contains("not found"), "{path}: {said}");
    }
    assert_eq!(git_in(&mirror, &["for-each-ref"]), "");
    for target in ["refs/heads/main", "refs/longhaul/guarded/integration-1"] {
        let pushed = stage.git(&mirror, &["push", &stage.access.at("git/guarded.git"), &format!("{base}:{target}")]);
        assert!(!pushed.status.success(), "{target}: {}", String::from_utf8_lossy(&pushed.stderr));
    }
}

fn requests(stage: &Stage) {
    let job = || JOB.to_owned();
    stage.rogue.runtime.block_on(async {
        let mut jobs = JobsClient::new(stage.access.connect().expect("a connection"));
        let approve = ApproveRequest { job: job(), all: true, by: "alice".to_owned(), ..ApproveRequest::default() };
        let retry = RetryRequest { job: job(), subtasks: vec!["honest".to_owned()], ..RetryRequest::default() };
        let steer = SteerRequest { job: job(), subtask: "honest".to_owned(), text: "stop".to_owned() };
        let codes = [
            jobs.approve(approve).await.map(drop),
            jobs.cancel(CancelRequest { job: job(), ..CancelRequest::default() }).await.map(drop),
            jobs.retry(retry).await.map(drop),
            jobs.steer(steer).await.map(drop),
            jobs.submit(futures::stream::iter([SubmitPart::default()])).await.map(drop),
            jobs.get(longhaul_proto::GetRequest { job: job() }).await.map(drop),
            jobs.drain_worker(longhaul_proto::DrainWorkerRequest { worker: "w1".to_owned() }).await.map(drop),
        ]
        .map(|answer| answer.expect_err("refused").code());
        assert!(codes.iter().all(|code| *code == Code::PermissionDenied), "{codes:?}");
    });
}

fn words_on_the_bus(stage: &Stage) {
    let rogue = &stage.rogue;
    // In its own place it may say anything: of an attempt that is not its own it is not heard.
    rogue.claim(JOB, stage.honest);
    let lie = Progress { step: "lie".to_owned(), line: "the honest one lies".to_owned() };
    let job = JOB.parse().expect("a name");
    for worker in ["w1", "w2"] {
        let body = Some(report::Body::Progress(lie.clone()));
        let report = Report { job: JOB.to_owned(), id: stage.honest, worker: worker.to_owned(), body };
        say(&rogue.bus, &Subject::report(&job, "w2"), from_worker::Message::Report(report));
        let forged = finished_report(JOB, stage.honest, worker, Finished::default());
        say(&rogue.bus, &Subject::report(&job, "w2"), from_worker::Message::Report(forged));
    }
    let presence = Presence { worker: "w1".to_owned(), draining: true, ..Presence::default() };
    say(&rogue.bus, &Subject::presence("w2"), from_worker::Message::Presence(presence));
    let refusals = rogue.runtime.block_on(others_subjects(stage));
    for subject in
        ["lh.default.presence.w1", "lh.default.report.guarded.w1", "lh.default.worker.w1", "lh.default.event"]
    {
        assert!(refusals.contains(subject), "{subject} was not refused: {refusals}");
    }
    let status = stage.rig.expect(0, Some(&stage.alice), &["status", JOB, "--json"]).stdout;
    assert!(!status.contains("the honest one lies"), "{status}");
    let workers = stage.rig.expect(0, Some(&stage.alice), &["workers", "--json"]).stdout;
    assert!(!workers.contains("draining\""), "{workers}");
}

/// What NATS says to a client with the hostile worker's key that uses others' subjects.
async fn others_subjects(stage: &Stage) -> String {
    let told = Arc::new(Mutex::new(String::new()));
    let telling = Arc::clone(&told);
    let client = async_nats::ConnectOptions::with_nkey(stage.seed.clone())
        .add_root_certificates(stage.rig.ca())
        .require_tls(true)
        .custom_inbox_prefix("_INBOX.w2")
        .event_callback(move |event| {
            telling.lock().expect("no test panicked").push_str(&format!("{event}\n"));
            std::future::ready(())
        })
        .connect(stage.rig.nats().url())
        .await
        .expect("its key is right");
    for subject in ["lh.default.presence.w1", "lh.default.report.guarded.w1", "lh.default.worker.w1"] {
        client.publish(subject, "a lie".into()).await.expect("queued");
    }
    let _events = client.subscribe("lh.default.event.>").await.expect("asked");
    client.flush().await.expect("sent");
    let begun = std::time::Instant::now();
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    while told.lock().expect("no test panicked").lines().filter(|line| line.contains("ermission")).count() < 4 {
        looks.tick().await;
        assert!(begun.elapsed().as_secs() < 10, "{}", told.lock().expect("no test panicked"));
    }
    told.lock().expect("no test panicked").clone()
}

/// A pack of its own attempt with a tree that leads out: as work in progress it is dropped, as a
/// result it is a failure of its own; no ref moves.
fn own_result_with_a_way_out(stage: &Stage) {
    let mirror = stage.rig.world.folder().join("mirror");
    let base = stage.own.base.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let refs = stage.rig.mark(&[]).1;
    for name in [".git", ".."] {
        let (commit, tree, pack) = evil_pack(&mirror, &base, name);
        let dropped = stage.rogue.deliver(whole(stage.wip(&commit, &tree), &pack)).expect("answered");
        assert_eq!(dropped.disposition, "closed", "{name:?}");
    }
    let (commit, tree, pack) = evil_pack(&mirror, &base, ".git");
    let patch = Patch {
        commit: bytes_of(&commit),
        tree: bytes_of(&tree),
        base: stage.own.base.clone(),
        files: vec!["src/f1.txt".to_owned()],
        ..Patch::default()
    };
    let outcome = Finished { outcome: Some(finished::Outcome::Patch(patch)), ..Finished::default() };
    stage.rogue.deliver(whole(finished_report(JOB, stage.own.id, "w2", outcome), &pack)).expect("answered");
    let failed = stage.rig.events(JOB).into_iter().find_map(|event| match event {
        Event::AttemptFailed(failed) if failed.attempt == stage.own.id => failed.failure,
        _ => None,
    });
    let failed = failed.expect("its attempt has failed");
    assert!(failed.message.contains("could not be taken into the store"), "{failed:?}");
    assert_eq!(stage.rig.mark(&[]).1, refs, "no ref moved");
    for store in stage.rig.stores() {
        let has = Command::new("git").arg("-C").arg(&store).args(["cat-file", "-e", &commit]).output().expect("git");
        assert!(!has.status.success(), "the objects are not taken");
    }
}

/// A commit on the base whose tree has one entry of this name, packed.
fn evil_pack(repo: &PathBuf, base: &str, name: &str) -> (String, String, Vec<u8>) {
    let piped = |args: &[&str], input: &[u8]| {
        use std::io::Write as _;
        let mut command = Command::new("git");
        command.arg("-C").arg(repo).args(args).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        for (key, value) in [("NAME", "A"), ("EMAIL", "a@b.c"), ("DATE", "@1 +0000")] {
            command.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        let mut child = command.spawn().expect("git");
        child.stdin.take().expect("piped").write_all(input).expect("it reads");
        let out = child.wait_with_output().expect("git");
        assert!(out.status.success(), "git {args:?}");
        out.stdout
    };
    let line = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    let blob = line(piped(&["hash-object", "-w", "--stdin"], b"evil\n"));
    let mut tree = format!("100644 {name}\0").into_bytes();
    tree.extend(bytes_of(&blob));
    let tree = line(piped(&["hash-object", "-w", "--literally", "--stdin", "-t", "tree"], &tree));
    let commit = line(piped(&["commit-tree", "-m", "m", "-p", base, &tree], b""));
    let pack =
        piped(&["pack-objects", "--revs", "--thin", "-q", "--stdout"], format!("{commit}\n^{base}\n").as_bytes());
    (commit, tree, pack)
}
