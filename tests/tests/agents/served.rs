//! Loops around models that are given servers of tools: the real binary, scripted models, scripted
//! servers and a real one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use longhaul_tests::agents::Agents;
use longhaul_tests::model::{Recorded, ScriptedModel};
use longhaul_tests::{World, leftovers};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::model::model;
use super::model_job::{HEAD, KEY, part, run_job, text, world};

/// How long it may take until a failure is on record.
const NAMED_MAX: Duration = Duration::from_secs(60);

/// A provider, an agent and a task called `name`, with these servers.
fn served(name: &str, api: &str, model: &ScriptedModel, model_name: &str, servers: &[&str]) -> String {
    let part = part(name, api, model, model_name, "attempts = 1\n");
    part.replace("[[task]]", &format!("mcp = {servers:?}\n[[task]]"))
}

fn write(world: &World, name: &str, script: &str) {
    std::fs::write(world.folder().join(name), script).expect("written");
}

/// The job's tables of the two scripted servers.
fn servers(world: &World) -> String {
    write(world, "motto.sh", include_str!("motto.sh"));
    write(world, "odd.sh", include_str!("odd.sh"));
    let outside = world.folder().join("outside");
    format!(
        "[mcp.motto]\nrun = 'sh {{job_dir}}/motto.sh'\nenv = {{ MOTTO = 'plain words' }}\n\
         [mcp.'odd one']\nrun = ['sh', '{{job_dir}}/odd.sh']\nenv = {{ OUTSIDE = '{}', HEAD = '{}', TAIL = '{}' }}\n",
        outside.display(),
        &KEY[..8],
        &KEY[8..]
    )
}

fn names(request: &Recorded) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let name = |tool: &Value| tool["name"].as_str().or(tool["function"]["name"].as_str()).map(str::to_owned);
    body["tools"].as_array().into_iter().flatten().filter_map(name).collect()
}

/// The last message of a request.
fn last(request: &Recorded) -> String {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let said = body["messages"].as_array().or(body["input"].as_array()).and_then(|said| said.last());
    said.expect("a message").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_work_for_every_profile_and_what_they_answer_is_bounded() {
    let odd = |name: &str| json!({"tool": format!("mcp__odd_one__{name}"), "args": {}});
    let edit = json!({"command": "str_replace", "path": "claude.txt", "old_str": "hello", "new_str": "goodbye"});
    let world = world(&["gpt", "claude", "schema"]);
    let servers = servers(&world);
    let write = format!("if echo x > {}/outside; then echo shell wrote; else echo shell was refused; fi", {
        world.folder().display()
    });
    let claude = model(json!({"steps": [
        odd("picture"), odd("long"), odd("fails"), odd("refuses"), odd("secret"), odd("outside"),
        {"tool": "bash", "args": {"command": write}},
        odd("endless"), odd("secret"),
        {"tools": [{"tool": "mcp__motto__motto", "args": {}}]},
        {"tool": "str_replace_based_edit_tool", "args": edit},
        {"text": "Done."}
    ]}))
    .await;
    let patch = "*** Begin Patch\n*** Update File: gpt.txt\n-hello\n+goodbye\n*** End Patch";
    let gpt = model(json!({"steps": [{"tools": [{"tool": "mcp__motto__motto", "args": {}}]},
        {"tool": "mcp__motto__motto", "arguments": "[1]"}, {"tool": "apply_patch", "input": patch}, {"text": "Done."}]}))
    .await;
    let say = |action: Value| json!([{"text": json!({"thought": "t", "action": action}).to_string()}]);
    let schema = model(json!({"turns": [
        say(json!({"tool": "mcp__motto__motto"})),
        say(json!({"tool": "edit", "path": "schema.txt", "old": "hello", "new": "goodbye"})),
        say(json!({"tool": "finish", "summary": "Done."}))
    ]}))
    .await;
    let job = [
        HEAD.to_owned(),
        servers,
        served("gpt", "openai-responses", &gpt, "gpt-5.5", &["motto"]),
        served("claude", "anthropic-messages", &claude, "claude-sonnet-4-5", &["odd one", "motto"]),
        served("schema", "openai-chat", &schema, "qwen2.5-coder-1.5b-instruct", &["motto"]),
    ];
    world.job(&job.concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for name in ["gpt", "claude", "schema"] {
        assert_eq!(world.on_branch(&world.branch(), &format!("{name}.txt")), "goodbye", "{name}");
    }
    let asked = claude.requests();
    let tools = names(&asked[0]);
    let own = tools.iter().position(|name| name.starts_with("mcp__")).expect("tools of servers");
    let offered = ["endless", "fails", "long", "outside", "picture", "refuses", "secret"]
        .map(|name| format!("mcp__odd_one__{name}"));
    assert_eq!(tools[own..own + 7], offered, "after its own tools, by name");
    assert_eq!(tools[own + 7..], ["mcp__motto__motto"], "in the order of the job");
    assert!(asked.windows(2).all(|pair| names(&pair[0]) == names(&pair[1]) && pair[1].extends(&pair[0])));
    let said: Vec<String> = asked[1..].iter().map(last).collect();
    for (number, words) in [
        (0, "[picture 1, 1 x 1 pixels]"),
        (0, "\"media_type\":\"image/png\""),
        (1, "[the whole output is in "),
        (2, "it did not work"),
        (2, "\"is_error\":true"),
        (3, "the mcp server odd one refused: not like this"),
        (4, "no key is here"),
        (7, "the mcp server odd one is gone (it wrote a line of more than 8 MiB)"),
        (8, "the mcp server odd one is gone"),
        (9, "plain words"),
    ] {
        assert!(said[number].contains(words), "{number} should say {words}: {}", said[number]);
    }
    assert!(said[1].len() < 20_000, "{} bytes of a long answer", said[1].len());
    let tool = said[5].split("tool w").nth(1).map(|rest| rest.starts_with("rote"));
    let shell = said[6].split("shell w").nth(1).map(|rest| rest.starts_with("rote"));
    assert!(tool.is_some() && tool == shell, "a server may what a command may: {} {}", said[5], said[6]);
    assert!(text(&gpt.requests()[1]).contains("plain words"));
    assert!(text(&gpt.requests()[2]).contains("wrong arguments"), "{}", last(&gpt.requests()[2]));
    let told = last(&schema.requests()[1]);
    assert!(told.contains("Result of mcp__motto__motto:") && told.contains("plain words"), "{told}");
    let logs = world.expect(0, &["logs", "task-claude"]).stdout;
    for words in ["\"title\":\"mcp__odd_one__picture {}\"", "[picture 1, 1 x 1 pixels]", "\"failed\":true"] {
        assert!(logs.contains(words), "the trace should say {words}:\n{logs}");
    }
    assert_eq!(leftovers::wait_for_none(&world), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_used_is_a_failure_of_the_set_up_and_named() {
    let cases = [
        ("['no-such-server']", "the program no-such-server of the mcp server NAME is not on this worker"),
        ("'echo no library >&2; exit 3'", "the mcp server NAME exited with 3"),
        ("'read -r line; exit 0'", "the mcp server NAME cannot be talked with: connection closed"),
        ("'while :; do echo hello; done'", "it does not speak the protocol; it wrote: hello"),
        ("'head -c 10000000 /dev/zero; sleep 600'", "it wrote a line of more than 8 MiB"),
        ("'printf \"\\377\\n\"; sleep 600'", "it wrote a line that is not UTF-8"),
        (r#"'read -r line; echo "{\"jsonrpc\":\"2.0\",\"id\":"; sleep 600'"#, "it wrote a broken message"),
        (
            r#"'read -r line; echo "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":-32000,\"message\":\"no licence\"}}"; sleep 600'"#,
            "no licence",
        ),
    ];
    let model = model(json!({"steps": [{"text": "Done."}]})).await;
    let names: Vec<String> = (0..cases.len()).map(|number| format!("case{number}")).collect();
    let world = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut job = HEAD.to_owned();
    for (name, (run, _)) in names.iter().zip(cases) {
        job += &served(name, "openai-chat", &model, "some-model", &[name]);
        job += &format!("[mcp.{name}]\nrun = {run}\n");
    }
    world.job(&job);
    // A set-up is tried again for a long while; the first failure says it all.
    let mut run = world.command(&["run"]);
    let mut run =
        run.env("SCRIPTED_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    for (name, (run, words)) in names.iter().zip(cases) {
        let (words, began) = (words.replace("NAME", name), Instant::now());
        loop {
            let shown = world.longhaul(&["show", &format!("task-{name}"), "--json"]).stdout;
            if shown.contains(&words) && shown.contains("\"class\":\"setup\"") {
                break;
            }
            assert!(began.elapsed() < NAMED_MAX, "{run} should say {words}:\n{shown}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    let process = Pid::from_raw(run.id().cast_signed()).expect("a process");
    rustix::process::kill_process(process, Signal::INT).expect("asked to end");
    assert!(!run.wait().expect("it ends").success());
    assert!(model.requests().is_empty(), "no model is asked");
    assert_eq!(leftovers::wait_for_none(&world), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_works_without_a_network() {
    let Some(program) = Agents::for_test("mcp-everything") else { return };
    let call = |name: &str, args: Value| json!({"tool": format!("mcp__everything__{name}"), "args": args});
    let edit = json!({"command": "str_replace", "path": "claude.txt", "old_str": "hello", "new_str": "goodbye"});
    let claude = model(json!({"steps": [
        {"tools": [call("echo", json!({"message": "hi there"})), call("get-sum", json!({"a": 1, "b": 2})),
            call("get-tiny-image", json!({})), call("echo", json!({})), call("get-env", json!({})),
            call("get-structured-content", json!({"location": "Chicago"})),
            call("get-resource-reference", json!({"resourceType": "Text", "resourceId": 1}))]},
        {"tool": "str_replace_based_edit_tool", "args": edit},
        {"text": "Done."}
    ]}))
    .await;
    let world = world(&["claude"]);
    let table = format!("[mcp.everything]\nrun = ['{}', 'stdio']\n", program.display());
    let part = served("claude", "anthropic-messages", &claude, "claude-sonnet-4-5", &["everything"]);
    world.job(&[HEAD.to_owned(), table, part].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "claude.txt"), "goodbye");
    let asked = claude.requests();
    assert!(names(&asked[0]).contains(&"mcp__everything__get-sum".to_owned()), "{:?}", names(&asked[0]));
    let said = last(&asked[1]);
    for words in [
        "Echo: hi there",
        "The sum of 1 and 2 is 3.",
        "\"media_type\":\"image/png\"",
        "Input validation error",
        "\"is_error\":true",
        "temperature",
        "demo://resource/",
    ] {
        assert!(said.contains(words), "it should say {words}: {said}");
    }
    assert!(!said.contains(KEY) && said.contains("TMPDIR"), "its environment is an agent's: {said}");
    assert_eq!(leftovers::wait_for_none(&world), Vec::<String>::new());
}
