//! From a job file or a job's name to a job under lock with its plan open.

use std::collections::BTreeMap;
use std::path::Path;

use longhaul_common::spec::{self, JobFile, Problems};
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::clock::SystemClock;
use longhaul_coordinator::coordinator::Job;
use longhaul_coordinator::core::State;
use longhaul_coordinator::driver::Clock as _;
use longhaul_coordinator::hub::{open_plan, standing};
use longhaul_coordinator::plan::{ExpandOptions, expand};
use longhaul_proto::Plan;

use crate::context::{Context, JobCard, name_job};
use crate::exit::{Exit, Stop};

/// A job ready to start.
pub struct Opened {
    /// Under this process's lock.
    pub job: Job,
    /// What was done to open it, for people.
    pub note: String,
}

/// The job file, or every problem it has.
pub fn load(file: &Path) -> anyhow::Result<JobFile> {
    spec::load(file).map_err(|problems| problems_stop(file, &problems))
}

/// Problems as a person reads them.
fn problems_stop(file: &Path, problems: &Problems) -> anyhow::Error {
    let canvas = crate::view::style::stderr();
    let text = if canvas.terminal {
        let source = std::fs::read_to_string(file).unwrap_or_default();
        spec::render(problems, &source, canvas.colour, canvas.width)
    } else {
        problems.to_string()
    };
    Stop { exit: Exit::Usage, text }.into()
}

/// The plan a job file stands for now; over an earlier job, on its base and with its remarks.
pub fn plan_of(file: &JobFile, job: &JobId, before: Option<&State>) -> anyhow::Result<Plan> {
    let base = before.and_then(|state| state.plan().repo.as_ref()).and_then(|repo| Oid::from_bytes(&repo.base).ok());
    let remarks = before.map(remarks_of).unwrap_or_default();
    let options = ExpandOptions { job: job.clone(), base, host: None, remarks };
    plan_with(file, &options)
}

/// The plan a job file stands for, or every problem it has with the repository.
pub fn plan_with(file: &JobFile, options: &ExpandOptions) -> anyhow::Result<Plan> {
    expand(file, options).map_err(|problems| problems_stop(file.source.path(), &problems))
}

fn remarks_of(state: &State) -> BTreeMap<String, Vec<String>> {
    let with_remarks = state.nodes().filter(|&node| !state.subtask(node).remarks.is_empty());
    with_remarks.map(|node| (state.node(node).id.clone(), state.node(node).remarks.clone())).collect()
}

/// Opens the job of a job file: a new one, the one there is, or its next generation.
/// `adjust` puts into the plan what the command line says.
pub fn open_file(
    context: &Context,
    path: &Path,
    new: bool,
    adjust: &dyn Fn(&mut Plan) -> anyhow::Result<()>,
) -> anyhow::Result<Opened> {
    let file = load(path)?;
    let source = std::fs::canonicalize(path)?;
    let known = context.job_of_file(path).filter(|_| !new);
    let card = match known {
        Some(card) => card,
        None => new_card(context, &file, &source)?,
    };
    let id: JobId = card.job.parse().map_err(Stop::usage)?;
    // The plan is made before anything is written: a faulty job file leaves no trace.
    let recovered = longhaul_coordinator::checkpoint::recover_read_only(&context.layout.job(&id))?;
    let before = (recovered.state.seq() > 0).then_some(&recovered.state);
    let mut plan = plan_of(&file, &id, before)?;
    adjust(&mut plan)?;
    context.keep_card(&card)?;
    let mut job = Job::open(&context.layout, &id)?;
    let note = open_plan(&mut job, plan, None)?;
    Ok(Opened { job, note })
}

fn new_card(context: &Context, file: &JobFile, source: &Path) -> anyhow::Result<JobCard> {
    let taken = |name: &JobId| context.jobs().iter().any(|card| card.job == name.as_str());
    let name = file.name.as_ref().map(|name| name.value.clone());
    for salt in 0.. {
        let id = name_job(name.as_deref(), &file.goal, source, salt)?;
        if !taken(&id) {
            return Ok(JobCard {
                job: id.to_string(),
                source_path: source.to_owned(),
                created_ms: SystemClock.now_ms(),
            });
        }
    }
    Err(Stop::usage("every name for this job is taken"))
}

/// Opens a job by name, with the plan it has.
pub fn open_job(context: &Context, id: &JobId) -> anyhow::Result<Opened> {
    let job = Job::open(&context.layout, id)?;
    if job.state().seq() == 0 {
        return Err(Stop::usage(format!("the job {id} has no plan: `longhaul run` its job file")));
    }
    let note = standing(job.state());
    Ok(Opened { job, note })
}
