//! Memory of attempts whose model has not answered yet, by what more of them take.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use longhaul_tests::World;
use longhaul_tests::agents::Agents;
use longhaul_tests::model::ScriptedModel;
use serde_json::json;

use super::agents::{SCRIPTED, job, model, run_line, turns_of};
use super::table::Row;

/// A loop around the scripted model.
pub const LOOP: &str = "kind = 'model'\nmodel = 'm1'\nprovider = 'scripted'\n";

/// Attempts that wait at once, of the loop and of a program.
const LOOPS: usize = 17;
const PROGRAMS: usize = 9;

/// A row for the loop, and one for a program that is talked with. What the program takes is its own.
pub async fn rows() -> Result<Vec<Row>> {
    let mut rows = vec![more("model", "openai-chat", LOOP, LOOPS).await?];
    match Agents::install("codex") {
        Ok(program) => {
            let run = run_line(&program, &["app-server"]);
            let table = format!("kind = 'codex'\nmodel = 'gpt-5.5'\n{run}{SCRIPTED}");
            rows.push(more("codex", "openai-responses", &table, PROGRAMS).await?);
        }
        Err(error) => eprintln!("  codex is not measured: {error:#}"),
    }
    Ok(rows)
}

async fn more(name: &str, api: &str, table: &str, many: usize) -> Result<Row> {
    let (one, all) = (resident(api, table, 1).await?, resident(api, table, many).await?);
    let each = all.saturating_sub(one) / (many as u64 - 1);
    let ours = format!("{:.1} MiB", each as f64 / f64::from(1 << 20));
    Ok(Row::figure(&format!("memory of Longhaul for one more attempt of `{name}` that waits"), ours, "–"))
}

async fn resident(api: &str, table: &str, attempts: usize) -> Result<u64> {
    let model = model(&json!({"steps": [{"text": "done", "gate": "never"}]})).await?;
    let world = World::new(&[("main.rs", "fn main() {}\n")]);
    job(&world, &model.url(), api, table, attempts);
    let mut run = Ended(world.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    tokio::time::timeout(Duration::from_secs(120), all_ask(&model, attempts))
        .await
        .context("not all attempts asked their model")?;
    let bytes = own_memory(run.0.id())?;
    drop(run.0.kill());
    Ok(bytes)
}

/// Until so many turns are asked for, whatever else a program asks its provider before that.
async fn all_ask(model: &ScriptedModel, attempts: usize) {
    loop {
        let seen = model.requests().len();
        if turns_of(model).len() >= attempts {
            return;
        }
        model.wait_for_count(seen + 1).await;
    }
}

/// Ends with the measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Memory that only this process has, and its share of what it shares, in bytes.
fn own_memory(pid: u32) -> Result<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    let text = std::fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let Some(kib) = line.and_then(|line| line.split_whitespace().next()) else {
        bail!("{} has no Pss", path.display())
    };
    Ok(kib.parse::<u64>()? << 10)
}
