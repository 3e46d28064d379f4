//! `longhaul verify` and `longhaul export`: the proof, and the result.

use longhaul_common::git::Store;
use longhaul_coordinator::checkpoint::recover_read_only;
use longhaul_coordinator::landing::{Refs, VerifyReport, read_receipts};

use crate::args::{JobArgs, VerifyArgs};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::{export_branch, json_line, rerun};

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
        return rerun(context, &state, &report.merges, &receipts).await;
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
