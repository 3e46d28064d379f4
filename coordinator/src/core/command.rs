//! Side effects, as data. A command follows from the state: what has no outcome event yet is
//! pending, and [`State::pending`] lists it again after a restart. Each is idempotent.

use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use serde::{Deserialize, Serialize};

use super::state::State;
use super::{JobPhase, Phase, Step};

/// An effect to carry out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Send an attempt's assignment to its worker.
    Assign(AttemptId),
    /// Send a gate's assignment to its worker.
    Gate(GateId),
    /// Tell an agent that waits what was decided about what it asked then.
    Tell(AttemptId, i64),
    /// End an assignment that is no longer wanted. Fire and forget.
    Stop(u64),
    /// Merge a batch's members onto the tip.
    Merge(BatchId),
    /// Merge a group member onto its group's staging head.
    Stage(NodeId, AttemptId),
    /// Put derived files into a batch's merge.
    Seal(BatchId),
    /// Write the receipt and move the branch.
    Land(BatchId),
}

impl State {
    /// Every command without an outcome yet, in order.
    pub fn pending(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = self.assignments().collect();
        commands.extend(self.landing_commands());
        commands
    }

    /// Commands to workers that have no outcome yet, in order.
    pub fn assignments(&self) -> impl Iterator<Item = Command> + '_ {
        let open = !matches!(self.job_phase(), JobPhase::Closed { .. });
        let work = self.attempts().keys().map(|&id| Command::Assign(id));
        let gates = self.landing.gates.keys().map(|&id| Command::Gate(id));
        let told = self.attempts().keys().filter_map(|&id| self.tell(id));
        work.chain(gates).chain(told).take_while(move |_| open)
    }

    /// The command that tells a live attempt what was decided about its last question.
    pub fn tell(&self, attempt: AttemptId) -> Option<Command> {
        let asks = self.attempts().get(&attempt)?.asks.as_deref()?;
        asks.told.map(|_| Command::Tell(attempt, asks.asked_ms))
    }

    /// Commands of the landing side that have no outcome yet, in order.
    pub fn landing_commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.landing.blocked || matches!(self.job_phase(), JobPhase::Closed { .. }) {
            // What is blocked is issued again when a person says that what failed is mended.
            return commands;
        }
        commands.extend(self.landing.batch.as_ref().and_then(|batch| match batch.step {
            Step::Merging => Some(Command::Merge(batch.id)),
            Step::Sealing => Some(Command::Seal(batch.id)),
            Step::Moving => Some(Command::Land(batch.id)),
            _ => None,
        }));
        commands.extend(self.staging().filter_map(|node| {
            let attempt = self.subtask(node).phase().candidate()?.attempt;
            Some(Command::Stage(node, attempt))
        }));
        commands.sort();
        commands
    }

    /// Members of land groups to be merged onto their staging head: one a group at a time.
    fn staging(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.groups().values().filter_map(|group| {
            group
                .order
                .iter()
                .copied()
                .find(|&node| matches!(self.subtask(node).phase(), Phase::Delivered { staged: None, .. }))
        })
    }

    /// The commit an unstaged member of a group is merged onto.
    pub fn staging_head(&self, node: NodeId) -> Oid {
        self.group_of(node)
            .and_then(|group| {
                group.order.iter().rev().find_map(|&member| match self.subtask(member).phase() {
                    Phase::Delivered { staged: Some(commit), .. } => Some(*commit),
                    _ => None,
                })
            })
            .unwrap_or(self.landing.tip)
    }
}
