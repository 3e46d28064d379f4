//! The verbs that speak with an agent: `attach`, `steer`.

use longhaul_proto as pb;

use crate::args::{SteerArgs, SubtaskArgs};
use crate::client::Client;
use crate::context::Context;
use crate::exit::Exit;
use crate::report::plain;
use crate::run::json_line;

/// Prints live output until what runs has ended or the person leaves.
pub async fn attach(context: &Context, args: &SubtaskArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.job.job.as_deref()).await?;
    let mut lines = client.attach(&args.subtask).await?;
    let mut step = String::new();
    loop {
        let next = tokio::select! {
            next = client.next(&mut lines) => next?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let Some(line) = next else { break };
        if context.json {
            json_line(&line);
            continue;
        }
        if line.step != step {
            step.clone_from(&line.step);
            eprintln!("── {} {}", line.id, plain::line(&step));
        }
        println!("{}", plain::line(&line.line));
    }
    eprintln!("it has ended: `longhaul show {}` has its result", args.subtask);
    Ok(Exit::Done)
}

/// Says something to a running agent.
pub async fn steer(context: &Context, args: SteerArgs) -> anyhow::Result<Exit> {
    let client = Client::find(context, args.subtask.job.job.as_deref()).await?;
    let request =
        pb::SteerRequest { job: client.job().to_string(), subtask: args.subtask.subtask, text: args.text.join(" ") };
    let reply = client.running()?.steer(request).await.map_err(|status| client.said(status))?.into_inner();
    Ok(told(context, &reply, "nobody works on it at the moment; `longhaul retry --remark` tells the next attempt"))
}

fn told(context: &Context, reply: &pb::ControlReply, nothing: &str) -> Exit {
    if context.json {
        json_line(reply);
    } else {
        reply.lines.iter().for_each(|line| println!("{}", plain::line(line)));
        if reply.affected == 0 {
            eprintln!("{nothing}");
        }
    }
    if reply.affected == 0 { Exit::Failed } else { Exit::Done }
}
