//! What is simulated: a plan, a repository made of sets of subtasks, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::Oid;
use longhaul_proto::{Agent, Budget, CommandAgent, CommandLine, GateSpec, Node, Plan, Repo, Task, agent};

use crate::random::Random;

/// How a subtask behaves.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Its first results, this many, make the gate red.
    pub bad: u32,
    /// Its first attempts, this many, fail their check.
    pub failing: u32,
    /// It has nothing to change.
    pub idle: bool,
    /// It conflicts with this one unless built on it.
    pub conflicts: Option<u32>,
}

/// A commit of the simulated repository: which results it contains, and which of them are bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub nodes: BTreeSet<u32>,
    pub bad: BTreeSet<u32>,
}

pub struct Model {
    pub plan: Plan,
    pub behaviour: Vec<Behaviour>,
    pub commits: BTreeMap<Oid, Content>,
    /// Together these two make the gate red, each alone does not.
    pub feud: Option<(u32, u32)>,
    next_oid: u64,
}

pub const BASE: Oid = Oid([9; 20]);

impl Model {
    pub fn new(random: &mut Random, faults: bool) -> Self {
        let count = 4 + random.below(24) as u32;
        let grouped = random.chance(30);
        let mut tasks = vec![task(""), task("together")];
        tasks[0].max_attempts = 3;
        let mut nodes = Vec::new();
        let mut behaviour = Vec::new();
        for index in 0..count {
            let mut deps: Vec<u32> = (0..index).filter(|_| random.chance(12)).collect();
            deps.truncate(3);
            let in_group = grouped && index < 3;
            if in_group {
                deps = (0..index).collect();
            }
            nodes.push(node(index, u32::from(in_group), deps, random));
            behaviour.push(if faults && !in_group { behave(index, random) } else { Behaviour::default() });
        }
        let feud = (faults && random.chance(25) && count > 4).then(|| (3, count - 1));
        let plan = Plan {
            format: 1,
            job: "sim".into(),
            goal: "simulate".into(),
            repo: Some(Repo { base: BASE.to_vec(), ..Repo::default() }),
            agents: vec![Agent { name: "a".into(), kind: Some(agent::Kind::Command(CommandAgent::default())) }],
            tasks,
            nodes,
            gate: Some(GateSpec {
                batch: 1 + random.below(8) as u32,
                r#final: random.chance(40).then(CommandLine::default),
                ..GateSpec::default()
            }),
            budget: Some(Budget { parallel: 1 + random.below(6) as u32, ..Budget::default() }),
            ..Plan::default()
        };
        let commits = BTreeMap::from([(BASE, Content::default())]);
        Self { plan, behaviour, commits, feud, next_oid: 0 }
    }

    pub fn commit(&mut self, content: Content) -> Oid {
        self.next_oid += 1;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.next_oid.to_be_bytes());
        let oid = Oid(bytes);
        self.commits.insert(oid, content);
        oid
    }

    pub fn is_green(&self, commit: Oid) -> bool {
        let content = &self.commits[&commit];
        let feud = self.feud.is_some_and(|(a, b)| content.nodes.contains(&a) && content.nodes.contains(&b));
        content.bad.is_empty() && !feud
    }
}

fn task(group: &str) -> Task {
    Task { id: "t".into(), ladder: vec![0], max_attempts: 4, land_with: group.into(), ..Task::default() }
}

fn node(index: u32, task: u32, deps: Vec<u32>, random: &mut Random) -> Node {
    // A few share a file, so that footprints matter.
    let file = if random.chance(20) { "shared".to_owned() } else { format!("f{index}") };
    Node {
        id: format!("n{index}"),
        task,
        deps,
        claims: vec![file],
        key: vec![u8::try_from(index).unwrap_or(0); 32],
        behind_pilot: false,
        weight: 1 + random.below(9),
        ..Node::default()
    }
}

fn behave(index: u32, random: &mut Random) -> Behaviour {
    let mut behaviour = Behaviour::default();
    match random.below(10) {
        0 => behaviour.bad = 1 + random.below(4) as u32,
        1 => behaviour.failing = 1 + random.below(4) as u32,
        2 => behaviour.idle = true,
        3 if index > 0 => behaviour.conflicts = Some(random.below(u64::from(index)) as u32),
        _ => {}
    }
    behaviour
}
