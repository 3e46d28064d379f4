//! The verbs that steer a job: `approve`, `reject`, `answer`, `pause`, `cancel`, `retry`, `revert`.

use longhaul_coordinator::control::Control;
use longhaul_proto as pb;

use crate::args::{AnswerArgs, ApproveArgs, CancelArgs, PauseArgs, RejectArgs, RetryArgs, RevertArgs, ScopeName};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::run::json_line;

/// Lets parked subtasks go on.
pub async fn approve(context: &Context, args: ApproveArgs) -> anyhow::Result<Exit> {
    let by = std::env::var("USER").unwrap_or_default();
    let request = pb::ApproveRequest {
        job: String::new(),
        park: args.park.unwrap_or(0),
        map: args.map.unwrap_or_default(),
        all: args.all,
        by,
        scope: scope(args.scope),
    };
    send(context, args.job.job.as_deref(), Control::Approve(request)).await
}

/// Says no to what an agent wants, or drops a result that waits for a yes.
pub async fn reject(context: &Context, args: RejectArgs) -> anyhow::Result<Exit> {
    let by = std::env::var("USER").unwrap_or_default();
    let (park, text) = (args.park, args.reason.join(" "));
    let request = pb::AnswerRequest { job: String::new(), park, text, reject: true, scope: scope(args.scope) };
    send(context, args.job.job.as_deref(), Control::Answer(request, by)).await
}

/// Answers a parked question.
pub async fn answer(context: &Context, args: AnswerArgs) -> anyhow::Result<Exit> {
    let by = std::env::var("USER").unwrap_or_default();
    let (park, text) = (args.park, args.text.join(" "));
    let request = pb::AnswerRequest { job: String::new(), park, text, reject: false, scope: scope(args.scope) };
    send(context, args.job.job.as_deref(), Control::Answer(request, by)).await
}

fn scope(name: ScopeName) -> i32 {
    match name {
        ScopeName::Once => pb::AnswerScope::Once,
        ScopeName::Map => pb::AnswerScope::Map,
        ScopeName::Job => pb::AnswerScope::Job,
    }
    .into()
}

/// Stops handing out work.
pub async fn pause(context: &Context, args: PauseArgs) -> anyhow::Result<Exit> {
    let request = pb::PauseRequest { job: String::new(), reason: args.reason };
    send(context, args.job.job.as_deref(), Control::Pause(request)).await
}

/// Closes subtasks, or the job.
pub async fn cancel(context: &Context, args: CancelArgs) -> anyhow::Result<Exit> {
    let request = pb::CancelRequest { job: String::new(), subtasks: args.subtasks, reason: args.reason };
    send(context, args.job.job.as_deref(), Control::Cancel(request)).await
}

/// Tries subtasks again.
pub async fn retry(context: &Context, args: RetryArgs) -> anyhow::Result<Exit> {
    let mut request = pb::RetryRequest { subtasks: args.subtasks, remark: args.remark, ..pb::RetryRequest::default() };
    for condition in &args.where_ {
        match condition.split_once('=') {
            Some(("map", name)) => name.clone_into(&mut request.map),
            Some(("state", name)) => request.states.push(name.to_owned()),
            _ => return Err(Stop::usage(format!("--where {condition:?} is neither map=NAME nor state=NAME"))),
        }
    }
    send(context, args.job.job.as_deref(), Control::Retry(request)).await
}

/// Takes a landing back.
pub async fn revert(context: &Context, args: RevertArgs) -> anyhow::Result<Exit> {
    let request = pb::RevertRequest { job: String::new(), subtask: args.subtask.subtask, reason: args.reason };
    send(context, args.subtask.job.job.as_deref(), Control::Revert(request)).await
}

async fn send(context: &Context, job: Option<&str>, control: Control) -> anyhow::Result<Exit> {
    let client = Client::find(context, job).await?;
    let live = client.rpc().is_some();
    let reply = client.control(control).await?;
    if context.json {
        json_line(&reply);
        return Ok(Exit::Done);
    }
    if reply.affected == 0 {
        eprintln!("nothing had to change");
        return Ok(Exit::Done);
    }
    for line in &reply.lines {
        println!("{line}");
    }
    if !live {
        eprintln!("recorded; nobody runs the job at the moment: `longhaul resume {}` goes on with it", client.job());
    }
    Ok(Exit::Done)
}
