//! Subtasks that are done in parts.

use longhaul_common::NodeId;
use longhaul_proto::{Budget, Failure, FailureClass, Finished, Part, Plan, Policy, Unchanged, Usage, finished};

use super::bench::{Bench, plan};
use crate::capsule::{capsule, instructions};
use crate::core::{Event, Input, explain, with_parts};

fn part(name: &str, paths: &[&str]) -> Part {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Part { name: name.into(), instructions: format!("do {name}"), paths }
}

/// `a` may be split into up to four parts and write below `src`; `b` comes after it.
fn splittable() -> Plan {
    let mut plan = plan(&[("a", &[]), ("b", &[0])]);
    plan.tasks[0].split = 4;
    plan.tasks[0].whole_repository = false;
    plan.tasks[0].write = vec!["src/**".into(), "*.md".into()];
    plan.nodes[0].key = vec![1];
    plan.nodes[0].files = vec!["src/a.rs".into(), "src/b.rs".into()];
    plan.nodes[0].claims = plan.nodes[0].files.clone();
    plan
}

fn ask(bench: &mut Bench, id: u64, parts: Vec<Part>, tokens: u64) {
    let failure = Failure { class: FailureClass::Split.into(), parts, ..Failure::default() };
    let usage = Some(Usage { tokens, ..Usage::default() });
    let outcome = Some(finished::Outcome::Failure(failure));
    bench.feed(Input::Finished { id, finished: Box::new(Finished { outcome, usage, ..Finished::default() }) });
}

fn two() -> Vec<Part> {
    vec![part("x", &["src/a.rs"]), part("y", &["src/b.rs", "src/new/**", "NEW.md"])]
}

#[test]
fn parts_are_done_first_and_then_what_they_left() {
    let mut bench = Bench::new(splittable());
    let (attempt, node) = bench.assigned();
    assert_eq!((node, bench.state.may_split(node)), (NodeId(0), 4));
    ask(&mut bench, attempt, two(), 5);
    let Event::Split(split) = bench.expect("split") else { panic!("not split") };
    assert_eq!((split.first, split.nodes.len(), split.tasks.len()), (2, 2, 3));
    assert_eq!([0, 1].map(|node| bench.name(node)), ["waiting", "waiting"]);
    assert_eq!(bench.state.counts().total, 4);
    let ids = [2, 3].map(|node| bench.state.node(NodeId(node)).id.clone());
    assert_eq!(ids, ["a-x", "a-y"]);
    let paths = |node| (bench.state.node(NodeId(node)).files.clone(), bench.state.task(NodeId(node)).write.clone());
    assert_eq!(paths(2), (vec!["src/a.rs".to_owned()], vec![]));
    assert_eq!(paths(3), (vec!["src/b.rs".to_owned()], vec!["src/new/**".to_owned(), "NEW.md".to_owned()]));
    assert!(instructions(&bench.state, NodeId(2)).ends_with("do x"));
    // They touch different files, so they run side by side; neither costs `a` an attempt.
    let both = [bench.assigned(), bench.assigned()];
    assert!(explain(&bench.state, NodeId(0), bench.now).causes[0].contains("a-x"));
    for (attempt, node) in both {
        assert!(node.0 >= 2 && bench.state.may_split(node) == 4, "a part may have parts, once more");
        bench.deliver(attempt);
        bench.expect("delivered");
        bench.land();
    }
    let (attempt, node) = bench.assigned();
    assert_eq!((node, bench.state.may_split(node)), (NodeId(0), 0), "once");
    assert_eq!(capsule(&bench.state, node).dependencies.len(), 2, "it is told what its parts did");
    bench.finish(attempt, finished::Outcome::Unchanged(Unchanged::default()));
    bench.expect("unchanged");
    assert_eq!(bench.assigned().1, NodeId(1));
    bench.state.assert_invariants();
}

#[test]
fn parts_get_nothing_that_the_whole_has_not() {
    let cases: &[(&str, Vec<Part>)] = &[
        ("2 to 4", vec![part("x", &[])]),
        ("2 to 4", (0..5).map(|number| part(&format!("p{number}"), &[])).collect()),
        ("\"Cargo.toml\"", vec![part("x", &["Cargo.toml"]), part("y", &[])]),
        ("\"src/../x\"", vec![part("x", &["src/../x"]), part("y", &[])]),
        ("\"**\"", vec![part("x", &["**"]), part("y", &[])]),
        ("\"*/a.md\"", vec![part("x", &["*/a.md"]), part("y", &[])]),
        ("\"src/gate.sh\", which is protected", vec![part("x", &["src/gate.sh"]), part("y", &[])]),
        ("cannot be part of an id", vec![part("x y", &[]), part("y", &[])]),
        ("another subtask a-x", vec![part("x", &[]), part("x", &[])]),
        ("needs instructions", vec![Part { instructions: " ".into(), ..part("x", &[]) }, part("y", &[])]),
    ];
    for (words, parts) in cases {
        let policy = Policy { judging: vec!["src/gate.sh".to_owned()], ..Policy::default() };
        let mut bench = Bench::new(Plan { policy: Some(policy), ..splittable() });
        let (attempt, _) = bench.assigned();
        ask(&mut bench, attempt, parts.clone(), 0);
        let Event::AttemptFailed(event) = bench.expect("attempt_failed") else { panic!("it was split: {words}") };
        let failure = event.failure.unwrap_or_default();
        assert!(failure.class() == FailureClass::Agent && failure.message.contains(words), "{words}: {failure:?}");
        bench.assigned();
    }
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    assert_eq!(bench.state.may_split(node), 0);
    ask(&mut bench, attempt, two(), 0);
    bench.expect_all(&["attempt_failed", "assigned"]);
}

#[test]
fn parts_share_what_is_left_of_the_budget_and_depth_ends() {
    let mut plan = splittable();
    (plan.tasks[0].tokens_max, plan.tasks[0].wall_ms_max) = (100, 100);
    plan.budget = Some(Budget { parallel: 1, ..Budget::default() });
    let mut bench = Bench::new(plan);
    let (attempt, _) = bench.assigned();
    ask(&mut bench, attempt, two(), 10);
    bench.expect("split");
    let limit = |bench: &Bench, node| bench.state.task(NodeId(node)).tokens_max;
    assert_eq!([2, 3, 0].map(|node| limit(&bench, node)), [30, 30, 40], "10 are used");
    let time = |bench: &Bench, node| bench.state.task(NodeId(node)).wall_ms_max;
    assert_eq!([2, 3, 0].map(|node| time(&bench, node)), [33, 33, 34]);
    let (attempt, node) = bench.assigned();
    ask(&mut bench, attempt, vec![part("1", &[]), part("2", &[])], 0);
    bench.expect("split");
    assert_eq!(limit(&bench, node.0), 10);
    let depth = |bench: &Bench, node| bench.state.node(NodeId(node)).depth;
    assert_eq!(([4, 5].map(|node| depth(&bench, node)), bench.state.may_split(NodeId(4))), ([2, 2], 0));
    bench.assigned();
}

#[test]
fn a_split_outlives_restarts_and_new_plans_that_leave_the_subtask_as_it_is() {
    let mut bench = Bench::new(splittable());
    let (attempt, _) = bench.assigned();
    ask(&mut bench, attempt, two(), 0);
    bench.expect("split");
    let (attempt, _) = bench.assigned();
    bench.assigned();
    bench.deliver(attempt);
    bench.expect_all(&["delivered", "batch_opened"]);
    let bytes = postcard::to_stdvec(&bench.state).expect("serialisable");
    let mut restarted: crate::core::State = postcard::from_bytes(&bytes).expect("read back");
    restarted.rebuild().expect("a graph");
    assert_eq!(restarted.hash(), bench.state.hash());
    assert_eq!(with_parts(bench.state.plan(), splittable()), **bench.state.plan(), "the same plan again is no other");
    let mut edited = splittable();
    edited.nodes[1].key = vec![7];
    bench.open(with_parts(bench.state.plan(), edited));
    bench.expect("plan_opened");
    assert_eq!([0, 2, 3].map(|node| bench.name(node)), ["waiting", "landing", "running"]);
    let mut other = splittable();
    other.nodes[0].key = vec![9];
    assert_eq!(with_parts(bench.state.plan(), other).nodes.len(), 2, "another subtask was never split");
}
