//! Who follows a job, who works for it and who coordinates it may come and go while it runs.

use longhaul_tests::nats::NatsServer;
use rustix::process::Signal;

use crate::job;
use crate::rig::{Rig, WAIT_MAX};

const COUNT: usize = 6;

#[test]
fn a_user_leaves_a_worker_joins_another_drains_and_the_job_ends_right() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(COUNT);
    let rare = "labels = [\"rare\"]\n";
    job::write(&world, &job::edit_behind_a_door(&world), rare);
    let mut rig = Rig::new(world, 1);
    let mut run = rig.begin(&["run"], "run");
    let why = rig.shows(&["explain", "word-f00"], "the labels rare");
    assert!(why.contains("longhaul worker --label rare"), "{why}");

    // Ctrl-C is for the one who follows, not for the job.
    run.signal(Signal::INT).expect("interrupted");
    rig.ends(&mut run, 130, "run");
    assert!(rig.said("run").contains("goodbye goes on at the server"), "{}", rig.said("run"));

    // Looked at through its own service; drained without one.
    let further = ["--label", "rare", "--listen", "127.0.0.1:0"];
    rig.fleet.join(&rig.world, "w2", &further).expect("w2 joins");
    rig.shows(&["status", "--json"], "\"running\":2");
    rig.shows(&["workers"], "2/2");
    let mut attached = rig.begin(&["attach", "word-f00"], "attach");
    rig.says("attach", "at the door");

    // It holds work that cannot end: it hands it back.
    rig.fleet.join(&rig.world, "w3", &further).expect("w3 joins");
    rig.expect(0, &["drain", "w2"]);
    let leaver = rig.fleet.workers[1].process.as_mut().expect("it runs");
    let status = leaver.wait(WAIT_MAX).expect("waited for").expect("it leaves");
    assert_eq!(status.code(), Some(0), "{}", rig.fleet.workers[1].log(&rig.world));
    rig.ends(&mut attached, 0, "attach");
    job::open(&rig.world);
    rig.expect(0, &["watch", "--exit-status"]);
    rig.expect(0, &["export"]);
    job::check(&rig.world, COUNT);
    // Handing back costs a subtask no attempt.
    let lost = rig.expect(0, &["watch", "--after", "0", "--json"]).stdout;
    assert!(!lost.contains("\"event\":\"lease_expired\""), "{lost}");
    rig.leave();
}

#[test]
fn a_coordinator_that_is_killed_is_missed_and_found_again() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(COUNT);
    job::write(&world, &job::edit_behind_a_door(&world), "");
    let mut rig = Rig::new(world, 2);
    let mut run = rig.begin(&["run"], "run");
    rig.shows(&["status", "--json"], "\"running\":4");
    rig.fleet.server.process.as_mut().expect("it runs").kill().expect("killed");
    rig.says("run", "the connection to the server");
    let asked = rig.expect(6, &["status"]);
    assert!(asked.stderr.contains("nothing answers there"), "{}", asked.stderr);
    // What is finished meanwhile waits with the workers.
    job::open(&rig.world);
    rig.fleet.server.begin(&rig.world).expect("it comes back");
    rig.ends(&mut run, 0, "run");
    assert!(rig.said("run").contains("the server answers again"), "{}", rig.said("run"));
    job::check(&rig.world, COUNT);
    let verified = rig.expect(0, &["verify"]).stdout;
    assert!(verified.contains("6 subtasks proven landed, 0 findings"), "{verified}");
    let attempts = rig.expect(0, &["status", "--json"]).stdout;
    assert!(attempts.contains("\"attempts\":6"), "nothing was done twice: {attempts}");
    rig.leave();
}

#[test]
fn a_worker_without_a_service_is_drained_and_its_last_words_arrive() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(1);
    job::write(&world, job::EDIT, "");
    let mut rig = Rig::new(world, 1);
    rig.shows(&["workers"], "present");
    rig.expect(2, &["drain", "w9"]);
    rig.expect(0, &["drain", "w1"]);
    let leaver = rig.fleet.workers[0].process.as_mut().expect("it runs");
    let status = leaver.wait(WAIT_MAX).expect("waited for").expect("it leaves");
    let log = rig.fleet.workers[0].log(&rig.world);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("Draining") && log.contains("everything finished was delivered"), "{log}");
    // What it said last was said when nothing held it back any more: it is not taken for silent yet.
    rig.shows(&["workers"], "draining");
    rig.leave();
}
