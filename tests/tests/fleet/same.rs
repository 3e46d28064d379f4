//! A job on a fleet ends as it does on one machine.

use longhaul_tests::World;
use longhaul_tests::nats::NatsServer;

use crate::job::{self, EDIT};
use crate::rig::Rig;

const COUNT: usize = 8;

fn tree(world: &World) -> String {
    world.git(&["rev-parse", &format!("{}^{{tree}}", world.branch())])
}

#[test]
fn a_job_over_two_workers_ends_with_the_same_branch_as_on_one_machine() {
    if NatsServer::is_missing() {
        return;
    }
    let alone = job::world(COUNT);
    job::write(&alone, EDIT, "");
    alone.expect(0, &["run"]);

    let world = job::world(COUNT);
    job::write(&world, EDIT, "");
    let head = world.git(&["rev-parse", "HEAD"]);
    let rig = Rig::new(world, 2);
    let ran = rig.expect(0, &["run"]);
    assert_eq!(ran.stderr.matches("Delivered").count(), COUNT, "it is followed: {}", ran.stderr);
    job::check(&rig.world, COUNT);
    assert_eq!(tree(&rig.world), tree(&alone));
    assert_eq!(rig.world.git(&["rev-parse", "HEAD"]), head, "the user's checkout moved");
    let verified = rig.expect(0, &["verify"]);
    assert!(verified.stdout.contains("8 subtasks proven landed, 0 findings"), "{}", verified.stdout);
    // Nothing is kept that was delivered, and running it again repeats nothing.
    let attempts = |rig: &Rig| {
        let status = rig.expect(0, &["status", "--json"]).stdout;
        serde_json::from_str::<serde_json::Value>(&status).expect("an object")["attempts"].clone()
    };
    let before = attempts(&rig);
    rig.expect(0, &["run"]);
    assert_eq!(attempts(&rig), before);
    for worker in &rig.fleet.workers {
        assert_eq!(longhaul_tests::leftovers::entries(&worker.root.join("outbox")), Vec::<String>::new());
    }
    rig.leave();
}
