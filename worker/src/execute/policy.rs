//! Whether the policy lets a subtask's paths go to a provider of models.

use std::sync::Arc;

use longhaul_common::git::EntryKind;
use longhaul_common::model_policy::{Footprint, ModelRule, allowed};
use longhaul_proto::{Failure, FailureClass, Work};

use crate::execution::Execution;
use crate::failure::failure;
use crate::gateway::Barred;
use crate::workspace::WorkspaceError;

/// Files larger than this, and more of them than this in all, are not read for what may be sent, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
const ALL_BYTES_MAX: u64 = 256 << 20;

fn rules(execution: &Execution) -> Vec<ModelRule> {
    let policy = execution.assignment.policy.clone().unwrap_or_default();
    let rule = |rule: &longhaul_proto::ModelRule| {
        ModelRule::new(rule.paths.iter().map(String::as_str), rule.providers.iter().cloned())
    };
    policy.models.iter().map(rule).collect()
}

/// The files of the base that may not go to a provider.
pub(super) async fn barred(execution: &Execution, provider: &str) -> Result<Arc<Barred>, Box<Failure>> {
    let rules = rules(execution);
    if rules.is_empty() {
        return Ok(Arc::default());
    }
    let (base, provider) = (execution.base, [provider.to_owned()]);
    let read = execution.blocking(move |slot| {
        let store = slot.objects()?;
        let files = store.list(store.tree_of(base)?)?;
        let files = files.into_iter().filter(|file| file.kind != EntryKind::Submodule);
        let may = |path: &str| !allowed(&rules, Footprint::Paths(&[path.to_owned()]), &provider).is_empty();
        let (open, shut): (Vec<_>, Vec<_>) = files.partition(|file| may(&file.path));
        let mut barred = Barred::default();
        for file in shut.iter().filter(|file| store.size(file.oid).is_ok_and(|size| size <= FILE_BYTES_MAX)) {
            barred.add(&file.path, &store.blob(file.oid)?);
        }
        let mut bytes = 0;
        for file in &open {
            if barred.is_empty() {
                break;
            }
            let size = store.size(file.oid)?;
            bytes += size;
            if size <= FILE_BYTES_MAX && bytes <= ALL_BYTES_MAX {
                barred.except(&store.blob(file.oid)?);
            }
        }
        Ok::<_, WorkspaceError>(barred)
    });
    let read = read.await.and_then(|read| read).map_err(|error| Box::new(Failure::from(error)))?;
    Ok(Arc::new(read))
}

/// Refuses a provider that some path of the subtask may not be sent to. Without one (a program's own
/// login) nobody knows where the models are, which no rule allows.
pub(super) fn may_be_sent(execution: &Execution, work: &Work, provider: Option<&str>) -> Result<(), Box<Failure>> {
    let rules = rules(execution);
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
