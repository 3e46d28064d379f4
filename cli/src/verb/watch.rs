//! `longhaul watch`: a running job's events as they become durable.

use longhaul_coordinator::checkpoint::{oldest_record, read_records, recover_read_only};
use longhaul_coordinator::view;
use longhaul_proto::{GetRequest, JobStatus, WatchEvent, WatchRequest};

use crate::args::WatchArgs;
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::remote::{Ending, Heard, StillLooks, exit_of, follow, look, patiently, stands_still};
use crate::run::{Output, json_line};
use crate::view::{events, style};

/// Follows the job until it closes; of one that nobody runs, shows what happened.
pub async fn watch(context: &Context, args: &WatchArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let status = client.status().await?;
    match client.rpc() {
        Some(_) => listen(context, &client, args.after.unwrap_or(status.seq), args.exit_status).await?,
        None => {
            let layout = client.layout();
            let state = recover_read_only(&layout)?.state;
            let after = args.after.unwrap_or(0);
            let first = oldest_record(&layout)?.unwrap_or(1);
            view::retired_event(after, first).iter().for_each(|event| print(context, event));
            let records = read_records(&layout, after)?;
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
    let end = end_of(context, &client).await?;
    if stands_still(&end) {
        eprintln!("{}", still(&end));
    }
    Ok(exit_of(&end, Ending::Over))
}

/// Where the job stands now that it is over or stands still; a server is asked until it answers.
async fn end_of(context: &Context, client: &Client) -> anyhow::Result<JobStatus> {
    let (Some(_), Some(mut rpc)) = (client.server(), client.rpc()) else {
        return Client::open(context, client.job()).await?.status().await;
    };
    let request = GetRequest { job: client.job().to_string() };
    let get = async || Ok(rpc.get(request.clone()).await?.into_inner());
    let lost = |cause: &str| eprintln!("{}", said("Lost", &format!("the connection ({cause}); trying again")));
    patiently(get, lost).await.map_err(|status| client.said(status))
}

/// Why a job goes on only when a person does something.
fn still(status: &JobStatus) -> String {
    let parked = status.counts.unwrap_or_default().parked;
    let why = match status.phase.as_str() {
        "paused" => format!("it is paused: {}", status.phase_reason),
        "halted" => format!("landing is halted: {}", status.phase_reason),
        _ => format!("{parked} subtasks wait for a person: `longhaul list --state parked`"),
    };
    said("Still", &format!("{} goes on only when somebody acts; {why}", status.job))
}

fn said(verb: &str, text: &str) -> String {
    style::verb_line(&style::stderr(), verb, text)
}

/// Prints events to the end of the job. The coordinator of this machine ends with its process; a
/// server that cannot be reached is tried again.
///
/// A job of this machine that stands still has nobody who runs it, which ends this. One of a server
/// may be moved by anybody at any time: it is followed on, unless its exit code is waited for.
async fn listen(context: &Context, client: &Client, after: u64, to_standstill: bool) -> anyhow::Result<()> {
    let Some(mut rpc) = client.rpc() else { return Ok(()) };
    if client.server().is_none() {
        let request = WatchRequest { job: client.job().to_string(), after_seq: after };
        let mut stream = rpc.watch(request).await?.into_inner();
        while let Ok(Some(event)) = stream.message().await {
            print(context, &event);
        }
        return Ok(());
    }
    let say = |verb: &str, text: &str| eprintln!("{}", said(verb, text));
    let mut still = StillLooks::default();
    let mut heard = follow(client, after);
    let mut looks = look(client.clone());
    let mut output = Output::new(context, after);
    loop {
        let next = tokio::select! {
            next = heard.recv() => next,
            Some(status) = looks.recv() => {
                output.warn(&status.warnings);
                if still.at(&status) && to_standstill {
                    break;
                }
                continue;
            }
        };
        let Some(next) = next else { break };
        match next {
            Heard::Event(event) => {
                still = StillLooks::default();
                print(context, &event);
            }
            Heard::Lost { cause, again_in } => {
                say("Lost", &format!("the connection ({cause}); trying again in {:.1} s", again_in.as_secs_f64()));
            }
            Heard::Back => say("Back", "the server answers again"),
            Heard::Over => break,
            Heard::Failed(error) => return Err(error),
        }
    }
    Ok(())
}

fn print(context: &Context, event: &WatchEvent) {
    if context.json {
        json_line(event);
    } else if let Some(line) = events::line(event, &style::stdout()) {
        println!("{line}");
    }
}
