//! `longhaul diff`: what a subtask changed, or all that landed.

use longhaul_common::git::{Git, Store};

use crate::args::DiffArgs;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};

/// Prints a patch on stdout.
pub async fn diff(context: &Context, args: &DiffArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    if client.server().is_some() {
        return diff_there(&client, args).await;
    }
    let store = client.store().await?;
    let (from, to) = match &args.subtask {
        Some(subtask) => {
            let row = client.show(subtask).await?.row.unwrap_or_default();
            if row.commit.is_empty() {
                return Err(Stop::failed(format!("{} has no result: it is {} {}", row.id, row.state, row.reason)));
            }
            let parents = Store::open_own(&store)?.parents_of(row.commit.parse()?)?;
            let parent = parents.first().ok_or_else(|| Stop::failed("the result has no base"))?.to_string();
            (parent, row.commit)
        }
        None => {
            let status = client.status().await?;
            (status.base, status.tip)
        }
    };
    let format = if args.stat { "--stat" } else { "--patch" };
    let colour = if crate::view::style::stdout().colour { "--color=always" } else { "--color=never" };
    let out = Git::at(store).run(["diff", "--no-ext-diff", format, colour, &from, &to])?;
    std::io::Write::write_all(&mut std::io::stdout().lock(), &out)?;
    Ok(Exit::Done)
}

async fn diff_there(client: &Client, args: &DiffArgs) -> anyhow::Result<Exit> {
    let mut chunks = client.diff(args.subtask.as_deref().unwrap_or_default(), args.stat).await?;
    while let Some(chunk) = client.next(&mut chunks).await? {
        std::io::Write::write_all(&mut std::io::stdout().lock(), &chunk.data)?;
    }
    Ok(Exit::Done)
}
