//! Callers who leave in the middle, read nothing, are refused, or were cut with an earlier process;
//! and jobs that another process has.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use longhaul_common::bus::MemoryBus;
use longhaul_coordinator::coordinator::Job;
use longhaul_coordinator::hub::Submission;
use longhaul_coordinator::jobs::JobsService;
use longhaul_proto as pb;
use longhaul_proto::jobs_server::Jobs as _;
use longhaul_proto::to_worker;
use tonic::{Code, Request};

use crate::trouble::until;
use crate::world::{FakeWorker, Place, Server, by, git, soon, store};
use crate::{closed, id};

/// Begins something and leaves at once.
async fn begin_and_leave<T>(work: impl Future<Output = T>) {
    let mut work = pin!(work);
    let pending = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await;
    assert!(pending, "it was over before the caller could leave");
}

fn base_ref(place: &Place, job: &str) -> String {
    let name = format!("refs/longhaul/{job}/base");
    let listed = git(&store(place), &["for-each-ref", "--format=%(objectname)", &name]);
    String::from_utf8_lossy(&listed).trim().to_owned()
}

fn cancel(job: &str) -> pb::CancelRequest {
    pb::CancelRequest { job: job.to_owned(), ..pb::CancelRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_done_whole_though_the_caller_leaves() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let (mut worker, _keeps_the_worker_busy) = FakeWorker::at_work(&server, &place).await;
    let plan = place.plan("two", &["x"]);
    let submission = Submission { plan, pack: None, new_job: true, asked: pb::Audited::default() };
    begin_and_leave(Box::pin(server.hub.submit(submission))).await;
    until("the second job runs", async || server.hub.running(&id("two"))).await;

    let gate = worker.take().await;
    worker.finish(&server.hub, &gate).await;
    server.client().await.cancel(cancel("two")).await.expect("cancelled");
    closed(&server, "two").await;
    until("it is put away", async || server.hub.running(&id("two")).is_none().then_some(())).await;
    let retry = pb::RetryRequest { job: "two".into(), subtasks: vec!["x".into()], ..pb::RetryRequest::default() };
    let service = JobsService::new(server.hub.clone());
    begin_and_leave(service.retry(Request::new(retry))).await;
    until("a request wakes it", async || server.hub.running(&id("two"))).await;
    assert_eq!(server.phase("two").await, "running");
    // The end waits for what was begun, and nothing begins after it.
    let plan = place.plan("three", &["x"]);
    let submission = Submission { plan, pack: None, new_job: true, asked: pb::Audited::default() };
    let hub = server.hub.clone();
    server.stop().await;
    assert!(soon("an answer", Box::pin(hub.submit(submission))).await.is_err());
    assert!(hub.running_jobs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_submission_moves_no_ref_and_makes_no_store() {
    let mut place = Place::new();
    let server = Server::start(&place).await;
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let before = base_ref(&place, "one");
    assert_eq!(before, place.base.to_string());
    let repo = place.folder.path().join("repo");
    git(&repo, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--allow-empty", "-qm", "next"]);
    place.base = String::from_utf8_lossy(&git(&repo, &["rev-parse", "HEAD"])).trim().parse().expect("an id");
    let refused = server.submit_as(&place, place.plan("one", &["a"]), true).await.expect_err("it exists");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    let mut elsewhere = place.plan("one", &["a"]);
    elsewhere.repo.as_mut().expect("there").key = "repo-2".into();
    let refused = server.submit(&place, elsewhere).await.expect_err("another repository");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(!place.layout().store("repo-2").exists(), "nothing is made for it");
    assert_eq!(base_ref(&place, "one"), before);
    // What is taken moves it.
    server.submit(&place, place.plan("one", &["a", "b"])).await.expect("the next generation");
    assert_eq!(base_ref(&place, "one"), place.base.to_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cut_submissions_left_is_gone_after_the_next_start_and_nothing_else() {
    let place = Place::new();
    let server = Server::start(&place).await;
    server.submit(&place, place.plan("base", &["a"])).await.expect("taken");
    server.stop().await;
    let pack = place.layout().root().join("incoming/submission-cut.pack");
    std::fs::write(&pack, "half").expect("written");
    let cut = store(&place).join("objects/incoming-=cut");
    let other = store(&place).join("objects/incoming-other=7");
    for folder in [&cut, &other] {
        std::fs::create_dir_all(folder.join("pack")).expect("a folder");
    }
    let server = Server::start(&place).await;
    assert!(!pack.exists() && !cut.exists());
    assert!(other.exists(), "a job's own is its own to clear");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_another_process_has_is_shown_so_and_taken_up_when_it_lets_go() {
    let place = Place::new();
    let server = Server::start(&place).await;
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    server.stop().await;
    let elsewhere = Job::open(&place.layout(), &id("one")).expect("another process has it");
    let server = Server::start(&place).await;
    let row = async || {
        let jobs = server.client().await.list(pb::ListRequest {}).await.expect("listed").into_inner().jobs;
        jobs.into_iter().next().expect("one job")
    };
    let held = row().await;
    assert!(held.held && !held.live, "{held:?}");
    let get = pb::GetRequest { job: "one".into() };
    let status = server.client().await.get(get).await.expect("read").into_inner();
    assert!(status.warnings.iter().any(|warning| warning.contains("another process")), "{:?}", status.warnings);
    let before = base_ref(&place, "one");
    let refused = server.submit(&place, place.plan("one", &["a", "b"])).await.expect_err("not ours");
    assert_eq!((refused.code(), base_ref(&place, "one")), (Code::FailedPrecondition, before));
    drop(elsewhere);
    // Nobody has to ask.
    until("it runs here", async || server.hub.running(&id("one"))).await;
    let ours = row().await;
    assert!(ours.live && !ours.held, "{ours:?}");
    let _worker = FakeWorker::new(&server, "w", 1).work(server.hub.clone());
    closed(&server, "one").await;
    server.stop().await;
}

#[test]
fn readers_who_take_nothing_hold_no_thread() {
    // As many threads for files as the readers of one kind could hold.
    let threads = 4;
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(threads).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let place = Place::new();
        let server = Server::start(&place).await;
        let names: Vec<String> = (0..3_000).map(|at| format!("subtask-with-a-rather-long-name-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut worker = FakeWorker::new(&server, "w", 1);
        server.submit(&place, place.plan("one", &names)).await.expect("taken");
        let gate = worker.take().await;
        worker.finish(&server.hub, &gate).await;
        let _cancelled_under_it = worker.take().await;
        server.client().await.cancel(cancel("one")).await.expect("cancelled");
        closed(&server, "one").await;
        let logs = place.layout().job(&id("one")).logs(gate.id);
        std::fs::create_dir_all(&logs).expect("a folder");
        std::fs::write(logs.join("gate.log"), vec![b'x'; 32 << 20]).expect("written");

        let mut readers = Vec::new();
        for _ in 0..2 * threads {
            let wanted = pb::LogsRequest { job: "one".into(), attempt: gate.id, ..pb::LogsRequest::default() };
            readers.push(soon("a stream", server.client().await.logs(wanted)).await.expect("read").into_inner());
        }
        let show = async || {
            let wanted = pb::ShowRequest { job: "one".into(), subtask: names[7].to_owned() };
            soon("an answer", server.client().await.show(wanted)).await.expect("shown").into_inner()
        };
        assert_eq!(show().await.row.expect("a row").state, "cancelled");
        let mut bytes = 0;
        while let Some(chunk) = soon("a piece", readers[0].message()).await.expect("read") {
            bytes += chunk.data.len();
        }
        assert_eq!(bytes, 32 << 20, "a slow reader gets everything");
        drop(readers);

        let mut watchers = Vec::new();
        for _ in 0..2 * threads {
            let wanted = pb::WatchRequest { job: "one".into(), after_seq: 0 };
            watchers.push(soon("a stream", server.client().await.watch(wanted)).await.expect("watched").into_inner());
        }
        assert_eq!(show().await.row.expect("a row").state, "cancelled");
        let mut told = Vec::new();
        while let Some(event) = soon("an event", watchers[0].message()).await.expect("told") {
            told.push(event.seq);
        }
        assert!(told.len() > names.len(), "{}", told.len());
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        let whole: Vec<u64> = server.watch("one", 0).await.iter().map(|event| event.seq).collect();
        assert_eq!(told, whole, "nothing is missing where it went on");
        drop(watchers);
        server.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_goes_to_the_worker_s_process_over_the_bus_and_only_from_who_may() {
    let place = Place::new();
    let bus: std::sync::Arc<dyn longhaul_common::bus::Bus> = std::sync::Arc::new(MemoryBus::default());
    let server = Server::over(&place, bus).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    let drain = |worker: &str| pb::DrainWorkerRequest { worker: worker.to_owned() };
    let mut client = server.client().await;
    until("it is heard", async || {
        let rows = server.client().await.workers(pb::WorkersRequest {}).await.expect("listed").into_inner().workers;
        rows.into_iter().next()
    })
    .await;
    for who in ["eve:read", "al:approve", "v:work"] {
        let refused = client.drain_worker(by(who, drain("w"))).await.expect_err(who);
        assert_eq!(refused.code(), Code::PermissionDenied, "{who}");
    }
    assert_eq!(client.drain_worker(drain("x")).await.expect_err("nobody").code(), Code::NotFound);
    assert!(worker.has_heard_nothing());
    for _ in 0..2 {
        let told = client.drain_worker(by("al:submit", drain("w"))).await.expect("told").into_inner();
        assert_eq!(told.affected, 1);
        let heard = worker.hear().await;
        let to_worker::Message::Drain(heard) = heard else { panic!("no drain: {heard:?}") };
        assert_eq!(heard.incarnation, worker.incarnation());
    }
    worker.draining = true;
    worker.announce();
    until("it is known to drain", async || {
        let told = client.drain_worker(drain("w")).await.expect("known").into_inner();
        (told.affected == 0).then_some(told.lines)
    })
    .await;
    assert_eq!(server.bus.link(), longhaul_common::bus::Link::Up);
    server.stop().await;
}
