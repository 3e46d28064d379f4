//! The plan that a model notes for itself.

use serde::Deserialize;

use super::Outcome;

/// Arguments of `update_plan`.
#[derive(Deserialize)]
pub struct Plan {
    plan: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    step: String,
    status: Status,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    InProgress,
    Completed,
}

/// The plan is the model's own: it stays in the conversation and in the log, and is only checked.
pub fn noted(args: &Plan) -> Result<Outcome, String> {
    if args.plan.iter().any(|step| step.step.trim().is_empty()) {
        return Err("a step says nothing".to_owned());
    }
    if args.plan.iter().filter(|step| step.status == Status::InProgress).count() > 1 {
        return Err("at most one step is in progress".to_owned());
    }
    let done = args.plan.iter().filter(|step| step.status == Status::Completed).count();
    Ok(Outcome::said(format!("Plan updated: {done} of {} steps completed", args.plan.len())))
}
