//! `longhaul verify` and `longhaul export`: the proof, and the result.

use longhaul_common::git::{Git, Store};
use longhaul_coordinator::checkpoint::recover_read_only;
use longhaul_coordinator::core::State;
use longhaul_coordinator::landing::{Refs, VerifyReport, read_receipts};

use crate::args::{JobArgs, VerifyArgs};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::{export_branch, json_line};

/// Proves the result from git; with `--rerun`, the gates again.
pub async fn verify(context: &Context, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let status = client.status().await?;
    let path = client.store().await?;
    let store = Store::open_own(&path)?;
    let refs = Refs::of(&status.job);
    let receipts = read_receipts(&store, &refs)?;
    let report = longhaul_coordinator::landing::verify(&store, status.base.parse()?, status.tip.parse()?, &receipts)?;
    print_report(context, &report);
    if !report.findings.is_empty() {
        return Ok(Exit::Failed);
    }
    if args.rerun {
        let state = recover_read_only(&client.layout())?.state;
        return rerun(&state, &path, &report);
    }
    Ok(Exit::Done)
}

fn print_report(context: &Context, report: &VerifyReport) {
    if context.json {
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|finding| serde_json::json!({"what": finding.what, "problem": finding.problem}))
            .collect();
        json_line(&serde_json::json!({
            "merges": report.merges.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "receipts": report.receipts,
            "subtasks": report.subtasks,
            "findings": findings,
        }));
        return;
    }
    for finding in &report.findings {
        println!("{}: {}", finding.what, finding.problem);
    }
    println!(
        "{} merges, {} receipts verified, {} subtasks proven landed, {} findings",
        report.merges.len(),
        report.receipts,
        report.subtasks,
        report.findings.len()
    );
}

/// Runs the gate on every merge, each in a fresh clone outside any slot.
fn rerun(state: &State, store: &std::path::Path, report: &VerifyReport) -> anyhow::Result<Exit> {
    let plan = state.plan();
    let gate = plan.gate.clone().unwrap_or_default();
    let run = gate.run.unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let work = folder.path().join("work");
    std::fs::create_dir(&work)?;
    let git = Git::at(folder.path().join("git")).with_work_tree(&work);
    Git::at(folder.path().join("git")).run(["init", "--quiet", "--bare", "--template="])?;
    std::fs::write(
        folder.path().join("git/objects/info/alternates"),
        format!("{}\n", store.join("objects").display()),
    )?;
    let setup = plan.repo.as_ref().and_then(|repo| repo.env.as_ref()).and_then(|env| env.setup.clone());
    let mut red = 0;
    for (at, merge) in report.merges.iter().enumerate() {
        git.run(["read-tree", "--reset", "-u", &merge.to_string()])?;
        if at == 0
            && let Some(setup) = &setup
        {
            shell(setup, &work)?;
        }
        let green = shell(&run, &work)?;
        println!("{merge} {}", if green { "green" } else { "RED" });
        red += usize::from(!green);
    }
    if red == 0 { Ok(Exit::Done) } else { Err(Stop::failed(format!("{red} merges are red when gated again"))) }
}

fn shell(line: &longhaul_proto::CommandLine, work: &std::path::Path) -> anyhow::Result<bool> {
    let mut command = match line.argv.split_first() {
        Some((program, rest)) => {
            let mut command = std::process::Command::new(program);
            command.args(rest);
            command
        }
        None => {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &line.shell]);
            command
        }
    };
    let output = command.current_dir(work).env("CI", "true").stdin(std::process::Stdio::null()).output()?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

/// Writes the branch.
pub async fn export(context: &Context, args: &JobArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.as_deref()).await?;
    let state = recover_read_only(&client.layout())?.state;
    if state.landing.landings == 0 {
        return Err(Stop::failed("nothing has landed yet, so there is no branch to write"));
    }
    let branch = export_branch(context, &state).map_err(Stop::failed)?;
    if context.json {
        json_line(&serde_json::json!({"branch": branch, "commit": state.landing.tip.to_string()}));
    } else {
        println!("{branch} is at {}", state.landing.tip);
    }
    Ok(Exit::Done)
}
