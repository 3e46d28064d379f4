//! What a loop around a model keeps to in a whole job: its model's window, and a sub-agent's share of
//! what the attempt may use.

use longhaul_common::tokens;
use serde_json::{Value, json};

use super::model::model;
use super::model_job::{HEAD, part, run_job, text, world};

/// Tokens of the window, and of the largest answer.
const CONTEXT: usize = 8_000;
const ANSWER: usize = 1_000;

/// Reads what it is to change, changes it, and is done.
fn steps(name: &str) -> Value {
    let path = format!("{name}.txt");
    let edit = json!({"tool": "edit", "args": {"path": path, "old": "hello", "new": "goodbye"}});
    json!({"steps": [{"tool": "read_file", "args": {"path": "AGENTS.md"}}, edit, {"text": "Done."}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_window_holds_the_instructions_and_the_work() {
    let (small, full) = (model(steps("small")).await, model(steps("full")).await);
    let world = world(&["small", "full"]);
    let rules: String = (0..1_200).map(|number| format!("Rule {number}: write plain words.\n")).collect();
    assert!(tokens::count(&rules) > CONTEXT, "more than the whole window");
    world.commit(&[("AGENTS.md", &rules)], "rules");
    let window = |part: String| {
        let keys = format!("kind = 'model'\ncontext_tokens = {CONTEXT}\nanswer_tokens = {ANSWER}");
        part.replace("kind = 'model'", &keys)
    };
    let small_part = window(part("small", "openai-chat", &small, "some-model", "attempts = 1\n"));
    let full_part = window(part("full", "openai-chat", &full, "some-model", "attempts = 1\n"));
    let long = format!("instructions = '{}", "Take great care of every single word. ".repeat(600));
    world.job(&[HEAD.to_owned(), small_part, full_part.replace("instructions = '", &long)].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 3, "{}\n{}", ran.stdout, ran.stderr);

    assert_eq!(world.on_branch(&world.branch(), "small.txt"), "goodbye");
    let asked = small.requests();
    assert_eq!(asked.len(), 3, "no turn is lost to a summary");
    for request in &asked {
        let size = tokens::count(&String::from_utf8_lossy(&request.prompt()));
        assert!(size + ANSWER <= CONTEXT, "a request of {size} tokens");
    }
    assert!(text(&asked[0]).contains("Rule 0: write") && !text(&asked[0]).contains("Rule 1000"));
    assert!(text(&asked[2]).contains("the whole output is in"), "a file as long as the window is no full window");
    let logs = world.expect(0, &["logs", "task-small"]).stdout;
    assert!(logs.contains("AGENTS.md is cut: instructions get 800 tokens of this window"), "{logs}");

    let shown = world.expect(0, &["show", "task-full", "--json"]).stdout;
    assert!(shown.contains("the window of the model is too small for the subtask"), "{shown}");
    assert!(full.requests().is_empty(), "nothing is asked in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_agent_keeps_to_its_share_of_the_attempts_budget() {
    let look = |n: u32| json!({"tool": "shell", "args": {"command": format!("seq {n} {}", n + 300)}});
    let apart: Vec<Value> = (0..58).map(|n| look(n * 1_000)).collect();
    let scripted = |name: &str| {
        let hand = json!({"tool": "delegate", "args": {"piece": "Count everything."}});
        let edit = json!({"tool": "edit", "args": {"path": format!("{name}.txt"), "old": "hello", "new": "goodbye"}});
        json!({"steps": [hand, edit, {"text": "Done."}],
            "cases": [{"when": "You are a sub-agent: ", "steps": apart}]})
    };
    let (tokens, dollars) = (model(scripted("tokens")).await, model(scripted("dollars")).await);
    let world = world(&["tokens", "dollars"]);
    let agent = |part: String| part.replace("kind = 'model'", "kind = 'model'\nsubagents = 1\nanswer_tokens = 1000");
    world.job(
        &[
            HEAD.to_owned(),
            agent(part("tokens", "openai-chat", &tokens, "some-model", "budget = { tokens = 60000 }\n")),
            agent(part("dollars", "openai-chat", &dollars, "some-model", "budget = { usd = 0.06 }\n")),
        ]
        .concat(),
    );
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for (name, words) in [("tokens", "tokens, more than it may take"), ("dollars", "dollars, more than it may cost")] {
        assert_eq!(world.on_branch(&world.branch(), &format!("{name}.txt")), "goodbye", "{name}");
        let logs = world.expect(0, &["logs", &format!("task-{name}")]).stdout;
        let report = logs.lines().find(|line| line.contains("[sub-agent 1] not done"));
        let report = report.unwrap_or_else(|| panic!("{name}: the sub-agent has to end at its share:\n{logs}"));
        assert!(report.contains(words), "{name}: {report}");
        let used = report.rsplit_once('(').and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
        // A quarter, and the call that went beyond it.
        assert!(used.is_some_and(|used| used < 25_000), "{name}: {report}");
    }
}
