//! Agents that talk, and all they can do wrong: each is a clear failure with its trace kept.

use std::time::{Duration, Instant};

use longhaul_proto::{
    Answer, AnswerWork, Asking, Decision, FailureClass, SteerWork, assignment, finished, from_worker, report, to_worker,
};
use serde_json::Value;

use crate::world::{World, job, talker};

/// How long a cancelled assignment may take to end.
const CANCEL_MAX: Duration = Duration::from_secs(2);

impl World {
    /// The events of the last trace.
    fn trace(&self) -> Vec<Value> {
        let logs = self.sink.logs.lock().expect("no test panics with it");
        let (_, text) = logs.iter().rev().find(|(name, _)| name.contains(".trace.")).expect("a trace is kept");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn traced(&self, event: &str) -> Vec<Value> {
        self.trace().into_iter().filter(|found| found["event"] == event).collect()
    }
}

#[tokio::test]
async fn both_protocols_make_a_patch_and_leave_a_trace() {
    for protocol in ["acp", "codex"] {
        let mut world = World::new(&[("a", "1\n")]);
        let work = world.work(vec![talker(protocol, "stays", "allow")]);
        world.assign(work).await;
        let finished = world.result().await;
        let Some(finished::Outcome::Patch(patch)) = finished.outcome else {
            panic!("{protocol}: {:?}", finished.outcome)
        };
        assert_eq!(patch.files, ["made"], "{protocol}");
        assert_eq!(finished.usage.expect("told").tokens, 100, "{protocol}");
        let answered = world.traced("permission_answered");
        assert_eq!(answered.len(), 1, "{protocol}");
        assert_eq!((&answered[0]["answer"], &answered[0]["why"]), (&"allow".into(), &"permissions.execute".into()));
        assert_eq!(world.traced("turn_ended").last().expect("one")["end"]["end"], "done", "{protocol}");
        assert!(world.traced("told")[0]["text"].as_str().expect("text").contains("Do it\nand well"), "{protocol}");
    }
}

#[tokio::test]
async fn what_is_rejected_does_not_happen_and_the_turn_goes_on() {
    let mut world = World::new(&[("a", "1\n")]);
    world.task.may_be_unchanged = true;
    match world.run(vec![talker("acp", "good", "reject")]).await {
        finished::Outcome::Unchanged(_) => {}
        other => panic!("it changed something: {other:?}"),
    }
    assert_eq!(world.traced("permission_answered")[0]["answer"], "reject");
    assert_eq!(world.traced("text")[0]["text"], "I look.", "pieces are put together");
    assert_eq!(world.traced("told").len(), 2, "it is told that the action was rejected");
    assert_eq!(world.traced("nonsense").len(), 1);
}

#[tokio::test]
async fn what_needs_a_person_ends_the_session_and_goes_on_with_the_answer() {
    for protocol in ["acp", "codex"] {
        let mut world = World::new(&[("a", "1\n")]);
        let mut work = world.work(vec![talker(protocol, "good", "ask"), talker(protocol, "good", "allow")]);
        world.assign(work.clone()).await;
        let question = match world.result().await.outcome {
            Some(finished::Outcome::Failure(failure)) => {
                assert_eq!(failure.class(), FailureClass::Asked, "{protocol}: {}", failure.message);
                assert_eq!(failure.message, "talker wants to run `make it`", "{protocol}");
                failure.question.expect("what it asked")
            }
            other => panic!("{protocol}: it did not ask: {other:?}"),
        };
        assert_eq!((question.prefix.join(" ").as_str(), question.agent.as_str()), ("make it", "talker"));
        assert_eq!(world.traced("permission_answered")[0]["answer"], "ask", "{protocol}");
        assert!(!world.traced("turn_ended").is_empty(), "{protocol}: its turn ends in good order");

        work.id += 1;
        let Some(assignment::Kind::Work(given)) = &mut work.kind else { panic!("work") };
        let (question, answer) = (Some(question), Answer::Yes.into());
        given.decisions = vec![Decision { question, answer, ..Decision::default() }];
        world.assign(work).await;
        match world.result().await.outcome {
            Some(finished::Outcome::Patch(patch)) => assert_eq!(patch.files, ["made"], "{protocol}"),
            other => panic!("{protocol}: {other:?}"),
        }
        let why = &world.traced("permission_answered")[0]["why"];
        assert_eq!(why, "a person allowed `make it`", "{protocol}");
    }
}

/// Longest wait for a person in tests that answer, or do something else, meanwhile.
const LONG_MS: u64 = 600_000;

impl World {
    /// What an agent asks while it waits.
    async fn asks(&mut self) -> Asking {
        let asks = |message: &from_worker::Message| match message {
            from_worker::Message::Report(report) => matches!(report.body, Some(report::Body::Asking(_))),
            from_worker::Message::Presence(_) => false,
        };
        match self.heard(asks).await {
            from_worker::Message::Report(report) => match report.body {
                Some(report::Body::Asking(asking)) => asking,
                other => panic!("it asks nothing: {other:?}"),
            },
            other => panic!("it asks nothing: {other:?}"),
        }
    }

    async fn answer(&self, id: u64, asking: &Asking, answer: Answer, text: &str) {
        let (question, by) = (asking.question.clone(), "anna".to_owned());
        let decision = Some(Decision { question, answer: answer.into(), text: text.to_owned(), by });
        let answer = AnswerWork { job: job().to_string(), id, asked_ms: asking.asked_ms, decision };
        self.send(to_worker::Message::Answer(answer)).await;
    }

    /// An agent waits for a person; gives the id of its assignment and what it asks.
    async fn waits(&mut self, protocol: &str, wait_ms: u64) -> (u64, Asking) {
        self.policy.ask_wait_ms = wait_ms;
        let work = self.work(vec![talker(protocol, "good", "ask")]);
        let id = work.id;
        self.assign(work).await;
        let asking = self.asks().await;
        let question = asking.question.clone().expect("a question");
        assert_eq!((question.prefix.join(" ").as_str(), question.agent.as_str()), ("make it", "talker"));
        (id, asking)
    }

    async fn ends_as(&mut self, class: FailureClass) {
        match self.result().await.outcome {
            Some(finished::Outcome::Failure(failure)) => assert_eq!(failure.class(), class, "{}", failure.message),
            other => panic!("no {class:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_in_time_goes_to_the_session_that_waits() {
    for protocol in ["acp", "codex"] {
        let mut world = World::new(&[("a", "1\n")]);
        world.task.idle_timeout_ms = 1_500;
        let (id, asking) = world.waits(protocol, LONG_MS).await;
        assert_eq!(world.asks().await, asking, "it says so again, beyond its own limit without a sign of life");
        let other = Asking { asked_ms: asking.asked_ms - 1, ..asking.clone() };
        world.answer(id, &other, Answer::No, "").await;
        world.answer(id, &asking, Answer::Yes, "").await;
        match world.result().await.outcome {
            Some(finished::Outcome::Patch(patch)) => assert_eq!(patch.files, ["made"], "{protocol}"),
            other => panic!("{protocol}: {other:?}"),
        }
        let (asked, told) = (world.traced("person_asked"), world.traced("person_answered"));
        assert_eq!((asked.len(), &asked[0]["wait_s"]), (1, &600.into()), "{protocol}");
        assert_eq!(told[0]["answer"], "anna allows commands that begin with `make it`", "{protocol}");
        let answered = world.traced("permission_answered");
        assert_eq!(
            (&answered[0]["answer"], &answered[0]["why"]),
            (&"allow".into(), &"a person allowed `make it`".into())
        );
    }
}

#[tokio::test]
async fn a_no_with_words_is_told_to_the_session_that_waits() {
    for protocol in ["acp", "codex"] {
        for (answer, words) in [
            (Answer::No, "anna does not allow commands that begin with `make it` (take another): go on without"),
            (Answer::Words, "asked whether it may run `make it`, anna says: take another"),
        ] {
            let mut world = World::new(&[("a", "1\n")]);
            world.task.may_be_unchanged = true;
            let (id, asking) = world.waits(protocol, LONG_MS).await;
            world.answer(id, &asking, answer, "take another").await;
            match world.result().await.outcome {
                Some(finished::Outcome::Unchanged(_)) => {}
                other => panic!("{protocol} {answer:?}: {other:?}"),
            }
            assert_eq!(world.traced("permission_answered")[0]["answer"], "reject", "{protocol}");
            let told = world.traced("told");
            assert_eq!(told.last().expect("told")["text"], words, "{protocol} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_ends_without_an_answer_as_a_question_or_as_it_is_told_to() {
    for protocol in ["acp", "codex"] {
        let mut world = World::new(&[("a", "1\n")]);
        world.waits(protocol, 300).await;
        world.ends_as(FailureClass::Asked).await;
        assert_eq!(world.traced("person_answered")[0]["answer"], "", "{protocol}");
        assert_eq!(world.traced("permission_answered")[0]["answer"], "ask", "{protocol}");

        let (id, asking) = world.waits(protocol, LONG_MS).await;
        let asked = Instant::now();
        world.cancel(id).await;
        world.ends_as(FailureClass::Cancelled).await;
        assert!(asked.elapsed() < CANCEL_MAX, "{protocol}: {:?}", asked.elapsed());
        let taken_back = Asking { question: None, ..asking };
        assert_eq!(world.asks().await, taken_back, "{protocol}");

        world.waits(protocol, LONG_MS).await;
        world.shutdown.drain.cancel();
        world.ends_as(FailureClass::Asked).await;
        world.ended().await.expect("it leaves");
    }
}

#[tokio::test]
async fn every_fault_is_a_clear_failure_with_its_trace() {
    for protocol in ["acp", "codex"] {
        let mut world = World::new(&[("a", "1\n")]);
        world.task.idle_timeout_ms = 1_500;
        for (scenario, class, words) in [
            ("nonsense", FailureClass::Agent, "does not speak the protocol"),
            ("broken", FailureClass::Agent, "broken message"),
            ("long", FailureClass::Agent, "a line of more than 8 MiB"),
            ("utf8", FailureClass::Agent, "not UTF-8"),
            ("cut", FailureClass::Agent, "broken message"),
            ("silent", FailureClass::Agent, "without a sign of life"),
            ("key", FailureClass::Agent, "refused the key"),
        ] {
            let failure = world.failure(vec![talker(protocol, scenario, "allow")]).await;
            assert_eq!(failure.class(), class, "{protocol} {scenario}: {}", failure.message);
            assert!(failure.message.contains(words), "{protocol} {scenario}: {}", failure.message);
            assert!(!world.traced("told").is_empty(), "{protocol} {scenario}");
        }
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_to_be_missing() {
    let mut world = World::new(&[("a", "1\n")]);
    let mut agent = talker("acp", "good", "allow");
    let Some(longhaul_proto::agent::Kind::Acp(acp)) = &mut agent.kind else { panic!("an acp") };
    let program = acp.program.as_mut().expect("set");
    program.run = None;
    acp.preset = "claude-agent-acp".into();
    program.env.insert("PATH".into(), "/nowhere".into());
    let failure = world.failure(vec![agent]).await;
    assert_eq!(failure.class(), FailureClass::Setup);
    assert!(
        failure.message.contains("claude-agent-acp") && failure.message.contains("is not on this worker"),
        "{}",
        failure.message
    );
    let ended = world.traced("turn_ended");
    assert_eq!(ended[0]["end"]["message"], failure.message.as_str(), "what never began has a trace too");
}

#[tokio::test]
async fn words_of_a_person_reach_the_running_agent() {
    let mut world = World::new(&[("a", "1\n")]);
    let work = world.work(vec![talker("acp", "steered", "allow")]);
    let id = work.id;
    world.assign(work).await;
    world.heard_line("session s").await;
    let text = "to the left".to_owned();
    world.send(to_worker::Message::Steer(SteerWork { job: job().to_string(), id, text })).await;
    match world.result().await.outcome {
        Some(finished::Outcome::Patch(patch)) => assert_eq!(world.show(&patch.commit, "told"), "to the left"),
        other => panic!("no patch: {other:?}"),
    }
    assert_eq!(world.traced("told")[1]["steers"], true);
}

#[tokio::test]
async fn cancelled_it_ends_within_two_seconds() {
    for scenario in ["steered", "silent"] {
        let mut world = World::new(&[("a", "1\n")]);
        let work = world.work(vec![talker("acp", scenario, "allow")]);
        let id = work.id;
        world.assign(work).await;
        world.heard_line("session s").await;
        let asked = Instant::now();
        world.cancel(id).await;
        match world.result().await.outcome {
            Some(finished::Outcome::Failure(failure)) => {
                assert_eq!(failure.class(), FailureClass::Cancelled, "{scenario}")
            }
            other => panic!("not cancelled: {other:?}"),
        }
        assert!(asked.elapsed() < CANCEL_MAX, "{scenario}: {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn circles_that_no_call_shows_are_seen_in_the_workspace() {
    for (scenario, sign) in [("wanders", "no-diff"), ("swings", "alternating-edits")] {
        let mut world = World::new(&[("a", "1\n")]);
        let failure = world.failure(vec![talker("acp", scenario, "allow")]).await;
        assert_eq!((failure.class(), failure.sign.as_str()), (FailureClass::Agent, sign), "{}", failure.message);
        assert!(failure.message.contains(&format!("stuck ({sign})")), "{}", failure.message);
    }
}
