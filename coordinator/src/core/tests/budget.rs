//! Budgets: reserved, settled, in doubt; a subtask's own; providers' limits, deadline, breaker.

use longhaul_common::{AttemptId, NodeId};
use longhaul_proto::{Budget, Failure, FailureClass, Finished, ParkReason, Plan, Unchanged, Usage, finished};

use super::bench::{Bench, plan};
use crate::capsule::capsule;
use crate::core::{Event, Input, JobPhase, Owner, Request, wall_ms};

fn budgeted(nodes: &[(&str, &[u32])], budget: Budget) -> Plan {
    Plan { budget: Some(budget), ..plan(nodes) }
}

/// A report with what was used.
fn report(bench: &mut Bench, id: u64, outcome: finished::Outcome, tokens: u64) {
    let usage = Some(Usage { tokens, ..Usage::default() });
    let finished = Finished { outcome: Some(outcome), usage, ..Finished::default() };
    bench.feed(Input::Finished { id, finished: Box::new(finished) });
}

fn unchanged() -> finished::Outcome {
    finished::Outcome::Unchanged(Unchanged::default())
}

fn failure(class: FailureClass) -> finished::Outcome {
    finished::Outcome::Failure(Failure { class: class.into(), message: format!("{class:?}"), ..Failure::default() })
}

/// What the next assignment reserves, in tokens.
#[track_caller]
fn reserved(bench: &mut Bench) -> (u64, u64) {
    let Event::Assigned(event) = bench.expect("assigned") else { panic!("not assigned") };
    (event.attempt, event.reserved_tokens)
}

fn going_on(write_off: &str) -> Request {
    Request::Resume { limits: None, write_off: write_off.to_owned() }
}

fn paused(bench: &Bench) -> String {
    match bench.state.job_phase() {
        JobPhase::Paused { reason, by_budget: true } => reason.clone(),
        other => panic!("not paused by the budget: {other:?}"),
    }
}

/// Everything on the worker falls silent.
fn lose(bench: &mut Bench) {
    bench.now += crate::core::LEASE_MS + 1;
    bench.feed(Input::Tick);
    bench.expect("lease_expired");
}

#[test]
fn each_attempt_reserves_its_share_and_the_next_waits_for_what_others_hold() {
    let budget = Budget { parallel: 2, tokens: 100, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])], budget));
    let (first, second) = (reserved(&mut bench), reserved(&mut bench));
    assert_eq!((first.1, second.1), (50, 50));
    report(&mut bench, first.0, unchanged(), 45);
    bench.expect("unchanged");
    bench.nothing_more();
    report(&mut bench, second.0, unchanged(), 15);
    bench.expect("unchanged");
    let third = reserved(&mut bench);
    assert_eq!(third.1, 40, "what is left");
    report(&mut bench, third.0, unchanged(), 40);
    bench.expect_all(&["unchanged", "job_paused"]);
    assert_eq!(paused(&bench), "the budget of 100 tokens is used up");
    let limits = Some(Budget { parallel: 2, tokens: 200, ..Budget::default() });
    bench.request(Request::Resume { limits, write_off: String::new() });
    bench.expect_all(&["limits_changed", "job_resumed", "assigned"]);
}

#[test]
fn what_nobody_had_to_reserve_counts_when_it_is_reported_late() {
    let mut bench = Bench::new(budgeted(&[("a", &[])], Budget { parallel: 1, ..Budget::default() }));
    let (attempt, amount) = reserved(&mut bench);
    assert_eq!(amount, 0);
    bench.request(Request::Cancel { nodes: vec![NodeId(0)], whole_job: false, reason: "no".to_owned() });
    bench.expect_all(&["cancelled", "job_closed"]);
    report(&mut bench, attempt, unchanged(), 45);
    bench.expect("spend_settled");
    assert_eq!((bench.state.spend.total().tokens, bench.state.spend.breaches().1), (45, 0));
    report(&mut bench, attempt, unchanged(), 0);
    bench.nothing_more();
}

#[test]
fn what_a_lost_attempt_may_have_used_is_in_doubt_until_its_late_report() {
    let budget = Budget { parallel: 1, tokens: 100, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[])], budget));
    let (attempt, amount) = reserved(&mut bench);
    assert_eq!(amount, 100);
    lose(&mut bench);
    bench.presence();
    bench.expect("job_paused");
    assert!(paused(&bench).contains("100 tokens of it in doubt"), "{}", paused(&bench));
    assert_eq!(bench.state.owner_of(attempt), Owner::Worker("w".into()));
    report(&mut bench, attempt, failure(FailureClass::Check), 30);
    bench.expect("spend_settled");
    assert_eq!((bench.state.spend.total().tokens, bench.state.subtask(NodeId(0)).tokens), (30, 30));
    report(&mut bench, attempt, failure(FailureClass::Check), 30);
    let patch = bench.patch();
    report(&mut bench, attempt, finished::Outcome::Patch(patch), 30);
    bench.nothing_more();
    bench.request(going_on(""));
    bench.expect("job_resumed");
    assert_eq!(reserved(&mut bench).1, 70);
}

#[test]
fn a_person_writes_off_what_is_in_doubt_and_a_report_counts_all_the_same() {
    let budget = Budget { parallel: 1, tokens: 100, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[])], budget));
    let (attempt, _) = reserved(&mut bench);
    lose(&mut bench);
    bench.presence();
    bench.expect("job_paused");
    bench.request(going_on("anna"));
    bench.expect_all(&["spend_settled", "job_resumed", "assigned"]);
    assert_eq!(bench.state.spend.doubted().tokens, 0);
    report(&mut bench, attempt, failure(FailureClass::Check), 30);
    bench.expect("spend_settled");
    assert_eq!(bench.state.spend.settled().tokens, 30);
    let (breaches, total) = bench.state.spend.breaches();
    assert_eq!((breaches[0].attempt, total), (AttemptId(attempt), 1), "100 are promised to the next one by now");
}

#[test]
fn a_cancelled_attempt_settles_with_its_last_report() {
    let budget = Budget { parallel: 1, tokens: 100, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[]), ("b", &[])], budget));
    let (attempt, _) = reserved(&mut bench);
    bench.request(Request::Cancel { nodes: vec![NodeId(0)], whole_job: false, reason: "not wanted".into() });
    bench.expect_all(&["cancelled", "job_paused"]);
    report(&mut bench, attempt, failure(FailureClass::Cancelled), 7);
    bench.expect("spend_settled");
    assert_eq!(bench.state.spend.total().tokens, 7);
}

#[test]
fn using_more_than_was_reserved_is_kept_as_a_breach() {
    let mut own = plan(&[("a", &[]), ("b", &[])]);
    own.tasks[0].tokens_max = 10;
    let mut bench = Bench::new(own);
    let (first, second) = (reserved(&mut bench), reserved(&mut bench));
    assert_eq!((first.1, second.1), (10, 10));
    report(&mut bench, first.0, unchanged(), 11);
    bench.expect("unchanged");
    let (breaches, total) = bench.state.spend.breaches();
    assert_eq!((breaches[0].attempt, breaches[0].subtask.as_str(), total), (AttemptId(first.0), "a", 1));
    let status = crate::view::job_status(&bench.state, bench.now, &crate::view::ProgressMap::new(), true);
    assert!(status.warnings[0].contains("of a used 11 tokens where 10 tokens were reserved"), "{:?}", status.warnings);
}

#[test]
fn a_subtask_that_used_up_its_own_budget_is_parked() {
    let mut own = plan(&[("a", &[])]);
    own.tasks[0].tokens_max = 10;
    let mut bench = Bench::new(own);
    let (attempt, _) = reserved(&mut bench);
    report(&mut bench, attempt, failure(FailureClass::Check), 4);
    bench.expect("attempt_failed");
    let (attempt, rest) = reserved(&mut bench);
    assert_eq!(rest, 6);
    report(&mut bench, attempt, failure(FailureClass::Check), 6);
    bench.expect_all(&["attempt_failed", "parked"]);
    assert_eq!(bench.state.subtask(NodeId(0)).phase().park_reason(), Some(ParkReason::Budget));
    assert!(bench.state.is_stuck());
}

#[test]
fn a_subtask_that_used_up_its_own_hours_is_parked_and_its_attempts_get_the_rest() {
    let mut own = plan(&[("a", &[])]);
    own.tasks[0].wall_ms_max = 10_000;
    let mut bench = Bench::new(own);
    let (attempt, node) = bench.assigned();
    assert_eq!(wall_ms(&bench.state, node), 10_000);
    bench.wait(4_000);
    report(&mut bench, attempt, failure(FailureClass::Check), 0);
    bench.expect("attempt_failed");
    let (attempt, _) = bench.assigned();
    assert_eq!(wall_ms(&bench.state, node), 6_000);
    bench.wait(6_000);
    report(&mut bench, attempt, failure(FailureClass::Agent), 0);
    bench.expect_all(&["attempt_failed", "parked"]);
    let reason = bench.state.subtask(node).phase().park_reason();
    assert_eq!(reason, Some(ParkReason::Budget));
}

#[test]
fn a_providers_limit_parks_whatever_needs_it_costs_no_attempt_and_ends_once() {
    let mut two = plan(&[("a", &[]), ("b", &[])]);
    two.budget = Some(Budget { parallel: 1, attempts: 3, ..Budget::default() });
    let mut bench = Bench::new(two);
    let (attempt, node) = bench.assigned();
    let until_ms = bench.now + 3_600_000;
    let limit = Failure {
        class: FailureClass::ProviderLimit.into(),
        message: "usage limit".into(),
        provider: "p".into(),
        agent: "script".into(),
        until_ms,
        ..Failure::default()
    };
    bench.finish(attempt, finished::Outcome::Failure(limit));
    bench.expect("attempt_failed");
    bench.presence();
    bench.nothing_more();
    assert_eq!(bench.state.spend.attempts, 0);
    assert_eq!((bench.name(node.0), bench.state.subtask(node).tries, bench.state.is_stuck()), ("backoff", 0, false));
    assert_eq!(bench.state.provider_awaited(NodeId(1), bench.now), Some(("p", until_ms)));
    assert!(bench.state.next_due_ms(until_ms - 1) == Some(until_ms));
    // A restart knows it too.
    let bytes = postcard::to_stdvec(&bench.state).expect("serialisable");
    let mut restarted: crate::core::State = postcard::from_bytes(&bytes).expect("read back");
    restarted.rebuild().expect("a graph");
    assert_eq!(restarted.provider_awaited(NodeId(1), bench.now), Some(("p", until_ms)));
    bench.now = until_ms;
    bench.presence();
    bench.assigned();
    bench.nothing_more();
}

#[test]
fn a_deadline_takes_back_what_runs_and_resuming_goes_on_without_it() {
    let deadline_ms = 100_000;
    let budget = Budget { parallel: 1, deadline_ms, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[]), ("b", &[])], budget));
    let (attempt, _) = bench.assigned();
    bench.wait(deadline_ms - bench.now - 1);
    bench.nothing_more();
    bench.wait(1);
    bench.expect_all(&["job_paused", "lease_expired"]);
    assert!(paused(&bench).contains("the deadline has passed") && bench.state.is_stuck());
    assert_eq!(bench.state.subtask(NodeId(0)).losses, 0, "nobody's fault");
    bench.deliver(attempt);
    bench.expect_all(&["delivered", "batch_opened"]);
    bench.request(going_on(""));
    bench.expect_all(&["limits_changed", "job_resumed", "assigned"]);
}

#[test]
fn nothing_is_begun_that_cannot_end_before_the_deadline() {
    let budget = Budget { parallel: 1, deadline_ms: 45_000, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])], budget));
    for _ in 0..3 {
        let (attempt, _) = bench.assigned();
        bench.wait(12_000);
        bench.finish(attempt, unchanged());
        bench.expect("unchanged");
    }
    bench.expect("job_paused");
    assert!(paused(&bench).contains("nothing more can end before the deadline"));
    assert_eq!((bench.now, bench.name(3)), (37_000, "ready"));
}

#[test]
fn a_breaker_stops_the_night_from_burning_and_probes_before_it_goes_on() {
    let budget = Budget { parallel: 2, breaker_failed: 3, breaker_of: 3, ..Budget::default() };
    let mut bench = Bench::new(budgeted(&[("a", &[]), ("b", &[]), ("c", &[])], budget));
    let (first, second) = (bench.assigned().0, bench.assigned().0);
    bench.fail(first, FailureClass::Check);
    bench.expect("attempt_failed");
    let third = bench.assigned().0;
    bench.fail(second, FailureClass::Check);
    bench.expect("attempt_failed");
    let fourth = bench.assigned().0;
    bench.fail(third, FailureClass::Agent);
    bench.expect_all(&["attempt_failed", "job_paused"]);
    let JobPhase::Paused { reason, by_budget: false } = bench.state.job_phase() else { panic!("not paused") };
    assert!(reason.starts_with("breaker open: 3 of the last 3 attempts failed, 2 of them by a check"), "{reason}");
    bench.fail(fourth, FailureClass::Check);
    bench.expect("attempt_failed");
    bench.request(going_on(""));
    bench.expect("job_resumed");
    let probe = bench.assigned().0;
    bench.nothing_more();
    bench.finish(probe, unchanged());
    bench.expect_all(&["unchanged", "assigned", "assigned"]);
}

#[test]
fn an_agent_is_told_its_own_last_failure_whatever_broke_since() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    bench.fail(attempt, FailureClass::Check);
    bench.expect("attempt_failed");
    let (attempt, _) = bench.assigned();
    bench.fail(attempt, FailureClass::Provider);
    bench.expect("attempt_failed");
    assert_eq!(bench.state.subtask(node).tries, 1, "a provider's failure costs no attempt");
    let told = capsule(&bench.state, node).last_failure.expect("a lesson");
    assert_eq!((told.class.as_str(), told.message.as_str()), ("check", "Check"));
}
