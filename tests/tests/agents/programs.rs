//! Whole jobs whose agent is a real program: what it lands, what it survives, and what it leaves behind.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use longhaul_tests::leftovers;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::rig::{ALL, CLAUDE, CODEX, CODEX_ACP, Coder, GEMINI, OPEN, OPENCODE, Rig, is_whole, of, outputs};

/// Longest wait for something to be saved; only a failing test waits so long.
const SAVED_MAX: Duration = Duration::from_secs(120);

#[test]
fn codex_lands_a_change_that_it_could_not_commit_itself() {
    let script = r#"{"turns":[[
        {"tool":"exec_command","args":{"cmd":"echo one > one.txt; git add -A && git commit -m mine"},"usage":[400,10]},
        {"text":"done","usage":[1000,20]}]]}"#;
    let Some(rig) = Rig::new(&CODEX, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    let events = rig.events();
    is_whole(&events);
    // Its home is outside of the folder that it takes for the temporary one.
    let logs = rig.world.expect(0, &["logs", "edit"]);
    assert!(!logs.stdout.contains("PATH aliases"), "{}", logs.stdout);
    // It tells totals of its thread, of which only what is new counts.
    assert_eq!((used(&events, "input"), used(&events, "output")), (1_400, 30));
}

#[test]
fn the_repository_is_read_only_in_codex_own_sandbox_and_its_home_is_not_below_the_temporary_folder() {
    let look = "echo one > one.txt; echo \"$CODEX_HOME\" > home.txt; echo \"$TMPDIR\" > tmp.txt";
    let commit = "git add -A && git commit -m mine; echo \"git said $?\"";
    let call = |cmd: &str| json!({"tool": "exec_command", "args": {"cmd": cmd}});
    let script = json!({"turns": [[call(look), call(commit), call("echo x > .git/denied"), {"text": "done"}]]});
    let Some(rig) = Rig::with(&CODEX, &script.to_string(), OPEN) else { return };
    rig.run();
    let events = rig.events();
    let said = outputs(&events);
    assert!(said.contains("Read-only file system") && !said.contains("git said 0"), "{said}");
    // What its sandbox denies is left out of its events, and is on record all the same.
    let left_out: Vec<&Value> = of(&events, "tool_started")
        .into_iter()
        .filter(|tool| tool["title"] == "exec_command (not among the events)")
        .collect();
    assert_eq!(left_out.len(), 1, "{events:?}");
    assert!(left_out[0]["input"].to_string().contains(".git/denied"), "{left_out:?}");
    let ended = of(&events, "tool_ended");
    let ended = ended.iter().find(|ended| ended["id"] == left_out[0]["id"]).expect("its end, too");
    assert_eq!(
        (ended["failed"].as_bool(), ended["output"].as_str().map(|said| said.contains("Read-only"))),
        (Some(true), Some(true))
    );
    assert_eq!(rig.landed("one.txt"), "one");
    let log = rig.world.git(&["log", "--format=%s", &format!("main..{}", rig.world.branch())]);
    assert!(!log.is_empty() && log.lines().all(|subject| subject != "mine"), "{log}");
    let (home, tmp) = (PathBuf::from(rig.landed("home.txt")), PathBuf::from(rig.landed("tmp.txt")));
    assert!(home.is_absolute() && tmp.is_absolute() && !home.starts_with(&tmp), "{home:?} {tmp:?}");
    assert!(home.ends_with("home/.codex"), "its own, of the attempt: {home:?}");
}

#[test]
fn a_command_that_outlives_codex_is_gone_when_the_attempt_ends() {
    // In a session of its own and deaf to what ends Codex, it says who it is and stays.
    let stays = r#"trap "" TERM HUP INT; cut -d" " -f1,6 /proc/$$/stat > one.txt; exec sleep 600"#;
    let start = format!("setsid sh -c '{stays}' > /dev/null 2>&1 & while ! test -s one.txt; do sleep 0.1; done");
    let script = json!({"turns": [[{"tool": "exec_command", "args": {"cmd": start}}, {"text": "done"}]]});
    let coder = Coder { table: "kind = \"codex\"\nmodel = \"gpt-5.5\"\nmode = \"danger-full-access\"\n", ..CODEX };
    let Some(rig) = Rig::with(&coder, &script.to_string(), OPEN) else { return };
    rig.run();
    let said = rig.landed("one.txt");
    let (process, session) = said.split_once(' ').expect("two numbers");
    assert_eq!(process, session, "it led a session");
    // No process of the job's is left: they work in its folders.
    assert_eq!(leftovers::wait_for_none(&rig.world), Vec::<String>::new());
}

/// Kills `longhaul` while the program works, and sees another one go on with its session.
#[track_caller]
fn goes_on_after_a_kill(coder: &Coder<'_>) {
    let tool = coder.call;
    let (make, wait, copy) = (tool("echo one > one.txt"), tool("sleep 600"), tool("cat one.txt > two.txt"));
    // By what it is told, and twice: how much of the first turn a killed program had written down is its own
    // affair.
    let script = format!(
        r#"{{"steps":[{make},{wait}],"cases":[{{"when":"was interrupted before, and you go on","steps":[{copy},{copy},{{"text":"done"}}]}}]}}"#
    );
    let Some(rig) = Rig::new(coder, &script) else { return };
    let mut first = rig.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let began = Instant::now();
    while !rig.saved() {
        assert!(began.elapsed() < SAVED_MAX, "nothing was saved");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    // `nsenter` waits for the program it forked.
    let outside = first.id();
    let inside = std::fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).expect("it runs");
    let inside = Pid::from_raw(inside.trim().parse().expect("one child")).expect("a process");
    rustix::process::kill_process(inside, Signal::KILL).expect("killed");
    first.wait().expect("ended");
    rig.run();
    assert_eq!((rig.landed("one.txt"), rig.landed("two.txt")), ("one".to_owned(), "one".to_owned()));
    let events = rig.events();
    assert!(of(&events, "session").iter().any(|session| session["resumed"] == true), "{events:?}");
}

#[test]
fn a_thread_of_codex_goes_on_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CODEX);
}

#[test]
fn a_session_of_codex_acp_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CODEX_ACP);
}

#[test]
fn a_session_of_claude_code_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CLAUDE);
}

#[test]
fn a_session_of_gemini_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&GEMINI);
}

#[test]
fn a_session_of_opencode_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&OPENCODE);
}

#[test]
fn tools_of_the_job_reach_each_program_in_its_own_form() {
    // Models that it knows find tools of servers by a search; others are told of each.
    let codex = Coder { table: "kind = \"codex\"\nmodel = \"mock-model\"\n", ..CODEX };
    let behind = Coder { table: "kind = \"acp\"\nprogram = \"codex-acp\"\nmodel = \"mock-model\"\n", ..CODEX_ACP };
    for coder in [&codex, &behind, &CLAUDE, &GEMINI, &OPENCODE] {
        let Some(rig) = Rig::new(coder, r#"{"turns":[[{"text":"done"}]]}"#) else { return };
        // Nothing is done, which is no success; what counts is what the model was offered.
        rig.command(&["run"]).output().expect("it starts");
        let requests = rig.model.requests().expect("recorded");
        let offered =
            requests.iter().any(|request| String::from_utf8_lossy(&request.body).contains("The motto of the house."));
        assert!(offered, "{}: the tool is not offered to the model", coder.install);
    }
}

#[test]
fn what_a_provider_refuses_is_named() {
    let unknown = r#"{"status":404,"error":{"error":{"message":"The model `x` does not exist or you do not have access to it.","code":"model_not_found"}}}"#;
    let troubled = r#"{"status":401,"error":{"error":{"message":"no","type":"server_error","code":"server_error"}}}"#;
    for (coder, step, words) in [
        (&CODEX, r#"{"status":401}"#, "the provider refused the key of the agent coder"),
        (&CODEX, unknown, "the provider does not know the model of the agent coder"),
        (&OPENCODE, r#"{"status":401}"#, "the provider refused the key of the agent coder"),
        // It takes this for a trouble of the moment and would ask for ever.
        (&OPENCODE, troubled, "the provider refused the key of the agent coder: scripted answered 401"),
        (&OPENCODE, unknown, "the provider does not know the model of the agent coder"),
    ] {
        let Some(rig) = Rig::new(coder, &format!("{{\"turns\":[[{step}]]}}")) else { return };
        let out = rig.command(&["run"]).output().expect("it starts");
        let shown = rig.world.expect(0, &["show", "edit", "--json"]).stdout;
        assert!(!out.status.success() && shown.contains(words), "{}: {words}\n{shown}", coder.install);
        assert!(!of(&rig.events(), "told").is_empty(), "{}: its trace is kept", coder.install);
    }
}

/// The program is told how to have its subtask split, and does so; its parts are other sessions of it.
#[track_caller]
fn has_it_split(coder: &Coder<'_>) {
    let tool = |command: &str| (coder.call)(command).to_string();
    let parts = r#"{"parts": [{"name": "first", "instructions": "do the first"}, {"name": "second", "instructions": "do the second"}]}"#;
    let split = tool(&format!("echo '{parts}' > $TMPDIR/split.json"));
    let case = |when: &str, step: &str| format!(r#"{{"when":"{when}","steps":[{step},{{"text":"done"}}]}}"#);
    let cases = [
        case("do the first", &tool("echo 1 > first.txt")),
        case("do the second", &tool("echo 2 > second.txt")),
        case("big-first", &tool("echo 3 > third.txt")),
        case("Make all of them.", &split),
        case("Make the file.", &tool("echo one > one.txt")),
    ];
    let script = format!(r#"{{"steps":[{{"text":"done"}}],"cases":[{}]}}"#, cases.join(","));
    let big = "[[task]]\nid = \"big\"\nladder = [\"coder\"]\ninstructions = \"Make all of them.\"\nattempts = 1\nsplit = 2\n\
        idle_timeout = \"60s\"\n";
    let Some(rig) = Rig::with(coder, &script, big) else { return };
    rig.run();
    for (file, text) in [("first.txt", "1"), ("second.txt", "2"), ("third.txt", "3"), ("one.txt", "one")] {
        assert_eq!(rig.landed(file), text, "{file}");
    }
}

#[test]
fn codex_has_its_subtask_split() {
    has_it_split(&CODEX);
}

#[test]
fn opencode_has_its_subtask_split() {
    has_it_split(&OPENCODE);
}

/// Tokens of a kind that it said it used.
fn used(events: &[Value], what: &str) -> u64 {
    of(events, "usage").iter().map(|used| used[what].as_u64().unwrap_or_default()).sum()
}

#[test]
fn every_program_lands_a_change_says_what_it_used_and_leaves_nothing_behind() {
    for coder in ALL {
        let script = json!({"turns": [[(coder.call)("echo one > one.txt"), {"text": "done", "usage": [1000, 20]}]]});
        let Some(rig) = Rig::new(coder, &script.to_string()) else { return };
        rig.run();
        assert_eq!(rig.landed("one.txt"), "one", "{}", coder.install);
        let events = rig.events();
        is_whole(&events);
        // With what its first call used; of opencode, which tells of its last call alone, at least that.
        assert!(used(&events, "input") >= 1_000 && used(&events, "output") >= 20, "{}: {events:?}", coder.install);
        assert_eq!(leftovers::wait_for_none(&rig.world), Vec::<String>::new(), "{}", coder.install);
    }
}

/// It looks for ripgrep, and would fetch one from the network.
#[test]
fn opencode_searches_without_a_network() {
    let grep = json!({"tool": "grep", "args": {"pattern": "fn mai[n]"}});
    let glob = json!({"tool": "glob", "args": {"pattern": "**/*.rs"}});
    let script = json!({"turns": [[grep, glob, (OPENCODE.call)("echo one > one.txt"), {"text": "done"}]]});
    let Some(rig) = Rig::new(&OPENCODE, &script.to_string()) else { return };
    rig.run();
    let events = rig.events();
    let ended: Vec<&str> = of(&events, "tool_ended").iter().filter_map(|ended| ended["output"].as_str()).collect();
    assert!(ended[0].contains("main.rs") && ended[0].contains("fn main() {}"), "{events:?}");
    assert!(ended[1].contains("main.rs"), "{events:?}");
}

/// Its model says that the window is full: it asks for a summary, and goes on from that.
#[test]
fn codex_compacts_a_full_history_and_goes_on() {
    let first = json!({"tool": "exec_command", "args": {"cmd": "echo one > one.txt"}, "usage": [255_000, 10]});
    let second = json!({"tool": "exec_command", "args": {"cmd": "echo two > two.txt"}, "usage": [1_000, 10]});
    let script = json!({"steps": [first, {"text": "never said"}],
        "cases": [{"when": "compacted by the script", "steps": [second, {"text": "done", "usage": [1_100, 10]}]}]});
    let Some(rig) = Rig::new(&CODEX, &script.to_string()) else { return };
    rig.run();
    assert_eq!((rig.landed("one.txt"), rig.landed("two.txt")), ("one".to_owned(), "two".to_owned()));
    let events = rig.events();
    assert!(!of(&events, "compacted").is_empty(), "{events:?}");
    assert_eq!(of(&events, "turn_ended").len(), 1, "{events:?}");
}
