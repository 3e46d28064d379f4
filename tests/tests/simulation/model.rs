//! The job and the repository of a run: a plan, and commits that are sets of subtasks.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::{AttemptId, NodeId, Oid};
use longhaul_coordinator::core::{Amount, MemberMerge, Merge};
use longhaul_proto::{
    Agent, Budget, CommandAgent, CommandLine, GateSpec, Node, Part, Patch, Plan, Question, QuestionKind, Repo, Task,
    Unchanged, Usage, agent, finished,
};

use crate::setting::Setting;
use longhaul_tests::random::Random;

/// How a subtask behaves.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Its first results, this many, make the gate red.
    pub bad: u32,
    /// Its first attempts, this many, fail their check whatever agent worked.
    pub failing: u32,
    /// The first rung of its ladder never manages.
    pub weak: bool,
    /// It has nothing to change.
    pub idle: bool,
    /// It conflicts with this one unless built on it.
    pub conflicts: Option<u32>,
    /// Its agent asks a person this one of a few questions first.
    pub asks: Option<u32>,
    /// It waits for the answer in its slot, for a while.
    pub waits: bool,
    /// Its agent has it split into so many parts, where it may.
    pub parts: u32,
}

const PLAIN: Behaviour =
    Behaviour { bad: 0, failing: 0, weak: false, idle: false, conflicts: None, asks: None, waits: false, parts: 0 };

/// A commit: which results it contains, and which of them are bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The other commit's content is part of it, by number of the commit, so that ten thousand
    /// commits of ten thousand results fit into memory.
    parent: Option<Oid>,
    own: BTreeSet<u32>,
    bad: BTreeSet<u32>,
}

pub struct Model {
    pub plan: Plan,
    behaviour: Vec<Behaviour>,
    commits: BTreeMap<Oid, Content>,
    /// On which place of which subtask's row an attempt stands.
    tries: BTreeMap<u64, u32>,
    tried: Vec<u32>,
    /// What is on the branch, up to the commit beside it.
    landed: (Oid, BTreeSet<u32>),
    /// Together these two make the gate red, each alone does not.
    feud: Option<(u32, u32)>,
    next_oid: u64,
}

/// The job's name.
pub const JOB: &str = "sim";

/// The pinned base.
pub const BASE: Oid = Oid([9; 20]);

/// What an attempt uses of models, less than.
const TOKENS_USED_MAX: u64 = 5_000;
const USD_MICROS_USED_MAX: u64 = 900;

/// Of so many subtasks a few write one shared file.
const SHARED_BY: u32 = 16;

impl Model {
    pub fn new(random: &mut Random, setting: &Setting) -> Self {
        let count = setting.subtasks;
        let faults = setting.has_faults();
        let grouped = if random.chance(30) { 3 } else { 0 };
        let shared = |random: &mut Random| random.below(u64::from(count / SHARED_BY + 2));
        let mut nodes = Vec::new();
        let mut behaviour = Vec::new();
        for index in 0..count {
            let deps = match index < grouped {
                true => (0..index).collect(),
                false => dependencies(index, random),
            };
            nodes.push(node(index, u32::from(index < grouped), deps, shared(random), random));
            let plain = !faults || index < grouped;
            behaviour.push(if plain { Behaviour::default() } else { behave(index, random) });
        }
        let feud = (faults && random.chance(25)).then(|| (grouped, count - 1));
        let command = Agent { name: "a".into(), kind: Some(agent::Kind::Command(CommandAgent::default())) };
        let budget = Budget {
            parallel: setting.workers * setting.slots,
            attempts: if faults && random.chance(10) { u64::from(count) } else { 0 },
            tokens: if faults && random.chance(40) { u64::from(count) * TOKENS_USED_MAX / 2 } else { 0 },
            usd_micros: if faults && random.chance(30) { u64::from(count) * USD_MICROS_USED_MAX / 2 } else { 0 },
            breaker_failed: if faults && random.chance(30) { 9 } else { 0 },
            breaker_of: 10,
            ..Budget::default()
        };
        let plan = Plan {
            format: 1,
            job: JOB.into(),
            goal: "simulate".into(),
            repo: Some(Repo { base: BASE.to_vec(), ..Repo::default() }),
            agents: vec![command.clone(), command],
            tasks: vec![task(""), task("together")],
            nodes,
            gate: Some(GateSpec {
                batch: setting.batch,
                r#final: random.chance(40).then(CommandLine::default),
                ..GateSpec::default()
            }),
            budget: Some(budget),
            ..Plan::default()
        };
        let commits = BTreeMap::from([(BASE, Content::default())]);
        let tried = vec![0; nodes_of(&plan)];
        let landed = (BASE, BTreeSet::new());
        Self { plan, behaviour, commits, tries: BTreeMap::new(), tried, landed, feud, next_oid: 0 }
    }

    pub fn behaviour(&self, node: NodeId) -> &Behaviour {
        // Parts of a subtask are plain ones.
        self.behaviour.get(node.index()).unwrap_or(&PLAIN)
    }

    /// What its agent asks a person before it begins.
    pub fn question(&self, node: NodeId) -> Option<Question> {
        let number = self.behaviour(node).asks?;
        let (kind, prefix) = match number {
            0 => (QuestionKind::Words, Vec::new()),
            _ => (QuestionKind::Command, vec![format!("command{number}")]),
        };
        Some(Question { kind: kind.into(), prefix, text: format!("question {number}"), agent: "a".to_owned() })
    }

    /// The parts that its agent has it split into.
    pub fn parts(&self, node: NodeId) -> Vec<Part> {
        let part = |number| Part { name: format!("p{number}"), instructions: "a part".to_owned(), paths: Vec::new() };
        (0..self.behaviour(node).parts).map(part).collect()
    }

    fn commit(&mut self, content: Content) -> Oid {
        self.next_oid += 1;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.next_oid.to_be_bytes());
        self.commits.insert(Oid(bytes), content);
        Oid(bytes)
    }

    /// Whether a commit contains a subtask's result.
    fn contains(&self, commit: Oid, node: u32) -> bool {
        let mut at = Some(commit);
        while let Some(oid) = at {
            if oid == self.landed.0 {
                return self.landed.1.contains(&node);
            }
            let content = &self.commits[&oid];
            if content.own.contains(&node) {
                return true;
            }
            at = content.parent;
        }
        false
    }

    /// Everything a commit contains.
    pub fn contents(&self, commit: Oid) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        let mut at = Some(commit);
        while let Some(oid) = at {
            all.extend(&self.commits[&oid].own);
            at = self.commits[&oid].parent;
        }
        all
    }

    /// The branch is there now: looking things up begins there.
    pub fn moved(&mut self, tip: Oid) {
        let mut own: BTreeSet<u32> = BTreeSet::new();
        let mut at = tip;
        while at != self.landed.0 {
            own.extend(&self.commits[&at].own);
            at = self.commits[&at].parent.expect("every commit leads back to the branch");
        }
        self.landed.0 = tip;
        self.landed.1.extend(own);
    }

    /// What the gate says when nothing disturbs it. Bad results never are on the branch, so only
    /// what is not there yet has to be looked at.
    pub fn is_green(&self, commit: Oid) -> bool {
        let feud = self.feud.is_some_and(|(a, b)| self.contains(commit, a) && self.contains(commit, b));
        let mut at = Some(commit);
        while let Some(oid) = at.filter(|oid| *oid != self.landed.0) {
            if !self.commits[&oid].bad.is_empty() {
                return false;
            }
            at = self.commits[&oid].parent;
        }
        !feud
    }

    /// Merges results onto a commit, each onto the one before, as landing does.
    pub fn merge(&mut self, members: &[(NodeId, Patch)], tip: Oid) -> (Vec<MemberMerge>, Option<Merge>) {
        let mut head = tip;
        let mut merged = Vec::new();
        for (node, patch) in members {
            let base = Oid::from_bytes(&patch.base).expect("an id");
            let own = &self.commits[&Oid::from_bytes(&patch.commit).expect("an id")];
            let bad = own.bad.clone();
            let against = self.behaviour(*node).conflicts;
            let conflict = against.is_some_and(|other| self.contains(head, other) && !self.contains(base, other));
            let result = if conflict {
                Err(vec!["f".to_owned()])
            } else {
                head = self.commit(Content { parent: Some(head), own: BTreeSet::from([node.0]), bad });
                Ok(head)
            };
            merged.push(MemberMerge { node: *node, result });
        }
        let any = head != tip;
        let merge = any.then(|| self.commit(Content { parent: Some(head), ..Content::default() }));
        (merged, merge.map(|commit| Merge { commit, tree: commit }))
    }

    /// Whether a check of this attempt says no.
    pub fn refuses(&mut self, attempt: AttemptId, node: NodeId) -> bool {
        self.number(attempt, node) <= self.behaviour(node).failing
    }

    /// The result of an attempt whose checks pass.
    pub fn result(&mut self, attempt: AttemptId, node: NodeId, base: Oid) -> finished::Outcome {
        if self.behaviour(node).idle {
            return finished::Outcome::Unchanged(Unchanged::default());
        }
        let bad = self.number(attempt, node) <= self.behaviour(node).bad;
        let bad = bad.then_some(node.0).into_iter().collect();
        let commit = self.commit(Content { parent: Some(base), own: BTreeSet::from([node.0]), bad });
        finished::Outcome::Patch(Patch {
            commit: commit.to_vec(),
            tree: commit.to_vec(),
            base: base.to_vec(),
            files: vec![format!("f{node}")],
            ..Patch::default()
        })
    }

    /// Which attempt at its subtask this is, from 1; the same however often it is executed.
    fn number(&mut self, attempt: AttemptId, node: NodeId) -> u32 {
        if self.tried.len() <= node.index() {
            self.tried.resize(node.index() + 1, 0);
        }
        let tried = &mut self.tried[node.index()];
        *self.tries.entry(attempt.0).or_insert_with(|| {
            *tried += 1;
            *tried
        })
    }
}

/// What an attempt reports to have used: never more than it was allowed.
pub fn usage(allowance: Amount, random: &mut Random) -> Usage {
    let within = |used: u64, allowed: u64| if allowed > 0 { used.min(allowed) } else { used };
    Usage {
        tokens: within(random.below(TOKENS_USED_MAX), allowance.tokens),
        usd_micros: within(random.below(USD_MICROS_USED_MAX), allowance.usd_micros),
        ..Usage::default()
    }
}

fn nodes_of(plan: &Plan) -> usize {
    plan.nodes.len()
}

fn task(group: &str) -> Task {
    Task { id: "t".into(), ladder: vec![0, 1], max_attempts: 4, split: 4, land_with: group.into(), ..Task::default() }
}

/// Up to three of the hundred before it.
fn dependencies(index: u32, random: &mut Random) -> Vec<u32> {
    let wanted = if random.chance(45) { 1 + random.below(3) } else { 0 };
    let reach = u64::from(index.min(100));
    let found = (0..wanted.min(reach)).map(|_| index - 1 - u32::try_from(random.below(reach)).unwrap_or(0));
    found.collect::<BTreeSet<_>>().into_iter().collect()
}

fn node(index: u32, task: u32, deps: Vec<u32>, shared: u64, random: &mut Random) -> Node {
    // A few share a file, so that footprints matter.
    let file = if random.chance(8) { format!("shared{shared}") } else { format!("f{index}") };
    let mut key = vec![0; 32];
    key[..4].copy_from_slice(&index.to_be_bytes());
    Node {
        id: format!("n{index}"),
        task,
        deps,
        claims: vec![file],
        key,
        weight: 1 + random.below(9),
        ..Node::default()
    }
}

fn behave(index: u32, random: &mut Random) -> Behaviour {
    let mut behaviour = Behaviour::default();
    match random.below(20) {
        0 => behaviour.bad = 1 + u32::try_from(random.below(3)).unwrap_or(0),
        1 | 2 => behaviour.failing = 1 + u32::try_from(random.below(5)).unwrap_or(0),
        3 => behaviour.idle = true,
        4 if index > 0 => behaviour.conflicts = Some(u32::try_from(random.below(u64::from(index))).unwrap_or(0)),
        5..=7 => behaviour.weak = true,
        10 => behaviour.parts = 2 + u32::try_from(random.below(3)).unwrap_or(0),
        8 | 9 => {
            behaviour.asks = Some(u32::try_from(random.below(3)).unwrap_or(0));
            behaviour.waits = random.chance(60);
        }
        _ => {}
    }
    behaviour
}
