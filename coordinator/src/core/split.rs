//! A subtask that is split: its agent found it too much for one change and named the parts.
//!
//! The parts become subtasks of their own that the one they are of waits for; then it is worked on
//! again, for what they left. They get nothing it did not have: its paths, its ladder and checks, a
//! share of its budget. How many there may be is the job file's to say; parts of parts end at
//! [`DEPTH_MAX`].

use std::collections::BTreeSet;

use longhaul_common::NodeId;
use longhaul_common::patch::Declared;
use longhaul_common::spec::{ID_BYTES_MAX, NODES_MAX, SPLIT_PARTS_MAX, id_char, is_glob, path_globs};
use longhaul_proto as pb;
use longhaul_proto::{Node, Plan, Task};

use super::State;

/// How deep parts may have parts.
pub const DEPTH_MAX: u32 = 2;

/// Bytes of what a part is told.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// Paths that a part names.
const PATHS_MAX: usize = 1_000;

impl State {
    /// Into how many parts the next attempt of a node may have it split; 0 when it may not.
    pub fn may_split(&self, node: NodeId) -> u32 {
        let task = self.task(node);
        let is_whole = !self.is_split(node) && self.node(node).depth < DEPTH_MAX && task.land_with.is_empty();
        if is_whole && self.plan.nodes.len() < NODES_MAX - SPLIT_PARTS_MAX as usize { task.split } else { 0 }
    }

    /// Whether an agent may find nothing to do: somebody said so, it only adds what may be there, or its
    /// parts did the work.
    pub fn may_be_unchanged(&self, node: NodeId) -> bool {
        let task = self.task(node);
        task.may_be_unchanged || task.additive || self.is_split(node)
    }

    /// Whether a node was split before.
    fn is_split(&self, node: NodeId) -> bool {
        let plan = &self.plan;
        plan.nodes[node.index()].deps.iter().any(|&dep| plan.nodes[dep as usize].parent == self.node(node).id)
    }
}

/// The event that splits a node, or why it may not be.
pub(super) fn split(
    state: &State,
    (attempt, node): (u64, NodeId),
    parts: &[pb::Part],
    report: &pb::Finished,
) -> Result<pb::Split, String> {
    let most = state.may_split(node);
    if most == 0 {
        return Err("it may not be split, or not further".to_owned());
    }
    if parts.len() < 2 || parts.len() > most as usize {
        return Err(format!("{} parts: 2 to {most} are expected", parts.len()));
    }
    let (parent, task) = (state.node(node), state.task(node));
    let mut ids: BTreeSet<String> = BTreeSet::new();
    let mut made = pb::Split {
        attempt,
        node: node.0,
        first: u32::try_from(state.plan.nodes.len()).unwrap_or(u32::MAX),
        timing: report.timing,
        usage: report.usage,
        ..pb::Split::default()
    };
    let (limits, rest) = shares(state, node, report, parts.len() as u64);
    for part in parts {
        let id = format!("{}-{}", parent.id, part.name);
        if part.name.is_empty() || !part.name.chars().all(id_char) || id.len() > ID_BYTES_MAX {
            return Err(format!("the part's name {:?} cannot be part of an id", part.name));
        }
        if state.find(&id).is_some() || !ids.insert(id.clone()) {
            return Err(format!("there is another subtask {id}"));
        }
        if part.instructions.trim().is_empty() || part.instructions.len() > TEXT_BYTES_MAX {
            return Err(format!("the part {} needs instructions of at most {TEXT_BYTES_MAX} bytes", part.name));
        }
        let paths = paths_of(state, node, part)?;
        made.tasks.push(limits.of(paths.task));
        made.nodes.push(Node {
            id: id.clone(),
            parent: parent.id.clone(),
            depth: parent.depth + 1,
            part: part.instructions.trim().to_owned(),
            key: key_of(parent, part),
            files: paths.files,
            claims: paths.claims,
            deps: Vec::new(),
            behind_pilot: false,
            pilot: false,
            weight: (parent.weight / parts.len() as u64).max(1),
            remarks: parent.remarks.clone(),
            ..parent.clone()
        });
    }
    made.tasks.push(rest.of(task.clone()));
    Ok(made)
}

/// What each of so many parts may use, and what the whole may together with what it used so far.
fn shares(state: &State, node: NodeId, report: &pb::Finished, parts: u64) -> (Limits, Limits) {
    let (task, subtask) = (state.task(node), state.subtask(node));
    let (doubted, used) = (state.spend.doubts_of(&state.node(node).id), report.usage.unwrap_or_default());
    let timing = report.timing.unwrap_or_default();
    let share = |limit: u64, before: u64, now: u64| {
        // What is left, in as many shares as there are parts and one for what they leave.
        let left = limit.saturating_sub(before.saturating_add(now));
        if limit == 0 { 0 } else { (left / (parts + 1)).max(1) }
    };
    let each = Limits {
        tokens: share(task.tokens_max, subtask.tokens.saturating_add(doubted.tokens), used.tokens),
        usd_micros: share(task.usd_micros_max, subtask.usd_micros.saturating_add(doubted.usd_micros), used.usd_micros),
        wall_ms: share(task.wall_ms_max, subtask.spent_ms, timing.total_ms.saturating_sub(timing.asked_ms)),
    };
    // Its own limit shrinks by what its parts may use.
    let rest = |limit: u64, share: u64| if limit == 0 { 0 } else { limit.saturating_sub(share * parts).max(1) };
    let whole = Limits {
        tokens: rest(task.tokens_max, each.tokens),
        usd_micros: rest(task.usd_micros_max, each.usd_micros),
        wall_ms: rest(task.wall_ms_max, each.wall_ms),
    };
    (each, whole)
}

/// What a subtask of its own may use; 0 is no limit.
#[derive(Clone, Copy)]
struct Limits {
    tokens: u64,
    usd_micros: u64,
    wall_ms: u64,
}

impl Limits {
    fn from(task: &Task) -> Self {
        Self { tokens: task.tokens_max, usd_micros: task.usd_micros_max, wall_ms: task.wall_ms_max }
    }

    /// The task with these.
    fn of(self, task: Task) -> Task {
        Task { tokens_max: self.tokens, usd_micros_max: self.usd_micros, wall_ms_max: self.wall_ms, ..task }
    }
}

struct Paths {
    task: Task,
    files: Vec<String>,
    claims: Vec<String>,
}

/// What a part may write: no more than the whole.
fn paths_of(state: &State, node: NodeId, part: &pb::Part) -> Result<Paths, String> {
    let (parent, task) = (state.node(node), state.task(node));
    if part.paths.is_empty() {
        return Ok(Paths { task: task.clone(), files: parent.files.clone(), claims: parent.claims.clone() });
    }
    if part.paths.len() > PATHS_MAX {
        return Err(format!("the part {} names more than {PATHS_MAX} paths", part.name));
    }
    let globs = path_globs(task.write.iter().map(String::as_str));
    let allowed = |path: &String| {
        let plain = !path.is_empty() && path.split('/').all(|name| !matches!(name, "" | "." | ".."));
        let below = |glob: &String| glob.strip_suffix("**").is_some_and(|folder| path.starts_with(folder));
        plain
            && (task.whole_repository
                || parent.files.contains(path)
                || task.write.contains(path)
                || task.write.iter().any(below)
                || !is_glob(path) && globs.is_match(path))
    };
    if let Some(path) = part.paths.iter().find(|path| !allowed(path)) {
        return Err(format!("the part {} wants to write {path:?}, which the subtask may not", part.name));
    }
    let policy = state.plan().policy.clone().unwrap_or_default();
    let declared = Declared::new(task, &parent.files, &parent.claims, &policy).map_err(|error| error.to_string())?;
    if let Some(path) = part.paths.iter().find(|path| declared.withholds(path)) {
        return Err(format!("the part {} wants to write {path:?}, which is protected", part.name));
    }
    let among = |all: &[String]| {
        let wanted = path_globs(part.paths.iter().map(String::as_str));
        all.iter().filter(|path| wanted.is_match(path) || part.paths.contains(path)).cloned().collect::<Vec<_>>()
    };
    let write = part.paths.iter().filter(|path| !parent.files.contains(path)).cloned().collect();
    let task = Task { write, whole_repository: false, ..task.clone() };
    Ok(Paths { task, files: among(&parent.files), claims: among(&parent.claims) })
}

fn key_of(parent: &Node, part: &pb::Part) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"part").update(&parent.key);
    for text in [&part.name, &part.instructions].into_iter().chain(&part.paths) {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}

/// Puts the parts of a node behind the plan's nodes; the last task is the node's own from now on.
pub(super) fn add(plan: &mut Plan, node: usize, tasks: &[Task], nodes: &[Node]) {
    let (task, dep) = (plan.tasks.len() as u32, plan.nodes.len() as u32);
    plan.tasks.extend_from_slice(tasks);
    plan.nodes.extend((task..).zip(nodes).map(|(task, part)| Node { task, ..part.clone() }));
    let count = nodes.len() as u32;
    plan.nodes[node].deps.extend(dep..dep + count);
    plan.nodes[node].task = task + count;
}

/// A plan with the parts that the open plan's subtasks were split into, where those are in it
/// unchanged: what an agent found out is not forgotten when the job file is read again.
pub fn with_parts(open: &Plan, mut plan: Plan) -> Plan {
    let mut at = 0;
    while at < open.nodes.len() {
        let first = at;
        let parent = open.nodes[first].parent.as_str();
        at += 1;
        if parent.is_empty() {
            continue;
        }
        while at < open.nodes.len() && open.nodes[at].parent == parent {
            at += 1;
        }
        let parts = &open.nodes[first..at];
        let Some(old) = open.nodes.iter().find(|node| node.id == parent) else { continue };
        let found = plan.nodes.iter().position(|node| node.id == old.id && node.key == old.key);
        let Some(node) = found.filter(|_| parts.iter().all(|part| plan.nodes.iter().all(|other| other.id != part.id)))
        else {
            continue;
        };
        let own = plan.tasks[plan.nodes[node].task as usize].clone();
        let rest = Limits::from(&open.tasks[old.task as usize]);
        let tasks: Vec<Task> = parts
            .iter()
            .map(|part| {
                let task = &open.tasks[part.task as usize];
                let (write, whole_repository) = (task.write.clone(), task.whole_repository);
                Limits::from(task).of(Task { write, whole_repository, ..own.clone() })
            })
            .chain([rest.of(own.clone())])
            .collect();
        add(&mut plan, node, &tasks, parts);
    }
    plan
}
