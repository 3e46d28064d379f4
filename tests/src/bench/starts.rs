//! How long an attempt takes until its agent begins, for the kinds that are not compared with a peer:
//! until the first call of a model, the first instruction of a program, the first file of rules.

use std::time::Duration;

use anyhow::{Context as _, Result};
use longhaul_tests::World;
use longhaul_tests::agents::Agents;
use serde_json::{Value, json};

use super::agents::{ROUNDS, SCRIPTED, attempt, model, run_line, turns_of};
use super::table::{Row, median, millis};

/// Rules that change nothing.
pub const RULES: &str = "id: none\nlanguage: rust\nrule: { pattern: absent() }\nfix: absent()\n";

/// A program that is talked with: its name, its table, its arguments, and the format of its models.
type Program = (&'static str, &'static str, &'static [&'static str], &'static str);

const PROGRAMS: [Program; 3] = [
    ("codex-acp", "kind = 'acp'\nprogram = 'codex-acp'\nmodel = 'gpt-5.5'\n", &[], "openai-responses"),
    (
        "claude-agent-acp",
        "kind = 'acp'\nprogram = 'claude-agent-acp'\nmodel = 'claude-sonnet-4-5'\n",
        &[],
        "anthropic-messages",
    ),
    (
        "gemini",
        "kind = 'acp'\nprogram = 'gemini'\nmodel = 'gemini-2.5-flash'\n",
        &["--acp", "-m", "gemini-2.5-flash"],
        "gemini",
    ),
];

/// A row for each kind.
pub async fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for program in PROGRAMS {
        match talked_with(program).await {
            Ok(row) => rows.push(row),
            Err(error) => eprintln!("  {} is not measured: {error:#}", program.0),
        }
    }
    // Microseconds, as the program itself has them.
    let run = "kind = 'command'\nrun = ['date', '+%s%6N']\n";
    let own = |line: &str| line.trim().parse::<u64>().ok();
    rows.push(alone("start-up of `command`: attempt to its first instruction", run, own).await?);
    let noted = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["event"] == "tool_started").then(|| line["at_ms"].as_u64().map(|at| at * 1_000))?
    };
    let rules = "kind = 'codemod'\nrules = 'rules.yml'\n";
    rows.push(alone("start-up of `codemod`: attempt to its first file", rules, noted).await?);
    Ok(rows)
}

async fn talked_with((name, table, args, api): Program) -> Result<Row> {
    let program = Agents::install(name)?;
    let table = format!("{table}{}{SCRIPTED}", run_line(&program, args));
    let mut starts = Vec::new();
    for _ in 0..ROUNDS {
        let model = model(&json!({"steps": [{"text": "done", "usage": [10, 1]}]})).await?;
        let (_, began_us) = attempt(&model.url(), api, &table).await?;
        let first = turns_of(&model).first().copied().context("it asked no model")?;
        starts.push(Duration::from_micros(first.saturating_sub(began_us)));
    }
    Ok(Row::figure(&format!("start-up of `{name}`: attempt to its first call"), millis(median(starts)), "–"))
}

/// An agent without a model, whose log says when it began.
async fn alone(what: &str, table: &str, began: impl Fn(&str) -> Option<u64>) -> Result<Row> {
    let mut starts = Vec::new();
    for _ in 0..ROUNDS {
        let (world, assigned_us) = attempt("http://127.0.0.1:9", "openai-chat", table).await?;
        let logs = logs(&world)?;
        let at = logs.lines().find_map(&began).with_context(|| format!("it does not say when it began: {logs}"))?;
        starts.push(Duration::from_micros(at.saturating_sub(assigned_us)));
    }
    Ok(Row::figure(what, millis(median(starts)), "–"))
}

fn logs(world: &World) -> Result<String> {
    let out = world.command(&["logs", "t0"]).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
