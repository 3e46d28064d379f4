//! What opening a plan means for a job as it is: begin, go on, or a new generation. The same for a
//! job file on this machine and for a submission.

use longhaul_proto::{Audited, Budget, JobOutcome, Plan};

use crate::coordinator::{Job, OpenError};
use crate::core::{JobPhase, Request, State, with_parts};
use crate::plan::digest;

/// What a plan is to a job.
#[derive(Clone, PartialEq, Debug)]
pub enum Opening {
    /// Its first plan.
    First,
    /// The plan it has; other limits take effect where there are any.
    Standing {
        /// To be replaced.
        limits: Option<Budget>,
    },
    /// The plan of its next generation.
    Next,
}

/// Compares a plan with the job's.
pub fn opening(state: &State, plan: &Plan) -> Opening {
    if state.seq() == 0 {
        return Opening::First;
    }
    let unlimited = |plan: Plan| digest(&Plan { budget: None, ..plan });
    let same = unlimited(Plan::clone(state.plan())) == unlimited(with_parts(state.plan(), plan.clone()));
    let finished = match state.job_phase() {
        JobPhase::Closed { outcome, .. } => Some(*outcome),
        _ => None,
    };
    if !same || finished.is_some_and(|outcome| outcome != i32::from(JobOutcome::Done)) {
        return Opening::Next;
    }
    let limits = plan.budget.unwrap_or_default();
    Opening::Standing { limits: (state.limits() != &limits && finished.is_none()).then_some(limits) }
}

/// Opens the plan where it differs from what the job has; gives a line for people. Durable when it
/// returns.
pub fn open_plan(job: &mut Job, plan: Plan, asked: Option<&Audited>) -> Result<String, OpenError> {
    let opening = opening(job.state(), &plan);
    match &opening {
        Opening::First | Opening::Next => job.open_plan_by(plan, asked)?,
        Opening::Standing { limits: Some(limits) } => {
            job.request_by(Request::Resume { limits: Some(*limits), write_off: String::new() }, asked)?;
        }
        Opening::Standing { limits: None } => {}
    }
    Ok(note(job.state(), &opening))
}

/// What was done, for people.
pub fn note(state: &State, opening: &Opening) -> String {
    let counts = state.counts();
    let (job, total) = (state.job(), counts.total);
    match opening {
        Opening::First => format!("job {job} with {total} subtasks"),
        Opening::Standing { .. } => standing(state),
        Opening::Next => {
            let kept = counts.landed + counts.unchanged + counts.landing;
            format!("job {job}, generation {}: {kept} of {total} subtasks keep their result", state.generation())
        }
    }
}

/// Where a job stands, in a line.
pub fn standing(state: &State) -> String {
    let counts = state.counts();
    let done = counts.landed + counts.unchanged;
    let waiting = if counts.landing > 0 {
        format!(", {} more are checked and wait to land", counts.landing)
    } else {
        String::new()
    };
    format!("job {}: {done} of {} subtasks are done{waiting}", state.job(), counts.total)
}
