//! Results survive everything but the disk, and nothing is executed twice.

use std::sync::atomic::Ordering;

use longhaul_proto::{FailureClass, finished, from_worker, report, to_worker};
use longhaul_worker::WorkerError;

use crate::world::{World, command};

fn holds(message: &from_worker::Message, ids: &[u64]) -> bool {
    matches!(message, from_worker::Message::Presence(presence) if presence.holding.iter().flat_map(|held| &held.ids).eq(ids.iter()))
}

#[tokio::test]
async fn an_unacknowledged_result_survives_the_worker_and_comes_first() {
    let mut world = World::new(&[("a", "1\n")]);
    world.sink.refusing.store(true, Ordering::SeqCst);
    let assignment = world.work(vec![command("echo 2 > a")]);
    world.assign(assignment.clone()).await;
    let entry = world.root().join("outbox/job-1-1/report.pb");
    while world.sink.tries.load(Ordering::SeqCst) < 2 {
        world.heard(|message| holds(message, &[1])).await;
    }
    assert!(entry.exists());
    world.stop().await;
    assert!(entry.exists(), "the shutdown leaves it");
    world.start();
    world.heard(|message| holds(message, &[1])).await;
    // The slot is taken by a result nobody has: it is the sink's turn.
    world.sink.refusing.store(false, Ordering::SeqCst);
    world.send(to_worker::Message::Assign(assignment)).await;
    assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
    world.heard(|message| holds(message, &[])).await;
    assert!(!entry.exists());
}

#[tokio::test]
async fn a_result_that_cannot_be_kept_yet_is_kept_later() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    let in_the_way = world.root().join("outbox/.staging-job-1-1/report.pb");
    let assignment = world.work(vec![command(&format!("mkdir {}; echo 2 > a", in_the_way.display()))]);
    world.assign(assignment).await;
    let pack = in_the_way.with_file_name("result.pack");
    while !pack.exists() {
        world.present(|_| true).await;
    }
    world.present(|found| !found.holding.is_empty()).await;
    assert!(world.no_result() && pack.exists());
    std::fs::remove_dir(&in_the_way).expect("it is still there");
    let Some(finished::Outcome::Patch(patch)) = world.result().await.outcome else { panic!("the work is lost") };
    assert_eq!(world.show(&patch.commit, "a"), "2");
}

#[tokio::test]
async fn a_drain_ends_though_no_result_is_taken() {
    let mut world = World::new(&[("a", "1\n")]);
    world.stop().await;
    world.configure = Box::new(|config| (config.drain_ms, config.hand_back_ms) = (100, 1_000));
    world.start();
    world.sink.refusing.store(true, Ordering::SeqCst);
    let assignment = world.work(vec![command("echo 2 > a")]);
    world.assign(assignment).await;
    while world.sink.tries.load(Ordering::SeqCst) < 1 {
        world.heard(|message| holds(message, &[1])).await;
    }
    world.shutdown.drain.cancel();
    let error = world.ended().await.expect_err("the result is still here");
    assert!(matches!(&error, WorkerError::Undelivered { results: 1, .. }), "{error}");
    assert!(world.root().join("outbox/job-1-1/report.pb").exists());
}

#[tokio::test]
async fn a_duplicate_is_executed_once() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    let count = world.dir.path().join("count");
    let assignment = world.work(vec![command(&format!("echo x >> {}; echo 2 > a", count.display()))]);
    world.assign(assignment.clone()).await;
    world.send(to_worker::Message::Assign(assignment.clone())).await;
    world.result().await;
    world.heard(|message| holds(message, &[])).await;
    world.send(to_worker::Message::Assign(assignment)).await;
    world.patch(vec![command("echo 3 > a")]).await;
    assert_eq!(std::fs::read_to_string(count).expect("written"), "x\n");
    assert!(world.no_result());
}

#[tokio::test]
async fn a_cancelled_assignment_says_so_running_or_waiting() {
    let mut world = World::new(&[("a", "1\n")]);
    let (first, second) = (world.work(vec![command("echo running; sleep 1000")]), world.work(vec![command("true")]));
    world.assign(first).await;
    world.assign(second).await;
    world.heard_line("running").await;
    world.cancel(2).await;
    for id in [2, 1] {
        world.cancel(id).await;
        let Some(finished::Outcome::Failure(failure)) = world.result().await.outcome else { panic!("no failure") };
        assert_eq!(failure.class(), FailureClass::Cancelled);
    }
}

#[tokio::test]
async fn more_than_its_slots_wait_their_turn() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    let busy = world.dir.path().join("busy");
    let line = format!("mkdir {0} || exit 1; echo 2 >> a; rmdir {0}", busy.display());
    for _ in 0..4 {
        let assignment = world.work(vec![command(&line)]);
        world.assign(assignment).await;
    }
    for _ in 0..4 {
        assert!(matches!(world.result().await.outcome, Some(finished::Outcome::Patch(_))));
    }
}

#[tokio::test]
async fn a_shutdown_ends_what_runs_and_the_next_process_reports_what_it_used() {
    let mut world = World::new(&[("a", "1\n")]);
    let assignment = world.work(vec![command("trap '' TERM; echo running; sleep 1000")]);
    world.assign(assignment).await;
    world.heard_line("running").await;
    let started = std::time::Instant::now();
    world.stop().await;
    assert!(started.elapsed().as_secs() < 4, "{:?}", started.elapsed());
    assert!(world.no_result());
    world.start();
    let finished = world.result().await;
    assert!(finished.lost && finished.usage.is_some(), "{finished:?}");
    assert_eq!(finished.logs.iter().filter(|log| log.name.ends_with("-script.log")).count(), 1, "{:?}", finished.logs);
    let Some(finished::Outcome::Failure(failure)) = finished.outcome else { panic!("it has a result") };
    assert_eq!(failure.class(), FailureClass::HandedBack);
}

#[tokio::test]
async fn progress_names_the_steps() {
    let mut world = World::new(&[("a", "1\n")]);
    let assignment = world.work(vec![command("echo 2 > a")]);
    world.assign(assignment).await;
    for step in ["slot", "script", "commit"] {
        world
            .heard(|message| match message {
                from_worker::Message::Report(found) => {
                    matches!(&found.body, Some(report::Body::Progress(progress)) if progress.step == step)
                }
                from_worker::Message::Presence(_) => false,
            })
            .await;
    }
    world.result().await;
}

#[tokio::test]
async fn unreadable_assignments_and_missing_stores_are_the_machines_failure() {
    let mut world = World::new(&[("a", "1\n")]);
    let mut assignment = world.work(vec![command("true")]);
    assignment.store = "/no/such/store".into();
    let mut second = world.work(vec![command("true")]);
    second.base = vec![1, 2, 3];
    let mut third = world.work(vec![command("true")]);
    third.base = vec![7; 20];
    for assignment in [assignment, second, third] {
        world.send(to_worker::Message::Assign(assignment.clone())).await;
        world.assign(assignment).await;
        let Some(finished::Outcome::Failure(failure)) = world.result().await.outcome else { panic!("no failure") };
        assert_eq!(failure.class(), FailureClass::Infrastructure, "{failure:?}");
    }
}
