//! `longhaul run` and `longhaul resume`.

use jiff::Zoned;
use longhaul_common::JobId;
use longhaul_common::git::required_version;
use longhaul_common::server::ServerAccess;
use longhaul_common::spec::TimeOfDay;
use longhaul_coordinator::control::Control;
use longhaul_coordinator::coordinator::OpenError;
use longhaul_coordinator::core::Request;
use longhaul_coordinator::plan::next_time;
use longhaul_proto::{ApproveRequest, Budget, Plan, ResumeRequest};

use crate::args::{ResumeArgs, RunArgs, SandboxArgs};
use crate::client::{Client, server_jobs};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::remote::{Drawn, attend, draw, submit};
use crate::run::{Opened, Options, detach, load, open_file, open_job};
use crate::sandbox::{required, sandbox_settings};
use crate::view::style;

/// Runs the job of a job file.
pub async fn run(context: &Context, args: &RunArgs) -> anyhow::Result<Exit> {
    if let Some(server) = &context.server {
        return run_there(context, args, server).await;
    }
    required_version()?;
    let context = &context.with_sandbox(&args.sandbox);
    required(&sandbox_settings(context, &context.settings, 1)?).await?;
    let Opened { job, note } = open_file(context, &args.file.file, args.new, &|plan| overridden(plan, args))?;
    eprintln!("{}", style::verb_line(&style::stderr(), "Opening", &note));
    if args.detach {
        let id = job.id().clone();
        drop(job);
        detach(context, &id, args.yes, args.no_export)?;
        return Ok(Exit::Done);
    }
    say_recovery(&job);
    let options = Options { yes: args.yes, limits: None, export: !args.no_export };
    crate::run::run(context, job, options).await
}

/// What the command line says wins over the job file.
fn overridden(plan: &mut Plan, args: &RunArgs) -> anyhow::Result<()> {
    let Some(budget) = plan.budget.as_mut() else { return Ok(()) };
    budget.parallel = args.parallel.unwrap_or(budget.parallel);
    if let Some(at) = args.deadline {
        budget.deadline_ms = deadline_ms(at)?;
    }
    Ok(())
}

/// Programs of a job on a server run where its workers are.
fn not_there(sandbox: &SandboxArgs) -> anyhow::Result<()> {
    if sandbox.sandbox.is_some() {
        return Err(Stop::usage(
            "--sandbox is for jobs on this machine; a server's workers have their own (`longhaul worker --sandbox`)",
        ));
    }
    Ok(())
}

/// The next time that the clock of this machine shows a time of day.
fn deadline_ms(at: TimeOfDay) -> anyhow::Result<i64> {
    next_time(at, &Zoned::now()).map_err(Stop::usage)
}

/// Opens the job on a server and follows it.
async fn run_there(context: &Context, args: &RunArgs, server: &ServerAccess) -> anyhow::Result<Exit> {
    not_there(&args.sandbox)?;
    let file = load(&args.file.file)?;
    let mut jobs = server_jobs(server)?;
    let Drawn { mut plan, new_job, .. } = draw(&mut jobs, &server.url, &file, args.new).await?;
    overridden(&mut plan, args)?;
    let id: JobId = plan.job.parse()?;
    let client = Client::remote(context, &id, jobs.clone());
    let after = if new_job { 0 } else { client.status().await?.seq };
    let reply = submit(&mut jobs, &server.url, plan, new_job).await?;
    let say = |verb: &str, text: &str| eprintln!("{}", style::verb_line(&style::stderr(), verb, text));
    say("Opening", if reply.note.is_empty() { &reply.job } else { &reply.note });
    if args.yes {
        approve_all(&client).await?;
    }
    if args.detach {
        say("Running", &format!("at {}; `longhaul watch {id}` follows it", server.url));
        return Ok(Exit::Done);
    }
    attend(context, &client, after, !args.no_export).await
}

/// Lets a job on a server go on and follows it.
async fn resume_there(context: &Context, args: &ResumeArgs) -> anyhow::Result<Exit> {
    not_there(&args.sandbox)?;
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let status = client.status().await?;
    let limits = limits(&status.budget.unwrap_or_default(), args)?;
    client.control(Control::Resume(ResumeRequest { job: String::new(), limits, write_off: args.write_off })).await?;
    if args.yes {
        approve_all(&client).await?;
    }
    if args.detach {
        eprintln!("going on at the server; `longhaul watch {}` follows it", client.job());
        return Ok(Exit::Done);
    }
    attend(context, &client, status.seq, !args.no_export).await
}

async fn approve_all(client: &Client) -> anyhow::Result<()> {
    let request = ApproveRequest { all: true, by: "--yes".to_owned(), ..ApproveRequest::default() };
    client.control(Control::Approve(request)).await?;
    Ok(())
}

/// Goes on with a job by name.
pub async fn resume(context: &Context, args: &ResumeArgs) -> anyhow::Result<Exit> {
    if context.server.is_some() {
        return resume_there(context, args).await;
    }
    required_version()?;
    let context = &context.with_sandbox(&args.sandbox);
    required(&sandbox_settings(context, &context.settings, 1)?).await?;
    let id = context.find_job(args.job.job.as_deref())?;
    let Opened { mut job, note } = match open_job(context, &id) {
        Err(error) if is_locked(&error) => return resume_running(context, &id, args).await,
        opened => opened?,
    };
    let limits = limits(job.state().limits(), args)?;
    if args.write_off {
        job.request(Request::Resume { limits, write_off: write_off(args) })?;
    }
    if args.detach {
        job.request(Request::Resume { limits, write_off: write_off(args) })?;
        drop(job);
        detach(context, &id, args.yes, args.no_export)?;
        return Ok(Exit::Done);
    }
    eprintln!("{}", style::verb_line(&style::stderr(), "Resuming", &note));
    say_recovery(&job);
    crate::run::run(context, job, Options { yes: args.yes, limits, export: !args.no_export }).await
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<OpenError>(), Some(OpenError::Locked { .. }))
}

/// The job is being run elsewhere: the request goes there.
async fn resume_running(context: &Context, id: &JobId, args: &ResumeArgs) -> anyhow::Result<Exit> {
    let client = Client::open(context, id).await?;
    let now = client.status().await?.budget.unwrap_or_default();
    let request = ResumeRequest { job: id.to_string(), limits: limits(&now, args)?, write_off: args.write_off };
    let reply = client.control(Control::Resume(request)).await?;
    reply.lines.iter().for_each(|line| println!("{line}"));
    if args.yes {
        approve_all(&client).await?;
    }
    eprintln!("{id} is being run by another process: `longhaul watch {id}` follows it");
    Ok(Exit::Done)
}

fn say_recovery(job: &longhaul_coordinator::coordinator::Job) {
    let recovery = job.recovery();
    let say = |text: String| eprintln!("{}", style::verb_line(&style::stderr(), "Recovered", &text));
    if recovery.torn_bytes > 0 {
        say(format!("{} bytes of an unfinished write were cut and kept beside the journal", recovery.torn_bytes));
    }
    for path in &recovery.damaged_snapshots {
        say(format!("{} is damaged and was passed over; the journal made up for it", path.display()));
    }
}

/// Who writes off what is in doubt, if anybody does.
fn write_off(args: &ResumeArgs) -> String {
    if args.write_off { "request".to_owned() } else { String::new() }
}

fn limits(now: &Budget, args: &ResumeArgs) -> anyhow::Result<Option<Budget>> {
    let no_figure = args.parallel.is_none() && args.hours.is_none() && args.attempts.is_none();
    if no_figure && args.usd.is_none() && args.tokens.is_none() && args.deadline.is_none() {
        return Ok(None);
    }
    let mut limits = *now;
    limits.tokens = args.tokens.unwrap_or(limits.tokens);
    if let Some(usd) = args.usd {
        if !usd.is_finite() || usd <= 0.0 {
            return Err(Stop::usage(format!("--usd {usd} is no amount to spend")));
        }
        limits.usd_micros = (usd * 1e6) as u64;
    }
    if let Some(at) = args.deadline {
        limits.deadline_ms = deadline_ms(at)?;
    }
    limits.parallel = args.parallel.unwrap_or(limits.parallel);
    limits.attempts = args.attempts.unwrap_or(limits.attempts);
    if let Some(hours) = args.hours {
        if !hours.is_finite() || hours <= 0.0 {
            return Err(Stop::usage(format!("--hours {hours} is no time to work")));
        }
        limits.wall_ms = (hours * 3_600_000.0) as u64;
    }
    Ok(Some(limits))
}
