//! Whole jobs whose agents are loops around scripted models: the real binary, a real repository,
//! real commands in its workspaces.

use std::path::PathBuf;

use longhaul_tests::World;
use longhaul_tests::model::{Recorded, ScriptedModel};
use longhaul_tests::world::Ran;
use serde_json::{Value, json};

use super::model::model;

/// The key that the gateway holds. No agent may ever see it.
pub const KEY: &str = "sk-real-9f8e7d6c5b";

pub const HEAD: &str = "goal = 'Say goodbye everywhere'\nname = 'goodbye'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
    [gate]\nrun = 'sh gate.sh'\n[price.'*']\ninput = 1.0\noutput = 2.0\nas_of = '2026-11-21'\n";

/// A provider, its model, an agent around it, all called `name`, and a task for it.
pub fn part(name: &str, api: &str, model: &ScriptedModel, model_name: &str, further: &str) -> String {
    format!(
        "[provider.{name}]\napi = '{api}'\nurl = '{}/v1'\nkey_env = 'SCRIPTED_KEY'\n\
        [agent.{name}]\nkind = 'model'\nmodel = '{model_name}'\nprovider = '{name}'\n\
        [[task]]\nid = 'task-{name}'\nwrite = ['{name}.txt']\nladder = ['{name}']\n\
        instructions = 'Say goodbye in {name}.txt'\ncheck = 'grep -q goodbye {name}.txt'\n{further}",
        model.url()
    )
}

/// A repository with a file for each name, and a gate that any number of landed ones pass.
pub fn world(names: &[&str]) -> World {
    let texts: Vec<(String, String)> = names.iter().map(|name| (format!("{name}.txt"), "hello\n".to_owned())).collect();
    let mut files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let gate = "set -e\nfor f in *.txt; do grep -qE '^(hello|goodbye)$' \"$f\"; done\n";
    files.extend([("gate.sh", gate), ("AGENTS.md", "Write plain words.\n")]);
    World::new(&files)
}

/// The run of a job, on a thread of its own: the models of this one have to answer meanwhile.
pub async fn run_job(world: World, args: &'static [&'static str]) -> (World, Ran) {
    run_job_with(world, args, Vec::new()).await
}

/// The same with variables in its environment.
async fn run_job_with(
    world: World,
    args: &'static [&'static str],
    variables: Vec<(&'static str, PathBuf)>,
) -> (World, Ran) {
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = world.command(args);
        let out = command.env("SCRIPTED_KEY", KEY).envs(variables).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: out.status.code().unwrap_or(-1), stdout: text(&out.stdout), stderr: text(&out.stderr) };
        (world, ran)
    });
    ran.await.expect("it does not panic")
}

pub fn text(request: &Recorded) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

/// Looks, fails in most ways there are, changes the wrong thing, is told by the check, and repairs it.
fn gpt() -> Value {
    let run = |cmd: &str| json!({"tool": "exec_command", "args": {"cmd": cmd}});
    let patch = |path: &str, old: &str, new: &str| {
        let input = format!("*** Begin Patch\n*** Update File: {path}\n-{old}\n+{new}\n*** End Patch");
        json!({"tool": "apply_patch", "input": input})
    };
    json!({"turns": [
        [
            {"reasoning": "hm", "say": "I look.", "tools": [run("cat gpt.txt"), run("head -c 10000000 /dev/zero | tr '\\0' x")]},
            run("printf '\\377\\376 odd\\n'; env; cat /proc/[0-9]*/environ; printf 'SCRIPTED_KEY=sk-real-%s\\n' 9f8e7d6c5b"),
            {"tools": [{"tool": "no_such_tool", "args": {}},
                {"tool": "update_plan", "args": {"plan": [{"step": "edit", "status": "in_progress"}]}}]},
            {"tool": "exec_command", "arguments": "{broken"},
            patch("../../gpt.txt", "hello", "goodbye"),
            patch("gpt.txt", "hello", "good day"),
            {"text": "Done."}
        ],
        [patch("gpt.txt", "good day", "goodbye"), {"text": "Now it is."}]
    ]})
}

fn claude() -> Value {
    let edit = |args: Value| json!({"tool": "str_replace_based_edit_tool", "args": args});
    json!({"steps": [
        {"reasoning": "hm", "tools": [edit(json!({"command": "view", "path": "claude.txt"})),
            {"tool": "bash", "args": {"command": "mkdir -p $TMPDIR/x && cd $TMPDIR/x && pwd"}}]},
        edit(json!({"command": "str_replace", "path": "claude.txt", "old_str": "hello", "new_str": "goodbye"})),
        {"text": "Done."}
    ]})
}

fn general() -> Value {
    json!({"steps": [
        {"tools": [{"tool": "rg", "args": {"pattern": "hello"}}, {"tool": "read_file", "args": {"path": "general.txt"}},
            {"tool": "read_file", "args": {"path": "/etc/passwd"}}]},
        {"tool": "edit", "args": {"path": "general.txt", "old": "hello", "new": "goodbye"}},
        {"text": "Done."}
    ]})
}

fn schema() -> Value {
    let say = |action: Value| json!([{"text": json!({"thought": "t", "action": action}).to_string()}]);
    json!({"turns": [
        say(json!({"tool": "edit", "path": "schema.txt", "old": "hello", "new": "goodbye"})),
        say(json!({"tool": "finish", "summary": "Done."}))
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_has_its_subtask_split() {
    let part = |name: &str| json!({"name": name, "instructions": format!("do the {name}"), "paths": []});
    let edit = |old: &str, new: &str| json!({"tool": "edit", "args": {"path": "general.txt", "old": old, "new": new}});
    let case = |when: &str, step: Value| json!({"when": when, "steps": [step, {"text": "Done."}]});
    let model = model(json!({"steps": [{"text": "?"}], "cases": [
        case("do the first", edit("hello", "hello and goodbye")),
        case("do the second", edit("hello and goodbye", "goodbye")),
        case("task-general-first", json!({"tool": "read_file", "args": {"path": "general.txt"}})),
        case("Say goodbye", json!({"tool": "split", "args": {"parts": [part("first"), part("second")]}})),
    ]}))
    .await;
    let world = world(&["general"]);
    let gate = HEAD.replace("sh gate.sh", "grep -q . general.txt");
    world.job(&[gate, self::part("general", "openai-chat", &model, "m", "split = 2\nattempts = 1\n")].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("task-general into 2 parts"), "{}", ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "general.txt"), "goodbye");
    let landed = world.git(&["log", "--no-merges", "--format=%s", &format!("main..{}", world.branch())]);
    let names: Vec<&str> = landed.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["task-general-second", "task-general-first"], "the whole had nothing left to do: {landed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_job_runs_again_without_its_provider() {
    let general = model(general()).await;
    let world = world(&["general"]);
    world.job(&[HEAD.to_owned(), part("general", "openai-chat", &general, "m", "")].concat());
    let folder = world.folder().join("record");
    let (world, ran) = run_job_with(world, &["run"], vec![("LONGHAUL_WORKER__RECORD", folder.clone())]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = general.requests().len();
    assert!(asked > 2 && folder.join("goodbye/task-general/1/exchanges.jsonl").exists());
    // Nothing of it is left but the record.
    std::fs::remove_dir_all(world.state()).expect("removed");
    world.git(&["branch", "-D", &world.branch()]);
    let (world, ran) = run_job_with(world, &["run"], vec![("LONGHAUL_WORKER__REPLAY", folder)]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "general.txt"), "goodbye");
    assert_eq!(general.requests().len(), asked, "no provider was asked");

    // A record that is not there is said to be missing, of the job or of a subtask of it.
    let gone = world.folder().join("gone");
    let (world, ran) = run_job_with(world, &["run"], vec![("LONGHAUL_WORKER__REPLAY", gone.clone())]).await;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("worker.replay is {}, which is no folder", gone.display())), "{}", ran.stderr);
    std::fs::create_dir(&gone).expect("made");
    std::fs::remove_dir_all(world.state()).expect("removed");
    world.git(&["branch", "-D", &world.branch()]);
    let (world, ran) = run_job_with(world, &["run"], vec![("LONGHAUL_WORKER__REPLAY", gone.clone())]).await;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let shown = world.expect(0, &["show", "task-general", "--json"]).stdout;
    let wanted = format!("nothing is recorded in {}", gone.join("goodbye/task-general/1").display());
    assert!(shown.contains(&wanted), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_each_profile_lands_its_change() {
    let (gpt, claude, general, schema) =
        (model(gpt()).await, model(claude()).await, model(general()).await, model(schema()).await);
    let world = world(&["gpt", "claude", "general", "schema"]);
    world.job(
        &[
            HEAD.to_owned(),
            part("gpt", "openai-responses", &gpt, "gpt-5.5", ""),
            part("claude", "anthropic-messages", &claude, "claude-sonnet-4-5", ""),
            part("general", "openai-chat", &general, "some-model", ""),
            part("schema", "openai-chat", &schema, "qwen2.5-coder-1.5b-instruct", ""),
        ]
        .concat(),
    );
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let branch = world.branch();
    for name in ["gpt", "claude", "general", "schema"] {
        assert_eq!(world.on_branch(&branch, &format!("{name}.txt")), "goodbye", "{name}");
    }

    let asked = gpt.requests();
    assert_eq!(asked.len(), 9, "seven steps, and two after the check");
    for (number, words) in [
        (0, "Write plain words."),
        (0, "Say goodbye in gpt.txt"),
        (1, "Process exited with code 0\\nOutput:\\nhello"),
        (1, "sealed-"),
        (2, "\u{fffd}\u{fffd} odd"),
        (2, "SCRIPTED_KEY=[redacted]"),
        (3, "there is no tool no_such_tool"),
        (3, "Plan updated: 0 of 1 steps completed"),
        (4, "the arguments are not JSON"),
        (5, "outside the workspace"),
        (6, "Success. Updated the following files:\\nM gpt.txt"),
        (7, "A check of the task fails"),
    ] {
        assert!(
            text(&asked[number]).contains(words),
            "request {number} should hold {words:?}:\n{}",
            text(&asked[number])
        );
    }
    assert!(asked[1].body.len() < 100_000, "ten megabytes of output are {} bytes of a prompt", asked[1].body.len());
    assert!(asked.windows(2).all(|pair| pair[1].extends(&pair[0])), "a turn only appends");
    assert!(asked.iter().all(|request| request.header("authorization") == Some(&format!("Bearer {KEY}"))));
    assert!(claude.requests().iter().all(|request| request.header("x-api-key") == Some(KEY)));
    assert!(text(&general.requests()[1]).contains("/etc/passwd: outside the workspace"));
    for request in [&gpt, &claude, &general, &schema].iter().flat_map(|model| model.requests()) {
        assert!(!text(&request).contains(KEY), "the real key was shown to a model");
    }
    let logs = world.expect(0, &["logs", "task-gpt"]).stdout;
    for words in [
        "\"event\":\"system\",\"text\":\"You are a coding agent.",
        "\"event\":\"tool_started\"",
        "\"title\":\"apply_patch ",
        "\"event\":\"check_failed\",\"report\":\"The work is not done yet",
        "\"event\":\"text\",\"text\":\"Now it is.\"",
        "\"end\":{\"end\":\"done\"}",
    ] {
        assert!(logs.contains(words), "the trace should say {words}:\n{logs}");
    }
    assert!(!logs.contains(KEY));
    let status = world.status();
    assert!(status["tokens"].as_u64() > Some(1_000) && status["usd_micros"].as_u64() > Some(0), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_keeps_to_its_allowance_and_to_the_rules_for_commands() {
    let poor = model(json!({"steps": [{"text": "Done."}]})).await;
    let run = |cmd: &str| json!({"tool": "exec_command", "args": {"cmd": cmd}});
    let input = "*** Begin Patch\n*** Update File: ruled.txt\n-hello\n+goodbye\n*** End Patch";
    let typed = json!({"tool": "write_stdin", "args": {"session_id": 1, "chars": "ls\ngit push\n"}});
    let steps = json!([run("echo x && sudo git -C . push"), run("touch $(echo made)"), run("git status"),
        run("echo git push | sh"), typed, {"tool": "apply_patch", "input": input}, {"text": "Done."}]);
    let ruled = model(json!({ "steps": steps })).await;
    let world = world(&["poor", "ruled"]);
    let rule = "[[policy.command]]\nprefix = ['git', 'push']\ndecide = 'deny'\n";
    world.job(
        &[
            HEAD.to_owned(),
            rule.to_owned(),
            part("poor", "openai-chat", &poor, "some-model", "attempts = 1\nbudget = { tokens = 100 }\n"),
            part("ruled", "openai-responses", &ruled, "gpt-5.5", "budget = { usd = 5.0 }\n"),
        ]
        .concat(),
    );
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 3, "{}\n{}", ran.stdout, ran.stderr);
    assert!(poor.requests().is_empty(), "what may cost more than the allowance is not sent");
    let shown = world.expect(0, &["show", "task-poor", "--json"]).stdout;
    assert!(shown.contains("the budget of this attempt is used up"), "{shown}");
    assert_eq!(world.on_branch(&world.branch(), "ruled.txt"), "goodbye");
    let asked = ruled.requests();
    for (number, words) in [
        (1, "not run: the job's rules deny it (`git push` is denied)"),
        (2, "not run: it needs a person's yes"),
        (3, "Process exited with code 0"),
        (4, "it cannot be told what it runs: a shell that reads it"),
        (5, "not sent: the job's rules are about it (`git push` is denied)"),
    ] {
        assert!(text(&asked[number]).contains(words), "{number}: {}", text(&asked[number]));
    }
    let books = &world.status()["books"];
    assert!(books["settled"]["tokens"].as_u64() > Some(100) && books["breaches_total"].as_u64() == Some(0), "{books}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_loop_cannot_do_is_named_and_the_next_rung_goes_on() {
    let same = json!({"tool": "read_file", "args": {"path": "circles.txt"}});
    let circles = model(json!({"steps": vec![same; 40]})).await;
    let unknown = model(json!({"steps": [{"status": 404}]})).await;
    let barred = model(json!({"steps": [{"text": "Done."}]})).await;
    let general = model(general()).await;
    let world = world(&["general"]);
    world.commit(&[("circles.txt", "hello\n")], "more");
    let rule = "[[policy.model]]\npaths = ['barred.txt']\nproviders = ['general']\n";
    let general_first = part("general", "openai-chat", &general, "some-model", "");
    world.job(
        &[
            HEAD.to_owned(),
            rule.to_owned(),
            part("circles", "openai-chat", &circles, "some-model", "attempts = 1\n"),
            part("barred", "openai-responses", &barred, "gpt-5.5", "attempts = 1\n"),
            part("unknown", "anthropic-messages", &unknown, "claude-none", "attempts = 1\n"),
            general_first.replace("ladder = ['general']", "ladder = ['unknown', 'general']"),
        ]
        .concat(),
    );
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 3, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "general.txt"), "goodbye", "the second rung did it");
    for (id, words) in [
        ("task-circles", "stuck (same-call): the same call with the same result 6 times"),
        ("task-barred", "the policy does not let this subtask's files go to the provider barred"),
        ("task-unknown", "the model's provider answered 404: scripted 404"),
    ] {
        let shown = world.expect(0, &["show", id, "--json"]).stdout;
        assert!(shown.contains(words), "{id} should say {words:?}:\n{shown}");
    }
    assert!(barred.requests().is_empty(), "nothing was sent where the policy says no");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_wait_until_what_a_loop_left_running_has_ended() {
    // Told to end, it writes once more: the check has to see that.
    let last = "trap 'sed -i s/hello/goodbye/ late.txt; exit' TERM; while :; do sleep 0.02; done";
    let run = json!({"tool": "exec_command", "args": {"cmd": last, "yield_time_ms": 1_000}});
    let late = model(json!({"turns": [[run, {"text": "Done."}]]})).await;
    let world = world(&["late"]);
    world.job(&[HEAD.to_owned(), part("late", "openai-responses", &late, "gpt-5.5", "attempts = 1\n")].concat());
    let (world, ran) = run_job(world, &["run"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(world.on_branch(&world.branch(), "late.txt"), "goodbye");
}
