//! Landing: culprits, flakes, controls, inconclusive gates, bisection, groups.

use longhaul_common::NodeId;
use longhaul_proto::Verdict;

use super::bench::{Bench, plan};
use crate::core::{Event, GATES_LOST_MAX, Input, JobPhase, Phase, Request};

/// A bench whose `count` independent subtasks are delivered; the first is in a batch of its own.
fn delivered(count: u8) -> Bench {
    let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
    let nodes: Vec<(&str, &[u32])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    let mut bench = Bench::new(plan(&nodes));
    let attempts: Vec<u64> = (0..count).map(|_| bench.assigned().0).collect();
    for attempt in attempts {
        bench.deliver(attempt);
        bench.expect("delivered");
        if bench.state.landing.batch.is_some() && bench.state.landing.queue.is_empty() {
            bench.expect("batch_opened");
        }
    }
    bench
}

/// Lands the first alone, so that the rest make one batch, merged and in the gate.
fn batch_of(count: u8) -> (Bench, u64) {
    let mut bench = delivered(count + 1);
    bench.merge(&[]);
    bench.expect("batch_merged");
    let gate = bench.gate_asked();
    bench.verdict(gate, Verdict::Green);
    bench.expect_all(&["gate_done", "land_intent"]);
    bench.moved();
    bench.expect_all(&["landed", "batch_opened"]);
    let gate = merged(&mut bench);
    (bench, gate)
}

fn merged(bench: &mut Bench) -> u64 {
    bench.merge(&[]);
    bench.expect("batch_merged");
    bench.gate_asked()
}

fn red(bench: &mut Bench, gate: u64) {
    bench.verdict(gate, Verdict::Red);
    bench.expect("gate_done");
}

fn green(bench: &mut Bench, gate: u64) {
    bench.verdict(gate, Verdict::Green);
    bench.expect_all(&["gate_done", "land_intent"]);
    bench.moved();
    bench.expect("landed");
}

#[test]
fn a_red_base_stops_the_job_before_anything_is_spent() {
    let mut bench = Bench::raw(plan(&[("a", &[])]));
    bench.presence();
    for _ in 0..2 {
        let gate = bench.gate_asked();
        bench.verdict(gate, Verdict::Red);
        bench.expect("gate_done");
        bench.wait(1_000);
    }
    bench.expect("job_closed");
    assert_eq!(bench.state.spend.attempts, 0);
    assert!(matches!(bench.state.job_phase(), JobPhase::Closed { reason, .. } if reason.contains("the gate's log")));
}

#[test]
fn red_then_green_is_flaky_and_blames_nobody() {
    let (mut bench, gate) = batch_of(2);
    red(&mut bench, gate);
    let again = bench.gate_asked();
    green(&mut bench, again);
    bench.expect("job_closed");
    let Phase::Landed(landed) = bench.state.subtask(NodeId(1)).phase() else { panic!() };
    assert!(landed.flaky);
    assert_eq!(bench.state.retries(), 0);
}

#[test]
fn a_batch_red_twice_is_split_and_only_the_culprit_is_sent_back() {
    let (mut bench, gate) = batch_of(2);
    red(&mut bench, gate);
    let again = bench.gate_asked();
    red(&mut bench, again);
    // The tip was seen green as it landed: no control is needed.
    bench.expect_all(&["batch_closed", "batch_opened"]);
    let left = merged(&mut bench);
    green(&mut bench, left);
    bench.expect("batch_opened");
    let right = merged(&mut bench);
    red(&mut bench, right);
    let right = bench.gate_asked();
    red(&mut bench, right);
    let Event::MemberRejected(rejected) = bench.expect("rejected") else { panic!() };
    assert_eq!((rejected.node, rejected.gates.len()), (2, 2));
    assert_eq!(rejected.detail, "the gate's log");
    bench.expect("batch_closed");
    let (_, node) = bench.assigned();
    assert_eq!(node, NodeId(2), "it is tried again on the newer base");
    let gates = bench.state.landing.gates_run;
    assert!(gates <= 2 + 3 + (2 + 2), "{gates} gate runs");
}

#[test]
fn a_red_control_blames_nobody_and_halts_landing_until_a_person_resumes() {
    let mut bench = delivered(1);
    // As after a resume: nothing is known of the tip.
    bench.request(Request::Pause { reason: "test".into() });
    bench.expect("job_paused");
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.expect("job_resumed");
    let gate = merged(&mut bench);
    red(&mut bench, gate);
    let again = bench.gate_asked();
    red(&mut bench, again);
    for _ in 0..2 {
        let Event::GateAsked(control) = bench.expect("gate_asked") else { panic!() };
        assert_eq!(control.commit, bench.state.landing.tip.to_vec(), "the control runs on the bare tip");
        red(&mut bench, control.gate);
    }
    bench.expect_all(&["landing_halted", "batch_closed"]);
    assert_eq!((bench.name(0), bench.state.retries()), ("landing", 0));
    assert!(bench.state.is_stuck());
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.expect_all(&["job_resumed", "batch_opened"]);
}

#[test]
fn inconclusive_gates_blame_nobody_and_back_off() {
    let mut bench = delivered(1);
    let mut gate = merged(&mut bench);
    for wait in [1_000, 2_000, 4_000] {
        bench.verdict(gate, Verdict::Inconclusive);
        bench.expect("gate_done");
        bench.nothing_more();
        bench.wait(wait);
        gate = bench.gate_asked();
    }
    bench.verdict(gate, Verdict::Inconclusive);
    bench.expect_all(&["gate_done", "landing_halted", "batch_closed"]);
    assert_eq!(bench.state.subtask(NodeId(0)).rejections, 0);
}

/// The gate's worker falls silent, and another comes.
fn lose(bench: &mut Bench, next: &str) {
    bench.now += 31_000;
    bench.hear(next, &[], "");
    bench.expect("gate_lost");
}

#[test]
fn a_gate_that_takes_its_workers_down_is_not_asked_without_end() {
    let mut bench = Bench::raw(plan(&[("a", &[])]));
    bench.hear("w0", &[], "");
    for at in 1..GATES_LOST_MAX {
        bench.gate_asked();
        let next = format!("w{at}");
        lose(&mut bench, &next);
        bench.nothing_more();
        let wait = 5_000 << (at - 1);
        assert_eq!(bench.state.next_due_ms(bench.now), Some(bench.now + wait), "it is not given on at once");
        bench.now += wait;
        bench.hear(&next, &[], "");
    }
    bench.gate_asked();
    lose(&mut bench, "last");
    let Event::LandingHalted(halted) = bench.expect("landing_halted") else { panic!() };
    assert!(
        halted.reason.starts_with("4 workers in a row were lost while they ran the gate on the base"),
        "{halted:?}"
    );
    assert!(bench.state.is_stuck(), "a person is waited for");
    bench.now += 3_600_000;
    bench.hear("last", &[], "");
    bench.nothing_more();
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.expect("job_resumed");
    let gate = bench.gate_asked();
    assert!(!bench.state.is_stuck());
    bench.verdict(gate, Verdict::Green);
    bench.expect_all(&["gate_done", "assigned"]);
}

#[test]
fn a_batch_whose_gate_takes_workers_down_halts_landing_and_a_retry_goes_on() {
    let mut bench = delivered(1);
    merged(&mut bench);
    for at in 1..GATES_LOST_MAX {
        let next = format!("w{at}");
        lose(&mut bench, &next);
        bench.now += 20_000;
        bench.hear(&next, &[], "");
        bench.gate_asked();
    }
    lose(&mut bench, "last");
    let Event::LandingHalted(halted) = bench.expect("landing_halted") else { panic!() };
    assert!(halted.reason.contains("the gate of batch 1 (\"n0\")"), "{halted:?}");
    bench.expect_all(&["batch_closed"]);
    assert_eq!(bench.state.subtask(NodeId(0)).rejections, 0, "nobody is blamed");
    assert!(bench.state.is_stuck());
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: String::new() });
    bench.expect_all(&["job_resumed", "batch_opened"]);
    let gate = merged(&mut bench);
    green(&mut bench, gate);
    bench.expect("job_closed");
}

#[test]
fn a_gate_that_comes_back_ends_the_count_of_lost_ones() {
    let mut bench = delivered(1);
    let mut gate = merged(&mut bench);
    for at in 0..3 {
        for lost in 1..GATES_LOST_MAX {
            let next = format!("w{at}-{lost}");
            lose(&mut bench, &next);
            bench.now += 20_000;
            bench.hear(&next, &[], "");
            gate = bench.gate_asked();
        }
        bench.verdict(gate, Verdict::Inconclusive);
        bench.expect("gate_done");
        bench.now += 20_000;
        bench.hear("next", &[], "");
        gate = bench.gate_asked();
    }
    green(&mut bench, gate);
    bench.expect("job_closed");
}

#[test]
fn a_conflicting_member_is_left_out_and_the_rest_lands() {
    let mut bench = delivered(3);
    let gate = merged(&mut bench);
    green(&mut bench, gate);
    bench.expect("batch_opened");
    bench.merge(&[2]);
    bench.expect_all(&["conflicted", "batch_merged", "gate_asked", "assigned"]);
    let gate = bench.state.landing.gates.keys().next().expect("asked").0;
    green(&mut bench, gate);
    assert_eq!((bench.name(1), bench.name(2)), ("landed", "running"));
}

#[test]
fn a_culprit_is_parked_when_its_retries_are_used_up() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    for _ in 0..3 {
        let (attempt, _) = bench.assigned();
        bench.deliver(attempt);
        bench.expect_all(&["delivered", "batch_opened"]);
        let gate = merged(&mut bench);
        red(&mut bench, gate);
        let again = bench.gate_asked();
        red(&mut bench, again);
        bench.expect("rejected");
        bench.expect("batch_closed");
    }
    assert_eq!(bench.name(0), "parked");
}

#[test]
fn a_moved_branch_pauses_the_job_and_overwrites_nothing() {
    let mut bench = delivered(1);
    let gate = merged(&mut bench);
    bench.verdict(gate, Verdict::Green);
    bench.expect_all(&["gate_done", "land_intent"]);
    let result = crate::core::MoveResult::Foreign { found: super::bench::oid(99) };
    let batch = bench.batch();
    bench.feed(Input::RefMoved { batch, result });
    bench.expect("job_paused");
    assert_eq!(bench.name(0), "landing");
    assert!(bench.state.is_stuck(), "it waits for a person, and the process may end");
    bench.request(Request::Resume { limits: None, write_off: String::new() });
    bench.expect("job_resumed");
    bench.moved();
    bench.expect_all(&["landed", "job_closed"]);
}

#[test]
fn a_group_lands_as_one_and_its_members_build_on_each_other() {
    let mut grouped = plan(&[("a", &[]), ("b", &[0])]);
    grouped.tasks[0].land_with = "together".into();
    let mut bench = Bench::new(grouped);
    let (attempt, _) = bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.nothing_more();
    let head = super::bench::oid(77);
    // The numbers are those of a plan that is not open any more.
    bench.feed(Input::Staged { generation: bench.state.generation() - 1, node: NodeId(7), result: Ok(head) });
    bench.nothing_more();
    bench.feed(Input::Staged { generation: bench.state.generation(), node: NodeId(0), result: Ok(head) });
    bench.expect("staged");
    let Event::Assigned(second) = bench.expect("assigned") else { panic!() };
    assert_eq!(second.base, head.to_vec(), "it builds on what is not gated yet");
    bench.deliver(second.attempt);
    bench.expect("delivered");
    bench.feed(Input::Staged {
        generation: bench.state.generation(),
        node: NodeId(1),
        result: Ok(super::bench::oid(78)),
    });
    bench.expect("staged");
    let Event::BatchOpened(batch) = bench.expect("batch_opened") else { panic!() };
    assert_eq!(batch.members, [0, 1]);
    let gate = merged(&mut bench);
    green(&mut bench, gate);
    bench.expect("job_closed");
}

#[test]
fn the_final_gate_is_asked_again_before_it_is_believed_and_is_no_standstill() {
    let mut last = plan(&[("a", &[])]);
    last.gate.as_mut().expect("a gate").r#final = Some(longhaul_proto::CommandLine::default());
    let mut bench = Bench::new(last);
    let (attempt, _) = bench.assigned();
    bench.deliver(attempt);
    bench.expect("delivered");
    bench.land();
    let gate = bench.gate_asked();
    red(&mut bench, gate);
    bench.nothing_more();
    assert!(!bench.state.is_stuck(), "the second run is due in a second");
    bench.wait(1_000);
    let gate = bench.gate_asked();
    bench.verdict(gate, Verdict::Green);
    bench.expect_all(&["gate_done", "job_closed"]);
}

#[test]
fn an_assignment_that_is_only_ever_sent_again_loses_its_lease() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    bench.assigned();
    for _ in 0..6 {
        bench.now += 6_000;
        let id = *bench.state.attempts().keys().next().expect("live");
        bench.state.fleet.sent(id.0, bench.now);
    }
    bench.feed(Input::Tick);
    bench.expect("lease_expired");
}

#[test]
fn carried_patches_land_in_the_order_of_their_dependencies() {
    let mut bench = Bench::new(plan(&[("late", &[1]), ("early", &[]), ("other", &[])]));
    let (early, _) = bench.assigned();
    let (other, _) = bench.assigned();
    bench.deliver(early);
    bench.expect("delivered");
    bench.land();
    let (late, _) = bench.assigned();
    bench.deliver(late);
    bench.expect("delivered");
    bench.land();
    bench.deliver(other);
    bench.expect("delivered");
    bench.land();
    bench.expect("job_closed");
    let mut edited = plan(&[("late", &[1]), ("early", &[]), ("other", &[])]);
    edited.nodes[2].key = b"changed".to_vec();
    bench.open(edited);
    bench.expect("plan_opened");
    bench.presence();
    let Event::BatchOpened(batch) = bench.expect("batch_opened") else { panic!() };
    assert_eq!(batch.members, [1, 0], "the dependency first");
    bench.assigned();
}
