//! The verbs that show: `status`, `show`, `explain`.

use crate::args::{JobArgs, ShowArgs, SubtaskArgs};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::json_line;
use crate::view::{status as page, style};

/// Where a job stands.
pub async fn status(context: &Context, args: &JobArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.as_deref()).await?;
    let status = client.status().await?;
    if context.json {
        json_line(&status);
    } else {
        print!("{}", page::status(&status, &style::stdout()));
    }
    Ok(Exit::Done)
}

/// A subtask in full, or the capsule it was given.
pub async fn show(context: &Context, args: &ShowArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.subtask.job.job.as_deref()).await?;
    let detail = client.show(&args.subtask.subtask).await?;
    if args.capsule {
        let capsule = detail.capsule.ok_or_else(|| {
            Stop::failed(format!("{} has not been attempted, so it was given no capsule", args.subtask.subtask))
        })?;
        if context.json {
            json_line(&capsule);
        } else {
            print!("{}", longhaul_coordinator::capsule::render(&capsule));
            eprintln!("{} tokens", capsule.tokens);
        }
        return Ok(Exit::Done);
    }
    if context.json {
        json_line(&detail);
    } else {
        print!("{}", page::subtask(&detail, &style::stdout()));
    }
    Ok(Exit::Done)
}

/// Why a subtask is not running.
pub async fn explain(context: &Context, args: &SubtaskArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let explanation = client.explain(&args.subtask).await?;
    if context.json {
        json_line(&explanation);
    } else {
        print!("{}", page::explanation(&explanation, &style::stdout()));
    }
    Ok(Exit::Done)
}
