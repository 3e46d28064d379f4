//! Looking at a submitted plan before anything believes it: whoever sent it may have made it by
//! hand. What passes here can be applied, scheduled and rendered without a second look.

use std::collections::BTreeSet;

use longhaul_common::spec::{EDGES_MAX, ID_BYTES_MAX, NODES_MAX};
use longhaul_common::{JobId, Oid};
use longhaul_proto::{FORMAT, Plan};

use crate::carried::{CARRIED_BYTES_MAX, is_plain};
use crate::core::{Graph, GraphError};

/// Longest name of a repository's store.
const KEY_BYTES_MAX: usize = 64;

/// Why a plan is not taken.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdmitError {
    /// Made by a newer Longhaul.
    #[error("the plan has format {0}, this server reads up to {FORMAT}: upgrade the server first")]
    Newer(u32),
    /// Not a job's name.
    #[error(transparent)]
    Job(#[from] longhaul_common::id::BadJobId),
    /// The dependencies cannot be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Anything else that does not fit together.
    #[error("the plan cannot be used: {0}; make it anew with `longhaul run`")]
    Unfit(String),
}

fn unfit(what: impl Into<String>) -> AdmitError {
    AdmitError::Unfit(what.into())
}

/// Checks a plan; gives its job's name and its base.
pub fn admit(plan: &Plan) -> Result<(JobId, Oid), AdmitError> {
    if plan.format > FORMAT {
        return Err(AdmitError::Newer(plan.format));
    }
    let job: JobId = plan.job.parse()?;
    let repo = plan.repo.as_ref().ok_or_else(|| unfit("it names no repository"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if repo.key.is_empty() || repo.key.len() > KEY_BYTES_MAX || !repo.key.chars().all(plain) {
        return Err(unfit(format!("{:?} is no key of a repository", repo.key)));
    }
    let base = Oid::from_bytes(&repo.base).map_err(|error| unfit(error.to_string()))?;
    check_nodes(plan)?;
    check_tasks(plan)?;
    check_files(plan)?;
    Graph::of(plan)?;
    Ok((job, base))
}

fn check_nodes(plan: &Plan) -> Result<(), AdmitError> {
    if plan.nodes.is_empty() || plan.nodes.len() > NODES_MAX {
        return Err(unfit(format!("it has {} subtasks, 1 to {NODES_MAX} are possible", plan.nodes.len())));
    }
    if plan.nodes.iter().map(|node| node.deps.len()).sum::<usize>() > EDGES_MAX {
        return Err(unfit(format!("it has more than {EDGES_MAX} dependencies")));
    }
    let mut ids = BTreeSet::new();
    for node in &plan.nodes {
        if node.id.is_empty() || node.id.len() > ID_BYTES_MAX || node.id.contains(char::is_control) {
            return Err(unfit(format!("{:?} is no id of a subtask", node.id)));
        }
        if !ids.insert(node.id.as_str()) {
            return Err(unfit(format!("two subtasks are called {:?}", node.id)));
        }
        if node.task as usize >= plan.tasks.len() {
            return Err(unfit(format!("subtask {:?} is of a task that is not there", node.id)));
        }
    }
    Ok(())
}

fn check_tasks(plan: &Plan) -> Result<(), AdmitError> {
    for task in &plan.tasks {
        if task.ladder.is_empty() || task.ladder.iter().any(|&agent| agent as usize >= plan.agents.len()) {
            return Err(unfit(format!("task {:?} has no agent, or one that is not there", task.id)));
        }
        if let Some(bad) = task.write.iter().find(|glob| globset::Glob::new(glob).is_err()) {
            return Err(unfit(format!("task {:?} writes to {bad:?}, which is no pattern", task.id)));
        }
    }
    Ok(())
}

fn check_files(plan: &Plan) -> Result<(), AdmitError> {
    if plan.files.iter().map(|file| file.content.len()).sum::<usize>() > CARRIED_BYTES_MAX {
        return Err(unfit(format!("its files are larger than {CARRIED_BYTES_MAX} bytes together")));
    }
    match plan.files.iter().find(|file| !is_plain(&file.path)) {
        Some(file) => Err(unfit(format!("{:?} is no path of a file it can carry", file.path))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use longhaul_proto as pb;

    use super::*;

    fn plan() -> Plan {
        Plan {
            format: FORMAT,
            job: "j".into(),
            repo: Some(pb::Repo { key: "r-1".into(), base: vec![1; 20], ..pb::Repo::default() }),
            agents: vec![pb::Agent::default()],
            tasks: vec![pb::Task { id: "t".into(), ladder: vec![0], ..pb::Task::default() }],
            nodes: vec![pb::Node { id: "a".into(), ..pb::Node::default() }],
            ..Plan::default()
        }
    }

    #[test]
    fn only_whole_plans_get_in() {
        assert!(admit(&plan()).is_ok());
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            admit(&plan).expect_err("it is refused").to_string()
        };
        assert!(refused(|plan| plan.format = FORMAT + 1).contains("upgrade the server"));
        assert!(refused(|plan| plan.job = "../x".into()).contains("not a job name"));
        for key in ["", "..", "a/b", "x.git"] {
            let mut plan = plan();
            plan.repo.as_mut().expect("there").key = key.into();
            assert!(admit(&plan).is_err(), "{key:?}");
        }
        assert!(refused(|plan| plan.repo = None).contains("no repository"));
        assert!(refused(|plan| plan.nodes.clear()).contains("0 subtasks"));
        assert!(refused(|plan| plan.nodes[0].task = 1).contains("not there"));
        assert!(refused(|plan| plan.tasks[0].ladder = vec![7]).contains("not there"));
        assert!(refused(|plan| plan.nodes[0].deps = vec![0]).contains("lead back"));
        assert!(refused(|plan| plan.nodes.push(plan.nodes[0].clone())).contains("two subtasks"));
        assert!(
            refused(|plan| plan.files = vec![pb::CarriedFile { path: "../x".into(), ..Default::default() }])
                .contains("no path")
        );
    }
}
