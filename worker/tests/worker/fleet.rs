//! A fleet's worker: all jobs, its own folder, and how it leaves.

use longhaul_proto::{Askers, Drain, Failure, FailureClass, Gate, Hello, Refusal, Verdict, finished, to_worker};
use longhaul_worker::gateway::{RateShare, Rates};
use longhaul_worker::{DiskLimits, Scope, Shutdown, Weight, Weights, WorkerConfig, WorkerError};

use crate::world::{World, command, job, sh, shim};

#[tokio::test]
async fn it_says_what_it_is_and_answers_a_hello() {
    let mut world = World::new(&[("a", "1\n")]);
    world
        .as_fleet(|config| {
            config.labels = vec!["rust".into(), "gate".into()];
            config.endpoint = Some("http://127.0.0.1:1".into());
        })
        .await;
    let presence = world.present(|found| found.bytes.is_some_and(|bytes| bytes.free > 0)).await;
    assert_eq!((presence.labels.join(","), presence.protocol), ("rust,gate".into(), longhaul_proto::PROTOCOL));
    assert_eq!(presence.endpoint, "http://127.0.0.1:1");
    assert!(!presence.draining && presence.disk_low.is_empty() && presence.incarnation != 0);
    world.send(to_worker::Message::Hello(Hello { protocol_min: 1, protocol_max: 9, version: "x".into() })).await;
    let again = world.present(|_| true).await;
    assert_eq!(again.incarnation, presence.incarnation);
    let first = presence.incarnation;
    world.stop().await;
    world.start();
    world.present(|found| found.incarnation != first).await;
}

#[tokio::test]
async fn it_keeps_to_its_part_of_a_providers_limits() {
    let mut world = World::new(&[("a", "1\n")]);
    let rates = Rates::default();
    let shared = rates.clone();
    world.as_fleet(move |config| config.rates = shared.clone()).await;
    world.present(|_| true).await;
    let limit = RateShare { requests_per_minute: 10, tokens_per_minute: 1_000 };
    let limiter = rates.of("https://models.example.com/v1", "KEY", limit);
    assert_eq!(limiter.share(), limit);
    world.send(to_worker::Message::Askers(Askers { workers: 5 })).await;
    let part = RateShare { requests_per_minute: 2, tokens_per_minute: 200 };
    // What it says next may have been said before it heard that.
    while limiter.share() != part {
        world.present(|_| true).await;
    }
}

#[tokio::test]
async fn it_serves_every_job() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|_| {}).await;
    let (mut one, mut two) = (world.work(vec![command("echo 2 > a")]), world.work(vec![command("echo 3 > a")]));
    (one.job, two.job) = ("other".into(), "third".into());
    two.id = one.id;
    for assignment in [one, two] {
        world.assign(assignment).await;
        assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
    }
    world.present(|found| found.holding.is_empty()).await;
}

#[tokio::test]
async fn its_folder_is_its_own() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|config| config.labels = vec!["fleet".into()]).await;
    world.present(|found| found.labels == ["fleet"]).await;
    for scope in [Scope::All, Scope::Job(job())] {
        let config = WorkerConfig::new("other", world.root(), shim());
        let run = longhaul_worker::run(config, scope, world.bus.clone(), world.sink.clone(), Shutdown::default());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(30), run).await.expect("it does not start");
        let error = ended.expect_err("the folder is taken");
        let text = error.to_string();
        assert!(text.contains(&format!("process id {}", std::process::id())) && text.contains("in use"), "{text}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_ends_it_with_the_reason() {
    let mut world = World::new(&[("a", "1\n")]);
    world.present(|_| true).await;
    world.send(to_worker::Message::Refusal(Refusal { reason: "upgrade the coordinator first".into() })).await;
    let error = world.ended().await.expect_err("refused");
    assert!(matches!(&error, WorkerError::Refused { reason } if reason == "upgrade the coordinator first"), "{error}");
}

fn class(outcome: Option<finished::Outcome>) -> Failure {
    match outcome {
        Some(finished::Outcome::Failure(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test]
async fn a_drain_lets_what_runs_finish_and_hands_back_what_waits() {
    let mut world = World::new(&[("a", "1\n")]);
    let go = world.dir.path().join("go");
    let line = format!("echo running; until test -e {}; do sleep 0.05; done; echo 2 > a", go.display());
    let (first, second) = (world.work(vec![command(&line)]), world.work(vec![command("true")]));
    world.assign(first).await;
    world.assign(second).await;
    world.heard_line("running").await;
    world.shutdown.drain.cancel();
    let back = class(world.result().await.outcome);
    assert_eq!(back.class(), FailureClass::HandedBack, "{back:?}");
    world.present(|found| found.draining && found.holding[0].ids == [1]).await;
    let late = world.work(vec![command("true")]);
    world.assign(late).await;
    std::fs::write(go, "").expect("written");
    assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
    world.ended().await.expect("drained");
    assert!(world.no_result(), "nothing new was taken");
    world.present(|found| found.draining && found.holding.is_empty()).await;
}

#[tokio::test]
async fn a_drain_over_the_bus_is_for_the_process_that_is_meant_and_is_seen_by_who_runs_it() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|_| {}).await;
    let go = world.dir.path().join("go");
    let line = format!("echo running; until test -e {}; do sleep 0.05; done; echo 2 > a", go.display());
    let work = world.work(vec![command(&line)]);
    world.assign(work).await;
    world.heard_line("running").await;
    let incarnation = world.present(|_| true).await.incarnation;
    world.send(to_worker::Message::Drain(Drain { incarnation: incarnation ^ 1 })).await;
    world.send(to_worker::Message::Hello(Hello { protocol_min: 1, protocol_max: 9, version: "x".into() })).await;
    assert!(!world.present(|_| true).await.draining, "it was for the process before");
    for _ in 0..2 {
        world.send(to_worker::Message::Drain(Drain { incarnation })).await;
    }
    world.present(|found| found.draining).await;
    assert!(world.shutdown.drain.is_cancelled(), "as if whoever runs it had asked");
    std::fs::write(go, "").expect("written");
    assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
    world.ended().await.expect("drained");
}

#[tokio::test]
async fn an_overdue_drain_hands_back_work_and_gates() {
    let mut world = World::new(&[("a", "1\n")]);
    world.stop().await;
    world.configure = Box::new(|config| config.drain_ms = 100);
    world.start();
    let work = world.work(vec![command("echo work; sleep 1000")]);
    let gate = Gate { run: Some(sh("echo gate; sleep 1000")), ..Gate::default() };
    let gate = world.assignment(longhaul_proto::assignment::Kind::Gate(gate));
    world.assign(work).await;
    world.heard_line("work").await;
    world.assign(gate).await;
    world.heard_line("gate").await;
    world.shutdown.drain.cancel();
    for _ in 0..2 {
        assert_eq!(class(world.result().await.outcome).class(), FailureClass::HandedBack);
    }
    world.ended().await.expect("drained");
}

#[tokio::test]
async fn a_low_disk_takes_nothing_new_and_says_why() {
    let mut world = World::new(&[("a", "1\n")]);
    world
        .as_fleet(|config| {
            config.disk = DiskLimits { free_min_bytes: u64::MAX / 2, ..DiskLimits::default() };
        })
        .await;
    let presence = world.present(|found| !found.disk_low.is_empty()).await;
    assert!(presence.disk_low.contains("MB free"), "{}", presence.disk_low);
    let assignment = world.work(vec![command("echo 2 > a")]);
    world.send(to_worker::Message::Assign(assignment.clone())).await;
    let presence = world.present(|found| !found.disk_low.is_empty()).await;
    assert!(presence.holding.is_empty() && world.no_result());
    world.as_fleet(|_| {}).await;
    world.assign(assignment).await;
    assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
}

#[tokio::test]
async fn heavy_ones_do_not_run_beside_each_other() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    world.stop().await;
    let all = Weight { cpu_millis: 1_000, memory_bytes: 0 };
    world.configure = Box::new(move |config| {
        config.weights = Weights { total: all, work: all, gate: all };
        config.work_slots = 2;
    });
    world.start();
    let busy = world.dir.path().join("busy");
    let line = format!("mkdir {0} || exit 9; sleep 0.2; rmdir {0}; echo $$ > a", busy.display());
    for _ in 0..2 {
        let work = world.work(vec![command(&line)]);
        world.assign(work).await;
    }
    let gate =
        Gate { run: Some(sh(&format!("mkdir {0} && sleep 0.2 && rmdir {0}", busy.display()))), ..Gate::default() };
    let gate = world.assignment(longhaul_proto::assignment::Kind::Gate(gate));
    world.assign(gate).await;
    for _ in 0..3 {
        match world.result().await.outcome {
            Some(finished::Outcome::Patch(_)) => {}
            Some(finished::Outcome::Gate(gate)) => assert_eq!(gate.verdict(), Verdict::Green, "{gate:?}"),
            other => panic!("two ran at once: {other:?}"),
        }
    }
}

#[tokio::test]
async fn agents_checks_and_gates_without_output_are_ended() {
    let mut world = World::new(&[("a", "1\n")]);
    world.task.idle_timeout_ms = 300;
    let failure = world.failure(vec![command("sleep 1000")]).await;
    assert_eq!(failure.class(), FailureClass::Agent);
    assert!(failure.message.contains("wrote nothing for 300ms"), "{}", failure.message);
    world.task.check = vec![sh("echo said; sleep 1000")];
    let failure = world.failure(vec![command("echo 2 > a")]).await;
    assert_eq!((failure.class(), failure.detail.as_str()), (FailureClass::Check, "said"));
    let gate = Gate { run: Some(sh("sleep 1000")), idle_timeout_ms: 300, ..Gate::default() };
    let result = world.gate(gate).await;
    assert_eq!((result.verdict(), result.timed_out), (Verdict::Inconclusive, true), "{result:?}");
    assert!(result.reason.contains("wrote nothing"), "{}", result.reason);
}
