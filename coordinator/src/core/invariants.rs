//! What must hold after every event; checked in tests and simulation.

use std::collections::BTreeSet;

use longhaul_common::NodeId;

use super::derived::Derived;
use super::landing::Step;
use super::{Phase, PhaseKind, State};

impl State {
    /// Checks every invariant the state alone can show.
    ///
    /// # Panics
    /// When one does not hold: a defect of the core.
    pub fn assert_invariants(&self) {
        self.assert_attempts();
        self.assert_queues();
        self.assert_derived();
        self.assert_dependencies();
    }

    fn assert_attempts(&self) {
        for node in self.nodes() {
            if let Phase::Running { attempt } = self.subtask(node).phase() {
                let live = self.attempts.get(attempt).expect("a running subtask has a live attempt");
                assert_eq!(live.node, node, "attempt {attempt} is of another subtask");
            }
        }
        for (id, live) in self.attempts.all() {
            let running = matches!(self.subtask(live.node).phase(), Phase::Running { attempt } if attempt == id);
            assert!(running, "live attempt {id} of {} which is {:?}", live.node, self.subtask(live.node).phase());
        }
        assert!(self.limits.attempts == 0 || self.spend.attempts <= self.limits.attempts, "attempts over the cap");
        assert!(self.spend.adds_up(), "the books do not add up: {:?}", self.spend);
        let (total, limits) = (self.spend.total(), &self.limits);
        if self.spend.breaches().1 == 0 {
            assert!(limits.tokens == 0 || total.tokens <= limits.tokens, "tokens over the cap");
            assert!(limits.usd_micros == 0 || total.usd_micros <= limits.usd_micros, "money over the cap");
        }
    }

    /// Every delivered result is in exactly one queue, every landing one in the batch.
    fn assert_queues(&self) {
        let mut queued: Vec<NodeId> = self.landing.queue.iter().copied().collect();
        queued.extend(self.landing.segments.iter().flatten().copied());
        queued.extend(self.groups.values().flat_map(|group| group.order.iter().copied()));
        let unique: BTreeSet<NodeId> = queued.iter().copied().collect();
        assert_eq!(unique.len(), queued.len(), "a result is queued twice: {queued:?}");
        for node in self.nodes() {
            match self.subtask(node).phase() {
                Phase::Delivered { .. } => assert!(unique.contains(&node), "{node} is delivered and in no queue"),
                Phase::Landing { batch, .. } => {
                    let current = self.batch(*batch).expect("a landing subtask has a batch");
                    assert!(current.members.contains(&node), "{node} is not in its batch");
                }
                phase => assert!(!unique.contains(&node), "{node} is queued and {phase:?}"),
            }
        }
        if let Some(batch) = &self.landing.batch {
            assert_eq!(batch.tip, self.landing.tip, "a batch on another tip");
            if matches!(batch.step, Step::Moving) {
                assert!(batch.green.is_some(), "the branch moves without a green gate");
            }
        }
    }

    fn assert_derived(&self) {
        let mut copy = self.clone();
        copy.derived = Derived::default();
        copy.rebuild().expect("the open plan is a graph");
        assert_eq!(copy.derived.ready, self.derived.ready, "ready set");
        assert_eq!(copy.derived.backoff, self.derived.backoff, "backoff set");
        assert_eq!(copy.derived.counts, self.derived.counts, "counts");
        assert!(copy.derived.held.holders().eq(self.derived.held.holders()), "held footprints");
        assert_eq!(copy.derived.doomed, self.derived.doomed, "doomed");
        assert_eq!(copy.fleet.roster, self.fleet.roster, "free slots");
    }

    /// Nothing runs or lands before what it depends on.
    fn assert_dependencies(&self) {
        for node in self.nodes() {
            let kind = self.subtask(node).phase().kind();
            if !matches!(kind, PhaseKind::Running | PhaseKind::Ready | PhaseKind::Landed) {
                continue;
            }
            for dep in self.outside_deps(node) {
                let dep = self.subtask(dep).phase();
                let reverting = dep.candidate().is_some_and(|candidate| candidate.reverts.is_some());
                let fine = dep.kind().is_terminal() || reverting;
                assert!(fine, "{node} is {kind:?} while its dependency is {dep:?}");
            }
        }
    }
}
