//! Several workers: labels, quarantine, who gates whom, work that is handed over.

use longhaul_common::NodeId;
use longhaul_proto::{FailureClass, Finished, GateSpec, Plan, Unchanged, Wip, finished};

use super::bench::{Bench, answer, oid, plan};
use crate::core::{Event, Input, Owner, Request, WorkerView, explain};
use crate::view::{ProgressMap, job_status};

fn labelled(nodes: &[(&'static str, &[u32])], labels: &[&str]) -> Plan {
    let mut plan = plan(nodes);
    plan.tasks[0].labels = labels.iter().map(|&label| label.to_owned()).collect();
    plan
}

fn worker_of(event: Event) -> String {
    match event {
        Event::Assigned(event) => event.worker,
        Event::GateAsked(event) => event.worker,
        other => panic!("{other:?}"),
    }
}

#[test]
fn work_goes_to_a_worker_with_its_labels_and_explain_says_which_are_missing() {
    let mut bench = Bench::fleet(labelled(&[("a", &[])], &["rust", "gpu"]), "plain", &["rust"]);
    bench.nothing_more();
    let why = explain(&bench.state, NodeId(0), bench.now);
    assert_eq!(why.causes, ["the only worker there has not the labels rust, gpu"]);
    assert_eq!(why.next, ["longhaul worker --label rust --label gpu …"]);
    bench.hear("able", &["gpu", "rust", "big"], "");
    assert_eq!(worker_of(bench.expect("assigned")), "able");
}

#[test]
fn the_longest_way_goes_first_and_to_a_worker_that_has_the_repository() {
    let mut bench = Bench::raw(plan(&[("short", &[]), ("long", &[]), ("after", &[1])]));
    let hear = |bench: &mut Bench, worker: &str, work_slots, warm| {
        let holding = bench.state.live_on(worker).into_iter().collect();
        let view = WorkerView { work_slots, gate_slots: 1, holding, warm, ..WorkerView::default() };
        bench.feed(Input::Presence { worker: worker.to_owned(), view });
    };
    hear(&mut bench, "far", 8, false);
    let gate = bench.gate_asked();
    hear(&mut bench, "near", 1, true);
    bench.verdict(gate, longhaul_proto::Verdict::Green);
    bench.expect("gate_done");
    let given: Vec<(u32, String)> = (0..2)
        .map(|_| match bench.expect("assigned") {
            Event::Assigned(event) => (event.node, event.worker),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(given, [(1, "near".to_owned()), (0, "far".to_owned())], "warm, though it has fewer free slots");
    bench.nothing_more();
}

#[test]
fn a_worker_that_takes_nothing_new_gets_nothing_and_says_why() {
    let mut bench = Bench::fleet(plan(&[("a", &[]), ("b", &[])]), "w1", &[]);
    bench.expect("assigned");
    bench.hear("w2", &[], "its disk has 1 MB left of the 100 MB it keeps free");
    bench.nothing_more();
    bench.hear("w1", &[], "it is draining");
    let why = explain(&bench.state, NodeId(1), bench.now);
    assert_eq!(why.causes.len(), 2, "{why:?}");
    assert!(why.causes[1].contains("w2 takes nothing new: its disk has 1 MB left"), "{why:?}");
    bench.hear("w2", &[], "");
    assert_eq!(worker_of(bench.expect("assigned")), "w2");
}

#[test]
fn a_gate_runs_on_the_trusted_pool_and_not_on_the_author_while_another_is_there() {
    let mut pooled = plan(&[("a", &[])]);
    pooled.gate = Some(GateSpec { batch: 8, labels: vec!["gate".into()], ..GateSpec::default() });
    let mut bench = Bench::fleet(pooled, "author", &["gate"]);
    let Event::Assigned(assigned) = bench.expect("assigned") else { panic!() };
    bench.hear("untrusted", &[], "");
    bench.hear("other", &["gate"], "");
    bench.deliver(assigned.attempt);
    bench.expect_all(&["delivered", "batch_opened"]);
    bench.merge(&[]);
    bench.expect("batch_merged");
    let Event::GateAsked(first) = bench.expect("gate_asked") else { panic!() };
    assert_eq!(first.worker, "other");
    // Gone: now the author is the only one that may.
    bench.now += 31_000;
    bench.hear("author", &["gate"], "");
    bench.expect("gate_lost");
    bench.now += 5_000;
    bench.hear("author", &["gate"], "");
    assert_eq!(worker_of(bench.expect("gate_asked")), "author");
}

#[test]
fn a_busy_trusted_worker_is_waited_for_rather_than_the_author_asked() {
    let mut bench = Bench::fleet(plan(&[("a", &[])]), "author", &[]);
    let Event::Assigned(assigned) = bench.expect("assigned") else { panic!() };
    let mut view = WorkerView { gate_slots: 1, ..Default::default() };
    bench.feed(Input::Presence { worker: "other".into(), view: view.clone() });
    bench.deliver(assigned.attempt);
    bench.expect_all(&["delivered", "batch_opened"]);
    bench.merge(&[]);
    bench.expect("batch_merged");
    let gate = bench.gate_asked();
    bench.finish(gate, finished::Outcome::Failure(longhaul_proto::Failure::default()));
    bench.expect("gate_done");
    view.unavailable = "it is draining".into();
    bench.feed(Input::Presence { worker: "other".into(), view });
    bench.now += 2_000;
    bench.feed(Input::Tick);
    assert_eq!(worker_of(bench.expect("gate_asked")), "author", "nobody else takes it");
}

#[test]
fn a_worker_that_fails_everything_is_quarantined_with_the_reason_and_can_be_released() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let nodes: Vec<(&'static str, &[u32])> = names.iter().map(|&name| (name, &[][..])).collect();
    let mut bench = Bench::fleet(plan(&nodes), "well", &[]);
    let (first, _) = bench.assigned();
    bench.finish(first, finished::Outcome::Unchanged(Default::default()));
    bench.expect("unchanged");
    let (busy, _) = bench.assigned();
    bench.hear("sick", &[], "");
    for at in 0..5 {
        let Event::Assigned(assigned) = bench.expect("assigned") else { panic!() };
        assert_eq!(assigned.worker, "sick", "round {at}");
        bench.fail(assigned.attempt, FailureClass::Setup);
        bench.expect("attempt_failed");
    }
    let Event::WorkerQuarantined(event) = bench.expect("worker_quarantined") else { panic!() };
    assert!(event.worker == "sick" && event.reason.contains("the last 5 executions on it failed"), "{event:?}");
    bench.nothing_more();
    assert!(bench.state.infirmary.is_quarantined("sick", bench.now));
    assert!(bench.state.owner_of(busy) == Owner::Worker("well".into()));
    bench.now += 2_000;
    bench.hear("well", &[], "");
    bench.hear("sick", &[], "");
    bench.nothing_more();
    bench.request(Request::Release { worker: "sick".into(), by: "me".into() });
    bench.expect("worker_released");
    assert_eq!(worker_of(bench.expect("assigned")), "sick");
    let refused = bench.try_feed(Input::Request(Request::Release { worker: "well".into(), by: "me".into() }));
    assert_eq!(refused.expect_err("refused").0, "\"well\" is not in quarantine");
}

#[test]
fn saved_work_goes_on_elsewhere_from_the_same_base() {
    let mut bench = Bench::fleet(plan(&[("long", &[]), ("other", &[])]), "w1", &[]);
    let Event::Assigned(long) = bench.expect("assigned") else { panic!() };
    bench.hear("w2", &[], "");
    let Event::Assigned(other) = bench.expect("assigned") else { panic!() };
    let (commit, tree) = (oid(77).to_vec(), oid(78).to_vec());
    let wip = Wip { commit, tree, rung: 1, turn: 3, ..Wip::default() };
    bench.feed(Input::Wip { id: long.attempt, wip: Box::new(wip.clone()) });
    bench.expect("wip_saved");
    assert!(bench.state.live_commits().contains(&oid(77)));
    bench.deliver(other.attempt);
    bench.expect("delivered");
    bench.land();
    assert_ne!(bench.state.landing.tip.to_vec(), long.base, "the branch moved on");
    // w1 is silent; w2 goes on where it was.
    bench.now += 31_000;
    bench.hear("w2", &[], "");
    bench.expect("lease_expired");
    let Event::Assigned(again) = bench.expect("assigned") else { panic!() };
    assert_eq!((again.worker.as_str(), again.base.as_slice()), ("w2", long.base.as_slice()));
    assert_eq!(bench.state.subtask(NodeId(0)).wip.as_ref().map(|saved| saved.wip.clone()), Some(wip.clone()));
    // What the lost one still sends is no longer wanted, and an unknown id changes nothing.
    bench.feed(Input::Wip { id: long.attempt, wip: Box::new(wip.clone()) });
    bench.feed(Input::Wip { id: 0, wip: Box::new(wip) });
    bench.nothing_more();
    // A failure of the agent itself begins anew.
    bench.fail(again.attempt, FailureClass::Check);
    bench.expect("attempt_failed");
    let Event::Assigned(anew) = bench.expect("assigned") else { panic!() };
    assert_eq!(anew.base, bench.state.landing.tip.to_vec());
}

#[test]
fn what_a_leaving_worker_hands_back_costs_nothing_and_waits_for_nothing() {
    let mut bench = Bench::fleet(plan(&[("a", &[])]), "w1", &[]);
    let (first, _) = bench.assigned();
    bench.hear("w2", &[], "");
    bench.hear("w1", &[], "it is draining");
    bench.fail(first, FailureClass::HandedBack);
    bench.expect("attempt_failed");
    assert_eq!(worker_of(bench.expect("assigned")), "w2");
    let subtask = bench.state.subtask(NodeId(0));
    assert_eq!((subtask.tries, subtask.infra), (0, 0));
    assert!(bench.state.infirmary.of("w1").is_some_and(|health| health.streak == 0), "no failure of the worker");
    let status = job_status(&bench.state, bench.now, &ProgressMap::new(), true);
    assert!(status.failures.is_empty(), "nor one for a person: {:?}", status.failures);
}

#[test]
fn only_the_assigned_worker_owns_an_id_and_a_patch_on_another_base_is_refused() {
    let mut bench = Bench::fleet(plan(&[("a", &[])]), "w1", &[]);
    let (attempt, _) = bench.assigned();
    assert_eq!(bench.state.owner_of(attempt), Owner::Worker("w1".into()));
    assert_eq!(bench.state.owner_of(attempt + 1), Owner::Unknown);
    assert_eq!(bench.state.owner_of(0), Owner::Unknown);
    let mut patch = bench.patch();
    patch.base = oid(99).to_vec();
    bench.finish(attempt, finished::Outcome::Patch(patch));
    let Event::AttemptFailed(failed) = bench.expect("attempt_failed") else { panic!() };
    assert_eq!(failed.failure.expect("said").message, "its patch is not on the base it was given");
    assert_eq!(bench.state.owner_of(attempt), Owner::Past);
    bench.feed(Input::Finished { id: attempt, finished: Box::new(Finished::default()) });
    bench.nothing_more();
}

#[test]
fn an_answer_ends_the_park_and_reaches_the_next_attempt() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    for _ in 0..3 {
        let (attempt, _) = bench.assigned();
        bench.fail(attempt, FailureClass::Agent);
        bench.expect("attempt_failed");
    }
    assert_eq!(bench.name(0), "parked");
    let answer = |park| answer(park, "use the old name");
    let empty = super::bench::answer(1, " ");
    assert!(bench.try_feed(Input::Request(empty)).expect_err("nothing is said").0.contains("longhaul approve 1"));
    bench.request(answer(1));
    bench.expect_all(&["retried", "assigned"]);
    assert_eq!(bench.state.subtask(NodeId(0)).remarks, ["use the old name"]);
    assert!(bench.try_feed(Input::Request(answer(1))).is_err(), "a park wakes once");
}

#[test]
fn a_subtask_that_takes_its_workers_down_is_parked_in_the_end() {
    let mut bench = Bench::fleet(plan(&[("a", &[])]), "w0", &[]);
    for at in 0..6 {
        bench.expect("assigned");
        bench.now += 31_000;
        bench.hear(&format!("w{}", at + 1), &[], "");
        bench.expect("lease_expired");
    }
    bench.expect("parked");
    assert_eq!(bench.name(0), "parked");
    let why = explain(&bench.state, NodeId(0), bench.now);
    assert!(why.causes[0].starts_with("6 workers in a row fell silent"), "{why:?}");
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: String::new() });
    bench.expect_all(&["retried", "assigned"]);
}

#[test]
fn the_time_of_a_lost_attempt_is_used_up() {
    let mut own = plan(&[("a", &[])]);
    own.tasks[0].wall_ms_max = 100_000;
    let mut bench = Bench::fleet(own, "w1", &[]);
    bench.expect("assigned");
    bench.now += 31_000;
    bench.hear("w2", &[], "");
    bench.expect_all(&["lease_expired", "assigned"]);
    assert_eq!(crate::core::wall_ms(&bench.state, NodeId(0)), 69_000);
}

#[test]
fn a_worker_that_falls_silent_is_not_sick() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let nodes: Vec<(&'static str, &[u32])> = names.iter().map(|&name| (name, &[][..])).collect();
    let mut big = plan(&nodes);
    big.budget = Some(longhaul_proto::Budget { parallel: 20, ..Default::default() });
    let mut bench = Bench::fleet(big, "well", &[]);
    let (first, _) = bench.assigned();
    bench.finish(first, finished::Outcome::Unchanged(Default::default()));
    bench.expect_all(&["unchanged", "assigned"]);
    let view = WorkerView { work_slots: 5, ..Default::default() };
    bench.feed(Input::Presence { worker: "cut".into(), view });
    (0..5).for_each(|_| drop(bench.expect("assigned")));
    bench.now += 31_000;
    bench.hear("well", &[], "");
    (0..5).for_each(|_| drop(bench.expect("lease_expired")));
    assert!(!bench.state.infirmary.is_quarantined("cut", bench.now));
    bench.nothing_more();
}

#[test]
fn a_gate_is_tried_elsewhere_after_a_worker_that_cannot_and_a_hand_back_counts_for_nothing() {
    let mut bench = Bench::raw(plan(&[("a", &[])]));
    bench.hear("able", &[], "");
    let first = bench.gate_asked();
    bench.hear("broken", &[], "");
    let handed = longhaul_proto::Failure { class: FailureClass::HandedBack.into(), ..Default::default() };
    for _ in 0..8 {
        bench.finish(
            bench.state.landing.gates.keys().next().map_or(first, |gate| gate.0),
            finished::Outcome::Failure(handed.clone()),
        );
        bench.expect_all(&["gate_lost", "gate_asked"]);
    }
    let (gate, worker) =
        bench.state.landing.gates.iter().next().map(|(id, run)| (id.0, run.worker.clone())).expect("asked");
    bench.finish(gate, finished::Outcome::Failure(longhaul_proto::Failure::default()));
    bench.expect("gate_done");
    bench.now += 20_000;
    bench.hear("able", &[], "");
    bench.hear("broken", &[], "");
    let (tried, next) = (worker, worker_of(bench.expect("gate_asked")));
    assert_ne!(next, tried, "the other one");
}

#[test]
fn what_a_sandbox_does_not_enforce_is_recorded_once_and_said_when_its_worker_is_gone() {
    let mut bench = Bench::fleet(plan(&[("a", &[]), ("b", &[])]), "w1", &[]);
    let open = |bench: &mut Bench, id, what: &str| {
        let outcome = Some(finished::Outcome::Unchanged(Unchanged::default()));
        let finished = Finished { outcome, unenforced: what.to_owned(), ..Finished::default() };
        bench.feed(Input::Finished { id, finished: Box::new(finished) });
    };
    let one = bench.assigned().0;
    open(&mut bench, one, "landlock (none): files");
    bench.expect("unchanged");
    bench.expect("unenforced");
    let two = bench.assigned().0;
    open(&mut bench, two, "landlock (none): files");
    bench.expect("unchanged");
    bench.expect("job_closed");
    bench.nothing_more();
    assert_eq!(bench.state.unenforced().len(), 1);
    let long_after = bench.now + 3_600_000;
    let warnings = job_status(&bench.state, long_after, &ProgressMap::new(), true).warnings;
    let said = "the sandbox of w1 did not enforce landlock (none): files";
    assert!(warnings.iter().any(|line| line == said), "{warnings:?}");
}
