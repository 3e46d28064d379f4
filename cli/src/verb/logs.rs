//! `longhaul logs`: what attempts and gates printed.

use std::io::Write as _;
use std::path::Path;

use longhaul_common::layout::JobLayout;
use longhaul_common::log_file;

use crate::args::LogsArgs;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::report::plain;

/// Prints logs on stdout, a heading before each on stderr.
pub async fn logs(context: &Context, args: &LogsArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    if client.server().is_some() {
        return logs_there(&client, args).await;
    }
    let layout = client.layout();
    let ids: Vec<(u64, String)> = match (&args.subtask, args.attempt) {
        (None, Some(id)) => vec![(id, String::new())],
        (None, None) => gates(&layout),
        (Some(subtask), only) => {
            let attempts = client.show(subtask).await?.attempts;
            let wanted = attempts.into_iter().filter(|attempt| only.is_none_or(|id| id == attempt.attempt));
            wanted.map(|attempt| (attempt.attempt, format!("{} {}", attempt.outcome, attempt.message))).collect()
        }
    };
    let mut printed = 0;
    for (id, about) in ids {
        printed += print(&layout.logs(id), id, &about)?;
    }
    if printed == 0 {
        return Err(Stop::failed("there are no logs yet for what you asked"));
    }
    Ok(Exit::Done)
}

async fn logs_there(client: &Client, args: &LogsArgs) -> anyhow::Result<Exit> {
    let mut chunks = client.logs(args.subtask.as_deref().unwrap_or_default(), args.attempt.unwrap_or(0)).await?;
    let mut last = None;
    while let Some(chunk) = client.next(&mut chunks).await? {
        let of = (chunk.id, chunk.name);
        if last.as_ref() != Some(&of) {
            eprintln!("── {} {}", of.0, plain::line(&of.1));
            last = Some(of);
        }
        std::io::stdout().lock().write_all(&chunk.data)?;
    }
    match last {
        Some(_) => Ok(Exit::Done),
        None => Err(Stop::failed("there are no logs yet for what you asked")),
    }
}

/// Everything that holds a gate's log.
fn gates(layout: &JobLayout) -> Vec<(u64, String)> {
    let folders = std::fs::read_dir(layout.root().join("logs")).into_iter().flatten().flatten();
    let mut ids: Vec<u64> = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok()).collect();
    ids.retain(|&id| layout.gate_log(id).is_some());
    ids.sort_unstable();
    ids.into_iter().map(|id| (id, "gate".to_owned())).collect()
}

fn print(folder: &Path, id: u64, about: &str) -> anyhow::Result<usize> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("── {id} {} {about}", log_file::shown_name(&name));
        let mut log = log_file::open(file)?;
        std::io::copy(&mut log, &mut std::io::stdout().lock())?;
    }
    Ok(files.len())
}
