//! Whether the policy lets a subtask's paths go to a provider of models.

use longhaul_common::model_policy::{Footprint, ModelRule, allowed};
use longhaul_proto::{Failure, FailureClass, Work};

use crate::execution::Execution;
use crate::failure::failure;

/// Refuses a provider that some path of the subtask may not be sent to. Without one (a program's own
/// login) nobody knows where the models are, which no rule allows.
pub(super) fn may_be_sent(execution: &Execution, work: &Work, provider: Option<&str>) -> Result<(), Box<Failure>> {
    let policy = execution.assignment.policy.clone().unwrap_or_default();
    let rule = |rule: &longhaul_proto::ModelRule| {
        ModelRule::new(rule.paths.iter().map(String::as_str), rule.providers.iter().cloned())
    };
    let rules: Vec<ModelRule> = policy.models.iter().map(rule).collect();
    let task = work.task.clone().unwrap_or_default();
    // A glob of files that are not there yet counts as a path of its own folder.
    let paths: Vec<String> =
        work.files.iter().chain(&work.about).chain(&work.claims).chain(&task.write).cloned().collect();
    let whole = task.whole_repository;
    let footprint = if whole { Footprint::Whole } else { Footprint::Paths(&paths) };
    let name = provider.unwrap_or_default().to_owned();
    if !allowed(&rules, footprint, std::slice::from_ref(&name)).is_empty() {
        return Ok(());
    }
    let message = match provider {
        Some(name) => format!("the policy does not let this subtask's files go to the provider {name}"),
        None => "the policy does not let this subtask's files go to a provider that only the agent knows: name one"
            .to_owned(),
    };
    Err(Box::new(failure(FailureClass::Agent, message)))
}
