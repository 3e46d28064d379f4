//! What follows from the durable state: kept up with every event, rebuilt after a snapshot was read.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use longhaul_common::NodeId;
use longhaul_proto::{Counts, Outcome};

use super::footprint::{Footprint, Held};
use super::graph::{Graph, GraphError};
use super::{Millis, Phase, State, Subtask, retry};

/// What follows from the rest and is kept up to date by `apply`.
#[derive(Clone, Debug, Default)]
pub(super) struct Derived {
    /// Ready nodes: longest way to the end first, then plan order.
    pub ready: BTreeSet<(Reverse<u64>, NodeId)>,
    /// Those that wait for a time.
    pub backoff: BTreeSet<(Millis, NodeId)>,
    /// Open nodes that wait for a closed one.
    pub doomed: BTreeSet<NodeId>,
    /// Nodes that lost too many leases in a row.
    pub fatal: BTreeSet<NodeId>,
    pub held: Held,
    pub counts: Counts,
}

impl State {
    /// Rebuilds what follows from the rest, after a snapshot was read.
    pub fn rebuild(&mut self) -> Result<(), GraphError> {
        self.graph = Graph::of(&self.plan)?;
        self.derived = Derived::default();
        self.fleet.roster.recount(self.attempts.values().map(|live| live.worker.as_str()));
        for index in 0..self.subtasks.len() {
            let node = NodeId::at(index);
            let phase = self.subtasks[index].phase().clone();
            self.enter(node, &phase);
            if self.subtasks[index].losses >= retry::Limits::LOSSES_MAX && matches!(phase, Phase::Ready) {
                self.derived.fatal.insert(node);
            }
        }
        for index in 0..self.subtasks.len() {
            if self.dooms(&self.subtasks[index]) {
                self.doom_dependents(NodeId::at(index));
            }
        }
        Ok(())
    }

    pub(super) fn dooms(&self, subtask: &Subtask) -> bool {
        matches!(subtask.phase(), Phase::Closed { outcome, .. } if *outcome != i32::from(Outcome::Reverted))
    }

    pub(super) fn doom_dependents(&mut self, node: NodeId) {
        let open: Vec<NodeId> =
            self.graph.dependents(node).filter(|&after| !self.subtask(after).phase().kind().is_terminal()).collect();
        self.derived.doomed.extend(open);
    }

    /// Books a node into the derived sets of a phase.
    pub(super) fn enter(&mut self, node: NodeId, phase: &Phase) {
        self.count(phase, 1);
        match phase {
            Phase::Ready => {
                let rank = self.graph.rank(node);
                self.derived.ready.insert((Reverse(rank), node));
            }
            Phase::Backoff { until_ms } => {
                self.derived.backoff.insert((*until_ms, node));
            }
            Phase::Running { .. } | Phase::Delivered { .. } | Phase::Landing { .. } => {
                let footprint = Footprint::of(&self.plan, node);
                self.derived.held.take(node, footprint);
            }
            _ => {}
        }
    }

    /// Takes a node out of the derived sets of a phase.
    pub(super) fn leave(&mut self, node: NodeId, phase: &Phase, next: &Phase) {
        self.count(phase, -1);
        match phase {
            Phase::Ready => {
                let rank = self.graph.rank(node);
                self.derived.ready.remove(&(Reverse(rank), node));
            }
            Phase::Backoff { until_ms } => {
                self.derived.backoff.remove(&(*until_ms, node));
            }
            Phase::Running { .. } | Phase::Delivered { .. } | Phase::Landing { .. } => {
                let keeps = matches!(next, Phase::Running { .. } | Phase::Delivered { .. } | Phase::Landing { .. });
                if !keeps {
                    self.derived.held.release(node);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, phase: &Phase, by: i32) {
        let counts = &mut self.derived.counts;
        let slot = match phase.name() {
            "waiting" => &mut counts.waiting,
            "ready" => &mut counts.ready,
            "backoff" => &mut counts.backoff,
            "running" => &mut counts.running,
            "landing" => &mut counts.landing,
            "parked" => &mut counts.parked,
            "landed" => &mut counts.landed,
            "unchanged" => &mut counts.unchanged,
            "skipped" => &mut counts.skipped,
            "cancelled" => &mut counts.cancelled,
            "reverted" => &mut counts.reverted,
            _ => &mut counts.failed,
        };
        *slot = slot.saturating_add_signed(by);
        counts.total = counts.total.saturating_add_signed(by);
    }
}
