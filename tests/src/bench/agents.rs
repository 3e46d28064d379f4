//! What an attempt costs around its agent: time for each turn and for the start, and memory while it
//! waits for its model. The peer is the same program against the same scripted model without Longhaul,
//! in the mode that needs nobody to talk with it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use longhaul_tests::World;
use longhaul_tests::agents::Agents;
use longhaul_tests::model::{Script, ScriptedModel};
use serde_json::{Value, json};

use super::table::{Row, median, millis};
use super::{starts, waiting};

/// Calls of a tool in one session.
const TURNS: usize = 30;

/// Sessions of each, in turn.
pub(super) const ROUNDS: usize = 3;

/// Calls in a session whose model takes its time, and how long it does for each, in seconds: as hosted
/// models do, or less.
const SLOW_TURNS: usize = 12;
const SLOW_SECONDS: f64 = 1.0;

/// How a program is run.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    tool: &'static str,
    argument: &'static str,
    /// Its agent in a job.
    table: &'static str,
    args: &'static [&'static str],
    /// The mode in which it runs alone.
    alone: &'static str,
    api: &'static str,
}

const CODEX: Subject = Subject {
    name: "codex",
    tool: "exec_command",
    argument: "cmd",
    table: "kind = 'codex'\nmodel = 'gpt-5.5'\n",
    args: &["app-server"],
    alone: "exec",
    api: "openai-responses",
};

const OPENCODE: Subject = Subject {
    name: "opencode",
    tool: "bash",
    argument: "command",
    table: "kind = 'acp'\nprogram = 'opencode'\nmodel = 'm1'\n",
    args: &["acp"],
    alone: "run",
    api: "openai-chat",
};

/// One session: from its start to the first call of its model, and between two calls.
struct Session {
    start: Duration,
    turns: Vec<Duration>,
}

pub fn run() -> Result<Vec<Row>> {
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for subject in [CODEX, OPENCODE] {
        match Agents::install(subject.name) {
            Ok(program) => rows.extend(compare(subject, &program).await?),
            Err(error) => eprintln!("  {} is not measured: {error:#}", subject.name),
        }
    }
    let (start, turn) = our_loop().await?;
    rows.push(Row::figure("start-up of `model`: attempt to its first call", millis(start), "–"));
    rows.push(Row::figure("a turn of `model`: one command, of a model that answers at once", millis(turn), "–"));
    rows.extend(starts::rows().await?);
    rows.extend(waiting::rows().await?);
    Ok(rows)
}

async fn compare(subject: Subject, program: &Path) -> Result<Vec<Row>> {
    let (alone, within) = rounds(subject, program, &looking(subject, TURNS, 0.0)).await?;
    let slow = rounds(subject, program, &looking(subject, SLOW_TURNS, SLOW_SECONDS)).await?;
    let turns = |sessions: &[Session]| median(sessions.iter().flat_map(|one| one.turns.clone()).collect());
    let start = |sessions: &[Session]| median(sessions.iter().map(|one| one.start).collect());
    let name = format!("{} {}", subject.name, subject.args.join(" "));
    let peer = format!("`{} {}` alone", subject.name, subject.alone);
    let per_turn = format!("a turn of `{name}`: one command, of a model that answers at once");
    let usual = format!("a turn of `{name}`: one command, of a model that takes a second");
    let started = format!("start-up of `{name}`: attempt to its first call");
    Ok(vec![
        Row::times(&usual, turns(&slow.1), &peer, turns(&slow.0), "≤ 1.03"),
        Row::times(&per_turn, turns(&within), &peer, turns(&alone), "–"),
        Row::times(&started, start(&within), &format!("{peer}, from its start"), start(&alone), "–"),
    ])
}

/// Sessions alone and within an attempt, in turn.
async fn rounds(subject: Subject, program: &Path, script: &Value) -> Result<(Vec<Session>, Vec<Session>)> {
    let (mut alone, mut within) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(run_alone(subject, program, script).await?);
        within.push(run_within(subject, program, script).await?);
    }
    Ok((alone, within))
}

/// One command after another, each another one.
fn looking(subject: Subject, turns: usize, delay: f64) -> Value {
    let call = |turn: usize| {
        let mut args = json!({ subject.argument: format!("echo {turn}") });
        if subject.name == "opencode" {
            args["description"] = "looks".into();
        }
        json!({"tool": subject.tool, "args": args, "usage": [10, 1], "delay": delay})
    };
    let steps: Vec<Value> = (0..turns).map(call).chain([json!({"text": "done", "usage": [10, 1]})]).collect();
    json!({ "steps": steps })
}

pub(super) async fn model(script: &Value) -> Result<ScriptedModel> {
    ScriptedModel::start(Script::parse(&script.to_string())?).await
}

/// Times of the calls of the conversation, in microseconds since the epoch: titles and the like are not of it.
fn session(model: &ScriptedModel, script: &Value, began_us: u64) -> Result<Session> {
    let calls = turns_of(model);
    let expected = script["steps"].as_array().map_or(0, Vec::len);
    ensure!(calls.len() == expected, "{} calls instead of {expected}", calls.len());
    let turns = calls.windows(2).map(|pair| Duration::from_micros(pair[1].saturating_sub(pair[0])));
    Ok(Session { start: Duration::from_micros(calls[0].saturating_sub(began_us)), turns: turns.collect() })
}

/// When each turn was asked for, in microseconds since the epoch.
pub(super) fn turns_of(model: &ScriptedModel) -> Vec<u64> {
    let is_turn = |body: &[u8]| body.windows(8).any(|part| part == b"\"tools\":");
    model.requests().iter().filter(|request| is_turn(&request.body)).map(|request| request.at_us).collect()
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn run_alone(subject: Subject, program: &Path, script: &Value) -> Result<Session> {
    let model = model(script).await?;
    let folder = Agents::scratch()?;
    let work = folder.path().join("work");
    std::fs::create_dir(&work)?;
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(&work).status()?;
    ensure!(made.success(), "git init");
    let mut command = match subject.name {
        "codex" => codex_alone(program, folder.path(), &model.url())?,
        _ => opencode_alone(program, folder.path(), &model.url())?,
    };
    command.current_dir(&work).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = now_us();
    let out = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(out.status.success(), "{} alone: {}", subject.name, String::from_utf8_lossy(&out.stderr));
    session(&model, script, began)
}

fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home).env("TERM", "dumb");
    command
}

fn codex_alone(program: &Path, home: &Path, url: &str) -> Result<Command> {
    std::fs::create_dir(home.join(".codex"))?;
    let config = format!(
        "model = \"gpt-5.5\"\nmodel_provider = \"scripted\"\napproval_policy = \"never\"\n\
         sandbox_mode = \"danger-full-access\"\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n\
         [feedback]\nenabled = false\n[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{url}/v1\"\n\
         wire_api = \"responses\"\nenv_key = \"SCRIPTED_KEY\"\n"
    );
    std::fs::write(home.join(".codex/config.toml"), config)?;
    let mut command = clean(program, home);
    command.env("CODEX_HOME", home.join(".codex")).env("SCRIPTED_KEY", "sk-scripted");
    command.args(["exec", "--json", "--skip-git-repo-check", "Look."]);
    Ok(command)
}

fn opencode_alone(program: &Path, home: &Path, url: &str) -> Result<Command> {
    let folder = home.join(".config/opencode");
    std::fs::create_dir_all(&folder)?;
    let config = json!({
        "autoupdate": false, "share": "disabled", "model": "scripted/m1", "small_model": "scripted/m1",
        "enabled_providers": ["scripted"],
        "provider": {"scripted": {
            "npm": "@ai-sdk/openai-compatible", "name": "scripted",
            "options": {"baseURL": format!("{url}/v1"), "apiKey": "sk-scripted"},
            "models": {"m1": {"name": "m1", "tool_call": true, "limit": {"context": 128_000, "output": 8_192}}},
        }},
        "permission": {"edit": "allow", "bash": "allow"},
    });
    std::fs::write(folder.join("opencode.json"), config.to_string())?;
    let mut command = clean(program, home);
    command.env("OPENCODE_DISABLE_AUTOUPDATE", "1").env("OPENCODE_DISABLE_MODELS_FETCH", "1");
    command.args(["run", "--format", "json", "-m", "scripted/m1", "Look."]);
    Ok(command)
}

/// The line of an agent whose models the scripted one is.
pub(super) const SCRIPTED: &str = "provider = 'scripted'\n";

/// A job of `tasks` tasks whose agent is told by `table`.
pub(super) fn job(world: &World, url: &str, api: &str, table: &str, tasks: usize) {
    // A task whose files are not there may write anywhere, and would wait for the others.
    (0..tasks).for_each(|n| world.commit(&[(format!("f{n}").as_str(), "as it was\n")], "a file"));
    let tasks: String = (0..tasks)
        .map(|n| {
            format!(
                "[[task]]\nid = 't{n}'\nwrite = ['f{n}']\nladder = ['coder']\ninstructions = 'Look.'\nattempts = 1\n"
            )
        })
        .collect();
    let version = if api == "gemini" { "v1beta" } else { "v1" };
    world.job(&format!(
        "goal = 'Look'\nname = 'look'\n[[repo]]\nname = 'app'\npath = 'repo'\n[provider.scripted]\napi = '{api}'\n\
         url = '{url}/{version}'\n[agent.coder]\n{table}{tasks}[gate]\nrun = 'true'\n\
         [budget]\nparallel = 64\n"
    ));
}

async fn run_within(subject: Subject, program: &Path, script: &Value) -> Result<Session> {
    within(subject.api, &format!("{}{}{SCRIPTED}", subject.table, run_line(program, subject.args)), script).await
}

/// The line of an agent that says which program it is.
pub(super) fn run_line(program: &Path, args: &[&str]) -> String {
    let words: Vec<String> =
        std::iter::once(program.display().to_string()).chain(args.iter().map(|&arg| arg.to_owned())).collect();
    format!("run = {}\n", json!(words))
}

/// A session of an attempt; nothing lands, as nothing is changed.
async fn within(api: &'static str, table: &str, script: &Value) -> Result<Session> {
    let model = model(script).await?;
    let (_, began_us) = attempt(&model.url(), api, table).await?;
    session(&model, script, began_us)
}

/// Runs a job of one attempt; when that was assigned, in microseconds since the epoch.
pub(super) async fn attempt(url: &str, api: &'static str, table: &str) -> Result<(World, u64)> {
    let (url, table) = (url.to_owned(), table.to_owned());
    let ran = tokio::task::spawn_blocking(move || {
        let world = World::new(&[("main.rs", "fn main() {}\n")]);
        std::fs::write(world.folder().join("rules.yml"), starts::RULES)?;
        job(&world, &url, api, &table, 1);
        let out = world.command(&["run", "--json"]).output()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let assigned = events.filter(|event| event["event"] == "assigned").map(|event| event["at_ms"].clone());
        let at = assigned.into_iter().find_map(|at| at.as_u64().or_else(|| at.as_str()?.parse().ok()));
        let at = at.with_context(|| format!("no attempt started: {text}\n{}", String::from_utf8_lossy(&out.stderr)))?;
        Ok((world, at * 1_000))
    });
    ran.await?
}

async fn our_loop() -> Result<(Duration, Duration)> {
    let subject = Subject { name: "model", tool: "shell", argument: "command", ..OPENCODE };
    let mut sessions = Vec::new();
    for _ in 0..ROUNDS {
        sessions.push(within("openai-chat", waiting::LOOP, &looking(subject, TURNS, 0.0)).await?);
    }
    let turns = median(sessions.iter().flat_map(|one| one.turns.clone()).collect());
    Ok((median(sessions.iter().map(|one| one.start).collect()), turns))
}
