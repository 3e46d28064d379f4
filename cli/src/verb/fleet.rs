//! The verbs about the workers of a server: `workers`, `drain`, `release`.

use longhaul_proto as pb;

use crate::args::{ReleaseArgs, WorkerNameArgs};
use crate::client::{Jobs, said, server_jobs};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::json_line;
use crate::view::{style, workers as page};

/// Lists the workers.
pub async fn workers(context: &Context) -> anyhow::Result<Exit> {
    let (mut jobs, url) = server(context)?;
    let list = jobs.workers(pb::WorkersRequest {}).await.map_err(|status| said(&url, status))?.into_inner();
    if context.json {
        list.workers.iter().for_each(json_line);
    } else {
        print!("{}", page::workers(&list, &style::stdout()));
    }
    Ok(Exit::Done)
}

/// Asks a worker to finish and leave.
pub async fn drain(context: &Context, args: WorkerNameArgs) -> anyhow::Result<Exit> {
    let (mut jobs, url) = server(context)?;
    let request = pb::DrainWorkerRequest { worker: args.worker };
    let reply = jobs.drain_worker(request).await.map_err(|status| said(&url, status))?.into_inner();
    Ok(told(context, &reply))
}

/// Ends a worker's quarantine.
pub async fn release(context: &Context, args: ReleaseArgs) -> anyhow::Result<Exit> {
    let (mut jobs, url) = server(context)?;
    let request = pb::ReleaseRequest { worker: args.worker, job: args.job.unwrap_or_default() };
    let reply = jobs.release(request).await.map_err(|status| said(&url, status))?.into_inner();
    Ok(told(context, &reply))
}

fn server(context: &Context) -> anyhow::Result<(Jobs, String)> {
    let Some(server) = &context.server else {
        return Err(Stop::usage(
            "workers belong to a server: give --server URL or set LONGHAUL_SERVER. A job that runs on this machine \
             alone has one worker in its own process",
        ));
    };
    Ok((server_jobs(server)?, server.url.clone()))
}

fn told(context: &Context, reply: &pb::ControlReply) -> Exit {
    if context.json {
        json_line(reply);
    } else if reply.affected == 0 {
        eprintln!("nothing had to change");
    }
    if !context.json {
        reply.lines.iter().for_each(|line| println!("{line}"));
    }
    Exit::Done
}
