//! `longhaul report`: the one page of the morning.

use std::collections::BTreeMap;

use anyhow::Context as _;
use longhaul_common::git::Store;
use longhaul_common::text;
use longhaul_coordinator::clock::SystemClock;
use longhaul_coordinator::driver::Clock as _;
use longhaul_coordinator::landing::{Refs, read_receipts};
use longhaul_proto::SubtasksRequest;

use crate::args::{ReportArgs, ReportFormat};
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::report::{ReportInput, html, junit, markdown};

/// How much of a gate's log a report quotes.
const TAIL_BYTES: usize = 4_000;

/// Bytes of gate logs read from a server for their ends.
const LOGS_BYTES_MAX: usize = 64 << 20;

/// Gates whose log is quoted at most, the newest.
const TAILS_MAX: usize = 50;

/// Writes the report, or prints one format of it.
pub async fn report(context: &Context, args: &ReportArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let input = if client.server().is_some() { gather_there(&client).await? } else { gather(&client).await? };
    if let Some(format) = args.format {
        print!("{}", render(&input, format));
        return Ok(Exit::Done);
    }
    let folder = args.out.clone().unwrap_or_else(|| client.layout().root().join("report"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, format) in
        [("report.md", ReportFormat::Md), ("report.html", ReportFormat::Html), ("junit.xml", ReportFormat::Junit)]
    {
        let path = folder.join(name);
        std::fs::write(&path, render(&input, format)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(Exit::Done)
}

fn render(input: &ReportInput, format: ReportFormat) -> String {
    match format {
        ReportFormat::Md => markdown(input),
        ReportFormat::Html => html(input),
        ReportFormat::Junit => junit(input),
    }
}

async fn gather(client: &Client) -> anyhow::Result<ReportInput> {
    let status = client.status().await?;
    let rows = client.subtasks(SubtasksRequest::default()).await?.rows;
    let store = client.store().await?;
    let receipts = match Store::open_own(&store) {
        Ok(store) => read_receipts(&store, &Refs::of(&status.job))?,
        // Nothing was ever run: there is no store yet.
        Err(_) => Vec::new(),
    };
    let gate_tails = tails(client);
    Ok(ReportInput { status, rows, receipts, generated_ms: SystemClock.now_ms(), gate_tails })
}

/// From a server: one answer, and the ends of the newest gate logs.
async fn gather_there(client: &Client) -> anyhow::Result<ReportInput> {
    let found = client.report().await?;
    let mut chunks = client.logs("", 0).await?;
    let (mut gate_tails, mut read) = (BTreeMap::<u64, String>::new(), 0);
    while let Some(chunk) = client.next(&mut chunks).await? {
        read += chunk.data.len();
        if read > LOGS_BYTES_MAX {
            break;
        }
        if !chunk.name.ends_with("gate.log") {
            continue;
        }
        let tail = gate_tails.entry(chunk.id).or_default();
        tail.push_str(&String::from_utf8_lossy(&chunk.data));
        *tail = text::clip_tail(tail, TAIL_BYTES).to_owned();
        if gate_tails.len() > TAILS_MAX {
            gate_tails.pop_first();
        }
    }
    Ok(ReportInput {
        status: found.status.unwrap_or_default(),
        rows: found.subtasks.into_iter().filter_map(|detail| detail.row).collect(),
        receipts: found.receipts,
        generated_ms: SystemClock.now_ms(),
        gate_tails,
    })
}

fn tails(client: &Client) -> BTreeMap<u64, String> {
    let layout = client.layout();
    let folders = std::fs::read_dir(layout.root().join("logs")).into_iter().flatten().flatten();
    let mut ids: Vec<u64> = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let read = |id: u64| {
        let log = std::fs::read(layout.gate_log(id)?).ok()?;
        Some((id, text::clip_tail(&String::from_utf8_lossy(&log), TAIL_BYTES).to_owned()))
    };
    ids.into_iter().filter_map(read).take(TAILS_MAX).collect()
}
