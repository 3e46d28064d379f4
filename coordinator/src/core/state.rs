//! The state of a job, and the questions asked of it.
//!
//! Everything durable is serialisable and hashed; what can be rebuilt from it (see `derived`) and
//! what is volatile (the fleet) is skipped. Only `apply` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longhaul_common::{AttemptId, BatchId, NodeId, Oid, ParkId};
use longhaul_proto::{Budget, Counts, Plan, Task};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::asked::Ruling;
use super::derived::Derived;
use super::footprint::Held;
use super::graph::Graph;
use super::health::Infirmary;
use super::landing::Landing;
use super::lease::Fleet;
use super::live::{LiveAttempt, LiveAttempts, LostAttempt, Owner};
use super::provider::Providers;
use super::recent::Recent;
use super::spend::Spend;
use super::subtask::{Phase, Subtask};

/// Where the job as a whole stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum JobPhase {
    /// No plan yet.
    #[default]
    Empty,
    /// Working.
    Open,
    /// No new work is handed out; what runs is finished and landed.
    Paused {
        /// Why.
        reason: String,
        /// By a limit of the budget, not a person.
        by_budget: bool,
    },
    /// Over.
    Closed {
        /// As `JobOutcome`.
        outcome: i32,
        /// In words.
        reason: String,
    },
}

/// Members of a land group that were delivered, in that order.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Group {
    /// All members, in plan order.
    pub members: Vec<NodeId>,
    /// Those delivered and not in a batch.
    pub order: Vec<NodeId>,
}

/// Everything known of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub(super) job: String,
    pub(super) seq: u64,
    pub(super) now_ms: Millis,
    pub(super) generation: u32,
    pub(super) plan: Arc<Plan>,
    pub(super) subtasks: Vec<Subtask>,
    pub(super) last_id: u64,
    pub(super) last_batch: u64,
    pub(super) last_park: u64,
    pub(super) attempts: LiveAttempts,
    pub(super) lost: BTreeMap<AttemptId, LostAttempt>,
    /// How each worker fares.
    pub infirmary: Infirmary,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) job_phase: JobPhase,
    pub(super) limits: Budget,
    pub(super) started_ms: Millis,
    pub(super) idle_ms: u64,
    pub(super) closed_ms: Millis,
    pub(super) failures: BTreeMap<i32, u32>,
    pub(super) retries: u64,
    pub(super) restarts: u32,
    /// Ledger.
    pub spend: Spend,
    /// How the last attempts ended.
    pub recent: Recent,
    /// Providers whose limit was reached.
    pub providers: Providers,
    /// The landing side.
    pub landing: Landing,
    /// What people decided, oldest first.
    pub(super) rulings: Vec<Ruling>,
    /// Workers, each with what its sandbox did not enforce while something of this job ran.
    pub(super) unenforced: BTreeSet<(String, String)>,

    #[serde(skip)]
    pub(super) graph: Graph,
    #[serde(skip)]
    pub(super) derived: Derived,
    /// Who is there; volatile.
    #[serde(skip)]
    pub fleet: Fleet,
}

impl State {
    /// The job's name.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Sequence number of the last applied record.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Time of the last applied record.
    pub fn now_ms(&self) -> Millis {
        self.now_ms
    }

    /// Workers, each with what its sandbox did not enforce while something of this job ran.
    pub fn unenforced(&self) -> &BTreeSet<(String, String)> {
        &self.unenforced
    }

    /// Number of the open plan, from 1.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The open plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Limits in force.
    pub fn limits(&self) -> &Budget {
        &self.limits
    }

    /// Where the job stands.
    pub fn job_phase(&self) -> &JobPhase {
        &self.job_phase
    }

    /// First record's time.
    pub fn started_ms(&self) -> Millis {
        self.started_ms
    }

    /// When it closed; 0 before.
    pub fn closed_ms(&self) -> Millis {
        self.closed_ms
    }

    /// Time the job was worked on, up to `now`: without downtime and suspends.
    pub fn active_ms(&self, now: Millis) -> u64 {
        let end = if self.closed_ms > 0 { self.closed_ms } else { now.max(self.now_ms) };
        u64::try_from(end - self.started_ms).unwrap_or(0).saturating_sub(self.idle_ms)
    }

    /// All nodes, in plan order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.subtasks.len()).map(NodeId::at)
    }

    /// A node's state.
    ///
    /// # Panics
    /// For an id of another plan.
    pub fn subtask(&self, node: NodeId) -> &Subtask {
        &self.subtasks[node.index()]
    }

    /// A node of the plan.
    pub fn node(&self, node: NodeId) -> &longhaul_proto::Node {
        &self.plan.nodes[node.index()]
    }

    /// What the node shares with its map.
    pub fn task(&self, node: NodeId) -> &Task {
        &self.plan.tasks[self.node(node).task as usize]
    }

    /// The node with an id of the plan.
    pub fn find(&self, id: &str) -> Option<NodeId> {
        self.plan.nodes.iter().position(|node| node.id == id).map(NodeId::at)
    }

    /// Attempts whose lease expired and whose subtask may still want their result.
    pub fn lost_attempts(&self) -> &BTreeMap<AttemptId, LostAttempt> {
        &self.lost
    }

    /// Attempts under lease.
    pub fn attempts(&self) -> &BTreeMap<AttemptId, LiveAttempt> {
        self.attempts.all()
    }

    /// Land groups by name.
    pub fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// The dependency graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many subtasks are where.
    pub fn counts(&self) -> &Counts {
        &self.derived.counts
    }

    /// Footprints taken.
    pub fn held(&self) -> &Held {
        &self.derived.held
    }

    /// Attempts that failed, by class.
    pub fn failures(&self) -> &BTreeMap<i32, u32> {
        &self.failures
    }

    /// How many plans had to start the branch again from the base.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Attempts and landings that were decided to be tried again.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// Whether every rung of the ladder gives the same result on the same base.
    pub fn deterministic(&self, node: NodeId) -> bool {
        use longhaul_proto::agent::Kind;
        self.task(node)
            .ladder
            .iter()
            .all(|&agent| matches!(self.plan.agents[agent as usize].kind, Some(Kind::Codemod(_))))
    }

    /// The land group of a node.
    pub fn group_of(&self, node: NodeId) -> Option<&Group> {
        self.groups.get(&self.task(node).land_with)
    }

    /// Whether two nodes land as one: they do not wait for each other's landing.
    pub(super) fn same_group(&self, a: NodeId, b: NodeId) -> bool {
        let name = &self.task(a).land_with;
        !name.is_empty() && self.task(b).land_with == *name
    }

    /// Dependencies a node waits for the landing of; those of its own group are not among them.
    pub(super) fn outside_deps(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.node(node).deps.iter().map(|&dep| NodeId(dep)).filter(move |&dep| !self.same_group(node, dep))
    }

    /// Whether what a node needs of its own group is staged (or landed already).
    pub(super) fn group_ready(&self, node: NodeId) -> bool {
        let inside = self.node(node).deps.iter().map(|&dep| NodeId(dep)).filter(|&dep| self.same_group(node, dep));
        inside.into_iter().all(|dep| match self.subtask(dep).phase() {
            Phase::Delivered { staged, .. } => staged.is_some(),
            phase => phase.kind().is_terminal(),
        })
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    pub(super) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    /// Whether there ever was a park of this number.
    pub fn had_park(&self, park: ParkId) -> bool {
        (1..=self.last_park).contains(&park.0)
    }

    pub(super) fn next_park(&self) -> u64 {
        self.last_park + 1
    }

    /// A group whose open members are all delivered and staged, in delivery order.
    pub(super) fn complete_group(&self) -> Option<Vec<NodeId>> {
        self.groups.values().find_map(|group| {
            let settled = |node: NodeId| match self.subtask(node).phase() {
                Phase::Delivered { staged, .. } => staged.is_some(),
                phase => phase.kind().is_terminal(),
            };
            let all = !group.order.is_empty() && group.members.iter().all(|&node| settled(node));
            all.then(|| group.order.clone())
        })
    }

    /// The attempt or gate behind an id, if it is live.
    pub fn live_worker(&self, id: u64) -> Option<&str> {
        let attempt = self.attempts.get(&AttemptId(id)).map(|attempt| attempt.worker.as_str());
        attempt.or_else(|| self.landing.gates.get(&longhaul_common::GateId(id)).map(|gate| gate.worker.as_str()))
    }

    /// The subtask of an attempt that is live or lost.
    pub fn node_of(&self, attempt: AttemptId) -> Option<NodeId> {
        let live = self.attempts.get(&attempt).map(|live| live.node);
        live.or_else(|| self.lost.get(&attempt).map(|lost| lost.node))
    }

    /// Who may deliver a result under an id, or say what it used.
    pub fn owner_of(&self, id: u64) -> Owner {
        let live = self.live_worker(id).map(str::to_owned);
        let lost = || self.lost.get(&AttemptId(id)).map(|lost| lost.worker.clone());
        // What it used may still be in doubt.
        let unsettled = || self.spend.unsettled(AttemptId(id)).map(|reservation| reservation.worker.clone());
        match live.or_else(lost).or_else(unsettled) {
            Some(worker) => Owner::Worker(worker),
            None if id > 0 && id <= self.last_id => Owner::Past,
            None => Owner::Unknown,
        }
    }

    /// Commits that live work stands on or has made and no branch holds yet: maintenance of the
    /// store must not drop them.
    pub fn live_commits(&self) -> Vec<Oid> {
        let mut commits: Vec<Oid> = self.attempts.values().map(|live| live.base).collect();
        for subtask in &self.subtasks {
            let candidates = subtask.phase().candidate().into_iter().chain(&subtask.spares);
            commits.extend(candidates.filter_map(|candidate| Oid::from_bytes(&candidate.patch.commit).ok()));
            commits.extend(subtask.wip.iter().filter_map(|saved| Oid::from_bytes(&saved.wip.commit).ok()));
            if let Phase::Delivered { staged: Some(commit), .. } = subtask.phase() {
                commits.push(*commit);
            }
        }
        if let Some(batch) = &self.landing.batch {
            commits.push(batch.merge.commit);
            commits.extend(batch.commits.iter().copied());
        }
        commits.extend(self.landing.gates.values().map(|run| run.commit));
        commits.push(self.landing.tip);
        commits.retain(|commit| !commit.is_zero());
        commits.sort_unstable();
        commits.dedup();
        commits
    }

    /// Hashes of the sessions that saved work names.
    pub fn sessions(&self) -> BTreeSet<Vec<u8>> {
        let saved = self.subtasks.iter().filter_map(|subtask| subtask.wip.as_ref());
        saved.map(|saved| saved.wip.session_hash.clone()).filter(|hash| !hash.is_empty()).collect()
    }

    /// Ids of everything live on a worker.
    pub fn live_on(&self, worker: &str) -> Vec<u64> {
        let attempts = self.attempts.on(worker).map(|id| id.0);
        let gates = self.landing.gates.iter().filter(|(_, run)| run.worker == worker).map(|(id, _)| id.0);
        attempts.chain(gates).collect()
    }

    /// A hash over everything durable: two states that came from the same journal are equal.
    pub fn hash(&self) -> blake3::Hash {
        // Writing to a vector cannot fail, and every type here is serialisable.
        let bytes = postcard::to_stdvec(self).expect("the state is serialisable");
        blake3::hash(&bytes)
    }

    /// Id of the current batch, if it is this one.
    pub(super) fn batch(&self, id: BatchId) -> Option<&super::Batch> {
        self.landing.batch.as_ref().filter(|batch| batch.id == id)
    }
}
