//! One job through everything that happens to a fleet in a bad week.

use std::path::Path;
use std::time::{Duration, Instant};

use longhaul_tests::hosts::Process;
use longhaul_tests::{World, leftovers};

use crate::fleet::{Fleet, here, nats_server};

/// Subtasks that change a file each; one more waits for the end of the faults.
const SUBTASKS: usize = 30;

/// How long the job may take to land a few more subtasks after a fault: above a lease.
const PROGRESS_MAX: Duration = Duration::from_secs(150);

/// How long the whole may take to end after the last fault.
const END_MAX: Duration = Duration::from_secs(240);

#[test]
fn a_job_ends_right_while_wires_are_cut_hosts_stop_and_servers_are_rolled() {
    if !here() {
        return;
    }
    let Some(nats_server) = nats_server() else { return };
    let world = world();
    let head = world.git(&["rev-parse", "HEAD"]);
    let mut fleet = Fleet::start(world, &nats_server).expect("a fleet");
    let mut run = Run { process: fleet.begin(&["run", "--json"], "run.log").expect("submitted"), landed: 0 };

    run.lands(&fleet, 2, "before any fault");
    cut_wires(&mut fleet, &mut run);
    stop_hosts(&mut fleet, &mut run);
    roll(&mut fleet, &mut run);
    std::fs::write(release(fleet.world.folder()), "").expect("writable");
    let status = run.process.wait(END_MAX).expect("the job ends");
    assert!(status.success(), "{status}: {}", said(&fleet.world));

    check(&fleet, &head);
    for node in fleet.workers.iter_mut().skip(1).chain([&mut fleet.coordinator]) {
        let status = node.end().expect("it ends when it is asked to");
        assert!(status.success(), "{}: {status}", node.host.name());
    }
    for name in ["w1", "w2", "w3"] {
        let kept = leftovers::entries(&fleet.world.folder().join("fleet").join(name).join("outbox"));
        assert_eq!(kept, Vec::<String>::new(), "{name} left without delivering");
    }
    fleet.nats.iter_mut().for_each(|node| node.power_off());
    assert_eq!(leftovers::wait_for_none(&fleet.world), Vec::<String>::new());
}

fn cut_wires(fleet: &mut Fleet, run: &mut Run) {
    fleet.workers[0].host.cut().expect("cut");
    run.lands(fleet, 2, "while w1 is cut off");
    fleet.workers[0].host.mend().expect("mended");
    // The coordinator loses one member of the cluster, which everyone else still reaches.
    fleet.coordinator.host.part(&fleet.nats[0].host).expect("parted");
    run.lands(fleet, 2, "while the coordinator does not reach n1");
    fleet.coordinator.host.join(&fleet.nats[0].host).expect("joined");
    // Nobody reaches the coordinator, until the user has noticed.
    fleet.coordinator.host.cut().expect("cut");
    let asked = fleet.run(&["status", "--json"]);
    assert!(asked.is_err(), "a coordinator that is cut off answered: {asked:?}");
    fleet.coordinator.host.mend().expect("mended");
    run.lands(fleet, 2, "after the coordinator was cut off");
}

fn stop_hosts(fleet: &mut Fleet, run: &mut Run) {
    fleet.workers[1].power_off();
    run.lands(fleet, 2, "while w2 is off");
    fleet.workers[1].start().expect("w2 comes back");
    fleet.coordinator.power_off();
    fleet.coordinator.start().expect("the coordinator comes back");
    run.lands(fleet, 2, "after the coordinator lost its power");
    fleet.nats[2].power_off();
    run.lands(fleet, 1, "while n3 is off");
    fleet.nats[2].start().expect("n3 comes back");
}

fn roll(fleet: &mut Fleet, run: &mut Run) {
    for member in 0..fleet.nats.len() {
        fleet.nats[member].end().expect("it ends");
        fleet.nats[member].start().expect("it comes back");
        run.lands(fleet, 1, "after a member of the cluster was rolled");
    }
    let status = fleet.coordinator.end().expect("it ends");
    assert!(status.success(), "the coordinator ended with {status}");
    fleet.coordinator.start().expect("it comes back");
    run.lands(fleet, 1, "after the coordinator was rolled");
    let status = fleet.workers[0].end().expect("it drains");
    assert!(status.success(), "w1 drained with {status}");
    run.lands(fleet, 1, "after w1 left");
}

/// The user's `longhaul run`, and how far it was when it was last looked at.
struct Run {
    process: Process,
    landed: u64,
}

impl Run {
    /// Waits until so many more subtasks have landed, or all that can before the release.
    fn lands(&mut self, fleet: &Fleet, more: u64, when: &str) {
        let goal = (self.landed + more).min(SUBTASKS as u64);
        let begun = Instant::now();
        let landed = &mut self.landed;
        let reached = self.process.wait_until("further", PROGRESS_MAX, || {
            if let Some(now) = landed_now(fleet) {
                assert!(now >= *landed, "{when}: {landed} had landed, now {now}");
                *landed = now;
            }
            *landed >= goal
        });
        reached.unwrap_or_else(|error| panic!("{when}: {landed} landed, not {goal}: {error:#}"));
        println!("{when}: {landed} landed, {:.1} s", begun.elapsed().as_secs_f64());
    }
}

fn landed_now(fleet: &Fleet) -> Option<u64> {
    let status = fleet.run(&["status", "--json"]).ok()?;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    status["counts"]["landed"].as_u64()
}

fn check(fleet: &Fleet, head: &str) {
    let world = &fleet.world;
    let branch = world.branch();
    for n in 0..SUBTASKS {
        let text = world.on_branch(&branch, &format!("src/f{n:02}.txt"));
        assert_eq!(text, format!("goodbye {n}\nkeep this line"));
    }
    assert_eq!(world.on_branch(&branch, "last.txt"), "done");
    let trailer = "--format=%(trailers:key=Subtask-Id,valueonly,separator=%x2C)";
    let log = world.git(&["log", trailer, &format!("main..{branch}")]);
    let mut landed: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let total = landed.len();
    landed.sort_unstable();
    landed.dedup();
    assert_eq!((landed.len(), total), (SUBTASKS + 1, SUBTASKS + 1), "landed once each");
    let verified = fleet.run(&["verify"]).expect("verified");
    assert!(verified.contains(&format!("{} subtasks proven landed, 0 findings", SUBTASKS + 1)), "{verified}");
    assert_eq!(world.git(&["rev-parse", "HEAD"]), head, "the user's checkout moved");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the user's checkout was touched");
}

fn said(world: &World) -> String {
    std::fs::read_to_string(world.folder().join("run.log")).unwrap_or_default()
}

/// When this file is there the last subtask ends.
fn release(folder: &Path) -> std::path::PathBuf {
    folder.join("release")
}

fn world() -> World {
    let files: Vec<(String, String)> =
        (0..SUBTASKS).map(|n| (format!("src/f{n:02}.txt"), format!("hello {n}\nkeep this line\n"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.push(("gate.sh", "set -e\nfor f in src/*.txt; do grep -q 'keep this line' \"$f\"; done\n"));
    let world = World::new(&all);
    // The last subtask holds the job open until all faults are over; it gives up after ten minutes.
    let wait = format!(
        "for n in $(seq 3000); do test -e {} && break; echo waiting; sleep 0.2; done",
        release(world.folder()).display()
    );
    world.job(&format!(
        r#"goal = "Say goodbye everywhere"
name = "goodbye"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.edit]
kind = "command"
run = "sleep 1; sed -i s/hello/goodbye/ {{files}}"
[agent.last]
kind = "command"
run = "{wait}; echo done > last.txt"
[[map]]
id = "word-{{stem}}"
files = "src/*.txt"
containing = "hello"
group = "file"
ladder = ["edit"]
[[task]]
id = "last"
after = ["word-*"]
write = ["last.txt"]
ladder = ["last"]
[gate]
run = "sh gate.sh"
batch = 2
[budget]
parallel = 4
"#
    ));
    world
}
