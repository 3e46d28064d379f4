//! Opening a plan in the state: subtasks, what they carry over, groups, attempts that go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid, ParkId};
use longhaul_proto as pb;
use longhaul_proto::{ParkReason, carried};

use super::ApplyError;
use crate::core::BaseGate;
use crate::core::graph::Graph;
use crate::core::landing::Landing;
use crate::core::live::LostAttempt;
use crate::core::state::{Group, JobPhase, State};
use crate::core::subtask::{Candidate, Landed, Phase, Subtask};
use crate::core::transition::Move;

impl State {
    pub(super) fn open_plan(&mut self, opened: &pb::PlanOpened) -> Result<(), ApplyError> {
        let plan = Arc::new(opened.plan.clone().unwrap_or_default());
        let graph = Graph::of(&plan)?;
        let old_plan = std::mem::replace(&mut self.plan, plan);
        let old = std::mem::take(&mut self.subtasks);
        self.generation = opened.generation;
        self.graph = graph;
        self.derived = crate::core::derived::Derived::default();
        self.limits = self.plan.budget.unwrap_or_default();
        self.job_phase = JobPhase::Open;
        self.reopen();
        let tip = Oid::from_bytes(&opened.tip)?;
        if self.landing.landings > 0 && tip != self.landing.tip {
            self.restarts += 1;
        }
        let base_gate = std::mem::take(&mut self.landing.base_gate);
        let same_base = old_plan.repo.as_ref().map(|repo| &repo.base) == self.plan.repo.as_ref().map(|repo| &repo.base);
        let same_gate = old_plan.gate.as_ref().map(|gate| &gate.run) == self.plan.gate.as_ref().map(|gate| &gate.run);
        self.landing = Landing {
            tip,
            batch_size: self.plan.gate.as_ref().map_or(1, |gate| gate.batch.max(1)),
            landings: self.landing.landings,
            gates_run: self.landing.gates_run,
            proven: self.landing.proven,
            ..Landing::default()
        };
        if same_base && same_gate && base_gate == BaseGate::Green {
            self.landing.base_gate = base_gate;
        }
        self.lost.clear();
        self.make_subtasks(opened, &old_plan, old)?;
        // A dependency has the longer way to the end, so this order lands it first.
        let graph = &self.graph;
        self.landing.queue.make_contiguous().sort_by_key(|&node| (std::cmp::Reverse(graph.rank(node)), node));
        self.make_groups();
        self.rebuild()?;
        self.keep_attempts(&old_plan);
        Ok(())
    }

    pub(super) fn make_subtasks(
        &mut self,
        opened: &pb::PlanOpened,
        old_plan: &pb::Plan,
        old: Vec<Subtask>,
    ) -> Result<(), ApplyError> {
        let mut former: BTreeMap<&str, (usize, Subtask)> =
            old.into_iter().enumerate().map(|(at, subtask)| (old_plan.nodes[at].id.as_str(), (at, subtask))).collect();
        let plan = Arc::clone(&self.plan);
        for node in &plan.nodes {
            let missing = 0;
            let before = former.get(node.id.as_str()).map(|(_, before)| before);
            // A yes given to the pilot holds for the next generation too, whatever became of the
            // subtask since. One that was cancelled while it waited was never said yes to.
            let approved = before.is_some_and(|before| match opened.asks_without_yes {
                true => before.approved,
                false => before.phase().park_reason() != Some(ParkReason::Pilot),
            });
            let phase = if node.behind_pilot && !approved {
                self.last_park += 1;
                let text = "waits for a yes to the pilot of its map".to_owned();
                Phase::Parked { park: ParkId(self.last_park), reason: ParkReason::Pilot.into(), text }
            } else {
                Phase::Ready
            };
            let mut subtask = Subtask::new(phase, missing);
            subtask.approved = approved;
            if let Some((_, before)) = former.remove(node.id.as_str()) {
                (subtask.attempts, subtask.spent_ms) = (before.attempts, before.spent_ms);
                (subtask.tokens, subtask.usd_micros) = (before.tokens, before.usd_micros);
                (subtask.started_ms, subtask.finished_ms) = (before.started_ms, before.finished_ms);
                subtask.remarks.clone_from(&before.remarks);
                subtask.summary.clone_from(&before.summary);
            }
            self.subtasks.push(subtask);
        }
        for carried in &opened.carried {
            self.carry(carried)?;
        }
        // The graph is rebuilt by the caller; only the counts of missing dependencies are settled here.
        for index in 0..self.subtasks.len() {
            let open = |dep: &NodeId| !self.subtask(*dep).phase().kind().is_terminal();
            let missing = self.outside_deps(NodeId::at(index)).filter(open).count();
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            self.subtasks[index].missing = missing;
            if missing > 0 && matches!(self.subtasks[index].phase(), Phase::Ready) {
                self.subtasks[index] = self.subtasks[index].clone().with_phase(Phase::Waiting);
            }
        }
        Ok(())
    }

    pub(super) fn carry(&mut self, carried: &pb::Carried) -> Result<(), ApplyError> {
        let node = self.known(carried.node)?;
        let candidate = |patch: &pb::Patch| Candidate {
            attempt: AttemptId(0),
            worker: String::new(),
            patch: Box::new(patch.clone()),
            reverts: None,
        };
        let phase = match &carried.what {
            Some(carried::What::Landed(landed)) => Phase::Landed(Box::new(Landed {
                candidate: candidate(&landed.patch.clone().unwrap_or_default()),
                batch: BatchId(0),
                commit: Oid::from_bytes(&landed.commit)?,
                merge: Oid::from_bytes(&landed.merge)?,
                gate: GateId(landed.gate),
                flaky: false,
                at_ms: self.now_ms,
            })),
            Some(carried::What::Patch(patch)) => {
                if self.task(node).land_with.is_empty() {
                    self.landing.queue.push_back(node);
                }
                Phase::Delivered { candidate: candidate(patch), staged: None }
            }
            Some(carried::What::Unchanged(_)) => Phase::Unchanged,
            None => return Ok(()),
        };
        let subtask = self.subtasks[node.index()].clone();
        self.subtasks[node.index()] = subtask.with_phase(phase);
        Ok(())
    }

    pub(super) fn make_groups(&mut self) {
        self.groups.clear();
        let plan = Arc::clone(&self.plan);
        for (index, node) in plan.nodes.iter().enumerate() {
            let name = &plan.tasks[node.task as usize].land_with;
            if !name.is_empty() {
                let group: &mut Group = self.groups.entry(name.clone()).or_default();
                group.members.push(NodeId::at(index));
                if matches!(self.subtasks[index].phase(), Phase::Delivered { .. }) {
                    group.order.push(NodeId::at(index));
                }
            }
        }
    }

    /// Attempts of the generation before stay under lease where their node's key is unchanged.
    pub(super) fn keep_attempts(&mut self, old_plan: &pb::Plan) {
        let plan = Arc::clone(&self.plan);
        for (id, mut live) in BTreeMap::from(std::mem::take(&mut self.attempts)) {
            self.fleet.roster.gave_back(&live.worker);
            let old = &old_plan.nodes[live.node.index()];
            let same = plan.nodes.iter().position(|node| node.id == old.id && node.key == old.key).map(NodeId::at);
            let ready = |node: &NodeId| matches!(self.subtask(*node).phase(), Phase::Ready);
            let Some(node) = same.filter(ready) else {
                self.spend.doubt(id);
                self.fleet.forget(id.0);
                // Its result, if it comes, is kept for when its node is wanted again.
                self.lost.extend(same.map(|node| (id, LostAttempt { node, worker: live.worker, base: live.base })));
                continue;
            };
            live.node = node;
            if self.shift(node, Move::Assign, Phase::Running { attempt: id }).is_ok() {
                self.begin_live(id, live);
            }
        }
    }
}
