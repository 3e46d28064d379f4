//! Where gates run: where the job says, and not on the machine that wrote what they judge.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_coordinator::core::Event;
use longhaul_proto::GatePurpose;
use longhaul_tests::fleet::{Extras, FleetSpec};
use longhaul_tests::goodbye::words;
use longhaul_tests::nats::NatsServer;

use crate::rig::{HEAD, JOB, Rig, greeting};

/// The job's work, and a gate without a script.
fn work() -> String {
    let further = "check = \"! grep -q hello {files}\"";
    let gate = "\n[gate]\nrun = \"! grep -rq BROKEN src\"\n";
    words("\"sed -i s/hello/goodbye/ {files}\"", further) + gate
}

/// Each gate's worker, with the workers whose results it judged; nobody for the base.
fn gates(events: &[Event]) -> Vec<(String, BTreeSet<String>)> {
    let (mut workers, mut authors, mut batches) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut found = Vec::new();
    for event in events {
        match event {
            Event::Assigned(event) => drop(workers.insert(event.attempt, event.worker.clone())),
            Event::Delivered(event) => {
                drop(authors.insert(event.node, workers.get(&event.attempt).expect("assigned").clone()));
            }
            Event::BatchOpened(event) => drop(batches.insert(event.batch, event.members.clone())),
            Event::GateAsked(event) => {
                let members = match event.purpose() {
                    GatePurpose::Batch => batches.get(&event.batch).cloned().unwrap_or_default(),
                    _ => Vec::new(),
                };
                let judged = members.iter().filter_map(|node| authors.get(node).cloned()).collect();
                found.push((event.worker.clone(), judged));
            }
            _ => {}
        }
    }
    found
}

fn run(spec: &FleetSpec, extras: Extras, work: &str) -> Vec<(String, BTreeSet<String>)> {
    let world = greeting(6);
    world.job(&format!("{HEAD}{work}"));
    let rig = Rig::start(world, spec, extras);
    let url = rig.fleet.url();
    rig.world.expect(0, &["run", "--server", &url]);
    gates(&rig.events(JOB))
}

#[test]
fn gates_run_only_where_the_job_trusts_the_machine() {
    if NatsServer::is_missing() {
        return;
    }
    let extras = Extras::default().with("w2", &["--label", "trusted"]);
    let labelled = format!("{}labels = [\"trusted\"]\n", work());
    // More slots than gates: the others are free all the time, and get none.
    let found = run(&FleetSpec { workers: 3, ..FleetSpec::default() }, extras, &labelled);
    assert!(found.len() >= 2, "{found:?}");
    assert!(found.iter().all(|(worker, _)| worker == "w2"), "{found:?}");
}

#[test]
fn a_gate_never_runs_on_the_author_while_another_worker_is_there() {
    if NatsServer::is_missing() {
        return;
    }
    // One at a time: each batch has one author, and the other worker has a free gate.
    let serial = format!("{}\n[budget]\nparallel = 1\n", work());
    let spec = FleetSpec { workers: 2, slots: 1, ..FleetSpec::default() };
    let found = run(&spec, Extras::default(), &serial);
    let judged: Vec<_> = found.iter().filter(|(_, authors)| authors.len() == 1).collect();
    assert!(!judged.is_empty(), "{found:?}");
    assert!(judged.iter().all(|(worker, authors)| !authors.contains(worker)), "{found:?}");
    // With nobody else there it runs on the author rather than never.
    let alone = run(&FleetSpec { workers: 1, ..FleetSpec::default() }, Extras::default(), &work());
    assert!(alone.iter().any(|(worker, authors)| authors.contains(worker)), "{alone:?}");
}
