//! Attempts under lease, findable by id and by worker, and those whose lease was lost.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::{AttemptId, NodeId, Oid, ParkId};
use longhaul_proto::Question;
use serde::{Deserialize, Serialize};

use super::Millis;

/// What the agent of a live attempt asks a person, its session waiting.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asks {
    /// When, by its worker's clock: what is not later is known.
    pub asked_ms: i64,
    /// How many questions of the attempt there were.
    pub count: u32,
    /// Under which it is answered.
    pub park: ParkId,
    /// The question; `None` when it goes on without an answer.
    pub question: Option<Question>,
    /// Which of the job's decisions it is told.
    pub told: Option<u32>,
}

impl Asks {
    /// The question that nobody has answered.
    pub fn open(&self) -> Option<&Question> {
        self.question.as_ref().filter(|_| self.told.is_none())
    }
}

/// An attempt under lease.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LiveAttempt {
    /// Whose.
    pub node: NodeId,
    /// Who works on it.
    pub worker: String,
    /// What it starts from.
    pub base: Oid,
    /// Since when.
    pub since_ms: Millis,
    /// What it asked last.
    pub asks: Option<Box<Asks>>,
}

/// An attempt whose lease expired and whose node may still want its result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LostAttempt {
    /// Whose.
    pub node: NodeId,
    /// Who worked on it: only this worker may still answer for it.
    pub worker: String,
    /// What it started from.
    pub base: Oid,
}

/// Who may deliver a result under an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This worker: it is live, or its lease was lost and its result may still be wanted.
    Worker(String),
    /// Nobody any more: it ended. What comes for it is answered `closed` and changes nothing.
    Past,
    /// This job never assigned it.
    Unknown,
}

/// All attempts under lease.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<AttemptId, LiveAttempt>", into = "BTreeMap<AttemptId, LiveAttempt>")]
pub struct LiveAttempts {
    by_id: BTreeMap<AttemptId, LiveAttempt>,
    by_worker: BTreeMap<String, BTreeSet<AttemptId>>,
}

impl From<BTreeMap<AttemptId, LiveAttempt>> for LiveAttempts {
    fn from(by_id: BTreeMap<AttemptId, LiveAttempt>) -> Self {
        let mut live = Self::default();
        by_id.into_iter().for_each(|(id, attempt)| live.insert(id, attempt));
        live
    }
}

impl From<LiveAttempts> for BTreeMap<AttemptId, LiveAttempt> {
    fn from(live: LiveAttempts) -> Self {
        live.by_id
    }
}

impl LiveAttempts {
    /// Notes a new one.
    pub fn insert(&mut self, id: AttemptId, attempt: LiveAttempt) {
        self.by_worker.entry(attempt.worker.clone()).or_default().insert(id);
        self.by_id.insert(id, attempt);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &AttemptId) -> Option<LiveAttempt> {
        let attempt = self.by_id.remove(id)?;
        if let Some(ids) = self.by_worker.get_mut(&attempt.worker) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_worker.remove(&attempt.worker);
            }
        }
        Some(attempt)
    }

    /// What one asked last, to be changed.
    pub fn asks_mut(&mut self, id: &AttemptId) -> Option<&mut Option<Box<Asks>>> {
        self.by_id.get_mut(id).map(|live| &mut live.asks)
    }

    /// Those of one worker.
    pub fn on(&self, worker: &str) -> impl Iterator<Item = AttemptId> + '_ {
        self.by_worker.get(worker).into_iter().flatten().copied()
    }

    /// How many one worker has.
    pub fn count_on(&self, worker: &str) -> usize {
        self.by_worker.get(worker).map_or(0, BTreeSet::len)
    }

    /// All, by id.
    pub fn all(&self) -> &BTreeMap<AttemptId, LiveAttempt> {
        &self.by_id
    }
}

impl std::ops::Deref for LiveAttempts {
    type Target = BTreeMap<AttemptId, LiveAttempt>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree_after_any_change() {
        let attempt = |worker: &str| LiveAttempt {
            node: NodeId(0),
            worker: worker.to_owned(),
            base: Oid::ZERO,
            since_ms: 0,
            asks: None,
        };
        let mut live = LiveAttempts::default();
        live.insert(AttemptId(1), attempt("a"));
        live.insert(AttemptId(2), attempt("a"));
        live.insert(AttemptId(3), attempt("b"));
        live.remove(&AttemptId(1));
        assert_eq!((live.count_on("a"), live.count_on("b"), live.len()), (1, 1, 2));
        let bytes = postcard::to_stdvec(&live).expect("serialisable");
        assert_eq!(postcard::from_bytes::<LiveAttempts>(&bytes).expect("read back"), live);
        live.remove(&AttemptId(2));
        assert_eq!(live.on("a").count(), 0);
    }
}
