//! What must hold: after every commit, after every recovery, and at the end from the journal alone.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::question::settled;
use longhaul_common::{AttemptId, GateId, NodeId, Oid};
use longhaul_coordinator::core::{JobPhase, Phase, State};
use longhaul_coordinator::engine::Disposition;
use longhaul_proto::{FailureClass, Next, Record, Verdict, record::Event};

use crate::model::{BASE, Model};
use crate::person::PERSON;
use crate::world::World;

/// Turns between two records at most, on average over a run: a coordinator that spins is a defect.
const TURNS_PER_TICK_MAX: u64 = 40;

impl World {
    /// After a durable commit.
    pub fn check_commit(&self) {
        if self.coordinator.commits.is_multiple_of(self.setting.check_every) {
            self.state().assert_invariants();
        }
    }

    /// An answer leaves: what it says must be durable already.
    pub fn check_answer(&mut self, id: u64, disposition: Disposition) {
        let state = self.coordinator.state();
        let live = state.attempts().contains_key(&AttemptId(id)) || state.landing.gates.contains_key(&GateId(id));
        assert!(!live, "{id} is answered {disposition:?} while it is under lease");
        let before = self.answered.entry(id).or_insert(disposition);
        if *before == Disposition::Closed {
            *before = disposition;
        }
    }

    /// A restart found its state.
    pub fn check_recovered(&self) {
        let state = self.state();
        state.assert_invariants();
        for id in self.answered.keys() {
            let live = state.attempts().contains_key(&AttemptId(*id)) || state.landing.gates.contains_key(&GateId(*id));
            assert!(!live, "the acknowledged result {id} was lost in a crash");
        }
    }

    /// The run is over.
    pub fn check_end(&self) {
        let state = self.state();
        state.assert_invariants();
        self.check_journal();
        self.check_books();
        self.check_ends();
        assert_eq!(self.branch.at, state.landing.tip, "branch and state differ");
        let landed: BTreeSet<u32> = state
            .nodes()
            .filter(|&node| matches!(state.subtask(node).phase(), Phase::Landed(_)))
            .map(|node| node.0)
            .collect();
        assert_eq!(self.model.contents(state.landing.tip), landed, "what is on the branch is what the state says");
        assert!(self.model.is_green(state.landing.tip), "the branch is red");
        let ticks = u64::try_from(self.now / self.setting.tick_ms).unwrap_or(0);
        let most = TURNS_PER_TICK_MAX * (ticks + 10);
        assert!(self.coordinator.turns <= most, "{} turns in {ticks} ticks", self.coordinator.turns);
    }

    /// Every attempt kept to its allowance, so nothing was overspent, ever: see `assert_invariants`.
    fn check_books(&self) {
        let state = self.state();
        let (breaches, total) = state.spend.breaches();
        assert_eq!((breaches, total), (&[][..], 0), "an attempt is said to have used more than was reserved");
        assert!(state.spend.held().is_zero(), "something is reserved for nobody");
    }

    /// The journal alone says the same, and tells a history in which nothing lands twice or ungated.
    fn check_journal(&self) {
        let mut history = History::default();
        self.coordinator.disk().each(|record| history.see(record, &self.model));
        assert_eq!(history.state.hash(), self.state().hash(), "the journal says something else than the state");
        assert_eq!(self.coordinator.disk().recover().hash(), self.state().hash(), "and so does a snapshot");
        for (id, disposition) in &self.answered {
            let recorded = match disposition {
                Disposition::Kept => history.kept.contains(id),
                Disposition::Spare => history.spares.contains(id),
                Disposition::Closed => true,
            };
            assert!(recorded, "{id} was answered {disposition:?} and is not in the journal");
        }
    }

    /// Nothing is left open, and whatever has no receipt says why.
    fn check_ends(&self) {
        let state = self.state();
        assert!(matches!(state.job_phase(), JobPhase::Closed { .. }), "{:?}", state.job_phase());
        if state.landing.base_gate != longhaul_coordinator::core::BaseGate::Green {
            assert_eq!(state.spend.attempts, 0, "something was spent on a red base");
            return;
        }
        for node in state.nodes() {
            match state.subtask(node).phase() {
                Phase::Landed(landed) => {
                    let judged = self.green.contains(&landed.merge);
                    assert!(judged, "{node} landed in {}, which no gate passed", landed.merge);
                }
                Phase::Unchanged => assert!(self.model.behaviour(node).idle, "{node} had something to change"),
                Phase::Closed { reason, .. } => assert!(!reason.is_empty(), "{node} is closed without a reason"),
                phase => panic!("{node} is left {phase:?} in a closed job"),
            }
        }
    }
}

/// What the journal tells.
#[derive(Default)]
struct History {
    state: State,
    /// Results that are on record.
    kept: BTreeSet<u64>,
    spares: BTreeSet<u64>,
    /// Commits with a green gate on record.
    green: BTreeSet<Oid>,
    /// First-parent commits of the branch by what they stand on.
    chain: BTreeMap<Oid, Oid>,
    landed: BTreeSet<u32>,
}

impl History {
    fn see(&mut self, record: &Record, model: &Model) {
        let event = record.event.as_ref().expect("an event");
        assert!(record.at_ms >= self.state.now_ms(), "time went back at record {}", record.seq);
        assert_eq!(record.seq, self.state.seq() + 1, "a gap in the journal");
        let mut asked = None;
        match event {
            Event::Delivered(event) => {
                self.kept.insert(event.attempt);
                self.answered(NodeId(event.node), model);
            }
            Event::Unchanged(event) => {
                self.kept.insert(event.attempt);
                self.answered(NodeId(event.node), model);
            }
            Event::AttemptFailed(event) => {
                self.kept.insert(event.attempt);
                let failure = event.failure.as_ref().filter(|failure| failure.class() == FailureClass::Asked);
                asked = failure.map(|_| (NodeId(event.node), self.state.subtask(NodeId(event.node)).tries));
                let waits = self.state.asks(NodeId(event.node)).filter(|_| asked.is_some());
                let same = waits.is_none_or(|(park, _)| event.next() != Next::Park || event.park == park.0);
                assert!(same, "what {} waited with is parked under {}: {waits:?}", event.node, event.park);
            }
            Event::Split(event) => drop(self.kept.insert(event.attempt)),
            Event::AttemptTold(event) => {
                let (park, _) = self.state.asks(NodeId(event.node)).expect("it waits with a question");
                assert_eq!((event.by.as_str(), event.park), (PERSON, park.0), "told by nobody");
            }
            Event::Woken(event) => {
                let asks = self.state.asks(NodeId(event.node)).is_some();
                assert!(!asks || event.by == PERSON, "a question is answered by {}", event.by);
            }
            Event::SpareKept(event) => drop(self.spares.insert(event.attempt)),
            // A gate that a leaving worker handed back.
            Event::GateLost(event) => drop(self.kept.insert(event.gate)),
            Event::GateDone(event) => {
                self.kept.insert(event.gate);
                let run = &self.state.landing.gates[&GateId(event.gate)];
                if event.result.as_ref().is_some_and(|result| result.verdict() == Verdict::Green) {
                    self.green.insert(run.commit);
                }
            }
            Event::Landed(event) => self.landed(event.batch),
            _ => {}
        }
        self.state.apply(record.seq, record.at_ms, event).expect("a history that can be applied");
        if let Some((node, tries)) = asked {
            assert_eq!(self.state.subtask(node).tries, tries, "a question of {node} cost an attempt");
        }
    }

    /// Whoever has to ask first has an answer, and from a person.
    fn answered(&self, node: NodeId, model: &Model) {
        let Some(question) = model.question(node) else { return };
        let decisions: Vec<_> = self.state.decisions(node).cloned().collect();
        let decision = settled(&decisions, &question);
        assert!(decision.is_some_and(|decision| decision.by == PERSON), "{node} went on without an answer");
    }

    fn landed(&mut self, id: u64) {
        let batch = self.state.landing.batch.as_ref().expect("a batch");
        assert_eq!(batch.id.0, id, "another batch lands");
        assert!(self.green.contains(&batch.merge.commit), "batch {id} lands ungated");
        let before = self.chain.insert(batch.merge.commit, batch.tip);
        assert!(before.is_none(), "one merge lands twice");
        let on_branch = batch.tip == BASE || self.chain.contains_key(&batch.tip);
        assert!(on_branch, "batch {id} stands on what is not on the branch");
        for &node in &batch.members {
            assert!(self.landed.insert(node.0), "{node} lands twice");
        }
    }
}
