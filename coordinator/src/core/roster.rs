//! Who has a free slot, best first: kept up with every presence and lease, because a fleet of a
//! thousand must not be walked for each assignment.
//!
//! Volatile like the fleet. Whether a worker was heard lately, or is in quarantine, depends on the
//! time and is asked by whoever reads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::WorkerView;

/// What one worker offers and what is taken of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Offer {
    /// Slots for work; none while it takes nothing new.
    slots: usize,
    /// Whether it takes gates at the moment.
    gates: bool,
    warm: bool,
    used: usize,
}

impl Offer {
    fn free(&self) -> usize {
        self.slots.saturating_sub(self.used)
    }
}

/// Free slots of all workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Roster {
    offers: BTreeMap<String, Offer>,
    /// Warm ones above others, then the most free slots, then the first by name.
    free: BTreeSet<(bool, usize, Reverse<String>)>,
    /// Those that take gates: whether it is cold, then its name.
    gates: BTreeSet<(bool, String)>,
    /// Of all workers together, taken or free.
    slots: usize,
}

impl Roster {
    fn change(&mut self, worker: &str, change: impl FnOnce(&mut Offer)) {
        let mut offer = self.offers.remove(worker).unwrap_or_default();
        let (before, gated) = ((offer.warm, offer.free()), offer.gates);
        let slots = offer.slots;
        change(&mut offer);
        self.slots = self.slots - slots + offer.slots;
        let after = (offer.warm, offer.free());
        if before != after {
            if before.1 > 0 {
                self.free.remove(&(before.0, before.1, Reverse(worker.to_owned())));
            }
            if after.1 > 0 {
                self.free.insert((after.0, after.1, Reverse(worker.to_owned())));
            }
        }
        if (gated, before.0) != (offer.gates, offer.warm) {
            self.gates.remove(&(!before.0, worker.to_owned()));
            if offer.gates {
                self.gates.insert((!offer.warm, worker.to_owned()));
            }
        }
        if offer != Offer::default() {
            self.offers.insert(worker.to_owned(), offer);
        }
    }

    /// A worker said what it offers.
    pub fn heard(&mut self, worker: &str, view: &WorkerView) {
        let takes = view.unavailable.is_empty();
        let slots = if takes { view.work_slots as usize } else { 0 };
        let (gates, warm) = (takes && view.gate_slots > 0, view.warm);
        self.change(worker, |offer| (offer.slots, offer.gates, offer.warm) = (slots, gates, warm));
    }

    /// An attempt was given to it.
    pub fn took(&mut self, worker: &str) {
        self.change(worker, |offer| offer.used += 1);
    }

    /// An attempt on it ended.
    pub fn gave_back(&mut self, worker: &str) {
        self.change(worker, |offer| offer.used = offer.used.saturating_sub(1));
    }

    /// Counts anew: these attempts are live, by their workers.
    pub fn recount<'a>(&mut self, live: impl Iterator<Item = &'a str>) {
        let used: Vec<String> = self.offers.keys().cloned().collect();
        used.iter().for_each(|worker| self.change(worker, |offer| offer.used = 0));
        live.for_each(|worker| self.took(worker));
    }

    /// Slots for work of all that take any, taken or free.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Those that take gates, warm ones first, then by name.
    pub fn gates(&self) -> impl Iterator<Item = &str> {
        self.gates.iter().map(|(_, name)| name.as_str())
    }

    /// Those with a free slot, best first.
    pub fn free(&self) -> impl Iterator<Item = &str> {
        self.free.iter().rev().map(|(_, _, Reverse(name))| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(work_slots: u32, warm: bool) -> WorkerView {
        WorkerView { work_slots, warm, ..WorkerView::default() }
    }

    #[test]
    fn warm_ones_first_then_the_freest_then_by_name() {
        let mut roster = Roster::default();
        for (name, slots, warm) in [("c", 4, false), ("b", 4, false), ("a", 1, true), ("d", 0, true)] {
            roster.heard(name, &view(slots, warm));
        }
        assert!(roster.free().eq(["a", "b", "c"]));
        roster.took("a");
        roster.took("b");
        assert!(roster.free().eq(["c", "b"]));
        roster.heard("c", &WorkerView { unavailable: "it is draining".into(), ..view(4, false) });
        roster.gave_back("a");
        assert!(roster.free().eq(["a", "b"]));
    }

    #[test]
    fn gates_go_to_warm_ones_first_and_to_none_that_takes_nothing() {
        let gates = |warm| WorkerView { gate_slots: 1, warm, ..WorkerView::default() };
        let mut roster = Roster::default();
        for (name, warm) in [("c", true), ("b", false), ("a", false)] {
            roster.heard(name, &gates(warm));
        }
        roster.heard("none", &view(3, true));
        assert!(roster.gates().eq(["c", "a", "b"]));
        roster.heard("b", &gates(true));
        roster.heard("c", &WorkerView { unavailable: "it is draining".into(), ..gates(true) });
        assert!(roster.gates().eq(["b", "a"]));
        roster.heard("b", &WorkerView::default());
        assert!(roster.gates().eq(["a"]));
    }

    #[test]
    fn counted_anew_it_is_the_same() {
        let mut roster = Roster::default();
        roster.took("early");
        roster.heard("early", &view(2, false));
        roster.heard("idle", &view(1, false));
        let before = roster.clone();
        roster.recount(["early"].into_iter());
        assert_eq!(roster, before);
        roster.recount(std::iter::empty());
        assert!(roster.free().eq(["early", "idle"]));
    }
}
