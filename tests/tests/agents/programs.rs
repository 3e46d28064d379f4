//! Whole jobs whose agent is a real program, in a network with only `lo`: its models are the scripted
//! one, behind the gateway.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_tests::agents::Agents;
use longhaul_tests::model::ModelProcess;
use longhaul_tests::namespace::Namespace;
use longhaul_tests::world::binary;
use longhaul_tests::{World, leftovers};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::questions::Running;

/// Longest wait for something to be saved; only a failing test waits so long.
const SAVED_MAX: Duration = Duration::from_secs(120);

/// A user's machine without a network, with a model and a job.
struct Rig {
    namespace: Namespace,
    model: ModelProcess,
    world: World,
}

/// What the agent is told of itself in the job file.
struct Coder<'a> {
    /// Where it was installed as.
    install: &'a str,
    /// Its kind and further keys.
    table: &'a str,
    /// Arguments of its command.
    args: &'a [&'a str],
    /// Format and version of the provider.
    api: (&'a str, &'a str),
}

const CODEX: Coder<'_> = Coder {
    install: "codex",
    table: "kind = \"codex\"\nmodel = \"gpt-5.5\"\n",
    args: &["app-server"],
    api: ("openai-responses", "v1"),
};

/// A server of one tool, spoken a line at a time.
const MOTTO: &str = include_str!("motto.sh");

const OPENCODE: Coder<'_> = Coder {
    install: "opencode",
    table: "kind = \"acp\"\nprogram = \"opencode\"\nmodel = \"m1\"\n",
    args: &["acp"],
    api: ("openai-chat", "v1"),
};

const CODEX_ACP: Coder<'_> = Coder {
    install: "codex-acp",
    table: "kind = \"acp\"\nprogram = \"codex-acp\"\nmodel = \"gpt-5.5\"\n",
    args: &[],
    api: ("openai-responses", "v1"),
};

const CLAUDE: Coder<'_> = Coder {
    install: "claude-agent-acp",
    table: "kind = \"acp\"\nprogram = \"claude-agent-acp\"\nmodel = \"claude-sonnet-4-5\"\n",
    args: &[],
    api: ("anthropic-messages", "v1"),
};

const GEMINI: Coder<'_> = Coder {
    install: "gemini",
    table: "kind = \"acp\"\nprogram = \"gemini\"\nmodel = \"gemini-2.5-flash\"\n",
    args: &["--acp", "-m", "gemini-2.5-flash"],
    api: ("gemini", "v1beta"),
};

impl Rig {
    /// `None`, with the reason printed, where there can be none.
    fn new(coder: &Coder<'_>, script: &str) -> Option<Self> {
        Self::with(coder, script, "")
    }

    /// The same with further tables in the job file.
    fn with(coder: &Coder<'_>, script: &str, further: &str) -> Option<Self> {
        if let Some(reason) = Namespace::missing() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let program = Agents::for_test(coder.install)?;
        let namespace = Namespace::new().expect("a namespace");
        let model = ModelProcess::start(&namespace, script).expect("a model");
        let world = World::new(&[("main.rs", "fn main() {}\n")]);
        std::fs::write(world.folder().join("motto.sh"), MOTTO).expect("written");
        let mut run = vec![program.display().to_string()];
        run.extend(coder.args.iter().map(|&arg| arg.to_owned()));
        let (api, version) = coder.api;
        let url = model.url();
        let table = coder.table;
        world.job(&format!(
            "goal = \"Two files\"\nname = \"two\"\n[[repo]]\nname = \"app\"\npath = \"repo\"\n\
             [mcp.motto]\nrun = [\"sh\", \"{{job_dir}}/motto.sh\"]\nenv = {{ MOTTO = \"plain words\" }}\n\
             [provider.scripted]\napi = \"{api}\"\nurl = \"{url}/{version}\"\n\
             [agent.coder]\n{table}run = {run:?}\nprovider = \"scripted\"\nmcp = [\"motto\"]\n\
             [[task]]\nid = \"edit\"\nladder = [\"coder\"]\ninstructions = \"Make the file.\"\nattempts = 1\n\
             idle_timeout = \"60s\"\nwip_every = \"1s\"\ncheck = \"test -s one.txt\"\n[gate]\nrun = \"test -s main.rs\"\n{further}"
        ));
        Some(Self { namespace, model, world })
    }

    /// `longhaul` inside the namespace.
    fn command(&self, args: &[&str]) -> Command {
        let home = self.world.folder().join("home");
        std::fs::create_dir_all(&home).expect("a folder");
        let mut command = self.namespace.command(binary(), self.world.folder());
        command.args(args).env("HOME", home).env("LONGHAUL_STATE_DIR", self.world.state());
        command
    }

    #[track_caller]
    fn run(&self) {
        let out = self.command(&["run"]).output().expect("it starts");
        let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let logs = self.world.longhaul(&["logs", "edit"]);
        assert!(out.status.success(), "{}\n{said}\n{errors}\n{}\n{}", out.status, logs.stderr, logs.stdout);
    }

    /// The events of the traces of all attempts, in order.
    fn events(&self) -> Vec<Value> {
        let logs = self.world.expect(0, &["logs", "edit"]);
        let events = logs.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"].is_string()).collect()
    }

    fn landed(&self, path: &str) -> String {
        self.world.on_branch(&self.world.branch(), path)
    }

    /// Whether the journal knows of work in progress with a session that holds what its first tool was told:
    /// what is not in it is lost with a kill.
    fn saved(&self) -> bool {
        let layout = Layout::new(self.world.state()).job(&"two".parse().expect("a name"));
        let told = |hash: &[u8]| {
            let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let archive = self.world.state().join("jobs/two/sessions").join(name);
            let unpacked = ["--extract", "--to-stdout", "--wildcards", "*.zst", "--file"];
            let out = Command::new("tar").args(unpacked).arg(archive).output().expect("tar");
            // Each file is a frame of its own, and frames can follow one another.
            String::from_utf8_lossy(&zstd::decode_all(&out.stdout[..]).unwrap_or_default()).contains("echo one")
        };
        read_records(&layout, 0).unwrap_or_default().into_iter().any(|record| match record.event {
            Some(Event::WipSaved(saved)) => {
                saved.wip.is_some_and(|wip| !wip.session_hash.is_empty() && told(&wip.session_hash))
            }
            _ => false,
        })
    }
}

fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// What every program has to have said and done in a turn with one command that was asked for.
#[track_caller]
fn is_whole(events: &[Value]) {
    assert_eq!(of(events, "session").len(), 1, "{events:?}");
    assert!(!of(events, "tool_ended").is_empty(), "{events:?}");
    assert_eq!(of(events, "turn_ended").last().expect("a turn")["end"]["end"], "done", "{events:?}");
}

#[test]
fn codex_lands_a_change_that_it_could_not_commit_itself() {
    let script = r#"{"turns":[[
        {"tool":"exec_command","args":{"cmd":"echo one > one.txt; git add -A && git commit -m mine"}},
        {"text":"done","usage":[1000,20]}]]}"#;
    let Some(rig) = Rig::new(&CODEX, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    let events = rig.events();
    is_whole(&events);
    // Its home is outside of the folder that it takes for the temporary one.
    let logs = rig.world.expect(0, &["logs", "edit"]);
    assert!(!logs.stdout.contains("PATH aliases"), "{}", logs.stdout);
    let told: u64 = of(&events, "usage").iter().map(|used| used["input"].as_u64().unwrap_or_default()).sum();
    let asked =
        rig.model.requests().expect("recorded").iter().filter(|request| request.route() == "/v1/responses").count();
    assert!(asked >= 2 && told >= 1_000, "{told} tokens in {asked} requests");
}

/// No boundary of ours: Codex is left with its own, or with none.
const OPEN: &str = "[policy]\nsandbox = \"danger-full-access\"\n";

/// What came of all uses of tools.
fn outputs(events: &[Value]) -> String {
    of(events, "tool_ended").iter().filter_map(|ended| ended["output"].as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_repository_is_read_only_in_codex_own_sandbox_and_its_home_is_not_below_the_temporary_folder() {
    let look = "echo one > one.txt; echo \"$CODEX_HOME\" > home.txt; echo \"$TMPDIR\" > tmp.txt";
    let commit = "git add -A && git commit -m mine; echo \"git said $?\"";
    let call = |cmd: &str| json!({"tool": "exec_command", "args": {"cmd": cmd}});
    let script = json!({"turns": [[call(look), call(commit), {"text": "done"}]]});
    let Some(rig) = Rig::with(&CODEX, &script.to_string(), OPEN) else { return };
    rig.run();
    let events = rig.events();
    let said = outputs(&events);
    assert!(said.contains("Read-only file system") && !said.contains("git said 0"), "{said}");
    // What its sandbox denies is left out of its events, and is on record all the same.
    assert_eq!(of(&events, "tool_ended").len(), 2, "{events:?}");
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

/// Kills `longhaul` while the program works, and sees another one go on with its session; `tool` is
/// the program's call that runs a command.
#[track_caller]
fn goes_on_after_a_kill(coder: &Coder<'_>, tool: impl Fn(&str) -> String) {
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

fn codex_call(command: &str) -> String {
    json!({"tool": "exec_command", "args": {"cmd": command, "yield_time_ms": 600_000}}).to_string()
}

#[test]
fn a_thread_of_codex_goes_on_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CODEX, codex_call);
}

#[test]
fn a_session_of_codex_acp_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CODEX_ACP, codex_call);
}

#[test]
fn a_session_of_claude_code_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&CLAUDE, |command| {
        format!(r#"{{"tool":"Bash","args":{{"command":"{command}","timeout":600000,"description":"do it"}}}}"#)
    });
}

#[test]
fn a_session_of_gemini_is_loaded_after_its_worker_was_killed() {
    goes_on_after_a_kill(&GEMINI, |command| {
        format!(r#"{{"tool":"run_shell_command","args":{{"command":"{command}","description":"do it"}}}}"#)
    });
}

#[test]
fn opencode_asks_and_is_answered_by_policy() {
    let script = r#"{"turns":[[
        {"tool":"bash","args":{"command":"echo one > one.txt","description":"make it"}},{"text":"done"}]]}"#;
    let Some(rig) = Rig::new(&OPENCODE, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    let events = rig.events();
    is_whole(&events);
    let answered = of(&events, "permission_answered");
    assert!(
        answered.iter().any(|answer| answer["why"] == "permissions.execute" && answer["answer"] == "allow"),
        "{events:?}"
    );
}

#[test]
fn tools_of_the_job_reach_each_program_in_its_own_form() {
    // Models that it knows find tools of servers by a search; others are told of each.
    let codex = Coder { table: "kind = \"codex\"\nmodel = \"mock-model\"\n", ..CODEX };
    for coder in [&codex, &OPENCODE] {
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
fn has_it_split(coder: &Coder<'_>, tool: impl Fn(&str) -> String) {
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
    has_it_split(&CODEX, codex_call);
}

#[test]
fn opencode_has_its_subtask_split() {
    let tool =
        |command: &str| json!({"tool": "bash", "args": {"command": command, "description": "works"}}).to_string();
    has_it_split(&OPENCODE, tool);
}

#[test]
fn codex_behind_its_adapter_lands_a_change() {
    let script = r#"{"turns":[[{"tool":"exec_command","args":{"cmd":"echo one > one.txt"}},{"text":"done"}]]}"#;
    let Some(rig) = Rig::new(&CODEX_ACP, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    is_whole(&rig.events());
}

#[test]
fn claude_code_behind_its_adapter_lands_a_change() {
    let script = r#"{"turns":[[
        {"tool":"Bash","args":{"command":"echo one > one.txt","description":"make it"}},{"text":"done"}]]}"#;
    let Some(rig) = Rig::new(&CLAUDE, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    is_whole(&rig.events());
}

#[test]
fn gemini_lands_a_change() {
    let script = r#"{"turns":[[
        {"tool":"run_shell_command","args":{"command":"echo one > one.txt","description":"make it"}},{"text":"done"}]]}"#;
    let Some(rig) = Rig::new(&GEMINI, script) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    is_whole(&rig.events());
}

#[test]
fn a_person_answers_a_program_that_waits() {
    let claude = r#"{"tool":"Bash","args":{"command":"echo one > one.txt","description":"make it"}}"#;
    let gemini = r#"{"tool":"run_shell_command","args":{"command":"echo one > one.txt","description":"make it"}}"#;
    let codex = r#"{"tool":"exec_command","args":{"cmd":"echo one > one.txt"}}"#;
    for (coder, call) in [(&CODEX, codex), (&CLAUDE, claude), (&GEMINI, gemini)] {
        let table = format!("{}permissions = {{ execute = \"ask\" }}\n", coder.table);
        let coder = Coder { table: &table, ..*coder };
        let script = format!("{{\"turns\":[[{call},{{\"text\":\"done\"}}]]}}");
        let Some(rig) = Rig::with(&coder, &script, "[policy]\nask_wait = \"30m\"\n") else { return };
        let mut running = Running::new(rig.command(&["run"]));
        while let Some(park) = running.next("approve") {
            assert_eq!(rig.world.status()["parked"][0]["waiting"], true, "{}", coder.install);
            rig.world.expect(0, &["approve", &park]);
        }
        let (code, said) = running.ends();
        let logs = rig.world.longhaul(&["logs", "edit"]);
        assert_eq!(code, Some(0), "{}: {said}\n{}", coder.install, logs.stdout);
        assert_eq!((rig.landed("one.txt").as_str(), &rig.world.status()["attempts"]), ("one", &1.into()));
        let events = rig.events();
        is_whole(&events);
        let told = of(&events, "person_answered");
        let told = told.first().and_then(|told| told["answer"].as_str()).unwrap_or_default();
        assert!(told.contains("allows"), "{}: {events:?}", coder.install);
    }
}
