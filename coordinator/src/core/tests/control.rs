//! What people ask for: cancel, retry, approve, revert, pause.

use longhaul_common::NodeId;
use longhaul_proto::{Budget, FailureClass, JobOutcome};

use super::bench::{Bench, approve, oid, plan};
use crate::core::{Input, JobPhase, Request, explain};

#[test]
fn cancelling_a_subtask_skips_what_depends_on_it() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0]), ("c", &[1]), ("d", &[])]));
    bench.assigned();
    let (other, _) = bench.assigned();
    bench.request(Request::Cancel { nodes: vec![NodeId(0)], whole_job: false, reason: "not wanted".into() });
    bench.expect_all(&["cancelled", "skipped", "skipped"]);
    bench.deliver(other);
    bench.expect("delivered");
    bench.land();
    bench.expect("job_closed");
    let partial = i32::from(JobOutcome::Partial);
    assert!(matches!(bench.state.job_phase(), JobPhase::Closed { outcome, .. } if *outcome == partial));
    assert_eq!([0, 1, 2, 3].map(|node| bench.name(node)), ["cancelled", "skipped", "skipped", "landed"]);
}

#[test]
fn retrying_wakes_a_parked_subtask_with_a_remark_and_new_tries() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Protected);
    bench.expect("attempt_failed");
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: "leave the tests alone".into() });
    bench.expect_all(&["retried", "assigned"]);
    let subtask = bench.state.subtask(NodeId(0));
    assert_eq!((subtask.tries, subtask.remarks.as_slice()), (0, &["leave the tests alone".to_owned()][..]));
}

#[test]
fn retrying_a_cancelled_subtask_brings_back_what_was_skipped_for_it() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0]), ("c", &[])]));
    bench.assigned();
    bench.assigned();
    bench.request(Request::Cancel { nodes: vec![NodeId(0)], whole_job: false, reason: String::new() });
    bench.expect_all(&["cancelled", "skipped"]);
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: String::new() });
    bench.expect_all(&["retried", "retried", "assigned"]);
    assert_eq!([0, 1].map(|node| bench.name(node)), ["running", "waiting"]);
}

#[test]
fn a_pilot_holds_the_rest_back_until_somebody_says_yes() {
    let mut piloted = plan(&[("a", &[]), ("b", &[]), ("c", &[0])]);
    piloted.nodes[1].behind_pilot = true;
    piloted.nodes[2].behind_pilot = true;
    let mut bench = Bench::new(piloted);
    let (attempt, node) = bench.assigned();
    assert_eq!(node, NodeId(0));
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    bench.nothing_more();
    assert!(bench.state.is_stuck());
    assert_eq!(explain(&bench.state, NodeId(1), bench.now).next, ["longhaul approve 1"]);
    bench.request(approve(&[1, 2]));
    bench.expect_all(&["woken", "woken", "assigned", "assigned"]);
    // Each park wakes once.
    bench.request(approve(&[1]));
    bench.nothing_more();
}

#[test]
fn a_revert_goes_through_the_gate_and_a_refused_one_stays_landed() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[])]));
    let (attempt, _) = bench.assigned();
    bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    let revert = || Request::Revert { node: NodeId(0), parent: oid(3), parent_tree: oid(3), reason: "no".into() };
    bench.request(revert());
    bench.expect_all(&["revert_asked", "batch_opened"]);
    bench.merge(&[0]);
    bench.expect_all(&["conflicted", "batch_closed"]);
    assert_eq!(bench.name(0), "landed");
    bench.request(revert());
    bench.expect("revert_asked");
    bench.land();
    assert_eq!(bench.name(0), "reverted");
}

#[test]
fn what_stands_on_a_reverted_subtask_waits_when_it_is_done_again() {
    let mut plan = plan(&[("a", &[]), ("b", &[0])]);
    plan.budget = Some(Budget { parallel: 1, ..Budget::default() });
    let mut bench = Bench::new(plan);
    let (attempt, _) = bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Infrastructure);
    bench.expect("attempt_failed");
    assert_eq!(bench.name(1), "backoff");
    bench.request(Request::Revert { node: NodeId(0), parent: oid(3), parent_tree: oid(3), reason: "no".into() });
    bench.expect("revert_asked");
    bench.land();
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: String::new() });
    bench.expect_all(&["retried", "assigned"]);
    assert_eq!([0, 1].map(|node| bench.name(node)), ["running", "waiting"]);
    bench.wait(crate::core::LEASE_MS / 2);
    bench.nothing_more();
}

#[test]
fn time_between_a_jobs_end_and_its_next_beginning_is_not_worked_on() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    bench.assigned();
    bench.request(Request::Cancel { nodes: vec![NodeId(0)], whole_job: false, reason: "no".into() });
    bench.expect_all(&["cancelled", "job_closed"]);
    let worked = bench.state.active_ms(bench.now);
    bench.now += 24 * 3_600_000;
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: String::new() });
    bench.expect_all(&["job_resumed", "retried"]);
    assert_eq!(bench.state.active_ms(bench.now), worked);
}

#[test]
fn a_revert_below_landed_dependents_is_refused_with_their_names() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0]), ("c", &[])]));
    let (attempt, _) = bench.assigned();
    bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    let (attempt, _) = bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    let revert = Request::Revert { node: NodeId(0), parent: oid(3), parent_tree: oid(3), reason: String::new() };
    let refusal = bench.try_feed(Input::Request(revert)).expect_err("refused");
    assert!(refusal.0.contains("\"b\""), "{refusal}");
}

#[test]
fn cancelling_the_job_ends_it_and_keeps_what_landed() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[]), ("c", &[1])]));
    let (attempt, _) = bench.assigned();
    bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    bench.assigned();
    bench.request(Request::Cancel { nodes: Vec::new(), whole_job: true, reason: "enough".into() });
    bench.expect_all(&["cancelled", "cancelled", "job_closed"]);
    assert!(bench.state.pending().is_empty());
    let refused = bench.try_feed(Input::Request(Request::Pause { reason: String::new() }));
    assert!(refused.expect_err("closed").0.contains("generation"));
}

#[test]
fn a_finished_job_is_opened_again_by_a_revert() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    bench.expect("job_closed");
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.nothing_more();
    bench.request(Request::Revert { node: NodeId(0), parent: oid(3), parent_tree: oid(3), reason: String::new() });
    bench.expect_all(&["job_resumed", "revert_asked", "batch_opened"]);
    bench.merge(&[]);
    bench.expect("batch_merged");
    let gate = bench.gate_asked();
    bench.verdict(gate, longhaul_proto::Verdict::Green);
    bench.expect_all(&["gate_done", "land_intent"]);
    bench.moved();
    bench.expect_all(&["landed", "job_closed"]);
    assert_eq!(bench.name(0), "reverted");
}

#[test]
fn a_paused_job_finishes_and_lands_what_runs_and_starts_nothing() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0])]));
    let (attempt, _) = bench.assigned();
    bench.request(Request::Pause { reason: "lunch".into() });
    bench.expect("job_paused");
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    bench.nothing_more();
    assert!(bench.state.is_stuck());
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.expect_all(&["job_resumed", "assigned"]);
}
