//! Subtasks whose agents ask people: parked without a cost, woken by an answer alone, told of it.

use longhaul_common::{AttemptId, NodeId, ParkId};
use longhaul_proto::{
    Answer, AnswerScope, Failure, FailureClass, Next, ParkReason, Plan, Question, QuestionKind, Wip, finished,
};

use super::bench::{Bench, plan};
use crate::capsule::capsule;
use crate::core::{Event, Input, Request, explain};
use crate::view;

fn push(to: &str) -> Question {
    Question {
        kind: QuestionKind::Command.into(),
        prefix: vec!["git".into(), "push".into()],
        text: format!("git push origin {to}"),
        agent: "coder".into(),
    }
}

fn which() -> Question {
    Question {
        kind: QuestionKind::Words.into(),
        text: "Which one?".into(),
        agent: "coder".into(),
        ..Question::default()
    }
}

/// Three subtasks, the first two of one map.
fn three() -> Plan {
    let mut plan = plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let mut mapped = plan.tasks[0].clone();
    mapped.map = "m".into();
    plan.tasks.push(mapped);
    let task = u32::try_from(plan.tasks.len() - 1).expect("few");
    plan.nodes[0].task = task;
    plan.nodes[1].task = task;
    plan
}

impl Bench {
    fn ask(&mut self, attempt: u64, question: &Question) {
        let failure = Failure {
            class: FailureClass::Asked.into(),
            message: "asked".into(),
            question: Some(question.clone()),
            ..Failure::default()
        };
        self.finish(attempt, finished::Outcome::Failure(failure));
    }

    /// Everybody is at work and asks; gives the parks by subtask.
    fn all_ask(&mut self, questions: &[Question]) -> Vec<u64> {
        let attempts: Vec<(u64, NodeId)> = questions.iter().map(|_| self.assigned()).collect();
        self.nothing_more();
        for (attempt, node) in &attempts {
            self.ask(*attempt, &questions[node.index()]);
            self.expect("attempt_failed");
        }
        let park = |node: NodeId| self.state.asks(node).expect("it asks").0.0;
        (0..questions.len()).map(|at| park(NodeId::at(at))).collect()
    }

    fn woken(&mut self) -> u32 {
        match self.expect("woken") {
            Event::Woken(event) => event.node,
            other => panic!("{other:?}"),
        }
    }
}

fn approve(park: u64, scope: AnswerScope) -> Request {
    Request::Approve { parks: vec![ParkId(park)], scope, by: "anna".into() }
}

fn told(bench: &Bench, node: u32) -> String {
    capsule(&bench.state, NodeId(node)).decisions.join("\n")
}

#[test]
fn a_question_costs_nothing_and_no_time_answers_it() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    let wip = Wip { commit: vec![7; 20], tree: vec![8; 20], turn: 3, ..Wip::default() };
    bench.feed(Input::Wip { id: attempt, wip: Box::new(wip) });
    bench.expect("wip_saved");
    bench.ask(attempt, &push("a"));
    bench.expect("attempt_failed");
    bench.nothing_more();
    let subtask = bench.state.subtask(node);
    assert_eq!((subtask.phase().park_reason(), subtask.tries, subtask.infra), (Some(ParkReason::Ask), 0, 0));
    assert!(bench.state.failures().is_empty() && subtask.last_failure.is_none() && subtask.lesson.is_none());
    assert_eq!(subtask.wip.as_ref().map(|saved| saved.wip.turn), Some(3), "it is gone on with");
    assert!(bench.state.infirmary.of("w").is_none_or(|health| health.streak == 0));
    let status = view::job_status(&bench.state, bench.now, &Default::default(), true);
    let row = &status.parked[0];
    assert_eq!((row.reason.as_str(), row.asks.as_str(), row.agent.as_str(), row.same), ("ask", "command", "coder", 1));
    assert!(row.text.contains("`git push origin a` (a yes is for all that begins with `git push`)"), "{}", row.text);
    assert!(status.warnings.iter().any(|line| line.ends_with("`longhaul approve 1`")), "{:?}", status.warnings);
    assert!(explain(&bench.state, node, bench.now).next[0].starts_with("longhaul approve 1 --scope"));
    for _ in 0..20 {
        bench.wait(1_000_000_000);
        bench.nothing_more();
    }
    bench.request(approve(1, AnswerScope::Once));
    bench.expect_all(&["decided", "woken", "assigned"]);
    let subtask = bench.state.subtask(node);
    assert!(subtask.asked.is_none() && subtask.wip.is_some());
    assert_eq!(told(&bench, 0), "anna allows commands that begin with `git push`");
    bench.try_feed(Input::Request(approve(1, AnswerScope::Once))).expect("a park is consumed once");
    bench.nothing_more();
}

#[test]
fn one_answer_is_for_all_of_its_scope_that_ask_the_same() {
    for (scope, woken) in [(AnswerScope::Once, &[0][..]), (AnswerScope::Map, &[0, 1]), (AnswerScope::Job, &[0, 1, 2])] {
        let mut bench = Bench::new(three());
        let parks = bench.all_ask(&[push("a"), push("b"), push("c")]);
        let status = view::job_status(&bench.state, bench.now, &Default::default(), true);
        assert!(status.parked.iter().all(|row| row.same == 3), "{:?}", status.parked);
        bench.request(approve(parks[0], scope));
        bench.expect("decided");
        let found: Vec<u32> = woken.iter().map(|_| bench.woken()).collect();
        assert_eq!(found, woken, "{scope:?}");
        for _ in woken {
            bench.assigned();
        }
        bench.nothing_more();
        for node in 0..3 {
            assert_eq!(told(&bench, node).is_empty(), !woken.contains(&node), "{scope:?} {node}");
        }
    }
}

#[test]
fn words_answer_words_and_a_no_answers_everything() {
    let mut bench = Bench::new(three());
    let parks = bench.all_ask(&[which(), push("b"), which()]);
    let refused = bench.try_feed(Input::Request(approve(parks[0], AnswerScope::Once))).expect_err("no answer");
    assert!(refused.0.contains("longhaul answer"), "{refused}");
    let answer =
        |text: &str, scope| Request::Answer { park: ParkId(parks[0]), text: text.into(), scope, by: "anna".into() };
    bench.try_feed(Input::Request(answer(" ", AnswerScope::Job))).expect_err("nothing is said");
    let map = Request::Answer { park: ParkId(parks[2]), text: "A".into(), scope: AnswerScope::Map, by: "anna".into() };
    let refused = bench.try_feed(Input::Request(map)).expect_err("it has no map");
    assert!(refused.0.contains("\"c\" is of no map"), "{refused}");
    bench.request(answer("The first.", AnswerScope::Job));
    bench.expect("decided");
    assert_eq!([bench.woken(), bench.woken()], [0, 2]);
    bench.expect_all(&["assigned", "assigned"]);
    assert_eq!(told(&bench, 2), "asked \"Which one?\", anna answers: The first.");
    let reject = Request::Reject {
        park: ParkId(parks[1]),
        reason: "not today".into(),
        scope: AnswerScope::Once,
        by: "anna".into(),
    };
    bench.request(reject);
    bench.expect_all(&["decided", "woken", "assigned"]);
    assert!(told(&bench, 1).ends_with("does not allow commands that begin with `git push` (not today): go on without"));
    let answers: Vec<Answer> = bench.state.decisions(NodeId(1)).map(|decision| decision.answer()).collect();
    assert_eq!(answers, [Answer::Words, Answer::No], "the job's, and its own");
}

#[test]
fn an_answer_that_came_meanwhile_is_not_asked_for_again_and_one_that_was_known_is() {
    let mut bench = Bench::new(three());
    let (first, _) = bench.assigned();
    let (second, late) = bench.assigned();
    let (_third, _) = bench.assigned();
    bench.ask(first, &push("a"));
    bench.expect("attempt_failed");
    bench.request(approve(1, AnswerScope::Job));
    bench.expect_all(&["decided", "woken", "assigned"]);
    // At work since before the answer: it goes on at once.
    bench.ask(second, &push("b"));
    let Event::AttemptFailed(event) = bench.expect("attempt_failed") else { panic!("it asked") };
    assert_eq!(event.next(), Next::Retry);
    bench.presence();
    let (again, node) = bench.assigned();
    assert_eq!((node, bench.state.subtask(node).tries), (late, 0));
    // It was told, and asks all the same: that is for a person.
    bench.ask(again, &push("b"));
    let Event::AttemptFailed(event) = bench.expect("attempt_failed") else { panic!("it asked") };
    assert_eq!(event.next(), Next::Park);
    assert!(bench.state.asks(node).is_some() && !bench.state.attempts().contains_key(&AttemptId(again)));
}

#[test]
fn who_tries_again_has_the_question_gone() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let parks = bench.all_ask(&[which()]);
    bench.request(Request::Retry { nodes: vec![NodeId(0)], remark: "just begin".into() });
    bench.expect_all(&["retried", "assigned"]);
    assert!(bench.state.subtask(NodeId(0)).asked.is_none());
    let answer = Request::Answer { park: ParkId(parks[0]), text: "A".into(), scope: AnswerScope::Once, by: "a".into() };
    bench.try_feed(Input::Request(answer)).expect_err("nobody waits there");
}
