//! Servers that are wrong or missing: an answer for the person, patience for the process.

use longhaul_tests::nats::NatsServer;
use rustix::process::Signal;

use crate::job::{self, EDIT};
use crate::rig::{Rig, WAIT_MAX};

/// The discard port, where nothing listens.
const NOBODY: &str = "http://127.0.0.1:9";
const NATS: &str = "nats://127.0.0.1:9";

/// Another machine, in clear text. No such machine is reached.
const FAR: &str = "http://192.0.2.1:9";

#[test]
fn wrong_names_are_told_with_the_next_step() {
    let world = job::world(1);
    job::write(&world, EDIT, "");
    for (args, code, wanted) in [
        (&["status", "--server", NOBODY][..], 6, "nothing answers there"),
        (&["run", "--server", NOBODY][..], 6, "longhaul serve"),
        (&["workers", "--server", NOBODY][..], 6, NOBODY),
        (&["status", "--server", "elsewhere"][..], 2, "http://"),
        (&["workers"][..], 2, "--server"),
        (&["worker", "--name", "w1"][..], 2, "LONGHAUL_SERVER"),
        (&["worker", "--name", "w 1", "--server", NOBODY][..], 2, "--name"),
        (&["serve", "--listen", "0.0.0.0:0", "--nats", "nats://127.0.0.1:9"][..], 2, "TLS"),
        (&["serve", "--listen", "127.0.0.1:0", "--nats", "nats://192.0.2.1:9"][..], 2, "tls://192.0.2.1:9"),
        (&["serve", "--listen", "127.0.0.1:0", "--nats", "nats://a:b@127.0.0.1:9"][..], 2, "--nats-creds"),
        (&["worker", "--name", "w1", "--server", NOBODY, "--nats", "tls://t@192.0.2.1:9"][..], 2, "nats.url"),
        (&["worker", "--name", "w1", "--server", NOBODY, "--nats", NATS, "--listen", "0.0.0.0:0"][..], 2, "127.0.0.1"),
        (&["worker", "--name", "w1", "--server", FAR, "--nats", NATS, "--listen", "127.0.0.1:0"][..], 2, "https://"),
        (&["serve", "--listen", "127.0.0.1:0", "--nats", "nats://127.0.0.1:9", "--lease", "1s"][..], 2, "--lease"),
    ] {
        let ran = world.expect(code, args);
        assert!(ran.stderr.contains(wanted), "{args:?} should say {wanted:?}:\n{}", ran.stderr);
    }
}

#[test]
fn a_server_and_a_worker_wait_for_a_nats_that_is_not_there_yet() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(2);
    job::write(&world, EDIT, "");
    let mut rig = Rig::new(world, 1);
    for member in rig.fleet.members() {
        member.process.as_mut().expect("it runs").kill().expect("killed");
        // What is waited for below is what the next process says.
        std::fs::remove_file(rig.world.folder().join(format!("{}.log", member.name))).expect("it had a log");
    }
    rig.fleet.nats.kill();
    rig.fleet.server.launch(&rig.world).expect("started");
    rig.member_says(0, "NATS does not answer");
    let mut run = rig.begin(&["run"], "run");
    rig.shows(&["explain", "word-f00"], "no worker has been heard of");
    rig.fleet.workers[0].launch(&rig.world).expect("started");
    rig.member_says(1, "NATS does not answer");
    // One that waits leaves when it is asked to.
    let worker = rig.fleet.workers[0].process.as_mut().expect("it runs");
    worker.signal(Signal::TERM).expect("asked");
    let status = worker.wait(WAIT_MAX).expect("waited for").expect("it leaves");
    assert_eq!(status.code(), Some(0), "{}", rig.fleet.workers[0].log(&rig.world));
    rig.fleet.workers[0].launch(&rig.world).expect("started");
    rig.fleet.nats.restart().expect("NATS comes");
    rig.ends(&mut run, 0, "run");
    rig.member_says(0, "answers again");
    job::check(&rig.world, 2);
    rig.leave();
}
