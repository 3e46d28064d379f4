//! Codex against the scripted model, in a network with only `lo`.

use std::path::Path;
use std::process::Command;

use longhaul_tests::agents::Agents;
use longhaul_tests::model::ModelProcess;
use longhaul_tests::namespace::Namespace;
use serde_json::Value;

const SCRIPT: &str = r#"{"turns":[
 [{"say":"I will look first.","tool":"exec_command","args":{"cmd":"cat main.rs"}},
  {"tool":"exec_command","args":{"cmd":"apply_patch <<'PATCH'\n*** Begin Patch\n*** Update File: main.rs\n@@\n fn main() {\n-    println!(\"hello\");\n+    println!(\"hello, patched\");\n }\n*** Add File: NOTES.md\n+first\n*** End Patch\nPATCH"}},
  {"text":"Edited main.rs and added NOTES.md."}],
 [{"tool":"exec_command","args":{"cmd":"echo second >> NOTES.md"}},{"text":"Second turn done."}]
]}"#;

fn config(url: &str) -> String {
    format!(
        r#"model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[feedback]
enabled = false
[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
request_max_retries = 0
stream_max_retries = 0
"#
    )
}

fn codex(namespace: &Namespace, program: &Path, folder: &Path) -> Command {
    let mut command = namespace.command(program, &folder.join("work"));
    command.env("HOME", folder).env("CODEX_HOME", folder.join("home")).env("SCRIPTED_KEY", "sk-scripted");
    command
}

/// The events of a run that has to succeed.
#[track_caller]
fn events(mut command: Command) -> Vec<Value> {
    let out = command.output().expect("codex starts");
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}\n{said}\n{errors}", out.status);
    said.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

#[test]
fn codex_edits_and_a_resumed_thread_gets_the_second_turn() {
    if let Some(reason) = Namespace::missing() {
        return eprintln!("skipped: {reason}");
    }
    let Some(program) = Agents::for_test("codex") else { return };
    let namespace = Namespace::new().expect("a namespace");
    let model = ModelProcess::start(&namespace, SCRIPT).expect("a model");
    let scratch = Agents::scratch().expect("a folder");
    let folder = scratch.path();
    std::fs::create_dir_all(folder.join("home")).expect("a folder");
    std::fs::create_dir_all(folder.join("work")).expect("a folder");
    std::fs::write(folder.join("home/config.toml"), config(&model.url())).expect("writable");
    std::fs::write(folder.join("work/main.rs"), "fn main() {\n    println!(\"hello\");\n}\n").expect("writable");

    let mut first = codex(&namespace, &program, folder);
    first.args(["exec", "--json", "--skip-git-repo-check", "Edit main.rs, please."]);
    let events_of_first = events(first);
    let read = |path: &str| std::fs::read_to_string(folder.join("work").join(path)).unwrap_or_default();
    assert!(read("main.rs").contains("hello, patched"), "{events_of_first:?}");
    assert_eq!(read("NOTES.md"), "first\n");
    let thread = events_of_first.iter().find_map(|event| event["thread_id"].as_str()).expect("a thread");
    assert!(events_of_first.iter().any(|event| event["type"] == "turn.completed"), "{events_of_first:?}");

    let mut second = codex(&namespace, &program, folder);
    second.args(["exec", "resume", "--json", "--skip-git-repo-check", thread, "Go on."]);
    events(second);
    assert_eq!(read("NOTES.md"), "first\nsecond\n");

    let requests = model.requests().expect("recorded");
    let asked: Vec<_> = requests.iter().filter(|request| request.route() == "/v1/responses").collect();
    assert_eq!(asked.len(), 5, "three of the first turn, two of the second");
    assert!(asked.iter().all(|request| request.header("authorization") == Some("Bearer sk-scripted")));
    assert!(asked[1].extends(asked[0]) && asked[2].extends(asked[1]), "a turn only appends");
    assert!(asked[2].cached_tokens > 1_000, "{}", asked[2].cached_tokens);
}
