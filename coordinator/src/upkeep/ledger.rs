//! What a job's journal says of commits and logs, in one pass.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::Oid;
use longhaul_common::layout::JobLayout;

use crate::checkpoint::{CheckpointError, each_record, oldest_record};
use crate::core::{Event, Phase, State};

/// Everything a job ever made, as far as its journal is kept.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Commits of attempts, merges and gates: results, spares, work in progress, chains.
    pub commits: BTreeSet<Oid>,
    /// Ids of attempts and gates.
    pub ids: BTreeSet<u64>,
    /// The last attempt of each subtask, by its name.
    pub last_attempt: BTreeMap<String, u64>,
    /// Gates over batches that landed.
    pub landed_gates: BTreeSet<u64>,
    /// No record is retired: nothing is missing here.
    pub is_whole: bool,
}

impl Ledger {
    /// Reads the journal.
    pub fn read(layout: &JobLayout) -> Result<Self, CheckpointError> {
        let is_whole = oldest_record(layout)?.is_none_or(|first| first <= 1);
        let mut reading = Reading { ledger: Self { is_whole, ..Self::default() }, ..Reading::default() };
        each_record(layout, 0, |record| {
            record.event.iter().for_each(|event| reading.note(event));
            Ok(())
        })?;
        Ok(reading.ledger)
    }

    /// Ids whose logs stay whatever the bound: of what is live, of the last attempt of an open
    /// subtask, and of the gates that receipts name.
    pub fn logs_that_stay(&self, state: &State) -> BTreeSet<u64> {
        let open = state.nodes().filter(|&node| !state.subtask(node).phase().kind().is_terminal());
        let last = open.filter_map(|node| self.last_attempt.get(&state.node(node).id).copied());
        let attempts = state.attempts().keys().map(|id| id.0);
        let gates = state.landing.gates.keys().map(|id| id.0);
        let landed = state.nodes().filter_map(|node| match state.subtask(node).phase() {
            Phase::Landed(landed) => Some(landed.gate.0),
            _ => None,
        });
        last.chain(attempts).chain(gates).chain(landed).chain(self.landed_gates.iter().copied()).collect()
    }
}

#[derive(Default)]
struct Reading {
    ledger: Ledger,
    /// Names of the open plan's subtasks: numbers change with the plan.
    names: Vec<String>,
    /// Gates asked for each batch.
    gates: BTreeMap<u64, Vec<u64>>,
}

impl Reading {
    fn commit(&mut self, bytes: &[u8]) {
        self.ledger.commits.extend(Oid::from_bytes(bytes).ok().filter(|commit| !commit.is_zero()));
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::PlanOpened(opened) => {
                self.names = opened.plan.iter().flat_map(|plan| &plan.nodes).map(|node| node.id.clone()).collect();
            }
            Event::Split(event) => self.names.extend(event.nodes.iter().map(|node| node.id.clone())),
            Event::Assigned(event) => {
                self.ledger.ids.insert(event.attempt);
                if let Some(name) = self.names.get(event.node as usize) {
                    self.ledger.last_attempt.insert(name.clone(), event.attempt);
                }
            }
            Event::Delivered(event) => event.patch.iter().for_each(|patch| self.commit(&patch.commit)),
            Event::Held(event) => event.patch.iter().for_each(|patch| self.commit(&patch.commit)),
            Event::SpareKept(event) => event.patch.iter().for_each(|patch| self.commit(&patch.commit)),
            Event::RevertAsked(event) => event.patch.iter().for_each(|patch| self.commit(&patch.commit)),
            Event::WipSaved(event) => event.wip.iter().for_each(|wip| self.commit(&wip.commit)),
            Event::Staged(event) => self.commit(&event.commit),
            Event::GateAsked(event) => {
                self.ledger.ids.insert(event.gate);
                self.gates.entry(event.batch).or_default().push(event.gate);
            }
            Event::GateDone(event) => {
                event.result.iter().for_each(|result| self.commit(&result.derived_commit));
            }
            Event::BatchMerged(event) => {
                self.commit(&event.merge);
                event.commits.iter().for_each(|commit| self.commit(commit));
            }
            Event::BatchSealed(event) => self.commit(&event.merge),
            Event::Landed(event) => {
                self.ledger.landed_gates.extend(self.gates.remove(&event.batch).unwrap_or_default());
            }
            Event::BatchClosed(event) => drop(self.gates.remove(&event.batch)),
            _ => {}
        }
    }
}
