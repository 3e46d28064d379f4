//! The plan as a tree for a terminal.

use std::collections::BTreeSet;

use longhaul_common::Oid;
use longhaul_proto::{Agent, Node, Task, agent};

use super::{COLLAPSE_ABOVE, PlanView};

/// Ids shown of a long critical path, at each end.
const PATH_ENDS: usize = 4;
/// Narrower than this nothing can be read; lines are not cut further.
const WIDTH_MIN: usize = 20;

impl PlanView<'_> {
    /// The plan as lines of at most `width` characters.
    pub fn text(&self, width: usize) -> String {
        let mut lines = self.head();
        let tables = self.tables();
        for (at, nodes) in tables.iter().enumerate() {
            let last = at + 1 == tables.len();
            self.table(nodes, last, &mut lines);
        }
        lines.extend(self.foot());
        let width = width.max(WIDTH_MIN);
        lines.iter().map(|line| cut(line, width) + "\n").collect()
    }

    /// Positions of the subtasks of each table, in the order of the plan.
    fn tables(&self) -> Vec<Vec<usize>> {
        let mut tables: Vec<Vec<usize>> = Vec::new();
        for (at, node) in self.plan.nodes.iter().enumerate() {
            match tables.last_mut() {
                Some(nodes) if self.plan.nodes[nodes[0]].task == node.task => nodes.push(at),
                _ => tables.push(vec![at]),
            }
        }
        tables
    }

    fn head(&self) -> Vec<String> {
        let repo = self.plan.repo.clone().unwrap_or_default();
        let base = Oid::from_bytes(&repo.base).map(Oid::short).unwrap_or_default();
        vec![
            format!("{}: {}", self.plan.job, self.plan.goal.lines().next().unwrap_or_default()),
            format!("{} at {} ({base})", repo.name, repo.base_name),
        ]
    }

    fn table(&self, nodes: &[usize], last: bool, lines: &mut Vec<String>) {
        let first = &self.plan.nodes[nodes[0]];
        let Some(task) = self.task(first) else { return };
        let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let facts = self.facts(task, first);
        if task.map.is_empty() {
            lines.push(format!("{branch}{}{}", self.node(first, &[]), facts));
            return;
        }
        let states = self.states_of(nodes);
        lines.push(format!("{branch}{} [{}{states}]{facts}", task.map, count(nodes.len(), "subtask")));
        // The pilot runs first, so it is shown first.
        let mut shown: Vec<usize> = nodes.to_vec();
        shown.sort_by_key(|&at| !self.plan.nodes[at].pilot);
        let hidden = if shown.len() > COLLAPSE_ABOVE { shown.len() - COLLAPSE_ABOVE + 1 } else { 0 };
        shown.truncate(nodes.len() - hidden);
        for (index, &at) in shown.iter().enumerate() {
            let node = &self.plan.nodes[at];
            let twig = if index + 1 == shown.len() && hidden == 0 { "└─ " } else { "├─ " };
            lines.push(format!("{below}{twig}{}", self.node(node, &node.files)));
        }
        if hidden > 0 {
            lines.push(format!("{below}└─ … {hidden} more"));
        }
    }

    fn node(&self, node: &Node, files: &[String]) -> String {
        let mut text = node.id.clone();
        match files {
            [] => {}
            [file] => text.push_str(&format!("  {file}")),
            [file, rest @ ..] => text.push_str(&format!("  {file} and {} more", rest.len())),
        }
        if node.pilot {
            text.push_str("  pilot");
        } else if node.behind_pilot {
            text.push_str("  after the pilot");
        }
        match self.state(node) {
            "run" => {}
            state => text.push_str(&format!("  {state}")),
        }
        text
    }

    /// Ladder, dependencies and scope of a table's subtasks.
    fn facts(&self, task: &Task, node: &Node) -> String {
        let name = |&at: &u32| self.plan.agents.get(at as usize).map_or("?", |agent| agent.name.as_str());
        let ladder: Vec<&str> = task.ladder.iter().map(name).collect();
        let mut text = format!("  by {}", ladder.join(", then "));
        if !node.deps.is_empty() {
            text.push_str(&format!("  after {}", self.after(node).join(", ")));
        }
        if task.whole_repository {
            text.push_str("  (whole repository)");
        }
        if !task.land_with.is_empty() {
            text.push_str(&format!("  lands with {}", task.land_with));
        }
        if !task.labels.is_empty() {
            text.push_str(&format!("  on {}", task.labels.join("+")));
        }
        text
    }

    /// Dependencies by table: a task's id, a map's name and how many of its subtasks.
    fn after(&self, node: &Node) -> Vec<String> {
        let mut found: Vec<(u32, usize, u32)> = Vec::new();
        for &dep in &node.deps {
            let Some(task) = self.plan.nodes.get(dep as usize).map(|node| node.task) else { continue };
            match found.last_mut() {
                Some((last, count, _)) if *last == task => *count += 1,
                _ => found.push((task, 1, dep)),
            }
        }
        let describe = |(task, number, dep): (u32, usize, u32)| match self.plan.tasks.get(task as usize) {
            Some(task) if !task.map.is_empty() && number > 1 => format!("{} ({number})", task.map),
            _ => self.plan.nodes[dep as usize].id.clone(),
        };
        found.into_iter().map(describe).collect()
    }

    fn states_of(&self, nodes: &[usize]) -> String {
        let number = |state: &str| nodes.iter().filter(|&&at| self.state(&self.plan.nodes[at]) == state).count();
        let parts = ["landed", "reuse"].map(|state| (number(state), state));
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, state)| format!(", {number} {state}")).collect()
    }

    fn foot(&self) -> Vec<String> {
        let totals = self.totals();
        let waves = self.waves();
        let states: Vec<String> = totals.states.iter().map(|(state, number)| format!("{number} {state}")).collect();
        let widest = waves.iter().max().copied().unwrap_or(0);
        let mut lines = vec![
            format!("{}: {}", count(totals.subtasks, "subtask"), states.join(", ")),
            format!(
                "{}, at most {widest} at once; {}",
                count(waves.len(), "wave"),
                count(totals.claimed_files, "claimed file")
            ),
            format!("critical path: {}", ends(&self.critical_path())),
        ];
        let gate = self.plan.gate.as_ref().map(|gate| gate.labels.join("+")).unwrap_or_default();
        if !gate.is_empty() {
            lines.push(format!("gates on {gate} only"));
        }
        if totals.behind_pilot > 0 {
            lines.push(format!("waiting for a yes to the pilot: {}", totals.behind_pilot));
        }
        let observed = self.observed();
        if !observed.is_empty() {
            let whose = if observed.len() == 1 { "it has" } else { "they have" };
            lines.push(format!("budget: observed for {}: {whose} no provider, so no cap holds", observed.join(", ")));
        }
        lines
    }

    /// Agents of the plan whose use is their own word, because their models are not reached through a
    /// gateway.
    fn observed(&self) -> Vec<&str> {
        let used: BTreeSet<u32> = self.plan.tasks.iter().flat_map(|task| task.ladder.iter().copied()).collect();
        let agents = used.into_iter().filter_map(|at| self.plan.agents.get(at as usize));
        let is_observed = |agent: &&Agent| match &agent.kind {
            Some(agent::Kind::Acp(acp)) => acp.program.as_ref().is_some_and(|program| program.provider.is_none()),
            Some(agent::Kind::Codex(codex)) => codex.program.as_ref().is_some_and(|program| program.provider.is_none()),
            _ => false,
        };
        agents.filter(is_observed).map(|agent| agent.name.as_str()).collect()
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn ends(path: &[&str]) -> String {
    if path.len() <= 2 * PATH_ENDS + 1 {
        return path.join(" -> ");
    }
    let between = path.len() - 2 * PATH_ENDS;
    format!(
        "{} -> … {between} more … -> {}",
        path[..PATH_ENDS].join(" -> "),
        path[path.len() - PATH_ENDS..].join(" -> ")
    )
}

/// At most `width` characters, none of which moves the cursor.
fn cut(line: &str, width: usize) -> String {
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width - 1).chain(['…']).collect()
}
