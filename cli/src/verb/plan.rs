//! `longhaul plan` and `longhaul schema`: look before anything is spent.

use std::collections::BTreeMap;

use longhaul_common::NodeId;
use longhaul_common::spec;
use longhaul_coordinator::checkpoint::recover_read_only;
use longhaul_coordinator::core::{Phase, State};
use longhaul_coordinator::plan::PlanView;
use longhaul_proto::Plan;

use crate::args::{GraphFormat, PlanArgs};
use crate::client::server_jobs;
use crate::context::{Context, name_job};
use crate::exit::Exit;
use crate::remote::{Drawn, draw};
use crate::run::{load, plan_of};
use crate::view::style;

/// Shows the graph and what of it would run or be reused. Changes nothing.
pub async fn plan(context: &Context, args: &PlanArgs) -> anyhow::Result<Exit> {
    let path = &args.file.file;
    let file = load(path)?;
    if let Some(server) = &context.server {
        let Drawn { plan, reply, .. } = draw(&mut server_jobs(server)?, &server.url, &file, false).await?;
        let words = |ids: Vec<String>, word: &str| ids.into_iter().map(|id| (id, word.to_owned())).collect::<Vec<_>>();
        let states = [words(reply.kept, "reuse"), words(reply.fresh, "run")].concat().into_iter().collect();
        return show(context, args, &plan, &states);
    }
    let known = context.job_of_file(path);
    let before = match &known {
        Some(card) => Some(recover_read_only(&context.layout.job(&card.job.parse()?))?.state),
        None => None,
    };
    let id = match &known {
        Some(card) => card.job.parse()?,
        None => name_job(file.name.as_deref().map(String::as_str), &file.goal, &std::path::absolute(path)?, 0)?,
    };
    let before = before.filter(|state| state.seq() > 0);
    let plan = plan_of(&file, &id, before.as_ref())?;
    let states = before.map(|state| states(&state, &plan)).unwrap_or_default();
    show(context, args, &plan, &states)
}

fn show(context: &Context, args: &PlanArgs, plan: &Plan, states: &BTreeMap<String, String>) -> anyhow::Result<Exit> {
    let view = PlanView::new(plan, states);
    let format = if context.json { GraphFormat::Json } else { args.format };
    match format {
        GraphFormat::Text => print!("{}", view.text(style::stdout().width)),
        GraphFormat::Dot => print!("{}", view.dot()),
        GraphFormat::Mermaid => print!("{}", view.mermaid()),
        GraphFormat::Json => println!("{}", view.json()),
    }
    Ok(Exit::Done)
}

/// What becomes of each node of a plan over what is done: "landed", "reuse" or "run".
fn states(state: &State, plan: &Plan) -> BTreeMap<String, String> {
    let mut done: BTreeMap<&str, (&[u8], &str)> = BTreeMap::new();
    for node in state.nodes() {
        let word = match state.subtask(node).phase() {
            Phase::Landed(_) | Phase::Unchanged => "landed",
            phase if phase.candidate().is_some() => "reuse",
            _ => "run",
        };
        done.insert(&state.node(node).id, (&state.node(node).key, word));
    }
    let word = |at: usize| {
        let node = &plan.nodes[NodeId::at(at).index()];
        match done.get(node.id.as_str()) {
            Some((key, word)) if *key == node.key => *word,
            _ => "run",
        }
    };
    (0..plan.nodes.len()).map(|at| (plan.nodes[at].id.clone(), word(at).to_owned())).collect()
}

/// Prints the JSON schema of the job file.
pub fn schema() -> anyhow::Result<Exit> {
    println!("{}", serde_json::to_string_pretty(&spec::schema())?);
    Ok(Exit::Done)
}
