//! What tests of whole jobs stand on whose agent is a real program: a network with only `lo`, in which its
//! models are the scripted one, behind the gateway.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::Event;
use longhaul_tests::World;
use longhaul_tests::agents::Agents;
use longhaul_tests::model::{Format, ModelProcess};
use longhaul_tests::namespace::Namespace;
use longhaul_tests::world::binary;
use serde_json::{Value, json};

/// A user's machine without a network, with a model and a job.
pub struct Rig {
    namespace: Namespace,
    pub model: ModelProcess,
    pub world: World,
}

/// Longest wait for an agent's first command; only a failing test waits so long.
const WORK_MAX: Duration = Duration::from_secs(120);

/// The folder at or below this one, so deep at the most, that holds `one.txt`.
fn holder(folder: &Path, depth: u32) -> Option<PathBuf> {
    if folder.join("one.txt").is_file() {
        return Some(folder.to_owned());
    }
    let below = std::fs::read_dir(folder).ok().filter(|_| depth > 0)?.flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter(|entry| entry.file_name() != "node_modules").find_map(|entry| holder(&entry.path(), depth - 1))
}

/// What a test adds to the repository and to the job file.
#[derive(Default)]
pub struct More<'a> {
    /// Files of the repository.
    pub files: &'a [(&'a str, &'a str)],
    /// Keys of the task.
    pub task: &'a str,
    /// Tables.
    pub tables: &'a str,
}

/// What the agent is told of itself in the job file.
#[derive(Clone, Copy)]
pub struct Coder<'a> {
    /// Where it was installed as.
    pub install: &'a str,
    /// Its kind and further keys.
    pub table: &'a str,
    /// Arguments of its command.
    pub args: &'a [&'a str],
    /// Format and version of the provider.
    pub api: (&'a str, &'a str),
    /// The call of its tool that runs a command.
    pub call: fn(&str) -> Value,
}

pub const CODEX: Coder<'_> = Coder {
    install: "codex",
    table: "kind = \"codex\"\nmodel = \"gpt-5.5\"\n",
    args: &["app-server"],
    api: ("openai-responses", "v1"),
    call: codex_call,
};

/// A server of one tool, spoken a line at a time.
const MOTTO: &str = include_str!("motto.sh");

pub const OPENCODE: Coder<'_> = Coder {
    install: "opencode",
    table: "kind = \"acp\"\nprogram = \"opencode\"\nmodel = \"m1\"\n",
    args: &["acp"],
    api: ("openai-chat", "v1"),
    call: opencode_call,
};

pub const CODEX_ACP: Coder<'_> = Coder {
    install: "codex-acp",
    table: "kind = \"acp\"\nprogram = \"codex-acp\"\nmodel = \"gpt-5.5\"\n",
    args: &[],
    api: ("openai-responses", "v1"),
    call: codex_call,
};

pub const CLAUDE: Coder<'_> = Coder {
    install: "claude-agent-acp",
    table: "kind = \"acp\"\nprogram = \"claude-agent-acp\"\nmodel = \"claude-sonnet-4-5\"\n",
    args: &[],
    api: ("anthropic-messages", "v1"),
    call: claude_call,
};

pub const GEMINI: Coder<'_> = Coder {
    install: "gemini",
    table: "kind = \"acp\"\nprogram = \"gemini\"\nmodel = \"gemini-2.5-flash\"\n",
    args: &["--acp", "-m", "gemini-2.5-flash"],
    api: ("gemini", "v1beta"),
    call: gemini_call,
};

/// All of them.
pub const ALL: [&Coder<'_>; 5] = [&CODEX, &CODEX_ACP, &CLAUDE, &GEMINI, &OPENCODE];

/// Those that ask before they run a command, and can be told no.
pub const ASKING: [&Coder<'_>; 4] = [&CODEX, &CLAUDE, &GEMINI, &OPENCODE];

pub fn codex_call(command: &str) -> Value {
    json!({"tool": "exec_command", "args": {"cmd": command, "yield_time_ms": 600_000}})
}

fn opencode_call(command: &str) -> Value {
    json!({"tool": "bash", "args": {"command": command, "description": "do it", "timeout": 600_000}})
}

fn claude_call(command: &str) -> Value {
    json!({"tool": "Bash", "args": {"command": command, "timeout": 600_000, "description": "do it"}})
}

fn gemini_call(command: &str) -> Value {
    json!({"tool": "run_shell_command", "args": {"command": command, "description": "do it"}})
}

impl Rig {
    /// `None`, with the reason printed, where there can be none.
    pub fn new(coder: &Coder<'_>, script: &str) -> Option<Self> {
        Self::with(coder, script, "")
    }

    /// The same with further tables in the job file.
    pub fn with(coder: &Coder<'_>, script: &str, further: &str) -> Option<Self> {
        Self::of(coder, script, &More { tables: further, ..More::default() })
    }

    /// The same with more of everything.
    pub fn of(coder: &Coder<'_>, script: &str, more: &More<'_>) -> Option<Self> {
        if let Some(reason) = Namespace::missing() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let program = Agents::for_test(coder.install)?;
        let namespace = Namespace::new().expect("a namespace");
        let model = ModelProcess::start(&namespace, script).expect("a model");
        let world = World::new(&[&[("main.rs", "fn main() {}\n")], more.files].concat());
        let More { task, tables, .. } = more;
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
             idle_timeout = \"60s\"\nwip_every = \"1s\"\ncheck = \"test -s one.txt\"\n{task}[gate]\nrun = \"test -s main.rs\"\n{tables}"
        ));
        Some(Self { namespace, model, world })
    }

    /// `longhaul` inside the namespace.
    pub fn command(&self, args: &[&str]) -> Command {
        let home = self.world.folder().join("home");
        std::fs::create_dir_all(&home).expect("a folder");
        let mut command = self.namespace.command(binary(), self.world.folder());
        command.args(args).env("HOME", home).env("LONGHAUL_STATE_DIR", self.world.state());
        command
    }

    #[track_caller]
    pub fn run(&self) {
        let out = self.command(&["run"]).output().expect("it starts");
        let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let logs = self.world.longhaul(&["logs", "edit"]);
        assert!(out.status.success(), "{}\n{said}\n{errors}\n{}\n{}", out.status, logs.stderr, logs.stdout);
    }

    /// What the model was asked first, as text.
    pub fn first_asked(&self) -> String {
        let requests = self.model.requests().expect("recorded");
        // Titles and the like are asked beside it, without tools.
        let asked = requests.iter().find(|request| Format::offers_tools(&request.json()));
        asked.map(|request| String::from_utf8_lossy(&request.body).into_owned()).expect("it was asked")
    }

    /// The events of the traces of all attempts, in order.
    pub fn events(&self) -> Vec<Value> {
        let logs = self.world.expect(0, &["logs", "edit"]);
        let events = logs.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"].is_string()).collect()
    }

    pub fn landed(&self, path: &str) -> String {
        self.world.on_branch(&self.world.branch(), path)
    }

    /// The folder that the agent works in, once its command made `one.txt` there.
    pub fn at_work(&self) -> PathBuf {
        let began = Instant::now();
        loop {
            if let Some(folder) = holder(&self.world.state().join("worker"), 6) {
                return folder;
            }
            assert!(began.elapsed() < WORK_MAX, "the agent does nothing");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Whether the journal knows of work in progress with a session that holds what its first tool was told:
    /// what is not in it is lost with a kill.
    pub fn saved(&self) -> bool {
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

/// Those of a kind.
pub fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// What every program has to have said and done in a turn with one command that was asked for.
#[track_caller]
pub fn is_whole(events: &[Value]) {
    assert_eq!(of(events, "session").len(), 1, "{events:?}");
    assert!(!of(events, "tool_ended").is_empty(), "{events:?}");
    assert_eq!(of(events, "turn_ended").last().expect("a turn")["end"]["end"], "done", "{events:?}");
}

/// No boundary of ours: Codex is left with its own, or with none.
pub const OPEN: &str = "[policy]\nsandbox = \"danger-full-access\"\n";

/// What came of all uses of tools.
pub fn outputs(events: &[Value]) -> String {
    of(events, "tool_ended").iter().filter_map(|ended| ended["output"].as_str()).collect::<Vec<_>>().join("\n")
}
