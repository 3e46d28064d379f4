//! Results that wait for a person: parked with what was found, landed by a yes, dropped by a retry.

use longhaul_common::{NodeId, ParkId};
use longhaul_proto::{AnswerScope, ParkReason, Patch, finished};

use super::bench::{Bench, answer, approve, plan};
use crate::core::{Input, Phase, Request, explain};

const FINDING: &str = "tests/a.rs: the test adds was deleted";

/// A job whose one subtask waits for a yes; gives the park.
fn held() -> (Bench, u64) {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    let patch = Patch { findings: vec![FINDING.to_owned()], ..bench.patch() };
    bench.finish(attempt, finished::Outcome::Patch(patch));
    bench.expect("held");
    bench.presence();
    bench.nothing_more();
    let subtask = bench.state.subtask(node);
    assert_eq!((subtask.phase().park_reason(), subtask.tries), (Some(ParkReason::Approval), 0));
    let Phase::Parked { park: ParkId(park), text, .. } = subtask.phase() else { panic!("not parked") };
    assert!(text.contains(FINDING) && bench.state.is_stuck());
    assert!(!crate::view::subtask_row(&bench.state, node).commit.is_empty(), "what is held can be looked at");
    let park = *park;
    (bench, park)
}

#[test]
fn a_result_that_weakens_tests_lands_only_with_a_yes() {
    let (mut bench, park) = held();
    assert_eq!(explain(&bench.state, NodeId(0), bench.now).next[1], format!("longhaul approve {park}"));
    bench.now += 1_000_000_000;
    bench.presence();
    bench.nothing_more();
    bench.request(approve(&[park]));
    bench.expect("woken");
    bench.expect("delivered");
    bench.land();
    bench.expect("job_closed");
    assert_eq!(bench.name(0), "landed");
}

#[test]
fn an_answer_drops_the_result_and_the_next_attempt_is_told() {
    let (mut bench, park) = held();
    bench.request(answer(park, "put it back"));
    bench.expect_all(&["retried", "assigned"]);
    let subtask = bench.state.subtask(NodeId(0));
    assert!(subtask.spares.is_empty());
    assert_eq!(subtask.remarks, ["put it back"]);
}

#[test]
fn a_rejected_result_is_dropped_and_the_next_attempt_is_told_why() {
    let (mut bench, park) = held();
    let scope = AnswerScope::Once;
    let reject = |park| Request::Reject { park: ParkId(park), reason: "keep both".into(), scope, by: "anna".into() };
    let refused = bench.try_feed(Input::Request(reject(park + 1))).expect_err("nothing waits there");
    assert!(refused.0.contains("nothing waits for a yes under"), "{refused}");
    bench.request(reject(park));
    bench.expect_all(&["retried", "assigned"]);
    let subtask = bench.state.subtask(NodeId(0));
    assert!(subtask.spares.is_empty() && subtask.held().is_none());
    let [remark] = subtask.remarks.as_slice() else { panic!("{:?}", subtask.remarks) };
    assert!(remark.contains(FINDING) && remark.ends_with("The reason: keep both"), "{remark}");
    bench.try_feed(Input::Request(reject(park))).expect_err("a park is consumed once");
}
