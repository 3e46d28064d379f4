//! The plan of a job file as a server would open it: on the base and with the remarks of the job
//! it has, if it has one.

use std::path::Path;

use anyhow::Context as _;
use longhaul_common::spec::JobFile;
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::plan::ExpandOptions;
use longhaul_proto::{Plan, PlanReply, PlanRequest};

use crate::client::{Jobs, cards_of, here_on, host_name, remote_jobs, said};
use crate::context::{JobCard, name_job};
use crate::run::plan_with;

/// A plan ready to be submitted.
pub struct Drawn {
    /// The plan.
    pub plan: Plan,
    /// What opening it would do.
    pub reply: PlanReply,
    /// Whether the server has no such job yet.
    pub new_job: bool,
}

/// Makes the plan of a job file; with `new`, as a job of its own beside earlier ones.
pub async fn draw(jobs: &mut Jobs, url: &str, file: &JobFile, new: bool) -> anyhow::Result<Drawn> {
    let cards = cards_of(&remote_jobs(jobs, url).await?);
    let source = here_on(file.source.path()).context("cannot tell where the job file is")?;
    let known = cards.iter().rfind(|card| card.source_path == source).filter(|_| !new);
    let id: JobId = match known {
        Some(card) => card.job.parse()?,
        None => free_name(file, &source, &cards)?,
    };
    let new_job = known.is_none();
    let mut options = ExpandOptions { host: Some(host_name()), ..ExpandOptions::new(id) };
    if !new_job {
        // Of a plan without subtasks the server tells what the real one has to build on.
        let bare = Plan { format: longhaul_proto::FORMAT, job: options.job.to_string(), ..Plan::default() };
        let before = ask(jobs, url, bare).await?;
        options.base = Oid::from_bytes(&before.base).ok();
        options.remarks = before.remarks.into_iter().map(|(id, remarks)| (id, remarks.texts)).collect();
    }
    let plan = plan_with(file, &options)?;
    // What is carried may be large and changes nothing about the answer.
    let reply = ask(jobs, url, Plan { files: Vec::new(), ..plan.clone() }).await?;
    Ok(Drawn { plan, reply, new_job })
}

async fn ask(jobs: &mut Jobs, url: &str, plan: Plan) -> anyhow::Result<PlanReply> {
    let reply = jobs.plan(PlanRequest { plan: Some(plan) }).await;
    Ok(reply.map_err(|status| said(url, status))?.into_inner())
}

fn free_name(file: &JobFile, source: &Path, cards: &[JobCard]) -> anyhow::Result<JobId> {
    let name = file.name.as_ref().map(|name| name.value.as_str());
    let mut salt = 0;
    loop {
        let id = name_job(name, &file.goal, source, salt)?;
        if cards.iter().all(|card| card.job != id.as_str()) {
            return Ok(id);
        }
        salt += 1;
    }
}
