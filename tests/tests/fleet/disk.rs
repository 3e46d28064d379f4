//! Full disks: work waits with a reason that a person can act on, and goes on when there is room.

use longhaul_tests::fleet::{FleetSpec, SmallDisk};
use longhaul_tests::leftovers;
use longhaul_tests::nats::NatsServer;

use crate::job;
use crate::rig::{Rig, until};

/// Enough for the job.
const DISK_BYTES: u64 = 96 << 20;

const COUNT: usize = 4;

fn disks() -> bool {
    match SmallDisk::possible() {
        Ok(()) => !NatsServer::is_missing(),
        Err(reason) => {
            println!("skipped: {reason}");
            false
        }
    }
}

fn rig(edit: impl Fn(&longhaul_tests::World) -> String) -> Rig {
    let world = job::world(COUNT);
    job::write(&world, &edit(&world), "");
    Rig::of(world, &FleetSpec { workers: 1, lease: "6s".to_owned(), disk_bytes: DISK_BYTES, ..FleetSpec::default() })
}

#[test]
fn a_worker_without_room_takes_nothing_and_says_why_until_there_is_room() {
    if !disks() {
        return;
    }
    let rig = rig(|_| job::EDIT.to_owned());
    let disk = rig.fleet.workers[0].disk.as_ref().expect("a small disk");
    disk.fill().expect("filled");
    rig.shows(&["workers"], "MB free on the disk of the worker's folder");
    let mut run = rig.begin(&["run"], "run");
    let why = rig.shows(&["explain", "word-f00"], "w1 takes nothing new:");
    assert!(why.contains("MB are needed"), "{why}");
    disk.free().expect("freed");
    rig.ends(&mut run, 0, "run");
    job::check(&rig.world, COUNT);
    rig.leave();
}

#[test]
fn a_coordinator_without_room_loses_nothing_and_goes_on_when_there_is_room() {
    if !disks() {
        return;
    }
    let rig = rig(job::edit_behind_a_door);
    let mut run = rig.begin(&["run"], "run");
    rig.shows(&["status", "--json"], "\"running\":2");
    let disk = rig.fleet.server.disk.as_ref().expect("a small disk");
    disk.fill().expect("filled");
    job::open(&rig.world);
    // Results wait with the worker meanwhile.
    let worker = &rig.fleet.workers[0];
    let outbox = worker.disk.as_ref().expect("a small disk").seen(&worker.root).join("outbox");
    until("results wait", || !leftovers::entries(&outbox).is_empty(), || worker.log(&rig.world));
    disk.free().expect("freed");
    rig.ends(&mut run, 0, "run");
    job::check(&rig.world, COUNT);
    let verified = rig.expect(0, &["verify"]).stdout;
    assert!(verified.contains("4 subtasks proven landed, 0 findings"), "{verified}");
    rig.leave();
}
