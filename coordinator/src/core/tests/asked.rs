//! Subtasks whose agents ask people: parked without a cost, woken by an answer alone, told of it.

use longhaul_common::{AttemptId, NodeId, ParkId};
use longhaul_proto::{
    Answer, AnswerScope, Asking, Failure, FailureClass, Finished, Next, ParkReason, Plan, Question, QuestionKind,
    Timing, Wip, finished,
};

use super::bench::{Bench, plan};
use crate::capsule::capsule;
use crate::core::{Command, Event, Input, QUESTIONS_MAX, Request, explain, forgotten};
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

impl Bench {
    /// An attempt's agent waits with a question, or with none any longer.
    fn wait_with(&mut self, attempt: u64, asked_ms: i64, question: Option<Question>) {
        let asking = Box::new(Asking { question, asked_ms });
        self.feed(Input::Asking { worker: "w".into(), id: attempt, asking });
    }

    /// The same, for the first time; gives the park.
    fn waits(&mut self, attempt: u64, asked_ms: i64, question: &Question) -> u64 {
        self.wait_with(attempt, asked_ms, Some(question.clone()));
        match self.expect("asked") {
            Event::AttemptAsked(event) => event.park,
            other => panic!("{other:?}"),
        }
    }

    fn told(&mut self) -> u64 {
        match self.expect("told") {
            Event::AttemptTold(event) => event.attempt,
            other => panic!("{other:?}"),
        }
    }

    fn tells(&self) -> Vec<Command> {
        self.state.pending().into_iter().filter(|command| matches!(command, Command::Tell(..))).collect()
    }
}

#[test]
fn an_agent_that_waits_is_told_and_its_attempt_goes_on() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    let park = bench.waits(attempt, 10, &push("a"));
    bench.wait_with(attempt, 10, Some(push("a")));
    bench.nothing_more();
    assert_eq!((bench.name(0), bench.state.asks(node).map(|(park, _)| park)), ("running", Some(ParkId(park))));
    let status = view::job_status(&bench.state, bench.now, &Default::default(), true);
    let row = &status.parked[0];
    assert!(row.waiting && row.asks == "command" && row.park == park && row.text.contains("git push"), "{row:?}");
    assert_eq!((status.counts.expect("counted").parked, status.running.len()), (0, 1));
    assert!(status.warnings.iter().any(|line| line.ends_with("`longhaul approve 1`")), "{:?}", status.warnings);
    let explained = explain(&bench.state, node, bench.now);
    assert!(explained.next[0].starts_with("longhaul approve 1 --scope"), "{explained:?}");
    for _ in 0..20 {
        bench.wait(20_000);
        bench.nothing_more();
    }
    assert!(bench.tells().is_empty(), "no time answers it");
    bench.request(approve(park, AnswerScope::Once));
    bench.expect("decided");
    assert_eq!(bench.told(), attempt);
    bench.nothing_more();
    assert_eq!(bench.tells(), [Command::Tell(AttemptId(attempt), 10)]);
    assert_eq!(bench.state.told(AttemptId(attempt)).map(|decision| decision.by.as_str()), Some("anna"));
    assert!(bench.state.asks(node).is_none());
    bench.try_feed(Input::Request(approve(park, AnswerScope::Once))).expect("a park is consumed once");
    // The next question is another one, with a number of its own; what was said before is nothing.
    let next = bench.waits(attempt, 20, &which());
    assert!(next > park && bench.tells().is_empty());
    bench.wait_with(attempt, 10, Some(push("a")));
    bench.nothing_more();
    bench.wait_with(attempt, 20, None);
    bench.expect("asked");
    assert!(bench.state.asks(node).is_none(), "it went on by itself");
    // It worked for a second of all that time: that is what says how long the next one takes.
    let all = u64::try_from(bench.now - bench.state.attempts()[&AttemptId(attempt)].since_ms).expect("later");
    let timing = Some(Timing { asked_ms: all - 1_000, ..Timing::default() });
    let outcome = Some(finished::Outcome::Patch(bench.patch()));
    let finished = Box::new(Finished { outcome, timing, ..Finished::default() });
    bench.feed(Input::Finished { id: attempt, finished });
    bench.expect_all(&["delivered", "batch_opened"]);
    let subtask = bench.state.subtask(node);
    assert_eq!((subtask.attempts, subtask.spent_ms), (1, 1_000));
    assert_eq!(bench.state.recent.all().map(|ended| ended.ms).collect::<Vec<_>>(), [1_000]);
}

#[test]
fn who_is_not_answered_in_time_is_parked_under_the_same_number() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    let park = bench.waits(attempt, 10, &which());
    bench.ask(attempt, &which());
    bench.expect("attempt_failed");
    bench.nothing_more();
    assert_eq!((bench.name(0), bench.state.asks(node).map(|(park, _)| park)), ("parked", Some(ParkId(park))));
    bench.request(Request::Answer {
        park: ParkId(park),
        text: "A".into(),
        scope: AnswerScope::Once,
        by: "anna".into(),
    });
    bench.expect_all(&["decided", "woken", "assigned"]);
    assert_eq!(told(&bench, 0), "asked \"Which one?\", anna answers: A");
}

#[test]
fn an_answer_that_crosses_with_the_end_is_gone_on_with() {
    for answer in [Answer::Yes, Answer::Words] {
        let mut bench = Bench::new(plan(&[("a", &[])]));
        let (attempt, _) = bench.assigned();
        let park = bench.waits(attempt, 10, &push("a"));
        bench.request(match answer {
            Answer::Yes => approve(park, AnswerScope::Once),
            // Advice: nothing is decided by it.
            _ => {
                Request::Answer { park: ParkId(park), text: "soon".into(), scope: AnswerScope::Once, by: "anna".into() }
            }
        });
        bench.expect_all(&["decided", "told"]);
        bench.ask(attempt, &push("a"));
        bench.expect("attempt_failed");
        bench.presence();
        bench.expect_all(&["assigned"]);
    }
}

#[test]
fn one_answer_is_for_those_that_wait_and_those_that_are_parked() {
    let mut bench = Bench::new(three());
    let attempts: Vec<(u64, NodeId)> = (0..3).map(|_| bench.assigned()).collect();
    let attempt = |node: u32| attempts.iter().find(|(_, found)| found.0 == node).expect("at work").0;
    let (first, second, third) = (attempt(0), attempt(1), attempt(2));
    bench.waits(first, 10, &push("a"));
    bench.ask(second, &push("b"));
    bench.expect("attempt_failed");
    bench.waits(third, 10, &which());
    let status = view::job_status(&bench.state, bench.now, &Default::default(), true);
    assert_eq!(
        status.parked.iter().map(|row| (row.waiting, row.same)).collect::<Vec<_>>(),
        [(true, 2), (false, 2), (true, 1)]
    );
    let park = bench.state.asks(NodeId(1)).expect("it asks").0.0;
    bench.request(approve(park, AnswerScope::Job));
    bench.expect("decided");
    assert_eq!((bench.told(), bench.woken()), (first, 1));
    bench.expect_all(&["assigned"]);
    assert_eq!(bench.tells(), [Command::Tell(AttemptId(first), 10)]);
    // Asked after the answer, by an attempt that was not told of it: it is told at once.
    bench.wait_with(third, 30, Some(push("c")));
    bench.expect("asked");
    assert_eq!(bench.told(), third);
    bench.nothing_more();
    assert_eq!(bench.tells(), [Command::Tell(AttemptId(first), 10), Command::Tell(AttemptId(third), 30)]);
}

#[test]
fn a_question_goes_with_its_attempt_and_only_its_worker_asks_it() {
    let mut bench = Bench::new(plan(&[("a", &[])]));
    let (attempt, node) = bench.assigned();
    let asking = |question: Question| Box::new(Asking { question: Some(question), asked_ms: 10 });
    bench.feed(Input::Asking { worker: "other".into(), id: attempt, asking: asking(which()) });
    bench.feed(Input::Asking { worker: "w".into(), id: attempt + 1, asking: asking(which()) });
    let endless = Question { text: "x".repeat(100_000), ..which() };
    bench.feed(Input::Asking { worker: "w".into(), id: attempt, asking: asking(endless) });
    bench.nothing_more();
    let park = bench.waits(attempt, 10, &which());
    assert_eq!(bench.waits(attempt, 15, &which()), park, "begun anew, it asks the same");
    let Some(Event::AttemptAsked(event)) = forgotten(&bench.state, AttemptId(attempt)) else { panic!("it asks") };
    assert_eq!((event.question, event.park, event.asked_ms), (None, park, 15), "when its process ended");
    bench.now += 40_000;
    bench.feed(Input::Tick);
    bench.expect_all(&["lease_expired"]);
    assert!(bench.state.asks(node).is_none());
    let answer = Request::Answer { park: ParkId(park), text: "A".into(), scope: AnswerScope::Once, by: "a".into() };
    bench.try_feed(Input::Request(answer)).expect_err("nobody waits there");
    bench.presence();
    let (again, _) = bench.assigned();
    bench.wait_with(attempt, 20, Some(which()));
    bench.nothing_more();
    assert!(bench.waits(again, 30, &which()) > park, "the next attempt asks again");
    let mut asked_ms = 40;
    for number in 1..QUESTIONS_MAX {
        bench.waits(again, asked_ms, &Question { text: format!("And {number}?"), ..which() });
        asked_ms += 1;
    }
    bench.wait_with(again, asked_ms, Some(which()));
    bench.nothing_more();
}

#[test]
fn a_snapshot_and_the_next_plan_keep_what_is_asked() {
    let mut bench = Bench::new(three());
    let attempts: Vec<(u64, NodeId)> = (0..3).map(|_| bench.assigned()).collect();
    let asks: Vec<u64> = attempts.iter().map(|(attempt, _)| bench.waits(*attempt, 10, &which())).collect();
    let answer = Request::Answer { park: ParkId(asks[0]), text: "A".into(), scope: AnswerScope::Once, by: "a".into() };
    bench.request(answer);
    bench.expect_all(&["decided", "told"]);
    let bytes = postcard::to_stdvec(&bench.state).expect("serialisable");
    let mut again: crate::core::State = postcard::from_bytes(&bytes).expect("read back");
    again.rebuild().expect("a graph");
    assert_eq!(again.hash(), bench.state.hash());
    let questions = |state: &crate::core::State| -> Vec<_> {
        state.nodes().map(|node| state.asks(node).map(|(park, _)| park.0)).collect()
    };
    assert_eq!(questions(&again), questions(&bench.state));
    assert_eq!(again.pending(), bench.state.pending());
    // Another plan: the subtasks in another order, the last one changed.
    let mut next = three();
    next.nodes.swap(0, 1);
    next.nodes[2].key = b"another".to_vec();
    let before = questions(&bench.state);
    bench.open(next);
    bench.expect("plan_opened");
    assert_eq!(questions(&bench.state), [before[1], before[0], None]);
    assert_eq!(bench.tells().len(), 1, "who was answered and not told is told");
}
