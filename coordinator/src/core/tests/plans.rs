//! Generations: what an edited plan keeps.

use longhaul_common::NodeId;

use super::bench::{Bench, answer, approve, plan};
use crate::core::{Input, Request};

fn landed_two() -> Bench {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0]), ("c", &[])]));
    let (a, _) = bench.assigned();
    bench.assigned();
    bench.deliver(a);
    bench.expect("delivered");
    bench.land();
    let (b, _) = bench.assigned();
    bench.deliver(b);
    bench.expect("delivered");
    bench.land();
    bench
}

#[test]
fn adding_a_subtask_keeps_the_branch_and_every_landing() {
    let mut bench = landed_two();
    let tip = bench.state.landing.tip;
    bench.open(plan(&[("new", &[]), ("a", &[]), ("b", &[1]), ("c", &[])]));
    bench.expect("plan_opened");
    assert_eq!(bench.state.landing.tip, tip);
    assert_eq!([0, 1, 2].map(|node| bench.name(node)), ["ready", "landed", "landed"]);
    assert_eq!(bench.name(3), "running", "a live attempt of an unchanged node keeps its lease");
    assert_eq!(bench.state.generation(), 2);
    bench.presence();
    bench.assigned();
}

#[test]
fn changing_a_landed_subtask_starts_the_branch_again_and_relands_the_unchanged() {
    let mut bench = landed_two();
    let mut edited = plan(&[("a", &[]), ("b", &[0]), ("c", &[])]);
    edited.nodes[1].key = b"changed".to_vec();
    bench.open(edited);
    bench.expect("plan_opened");
    assert_eq!(bench.state.landing.tip, super::bench::oid(200), "from the base again");
    assert_eq!([0, 1].map(|node| bench.name(node)), ["landing", "waiting"], "a re-lands without an agent");
    let attempts = bench.state.spend.attempts;
    bench.presence();
    bench.land();
    let (_, node) = bench.assigned();
    assert_eq!((node.0, bench.state.spend.attempts), (1, attempts + 1), "only the changed one runs");
}

#[test]
fn removing_a_landed_subtask_takes_it_off_the_branch() {
    let mut bench = landed_two();
    bench.open(plan(&[("a", &[]), ("c", &[])]));
    bench.expect("plan_opened");
    assert_eq!(bench.state.landing.tip, super::bench::oid(200));
    assert_eq!(bench.name(0), "landing");
    bench.presence();
    bench.land();
}

#[test]
fn the_base_gate_is_not_asked_again_on_the_same_base() {
    let mut bench = landed_two();
    bench.open(plan(&[("a", &[]), ("b", &[0]), ("c", &[]), ("d", &[])]));
    bench.expect("plan_opened");
    bench.presence();
    bench.assigned();
}

/// One pilot, and three that wait for a yes to it.
fn piloted() -> longhaul_proto::Plan {
    let mut plan = plan(&[("pilot", &[]), ("b", &[]), ("c", &[]), ("d", &[])]);
    plan.nodes[1..].iter_mut().for_each(|node| node.behind_pilot = true);
    plan
}

#[test]
fn a_yes_to_the_pilot_outlives_a_cancelled_job_and_no_yes_is_made_by_one() {
    let mut bench = Bench::new(piloted());
    bench.assigned();
    bench.request(approve(&[1]));
    bench.expect_all(&["woken", "assigned"]);
    bench.request(answer(2, "gently"));
    bench.expect_all(&["retried", "assigned"]);
    bench.request(Request::Cancel { nodes: Vec::new(), whole_job: true, reason: String::new() });
    bench.expect_all(&["cancelled", "cancelled", "cancelled", "cancelled", "job_closed"]);
    // Asking to try again is not a yes, and says so.
    let retry = |node| Input::Request(Request::Retry { nodes: vec![NodeId(node)], remark: String::new() });
    let refusal = bench.try_feed(retry(3)).expect_err("nobody said yes to it");
    assert!(refusal.0.contains("\"d\"") && refusal.0.contains("asks again"), "{refusal}");
    bench.open(piloted());
    bench.expect("plan_opened");
    let names = |bench: &Bench| [0, 1, 2, 3].map(|node| bench.name(node));
    assert_eq!(names(&bench), ["ready", "ready", "ready", "parked"], "two were said yes to, one was not");
    // Once more, by way of a generation in which they were not begun.
    bench.open(piloted());
    bench.expect("plan_opened");
    assert_eq!(names(&bench), ["ready", "ready", "ready", "parked"]);
}

#[test]
fn a_journal_of_before_is_read_as_it_was_meant() {
    let mut bench = Bench::new(piloted());
    bench.assigned();
    bench.request(Request::Cancel { nodes: Vec::new(), whole_job: true, reason: String::new() });
    bench.expect_all(&["cancelled", "cancelled", "cancelled", "cancelled", "job_closed"]);
    bench.open_as_before(piloted());
    bench.expect("plan_opened");
    assert_eq!([1, 2, 3].map(|node| bench.name(node)), ["ready", "ready", "ready"]);
}
