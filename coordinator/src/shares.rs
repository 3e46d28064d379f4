//! What of one job is live on which worker, kept up by differences: with thousands of live
//! attempts neither a commit nor a presence may walk all of them in detail.

use std::collections::BTreeMap;

use crate::changes::differences;
use crate::core::State;

/// What is live of one job, by id and by worker. A gate takes a gate's slot, not one for work.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    work: BTreeMap<u64, String>,
    gates: BTreeMap<u64, String>,
    /// Each worker's, and whether it is a gate.
    on: BTreeMap<String, BTreeMap<u64, bool>>,
    /// The job names providers of models.
    asks: bool,
}

impl Shares {
    fn of(&mut self, gate: bool) -> &mut BTreeMap<u64, String> {
        if gate { &mut self.gates } else { &mut self.work }
    }

    /// Something is live on a worker.
    pub(crate) fn put(&mut self, id: u64, worker: &str, gate: bool) {
        self.of(gate).insert(id, worker.to_owned());
        self.on.entry(worker.to_owned()).or_default().insert(id, gate);
    }

    fn take(&mut self, id: u64, gate: bool) {
        let Some(worker) = self.of(gate).remove(&id) else { return };
        if let Some(theirs) = self.on.get_mut(&worker) {
            theirs.remove(&id);
            if theirs.is_empty() {
                self.on.remove(&worker);
            }
        }
    }

    /// Makes it the state's; gives the ids that are over.
    pub(crate) fn follow(&mut self, state: &State) -> Vec<u64> {
        self.asks = !state.plan().providers.is_empty();
        let (mut over, work) = differences(self.work.keys().copied(), state.attempts().keys().map(|id| id.0));
        let (past, gates) = differences(self.gates.keys().copied(), state.landing.gates.keys().map(|id| id.0));
        over.iter().for_each(|&id| self.take(id, false));
        past.iter().for_each(|&id| self.take(id, true));
        for (id, gate) in work.into_iter().map(|id| (id, false)).chain(gates.into_iter().map(|id| (id, true))) {
            self.put(id, state.live_worker(id).unwrap_or_default(), gate);
        }
        over.extend(past);
        over
    }

    /// Whether an id is live on a worker.
    pub(crate) fn is_on(&self, id: u64, worker: &str) -> bool {
        self.on.get(worker).is_some_and(|theirs| theirs.contains_key(&id))
    }

    /// On which worker an id is live.
    pub(crate) fn worker_of(&self, id: u64) -> Option<&str> {
        self.work.get(&id).or_else(|| self.gates.get(&id)).map(String::as_str)
    }

    /// Workers on which work is live that may ask models.
    pub(crate) fn askers(&self) -> impl Iterator<Item = &str> {
        let asks = |theirs: &BTreeMap<u64, bool>| self.asks && theirs.values().any(|gate| !gate);
        self.on.iter().filter(move |(_, theirs)| asks(theirs)).map(|(worker, _)| worker.as_str())
    }

    /// How many are live.
    pub(crate) fn len(&self) -> usize {
        self.work.len() + self.gates.len()
    }

    /// A worker's, and whether each is a gate.
    pub(crate) fn on(&self, worker: &str) -> impl Iterator<Item = (u64, bool)> + '_ {
        self.on.get(worker).into_iter().flatten().map(|(&id, &gate)| (id, gate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_state_does_not_have_is_over() {
        let mut shares = Shares::default();
        shares.put(1, "a", false);
        shares.put(2, "a", true);
        assert!(shares.on("a").eq([(1, false), (2, true)]));
        assert_eq!((shares.worker_of(2), shares.worker_of(3)), (Some("a"), None));
        assert_eq!(shares.askers().count(), 0, "the job asks no models");
        shares.asks = true;
        assert!(shares.askers().eq(["a"]), "gates ask none");
        assert_eq!(shares.follow(&State::default()), [1, 2]);
        assert_eq!(shares.on("a").count(), 0);
    }
}
