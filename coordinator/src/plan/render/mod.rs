//! A plan for people and programs: text, Graphviz, Mermaid, JSON.

mod graph;
mod json;
mod text;
mod unit;

use std::collections::BTreeMap;

use longhaul_proto::{Node, Plan, Task};
use serde::Serialize;

/// A map with more subtasks is shown in part (text) or as one box (graphs).
pub(super) const COLLAPSE_ABOVE: usize = 12;
/// State of a subtask that the given states do not name.
const RUN: &str = "run";

/// Numbers of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Subtasks.
    pub subtasks: usize,
    /// Subtasks by state: `run`, `reuse`, `landed`.
    pub states: BTreeMap<String, usize>,
    /// Edges.
    pub dependencies: usize,
    /// Different files that footprints cover; whole repositories not counted.
    pub claimed_files: usize,
    /// Subtasks whose footprint is the whole repository.
    pub whole_repository: usize,
    /// Subtasks that wait for the approval of a pilot.
    pub behind_pilot: usize,
    /// Bytes of input of all subtasks.
    pub weight: u64,
}

/// A plan with the state of its subtasks, and what follows from the graph.
#[derive(Clone, Debug)]
pub struct PlanView<'a> {
    plan: &'a Plan,
    states: &'a BTreeMap<String, String>,
    /// The wave of each subtask, from 0: its dependencies are all in earlier ones.
    levels: Vec<usize>,
    critical: Vec<usize>,
}

impl<'a> PlanView<'a> {
    /// Looks at a plan; `states` maps ids of subtasks to `reuse`, `run` or `landed`, and those it
    /// does not name are to run.
    pub fn new(plan: &'a Plan, states: &'a BTreeMap<String, String>) -> Self {
        let order = order(plan);
        let mut levels = vec![0; plan.nodes.len()];
        let mut cost: Vec<u64> = plan.nodes.iter().map(|node| node.weight).collect();
        let mut via: Vec<Option<usize>> = vec![None; plan.nodes.len()];
        for &at in &order {
            for dep in deps(plan, at) {
                levels[at] = levels[at].max(levels[dep] + 1);
                let through = cost[dep].saturating_add(plan.nodes[at].weight);
                if through > cost[at] || via[at].is_none() {
                    (cost[at], via[at]) = (through, Some(dep));
                }
            }
        }
        // Of equal ends the first in the plan.
        let mut end = (0..cost.len()).rev().max_by_key(|&at| cost[at]);
        let mut critical = Vec::new();
        while let Some(at) = end {
            critical.push(at);
            end = via[at];
        }
        critical.reverse();
        Self { plan, states, levels, critical }
    }

    /// How many subtasks each wave holds: those of one wave could all run at once.
    pub fn waves(&self) -> Vec<usize> {
        let mut waves = vec![0; self.levels.iter().max().map_or(0, |last| last + 1)];
        self.levels.iter().for_each(|&level| waves[level] += 1);
        waves
    }

    /// Ids along the chain of dependencies with the most work, first to last.
    pub fn critical_path(&self) -> Vec<&'a str> {
        self.critical.iter().map(|&at| self.plan.nodes[at].id.as_str()).collect()
    }

    /// The plan in numbers.
    pub fn totals(&self) -> Totals {
        let nodes = &self.plan.nodes;
        let mut states = BTreeMap::new();
        for node in nodes {
            *states.entry(self.state(node).to_owned()).or_insert(0) += 1;
        }
        let claimed: std::collections::BTreeSet<&str> =
            nodes.iter().flat_map(|node| &node.claims).map(String::as_str).collect();
        Totals {
            subtasks: nodes.len(),
            states,
            dependencies: nodes.iter().map(|node| node.deps.len()).sum(),
            claimed_files: claimed.len(),
            whole_repository: nodes
                .iter()
                .filter(|node| self.task(node).is_some_and(|task| task.whole_repository))
                .count(),
            behind_pilot: nodes.iter().filter(|node| node.behind_pilot).count(),
            weight: nodes.iter().fold(0, |sum, node| sum.saturating_add(node.weight)),
        }
    }

    fn state(&self, node: &Node) -> &'a str {
        self.states.get(&node.id).map_or(RUN, String::as_str)
    }

    fn task(&self, node: &Node) -> Option<&'a Task> {
        self.plan.tasks.get(node.task as usize)
    }
}

fn deps(plan: &Plan, at: usize) -> impl Iterator<Item = usize> + '_ {
    plan.nodes[at].deps.iter().map(|&dep| dep as usize).filter(|&dep| dep < plan.nodes.len())
}

/// Subtasks after their dependencies. Those on a cycle, which no expanded plan has, are left out.
fn order(plan: &Plan) -> Vec<usize> {
    let mut missing: Vec<usize> = (0..plan.nodes.len()).map(|at| deps(plan, at).count()).collect();
    let mut dependents: Vec<Vec<u32>> = vec![Vec::new(); plan.nodes.len()];
    for at in 0..plan.nodes.len() {
        for dep in deps(plan, at) {
            dependents[dep].extend(u32::try_from(at));
        }
    }
    let mut order: Vec<usize> = (0..plan.nodes.len()).filter(|&at| missing[at] == 0).collect();
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for &dependent in &dependents[at] {
            let dependent = dependent as usize;
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}
