//! Subtasks that pin down what the code does today, before another changes it.
//!
//! Before each subtask of a table with `characterise = true` comes one that lands tests and nothing
//! else, made by the agents of the same ladder. It stands on what its subtask would have stood on, so
//! the checks and the gate run its tests on the code as it is; the subtask itself waits for it.

use std::collections::BTreeSet;

use longhaul_common::spec::{ID_BYTES_MAX, JobFile, NODES_MAX, Problem, TEST_PATHS};
use longhaul_proto as proto;
use proto::agent::Kind;

/// What ids of such subtasks begin with.
const PREFIX: &str = "characterise-";

/// What their agents are told; what comes behind it is the change.
const INSTRUCTIONS: &str = "\
Before the change described below is made, pin down what the code does today. Write tests of the behaviour that the \
change could break, as the code has it now: where it looks wrong, test what it does and say so beside the test. The \
tests have to pass on the code as it is. Where tests that are there already would notice, add none.

The change, which is made afterwards by somebody else and not by you:

";

/// What they must keep to, beside the constraints of the change.
const CONSTRAINT: &str = "change nothing but tests";

/// Files that one is told of.
const ABOUT_MAX: usize = 200;

/// Adds them to the tasks and nodes of a plan, and lets each subtask wait for its own.
pub(super) fn insert(
    file: &JobFile,
    agents: &[proto::Agent],
    (tasks, nodes): (&mut Vec<proto::Task>, &mut Vec<proto::Node>),
    problems: &mut Vec<Problem>,
) {
    let mut ids: BTreeSet<String> = nodes.iter().map(|node| node.id.clone()).collect();
    for (at, table) in file.tables().into_iter().enumerate() {
        let work = table.work();
        let Some(wanted) = work.characterise.filter(|wanted| wanted.value) else { continue };
        let (Ok(index_of_task), Some(task)) = (u32::try_from(tasks.len()), tasks.get(at)) else { continue };
        tasks.push(tests_of(task, agents));
        let mut report = |message: String, help: &str| {
            problems.push(file.source.problem(wanted.span(), message, help));
        };
        for node in 0..nodes.len() {
            if nodes[node].task as usize != at {
                continue;
            }
            let made = before(&nodes[node], index_of_task);
            if made.id.len() > ID_BYTES_MAX {
                return report(format!("the id {:?} is too long", made.id), "use a shorter id");
            }
            if !ids.insert(made.id.clone()) {
                return report(format!("there is another subtask `{}`", made.id), "give that one another id");
            }
            let Ok(index) = u32::try_from(nodes.len()) else { return };
            nodes[node].deps.push(index);
            nodes.push(made);
        }
        if nodes.len() > NODES_MAX {
            let message = format!("more than {NODES_MAX} subtasks with the tests before `{}`", table.name());
            return report(message, "group more files into one subtask with `group`");
        }
    }
}

/// The task of the tests before a task's subtasks.
fn tests_of(task: &proto::Task, agents: &[proto::Agent]) -> proto::Task {
    let writes =
        |&rung: &u32| agents.get(rung as usize).is_some_and(|agent| !matches!(agent.kind, Some(Kind::Codemod(_))));
    let constraints = task.constraints.iter().cloned().chain([CONSTRAINT.to_owned()]);
    proto::Task {
        id: format!("{PREFIX}{}", task.id),
        instructions: format!("{INSTRUCTIONS}{}", task.instructions),
        ladder: task.ladder.iter().copied().filter(writes).collect(),
        write: TEST_PATHS.iter().map(|&glob| glob.to_owned()).collect(),
        whole_repository: false,
        left: String::new(),
        land_with: String::new(),
        constraints: constraints.collect(),
        tests_may_change: false,
        additive: true,
        split: 0,
        ..task.clone()
    }
}

/// The subtask that comes before another.
fn before(node: &proto::Node, task: u32) -> proto::Node {
    let mut hasher = blake3::Hasher::new();
    hasher.update(PREFIX.as_bytes()).update(&node.key);
    let about = if node.files.is_empty() { &node.claims } else { &node.files };
    proto::Node {
        id: format!("{PREFIX}{}", node.id),
        task,
        files: Vec::new(),
        about: about.iter().take(ABOUT_MAX).cloned().collect(),
        claims: Vec::new(),
        key: hasher.finalize().as_bytes().to_vec(),
        ..node.clone()
    }
}
