//! Jobs of one server: submitted, watched, steered and restarted over a real connection.

mod askers;
mod callers;
mod trouble;
mod world;

use longhaul_common::JobId;
use longhaul_coordinator::core::Event;
use longhaul_coordinator::hub::{HubError, Identity, Role};
use longhaul_proto as pb;
use longhaul_proto::to_worker;
use tonic::Code;
use world::{FakeWorker, Place, Server, by, git, journal, soon, store};

fn id(job: &str) -> JobId {
    job.parse().expect("valid")
}

async fn closed(server: &Server, job: &str) {
    let events = server.watch(job, 0).await;
    assert_eq!(events.last().map(|event| event.event.as_str()), Some("job_closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_runs_is_watched_to_its_end_and_can_be_read_after() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let _worker = FakeWorker::new(&server, "w", 2).work(server.hub.clone());
    let reply = server.submit(&place, place.plan("one", &["a", "b", "c"])).await.expect("taken");
    assert_eq!((reply.job.as_str(), reply.note.as_str()), ("one", "job one with 3 subtasks"));
    let all = server.watch("one", 0).await;
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq), "in order, none twice");
    assert_eq!(all.last().expect("events").event, "job_closed");
    // From the middle: exactly the rest, also when the job is over.
    let middle = all[all.len() / 2].seq;
    let rest = server.watch("one", middle).await;
    let expected: Vec<u64> = all.iter().map(|event| event.seq).filter(|&seq| seq > middle).collect();
    assert_eq!(rest.iter().map(|event| event.seq).collect::<Vec<_>>(), expected);
    assert_eq!(server.phase("one").await, "done");
    let jobs = server.client().await.list(pb::ListRequest {}).await.expect("listed").into_inner().jobs;
    assert_eq!(jobs.iter().map(|row| (row.job.as_str(), row.phase.as_str())).collect::<Vec<_>>(), [("one", "done")]);
    let report = server.client().await.report(pb::ReportRequest { job: "one".into() }).await.expect("reported");
    let report = report.into_inner();
    assert_eq!(report.subtasks.len(), 3);
    assert_eq!(report.subtasks[0].attempts.len(), 1);
    assert_eq!(report.workers[0].worker, "w");
    let proof = server.client().await.verify(pb::VerifyRequest { job: "one".into() }).await.expect("verified");
    assert!(proof.into_inner().problems.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_plan_stands_and_an_edited_one_is_the_next_generation_also_while_it_runs() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 2);
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let gate = worker.take().await;
    let again = server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    assert!(again.note.contains("0 of 1 subtasks are done"), "{}", again.note);
    let edited = place.plan("one", &["a", "b"]);
    let look = pb::PlanRequest { plan: Some(edited.clone()) };
    let look = server.client().await.plan(look).await.expect("looked").into_inner();
    assert_eq!((look.generation, look.fresh.len(), look.base), (2, 2, place.base.to_vec()));
    let next = server.submit(&place, edited).await.expect("taken");
    assert!(next.note.contains("generation 2"), "{}", next.note);
    worker.finish(&server.hub, &gate).await;
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    // Over and done: submitted again, it is closed and stays so.
    let done = server.submit(&place, place.plan("one", &["a", "b"])).await.expect("taken");
    assert!(done.note.contains("2 of 2 subtasks are done"), "{}", done.note);
    assert_eq!(server.phase("one").await, "done");
    let audited = |event: &&Event| matches!(event, Event::Audited(asked) if asked.what == "submit");
    assert_eq!(journal(&place, "one").iter().filter(audited).count(), 2, "what changed nothing leaves no record");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_did_not_come_whole_and_a_forged_plan_are_refused() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let header = pb::SubmitHeader { plan: Some(place.plan("one", &["a"])), new_job: true };
    let part = pb::SubmitPart { part: Some(pb::submit_part::Part::Header(header)) };
    let refused = server.client().await.submit(tokio_stream::iter([part])).await.expect_err("no pack");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let mut forged = place.plan("one", &["a"]);
    forged.repo.as_mut().expect("there").key = "../../x".into();
    assert_eq!(server.submit(&place, forged).await.expect_err("forged").code(), Code::InvalidArgument);
    let jobs = server.client().await.list(pb::ListRequest {}).await.expect("listed").into_inner().jobs;
    assert!(jobs.is_empty(), "{jobs:?}");
    assert!(!place.layout().job(&id("one")).journal().exists(), "nothing was journaled");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_checked_and_who_asked_is_in_the_journal_before_what_it_led_to() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let gate = worker.take().await;
    let mut client = server.client().await;
    let pause = || pb::PauseRequest { job: "one".into(), reason: "lunch".into() };
    for who in ["eve:read", "eve:approve", "w:work"] {
        assert_eq!(client.pause(by(who, pause())).await.expect_err(who).code(), Code::PermissionDenied);
    }
    let get = pb::GetRequest { job: "one".into() };
    assert_eq!(client.get(by("w:work", get)).await.expect_err("no reader").code(), Code::PermissionDenied);
    let answer = pb::AnswerRequest { job: "one".into(), park: 1, text: "yes".into(), ..pb::AnswerRequest::default() };
    assert_eq!(client.answer(by("al:submit", answer.clone())).await.expect_err("role").code(), Code::PermissionDenied);
    assert_eq!(client.answer(by("al:approve", answer)).await.expect_err("no park").code(), Code::NotFound);
    client.pause(by("al:submit", pause())).await.expect("paused");
    client.pause(by("al:submit", pause())).await.expect("nothing to do");
    let events = journal(&place, "one");
    let asked: Vec<usize> =
        (0..events.len()).filter(|&at| matches!(&events[at], Event::Audited(asked) if asked.what == "pause")).collect();
    let [at] = asked[..] else { panic!("one request led to something, not {}", asked.len()) };
    let Event::Audited(audited) = &events[at] else { panic!("it was one") };
    assert_eq!((audited.who.as_str(), audited.role.as_str(), audited.detail.as_str()), ("al", "submit", "lunch"));
    assert!(matches!(events[at + 1], Event::JobPaused(_)));
    let steer = pb::SteerRequest { job: "one".into(), subtask: "a".into(), text: "left".into() };
    assert_eq!(client.steer(steer).await.expect_err("not at work").code(), Code::FailedPrecondition);
    worker.finish(&server.hub, &gate).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_worker_it_was_assigned_to_may_answer_and_read() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let gate = worker.take().await;
    let other = Identity { name: "v".into(), roles: [Role::Work].into() };
    let refused = server.hub.deliver(&other, worker.result(&gate)).await;
    assert!(matches!(refused, Err(HubError::NotYours)), "in another's name: {refused:?}");
    let mut forged = worker.result(&gate);
    forged.report.worker = "v".into();
    let refused = server.hub.deliver(&other, forged).await;
    assert!(matches!(refused, Err(HubError::NotYours)), "another's gate: {refused:?}");
    let unknown = pb::Assignment { id: 999, ..gate.clone() };
    let refused = server.hub.deliver(&worker.identity(), worker.result(&unknown)).await;
    assert!(matches!(refused, Err(HubError::UnknownJob)), "never assigned: {refused:?}");
    let elsewhere = pb::Assignment { job: "two".into(), ..gate.clone() };
    let refused = server.hub.deliver(&worker.identity(), worker.result(&elsewhere)).await;
    assert!(matches!(refused, Err(HubError::UnknownJob)), "no such job: {refused:?}");
    let reader = Identity { name: "al".into(), roles: [Role::Read].into() };
    assert_eq!(server.hub.store_for(&worker.identity(), &id("one")), Some(store(&place)));
    assert_eq!(server.hub.store_for(&reader, &id("one")), Some(store(&place)));
    assert_eq!(server.hub.store_for(&other, &id("one")), None);
    assert_eq!(server.hub.store_for(&reader, &id("two")), None);
    assert_eq!(worker.finish(&server.hub, &gate).await, "kept");
    assert_eq!(worker.finish(&server.hub, &gate).await, "closed", "delivered twice");
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_share_a_worker_within_its_slots() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    let first = worker.take().await;
    assert!(matches!(first.kind, Some(pb::assignment::Kind::Gate(_))));
    // The only gate slot is taken by the first job: the second gets nothing yet.
    server.submit(&place, place.plan("two", &["x"])).await.expect("taken");
    worker.announce();
    assert_eq!(server.phase("two").await, "running");
    assert!(worker.has_heard_nothing());
    worker.finish(&server.hub, &first).await;
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    closed(&server, "two").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_up_what_is_live() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let (worker, attempt) = FakeWorker::at_work(&server, &place).await;
    let bus = std::sync::Arc::clone(&server.bus);
    let watching = pb::WatchRequest { job: "one".into(), after_seq: 0 };
    let mut watched = server.client().await.watch(watching).await.expect("watches").into_inner();
    server.stop().await;
    let end = loop {
        match soon("the end", watched.message()).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.expect_err("told where to go on").code(), Code::Unavailable);
    let server = Server::over(&place, bus).await;
    worker.announce();
    assert_eq!(server.phase("one").await, "running");
    assert_eq!(server.hub.store_for(&worker.identity(), &id("one")), Some(store(&place)), "it still may read");
    assert_eq!(worker.finish(&server.hub, &attempt).await, "kept");
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    let assigned = journal(&place, "one").into_iter().filter(|event| matches!(event, Event::Assigned(_))).count();
    assert_eq!(assigned, 1, "nothing was done twice");
    server.stop().await;
    // A third process only reads it.
    let server = Server::start(&place).await;
    assert!(server.hub.running_jobs().is_empty());
    assert_eq!(server.phase("one").await, "done");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_waits_is_told_until_it_knows_also_by_the_next_process() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let (mut worker, attempt) = FakeWorker::at_work(&server, &place).await;
    let watching = pb::WatchRequest { job: "one".into(), after_seq: 0 };
    let mut watched = server.client().await.watch(watching).await.expect("watches").into_inner();
    worker.ask(&attempt, 10);
    while soon("the question", watched.message()).await.expect("events").expect("one").event != "asked" {}
    let answer = pb::AnswerRequest { job: "one".into(), park: 1, text: "the first".into(), ..Default::default() };
    let reply = server.client().await.answer(answer).await.expect("answered").into_inner();
    assert_eq!(reply.lines, ["a"]);
    let told = worker.told().await;
    let text = |told: &pb::AnswerWork| told.decision.as_ref().map(|decision| decision.text.clone()).unwrap_or_default();
    assert_eq!((told.id, told.asked_ms, text(&told).as_str()), (attempt.id, 10, "the first"));
    worker.ask(&attempt, 10);
    assert_eq!(worker.told().await, told, "what was lost is said again");
    let bus = std::sync::Arc::clone(&server.bus);
    server.stop().await;
    let server = Server::over(&place, bus).await;
    worker.announce();
    assert_eq!(server.phase("one").await, "running");
    worker.ask(&attempt, 10);
    assert_eq!(worker.told().await, told, "also by a process that begins anew");
    assert_eq!(worker.finish(&server.hub, &attempt).await, "kept");
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    let asked = journal(&place, "one").into_iter().filter(|event| matches!(event, Event::AttemptAsked(_))).count();
    assert_eq!(asked, 1, "it asked once");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_protocol_is_told_and_gets_nothing() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut newer = FakeWorker::speaking(&server.bus, "new", 4, pb::PROTOCOL + 1);
    match newer.hear().await {
        to_worker::Message::Refusal(refusal) => assert!(refusal.reason.contains("upgrade the coordinator first")),
        other => panic!("not a refusal: {other:?}"),
    }
    server.submit(&place, place.plan("one", &["a"])).await.expect("taken");
    newer.announce();
    let _worker = FakeWorker::new(&server, "w", 1).work(server.hub.clone());
    closed(&server, "one").await;
    assert!(newer.has_heard_nothing());
    let rows = server.client().await.workers(pb::WorkersRequest {}).await.expect("listed").into_inner().workers;
    let states: Vec<(&str, &str)> = rows.iter().map(|row| (row.worker.as_str(), row.state.as_str())).collect();
    assert_eq!(states, [("new", "refused"), ("w", "present")]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_job_runs_again_when_a_request_wakes_it() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    server.submit(&place, place.plan("one", &["a", "b"])).await.expect("taken");
    let gate = worker.take().await;
    worker.finish(&server.hub, &gate).await;
    let attempt = worker.take().await;
    let cancel = pb::CancelRequest { job: "one".into(), ..pb::CancelRequest::default() };
    server.client().await.cancel(cancel).await.expect("cancelled");
    closed(&server, "one").await;
    // What comes for a closed job frees its workspace.
    assert_eq!(worker.finish(&server.hub, &attempt).await, "closed");
    let pause = pb::PauseRequest { job: "one".into(), ..pb::PauseRequest::default() };
    let refused = server.client().await.pause(pause).await.expect_err("it is over");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let retry = pb::RetryRequest { job: "one".into(), subtasks: vec!["a".into()], ..pb::RetryRequest::default() };
    let reply = server.client().await.retry(by("al:submit", retry)).await.expect("woken").into_inner();
    assert_eq!(reply.lines, ["a"]);
    let _worker = worker.work(server.hub.clone());
    closed(&server, "one").await;
    let row = server.client().await.show(pb::ShowRequest { job: "one".into(), subtask: "a".into() }).await;
    let row = row.expect("shown").into_inner().row.expect("a row");
    assert_eq!(row.state, "unchanged");
    let by_al = |event: &Event| matches!(event, Event::Audited(asked) if asked.who == "al" && asked.what == "retry");
    assert!(journal(&place, "one").iter().any(by_al));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_name_the_server_s_store_and_a_commit_with_the_job_folder_s_files() {
    let place = Place::new();
    let server = Server::start(&place).await;
    let mut worker = FakeWorker::new(&server, "w", 1);
    let mut plan = place.plan("one", &["a"]);
    plan.files = vec![pb::CarriedFile { path: "run.sh".into(), content: b"exit 0\n".to_vec(), executable: true }];
    server.submit(&place, plan.clone()).await.expect("taken");
    let gate = worker.take().await;
    assert_eq!(gate.store, "git/one.git");
    let commit = longhaul_common::Oid::from_bytes(&gate.files_commit).expect("a commit");
    let list = git(&store(&place), &["ls-tree", &commit.to_string()]);
    assert!(String::from_utf8_lossy(&list).starts_with("100755 blob"));
    // The next generation's files are those of the next assignment.
    plan.files[0].content = b"exit 1\n".to_vec();
    server.submit(&place, plan).await.expect("taken");
    worker.finish(&server.hub, &gate).await;
    let mut next = worker.take().await;
    while next.id == gate.id {
        next = worker.take().await;
    }
    assert_ne!(next.files_commit, gate.files_commit);
    server.stop().await;
}
