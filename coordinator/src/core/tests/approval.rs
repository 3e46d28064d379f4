//! Results that wait for a person: parked with what was found, landed by a yes, dropped by a retry.

use longhaul_common::{NodeId, ParkId};
use longhaul_proto::{ParkReason, Patch, finished};

use super::bench::{Bench, plan};
use crate::core::{Phase, Request, explain};

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
    let park = *park;
    (bench, park)
}

#[test]
fn a_result_that_weakens_tests_lands_only_with_a_yes() {
    let (mut bench, park) = held();
    assert_eq!(explain(&bench.state, NodeId(0), bench.now).next[0], format!("longhaul approve {park}"));
    bench.now += 1_000_000_000;
    bench.presence();
    bench.nothing_more();
    bench.request(Request::Approve { parks: vec![ParkId(park)], by: "anna".into() });
    bench.expect("woken");
    bench.expect("delivered");
    bench.land();
    bench.expect("job_closed");
    assert_eq!(bench.name(0), "landed");
}

#[test]
fn an_answer_drops_the_result_and_the_next_attempt_is_told() {
    let (mut bench, park) = held();
    bench.request(Request::Answer { park: ParkId(park), text: "put it back".into(), by: "anna".into() });
    bench.expect_all(&["retried", "assigned"]);
    let subtask = bench.state.subtask(NodeId(0));
    assert!(subtask.spares.is_empty());
    assert_eq!(subtask.remarks, ["put it back"]);
}
