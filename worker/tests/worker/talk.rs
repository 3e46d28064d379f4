//! Agents that talk, and all they can do wrong: each is a clear failure with its trace kept.

use std::time::{Duration, Instant};

use longhaul_proto::{Answer, Decision, FailureClass, SteerWork, assignment, finished, to_worker};
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
