//! `longhaul verify` and `longhaul export`: the proof, and the result.

use longhaul_common::Oid;
use longhaul_common::git::Store;
use longhaul_coordinator::checkpoint::recover_read_only;
use longhaul_coordinator::landing::{Finding, Refs, VerifyReport, read_receipts};

use crate::args::{JobArgs, VerifyArgs};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::remote::fetch_branch;
use crate::run::{export_branch, json_line, rerun};

/// Proves the result from git; with `--rerun`, the gates again.
pub async fn verify(context: &Context, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    if client.server().is_some() {
        return verify_there(context, &client, args.rerun).await;
    }
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

/// The server's proof from its own git. Its word is only as good as the server: whoever wants to see
/// for themselves fetches the branch and its receipts.
async fn verify_there(context: &Context, client: &Client, again: bool) -> anyhow::Result<Exit> {
    if again {
        return Err(Stop::usage(
            "--rerun runs the gates on this machine, and the job is on a server: run `longhaul verify --rerun` there",
        ));
    }
    let found = client.verify().await?;
    let merges = found.merges.iter().map(|oid| Oid::from_bytes(oid)).collect::<Result<Vec<_>, _>>()?;
    let findings: Vec<Finding> =
        found.problems.into_iter().map(|problem| Finding { what: client.job().to_string(), problem }).collect();
    let fitting = found.receipts.iter().filter(|receipt| merges.iter().any(|oid| oid.to_string() == receipt.merge));
    let (mut receipts, mut subtasks, mut proven) = (0, 0, 0);
    for receipt in fitting {
        receipts += 1;
        subtasks += receipt.members.len();
        proven += usize::from(!receipt.unproven);
    }
    let report = VerifyReport { merges, receipts, subtasks, proven, findings };
    print_report(context, &report);
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Failed })
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
            "proven": report.proven,
            "findings": findings,
        }));
        return;
    }
    for finding in &report.findings {
        println!("{}: {}", finding.what, finding.problem);
    }
    println!(
        "{} merges, {} receipts verified ({} proven by coverage), {} subtasks proven landed, {} findings",
        report.merges.len(),
        report.receipts,
        report.proven,
        report.subtasks,
        report.findings.len()
    );
}

/// Writes the branch.
pub async fn export(context: &Context, args: &JobArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.as_deref()).await?;
    if client.server().is_some() {
        let status = client.status().await?;
        if status.landings == 0 {
            return Err(Stop::failed("nothing has landed yet, so there is no branch to write"));
        }
        let exported = fetch_branch(&client, &status)?;
        say_branch(context, &exported.branch, &exported.commit.to_string());
        return Ok(Exit::Done);
    }
    let state = recover_read_only(&client.layout())?.state;
    if state.landing.landings == 0 {
        return Err(Stop::failed("nothing has landed yet, so there is no branch to write"));
    }
    let branch = export_branch(context, &state).map_err(Stop::failed)?;
    say_branch(context, &branch, &state.landing.tip.to_string());
    Ok(Exit::Done)
}

fn say_branch(context: &Context, branch: &str, commit: &str) {
    if context.json {
        json_line(&serde_json::json!({"branch": branch, "commit": commit}));
    } else {
        println!("{branch} is at {commit}");
    }
}
