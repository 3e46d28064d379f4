//! `longhaul list`: the jobs of this machine, or the subtasks of one.

use std::path::Path;

use longhaul_proto::{JobRow, JobStatus, SubtasksRequest};

use crate::args::ListArgs;
use crate::client::{Client, cards_of, here_on, remote_jobs, server_jobs};
use crate::context::{Context, JOB_FILE, choose};
use crate::exit::{Exit, Stop};
use crate::run::json_line;
use crate::view::{status as page, style};

/// States a subtask can be listed by.
const STATES: [&str; 12] = [
    "waiting",
    "ready",
    "backoff",
    "running",
    "landing",
    "landed",
    "unchanged",
    "parked",
    "failed",
    "skipped",
    "cancelled",
    "reverted",
];

/// Lists.
pub async fn list(context: &Context, args: &ListArgs) -> anyhow::Result<Exit> {
    if let Some(unknown) = args.state.iter().find(|state| !STATES.contains(&state.as_str())) {
        return Err(Stop::usage(format!("{unknown:?} is no state; there are {}", STATES.join(", "))));
    }
    let filtered = !args.state.is_empty() || args.map.is_some() || args.job.job.is_some();
    if let Some(server) = &context.server {
        let rows = remote_jobs(&mut server_jobs(server)?, &server.url).await?;
        let here = here_on(Path::new(JOB_FILE));
        if args.jobs || (!filtered && choose(&cards_of(&rows), None, here.as_deref()).is_err()) {
            return Ok(jobs_there(context, &server.url, rows));
        }
    } else if args.jobs || (!filtered && context.find_job(None).is_err()) {
        return jobs(context).await;
    }
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let request = SubtasksRequest {
        job: client.job().to_string(),
        states: args.state.clone(),
        map: args.map.clone().unwrap_or_default(),
        limit: args.limit,
    };
    let found = client.subtasks(request).await?;
    if context.json {
        found.rows.iter().for_each(json_line);
    } else {
        print!("{}", page::subtasks(&found, &style::stdout()));
    }
    Ok(Exit::Done)
}

/// The jobs of a server, as it lists them.
fn jobs_there(context: &Context, url: &str, rows: Vec<JobRow>) -> Exit {
    let status = |row: JobRow| JobStatus {
        job: row.job,
        goal: row.goal,
        phase: row.phase,
        counts: row.counts,
        started_ms: row.started_ms,
        source_path: row.source_path,
        live: row.live,
        bytes: row.bytes,
        ..JobStatus::default()
    };
    if context.json {
        rows.iter().for_each(json_line);
    } else if rows.is_empty() {
        eprintln!("the server {url} has no job yet: `longhaul run` submits one");
    } else {
        let held: Vec<String> = rows.iter().filter(|row| row.held).map(|row| row.job.clone()).collect();
        let statuses: Vec<JobStatus> = rows.into_iter().map(status).collect();
        print!("{}", page::jobs(&statuses, &style::stdout()));
        held.iter().for_each(|job| println!("{job} is run by another process on the server's machine until that ends"));
    }
    Exit::Done
}

async fn jobs(context: &Context) -> anyhow::Result<Exit> {
    let mut statuses = Vec::new();
    for card in context.jobs() {
        let Ok(id) = card.job.parse() else { continue };
        match Client::open(context, &id).await {
            Ok(client) => statuses.push(client.status().await?),
            Err(error) => eprintln!("{}: {error:#}", card.job),
        }
    }
    if context.json {
        statuses.iter().for_each(json_line);
    } else if statuses.is_empty() {
        eprintln!("there is no job yet: `longhaul init` writes a job file, `longhaul run` runs it");
    } else {
        print!("{}", page::jobs(&statuses, &style::stdout()));
    }
    Ok(Exit::Done)
}
