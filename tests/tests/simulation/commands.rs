//! What the coordinator sends out: answers, messages to workers, and git's work with its outcomes.

use longhaul_common::question::settled;
use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use longhaul_coordinator::core::{Command, Input, MoveResult};
use longhaul_proto::Patch;

use crate::coordinator::{Letter, Outgoing};
use crate::happening::{Happening, Order};
use crate::network::Way;
use crate::worker::Assignment;
use crate::world::{Branch, World};

/// How long git works on a command.
const GIT_MS: (i64, i64) = (5, 800);

impl World {
    pub fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Answer { worker, incarnation, id, disposition } => {
                self.trace.note(self.now, disposition.as_str(), worker, id);
                self.check_answer(id, disposition);
                if let Some(ms) = self.network.call(Way::Results(worker), &self.setting, &mut self.random) {
                    self.after(ms, Happening::Ack { worker, incarnation, id });
                }
            }
            Outgoing::Command(command) => self.perform(&command),
        }
    }

    fn perform(&mut self, command: &Command) {
        match command {
            Command::Assign(AttemptId(id)) => {
                let live = self.state().attempts().get(&AttemptId(*id)).cloned();
                let Some(live) = live else { return };
                let reserved = self.state().spend.reserved(AttemptId(*id)).map(|reservation| reservation.amount);
                let allowance = reserved.unwrap_or_default();
                let decisions: Vec<_> = self.state().decisions(live.node).cloned().collect();
                let asks = self.model.question(live.node);
                let answered = asks.is_some_and(|question| settled(&decisions, &question).is_some());
                let (node, base, splits) = (live.node, live.base, self.state().may_split(live.node) > 0);
                let assignment = Assignment::Work { id: *id, node, base, allowance, answered, splits };
                self.order(number(&live.worker), Order::Assign(assignment));
            }
            Command::Gate(GateId(id)) => {
                let run = self.state().landing.gates.get(&GateId(*id)).cloned();
                let Some(run) = run else { return };
                let assignment = Assignment::Gate { id: *id, commit: run.commit };
                self.order(number(&run.worker), Order::Assign(assignment));
            }
            Command::Tell(attempt, asked_ms) => {
                let live = self.state().attempts().get(attempt).cloned();
                let Some((live, decision)) = live.zip(self.state().told(*attempt).cloned()) else { return };
                let order = Order::Answer { id: attempt.0, asked_ms: *asked_ms, decision: Box::new(decision) };
                self.order(number(&live.worker), order);
            }
            Command::Stop(id) => {
                for worker in 0..self.workers.len() {
                    self.order(worker, Order::Stop(*id));
                }
            }
            Command::Merge(batch) => {
                let work = self.state().landing.batch.clone().expect("a batch");
                let (members, merge) = self.model.merge(&self.patches(&work.members), work.tip);
                self.git(Input::Merged { batch: *batch, members, merge });
            }
            Command::Stage(node, _) => {
                let head = self.state().staging_head(*node);
                let (mut members, _) = self.model.merge(&self.patches(&[*node]), head);
                let generation = self.state().generation();
                self.git(Input::Staged { generation, node: *node, result: members.remove(0).result });
            }
            Command::Seal(_) => unreachable!("nothing is derived here"),
            Command::Land(batch) => {
                let work = self.state().landing.batch.clone().expect("a batch");
                let ms = self.random.between(GIT_MS);
                let (life, old, new) = (self.life, work.tip, work.merge.commit);
                self.after(ms, Happening::MoveRef { life, batch: *batch, old, new });
            }
        }
    }

    fn patches(&self, nodes: &[NodeId]) -> Vec<(NodeId, Patch)> {
        let patch = |node: NodeId| self.state().subtask(node).phase().candidate().expect("a candidate").patch.clone();
        nodes.iter().map(|&node| (node, *patch(node))).collect()
    }

    /// The outcome of a git command, on its way back to the process that asked.
    fn git(&mut self, input: Input) {
        let ms = self.random.between(GIT_MS);
        let letter = Box::new(Letter::Input(input));
        self.after(ms, Happening::Letter { life: Some(self.life), letter });
    }

    pub fn move_ref(&mut self, life: u32, batch: BatchId, old: Oid, new: Oid) {
        if life != self.life {
            return;
        }
        assert!(self.green.contains(&new), "the branch moves to {new}, which no gate passed");
        let at = self.branch.at;
        self.trace.note(self.now, "branch moves", 0, batch.0);
        let result = if at == old || at == new {
            self.branch = Branch { at: new, unsynced_from: (at == old).then_some(old) };
            MoveResult::Moved
        } else {
            MoveResult::Foreign { found: at }
        };
        self.git(Input::RefMoved { batch, result });
    }
}

fn number(name: &str) -> usize {
    name.trim_start_matches('w').parse().expect("a simulated worker's name")
}
