//! A job with a budget that is stopped while an agent is at work: what it had used is counted, and
//! nothing of the budget stays in doubt.

use longhaul_tests::World;
use longhaul_tests::model::ScriptedModel;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::model::model;
use super::model_job::{HEAD, part, run_job, world};
use super::questions::{beside, run};

/// What a call costs at the prices of the job.
const CALL_USD_MICROS: u64 = 1_000 + 2 * 100;

/// A job whose agent is stopped at its second call.
async fn stopped_by(signal: Signal) -> (ScriptedModel, World, Option<i32>) {
    let usage = json!({"input": 1000, "output": 100});
    let edit = json!({"tool": "edit", "args": {"path": "one.txt", "old": "hello", "new": "goodbye"}, "usage": usage});
    let held = json!({"text": "Done.", "gate": "stopped", "usage": usage});
    let one = model(json!({"steps": [edit, held]})).await;
    let world = world(&["one"]);
    let budget = "[budget]\nusd = 1.0\n".to_owned();
    world.job(&[HEAD.to_owned(), budget, part("one", "openai-chat", &one, "some-model", "")].concat());
    let runs = run(&world);
    one.wait_for_requests(2).await.expect("it asks twice");
    let code = beside(move || runs.signal(signal)).await;
    one.open("stopped");
    (one, world, code)
}

fn in_doubt(status: &Value) -> Value {
    status["books"]["in_doubt"]["usd_micros"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_at_an_interruption_is_counted() {
    let (_one, world, code) = stopped_by(Signal::INT).await;
    let status = world.status();
    assert_eq!((code, in_doubt(&status)), (Some(130), 0.into()), "{status}");
    let used = status["usd_micros"].as_u64().expect("a number");
    assert!(used >= CALL_USD_MICROS, "the first call, and at worst the one under way: {used}");
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(world.status()["usd_micros"].as_u64().expect("a number") > used);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_used_is_counted_by_the_next() {
    let (_one, world, _killed) = stopped_by(Signal::KILL).await;
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let status = world.status();
    assert_eq!(in_doubt(&status), 0, "{status}");
    let used = status["usd_micros"].as_u64().expect("a number");
    assert!(used >= 3 * CALL_USD_MICROS, "the first call, the one under way, and at least one more: {used}");
    let shown = world.expect(0, &["show", "task-one"]).stdout;
    assert!(shown.contains("was ended while it was at work"), "{shown}");
    let logs = world.expect(0, &["logs", "task-one"]).stdout;
    assert!(logs.contains("\"session\"") || !logs.is_empty(), "{logs}");
}
