//! Attempts: order, retries, leases, spares, budgets.

use longhaul_common::NodeId;
use longhaul_proto::{Budget, FailureClass, Finished, Unchanged, finished};

use super::bench::{Bench, plan};
use crate::core::{Event, Input, JobPhase, Phase};

#[test]
fn dependents_wait_for_the_landing_and_build_on_it() {
    let mut bench = Bench::new(plan(&[("a", &[]), ("b", &[0])]));
    let (attempt, node) = bench.assigned();
    assert_eq!(node, NodeId(0));
    bench.deliver(attempt);
    bench.expect("delivered");
    assert_eq!(bench.name(1), "waiting", "delivered is not landed");
    bench.land();
    let Event::Assigned(second) = bench.expect("assigned") else { panic!() };
    assert_eq!(second.base, bench.state.landing.tip.to_vec());
    bench.finish(second.attempt, finished::Outcome::Unchanged(Unchanged::default()));
    bench.expect_all(&["unchanged", "job_closed"]);
}

#[test]
fn the_longest_way_to_the_end_goes_first() {
    let mut limited = plan(&[("short", &[]), ("long", &[]), ("end", &[1])]);
    limited.budget = Some(Budget { parallel: 1, ..Budget::default() });
    let mut bench = Bench::new(limited);
    assert_eq!(bench.assigned().1, NodeId(1));
}

#[test]
fn overlapping_footprints_run_one_after_the_other() {
    let mut shared = plan(&[("a", &[]), ("b", &[])]);
    shared.nodes[1].claims = shared.nodes[0].claims.clone();
    let mut bench = Bench::new(shared);
    let (attempt, _) = bench.assigned();
    bench.nothing_more();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    assert_eq!(bench.assigned().1, NodeId(1), "held until landed");
}

#[test]
fn a_failing_attempt_is_tried_again_with_its_failure_and_then_parked() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    for _ in 0..2 {
        let (attempt, _) = bench.assigned();
        bench.fail(attempt, FailureClass::Check);
        bench.expect("attempt_failed");
        assert!(bench.state.subtask(NodeId(0)).last_failure.is_some());
    }
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Check);
    bench.expect("attempt_failed");
    assert_eq!(bench.name(0), "parked");
    assert!(bench.state.is_stuck());
}

#[test]
fn infrastructure_costs_no_attempt_and_backs_off() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let mut waits = Vec::new();
    for _ in 0..5 {
        let (attempt, _) = bench.assigned();
        bench.fail(attempt, FailureClass::Infrastructure);
        bench.expect("attempt_failed");
        let Phase::Backoff { until_ms } = *bench.state.subtask(NodeId(0)).phase() else { panic!("no backoff") };
        waits.push(until_ms - bench.now);
        bench.wait(until_ms - bench.now);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(bench.state.subtask(NodeId(0)).tries, 0);
    bench.assigned();
}

#[test]
fn codemods_alone_are_not_run_twice_on_the_same_base() {
    let mut fixed = plan(&[("a", &[])]);
    fixed.agents[0].kind = Some(longhaul_proto::agent::Kind::Codemod(longhaul_proto::CodemodAgent::default()));
    let mut bench = Bench::new(fixed);
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Check);
    bench.expect("attempt_failed");
    assert_eq!(bench.name(0), "parked");
}

#[test]
fn a_protected_path_needs_a_person_at_once() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Protected);
    bench.expect("attempt_failed");
    assert_eq!(bench.name(0), "parked");
}

#[test]
fn a_silent_worker_loses_its_lease_and_a_late_result_is_still_taken() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.now += 31_000;
    bench.feed(Input::Tick);
    bench.expect("lease_expired");
    bench.nothing_more();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.expect("batch_opened");
    assert_eq!(bench.name(0), "landing");
}

#[test]
fn a_second_result_is_kept_as_a_spare_and_promoted_when_the_first_conflicts() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (first, _) = bench.assigned();
    bench.now += 31_000;
    bench.feed(Input::Tick);
    bench.expect("lease_expired");
    bench.presence();
    let (second, _) = bench.assigned();
    bench.deliver(first);
    bench.expect("spare_kept");
    bench.deliver(second);
    bench.expect_all(&["delivered", "batch_opened"]);
    bench.merge(&[0]);
    bench.expect_all(&["conflicted", "batch_closed", "batch_opened"]);
    assert!(bench.state.subtask(NodeId(0)).spares.is_empty(), "the spare is the candidate now");
}

#[test]
fn stale_and_unknown_reports_do_nothing() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.finish(attempt, finished::Outcome::Unchanged(Unchanged::default()));
    bench.expect_all(&["unchanged", "job_closed"]);
    for id in [attempt, 0, 999] {
        bench.deliver(id);
        bench.nothing_more();
    }
}

#[test]
fn a_report_without_a_result_is_infrastructure() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, _) = bench.assigned();
    bench.feed(Input::Finished { id: attempt, finished: Box::new(Finished::default()) });
    bench.expect("attempt_failed");
    assert_eq!((bench.name(0), bench.state.subtask(NodeId(0)).tries), ("backoff", 0));
}

#[test]
fn a_suspended_machine_costs_no_lease_and_no_budget() {
    let mut timed = plan(&[("a", &[]), ("b", &[0])]);
    timed.budget = Some(Budget { parallel: 4, wall_ms: 60_000, ..Budget::default() });
    let mut bench = Bench::new(timed);
    let (attempt, _) = bench.assigned();
    bench.now += 8 * 3_600_000;
    bench.state.fleet.forgive(8 * 3_600_000);
    bench.feed(Input::Gap { ms: 8 * 3_600_000 });
    bench.expect("recovered");
    bench.nothing_more();
    bench.finish(attempt, finished::Outcome::Unchanged(Unchanged::default()));
    bench.expect("unchanged");
    bench.presence();
    bench.assigned();
}

#[test]
fn a_used_up_budget_pauses_the_job_and_a_raised_one_goes_on() {
    let mut few = plan(&[("a", &[]), ("b", &[0])]);
    few.budget = Some(Budget { parallel: 4, attempts: 1, ..Budget::default() });
    let mut bench = Bench::new(few);
    let (attempt, _) = bench.assigned();
    bench.finish(attempt, finished::Outcome::Unchanged(Unchanged::default()));
    bench.expect_all(&["unchanged", "job_paused"]);
    assert!(matches!(bench.state.job_phase(), JobPhase::Paused { by_budget: true, .. }) && bench.state.is_stuck());
    let limits = Some(Budget { parallel: 4, attempts: 2, ..Budget::default() });
    bench.request(crate::core::Request::Resume { limits, write_off: String::new() });
    bench.expect_all(&["limits_changed", "job_resumed", "assigned"]);
}
