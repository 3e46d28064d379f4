//! `longhaul watch`: a running job's events as they become durable.

use longhaul_coordinator::checkpoint::{read_records, recover_read_only};
use longhaul_coordinator::view;
use longhaul_proto::{JobStatus, WatchEvent, WatchRequest};

use crate::args::WatchArgs;
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::run::json_line;
use crate::view::{events, style};

/// Follows the job until it closes; of one that nobody runs, shows what happened.
pub async fn watch(context: &Context, args: &WatchArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let status = client.status().await?;
    match client.live() {
        Some(mut live) => {
            let after_seq = args.after.unwrap_or(status.seq);
            let request = WatchRequest { job: status.job.clone(), after_seq };
            let mut stream = live.watch(request).await?.into_inner();
            // The stream ends with the coordinator.
            while let Ok(Some(event)) = stream.message().await {
                print(context, &event);
            }
        }
        None => {
            let layout = client.layout();
            let state = recover_read_only(&layout)?.state;
            let records = read_records(&layout, args.after.unwrap_or(0))?;
            records
                .iter()
                .filter_map(|record| view::watch_event(&state, record))
                .for_each(|event| print(context, &event));
            eprintln!("nobody runs the job at the moment");
        }
    }
    if !args.exit_status {
        return Ok(Exit::Done);
    }
    let end = Client::open(context, client.job()).await?.status().await?;
    Ok(exit_of(&end))
}

fn print(context: &Context, event: &WatchEvent) {
    if context.json {
        json_line(event);
    } else if let Some(line) = events::line(event, &style::stdout()) {
        println!("{line}");
    }
}

fn exit_of(status: &JobStatus) -> Exit {
    match status.phase.as_str() {
        "done" => Exit::Done,
        "failed" | "cancelled" => Exit::Failed,
        _ => Exit::Partial,
    }
}
