//! Workers on which everything fails.
//!
//! A worker whose last [`STREAK_MAX`] executions all failed, over several subtasks, while another
//! worker succeeds, is quarantined: it gets nothing more of this job for a time that doubles with
//! each quarantine. Without another worker that succeeds, the job may be at fault as well, and
//! nobody is quarantined.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::text::clip_head;
use longhaul_proto::WorkerQuarantined;
use serde::{Deserialize, Serialize};

use super::Millis;

/// Failures in a row before a worker is quarantined.
pub const STREAK_MAX: u32 = 5;

/// Different subtasks (or gates) they must be spread over.
pub const SPREAD_MIN: usize = 3;

/// First quarantine; it doubles with each.
pub const QUARANTINE_MS: Millis = 600_000;

/// Longest quarantine.
pub const QUARANTINE_MS_MAX: Millis = 4 * 3_600_000;

/// Longest cause that is kept, in bytes.
const CAUSE_BYTES_MAX: usize = 300;

/// How one worker has fared in this job.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    /// Failures since its last success.
    pub streak: u32,
    /// The different subtasks among them, at most [`SPREAD_MIN`]; each gate counts as one more.
    failed: BTreeSet<u32>,
    /// Executions that succeeded.
    pub successes: u64,
    /// The last failure, in words.
    pub cause: String,
    /// Quarantines so far.
    pub quarantines: u32,
    /// In quarantine until then; 0 when it is not.
    pub until_ms: Millis,
    /// Why it is.
    pub reason: String,
}

/// All workers that executed anything of this job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Health>", into = "BTreeMap<String, Health>")]
pub struct Infirmary {
    all: BTreeMap<String, Health>,
    /// Those with a streak, so that nobody walks a large fleet of healthy ones.
    sick: BTreeSet<String>,
}

impl From<BTreeMap<String, Health>> for Infirmary {
    fn from(all: BTreeMap<String, Health>) -> Self {
        let sick = all.iter().filter(|(_, health)| health.is_sick()).map(|(name, _)| name.clone()).collect();
        Self { all, sick }
    }
}

impl From<Infirmary> for BTreeMap<String, Health> {
    fn from(infirmary: Infirmary) -> Self {
        infirmary.all
    }
}

impl Health {
    fn is_sick(&self) -> bool {
        self.streak >= STREAK_MAX && self.failed.len() >= SPREAD_MIN
    }
}

impl Infirmary {
    /// A worker as it fared.
    pub fn of(&self, worker: &str) -> Option<&Health> {
        self.all.get(worker)
    }

    /// Whether a worker is in quarantine.
    pub fn is_quarantined(&self, worker: &str, now: Millis) -> bool {
        self.all.get(worker).is_some_and(|health| health.until_ms > now)
    }

    /// Those in quarantine, with the reason.
    pub fn quarantined(&self, now: Millis) -> impl Iterator<Item = (&str, &Health)> {
        self.all.iter().filter(move |(_, health)| health.until_ms > now).map(|(name, health)| (name.as_str(), health))
    }

    fn change(&mut self, worker: &str, change: impl FnOnce(&mut Health)) {
        let health = self.all.entry(worker.to_owned()).or_default();
        change(health);
        match health.is_sick() {
            true => _ = self.sick.insert(worker.to_owned()),
            false => _ = self.sick.remove(worker),
        }
    }

    pub(super) fn succeeded(&mut self, worker: &str) {
        self.change(worker, |health| {
            health.streak = 0;
            health.failed.clear();
            health.successes += 1;
            health.cause.clear();
        });
    }

    /// `what` is the subtask, or `u32::MAX` for a gate.
    pub(super) fn failed(&mut self, worker: &str, what: u32, cause: &str) {
        self.change(worker, |health| {
            health.streak = health.streak.saturating_add(1);
            if health.failed.len() < SPREAD_MIN {
                health.failed.insert(what);
            }
            clip_head(cause, CAUSE_BYTES_MAX).clone_into(&mut health.cause);
        });
    }

    pub(super) fn quarantine(&mut self, event: &WorkerQuarantined) {
        self.change(&event.worker, |health| {
            health.quarantines += 1;
            health.until_ms = event.until_ms;
            health.reason.clone_from(&event.reason);
            // One more failure after the quarantine brings the next.
            health.streak = STREAK_MAX - 1;
        });
    }

    pub(super) fn release(&mut self, worker: &str) {
        if self.all.contains_key(worker) {
            self.change(worker, |health| {
                (health.until_ms, health.streak, health.quarantines) = (0, 0, 0);
                health.reason.clear();
                health.failed.clear();
            });
        }
    }

    /// The quarantine that is due, if one is. `present` says whether a worker is there.
    pub(super) fn due(&self, now: Millis, present: impl Fn(&str) -> bool) -> Option<WorkerQuarantined> {
        let mut sick = self.sick.iter().filter_map(|name| Some((name, self.all.get(name)?)));
        let (worker, health) = sick.find(|(_, health)| health.until_ms <= now)?;
        let well = |(name, other): (&String, &Health)| {
            name != worker && other.streak == 0 && other.successes > 0 && other.until_ms <= now && present(name)
        };
        self.all.iter().any(well).then(|| WorkerQuarantined {
            worker: worker.clone(),
            reason: format!("the last {} executions on it failed, others succeed: {}", health.streak, health.cause),
            until_ms: now + (QUARANTINE_MS << health.quarantines.min(8)).min(QUARANTINE_MS_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(streak: u32, spread: u32, other_well: bool) -> Option<WorkerQuarantined> {
        let mut all = Infirmary::default();
        if other_well {
            all.succeeded("well");
        }
        (0..streak).for_each(|at| all.failed("sick", at % spread, "no compiler"));
        all.due(1_000, |_| true)
    }

    #[test]
    fn only_a_worker_that_fails_everything_beside_one_that_does_not() {
        let due = check(STREAK_MAX, 3, true).expect("quarantined");
        assert_eq!((due.worker.as_str(), due.until_ms), ("sick", 1_000 + QUARANTINE_MS));
        assert!(due.reason.contains("no compiler"), "{}", due.reason);
        assert_eq!(check(STREAK_MAX - 1, 3, true), None);
        assert_eq!(check(STREAK_MAX * 4, 1, true), None, "one bad subtask is the subtask's fault");
        assert_eq!(check(STREAK_MAX, 3, false), None, "nobody shows that it can be done");
    }

    #[test]
    fn a_quarantine_ends_doubles_and_can_be_lifted() {
        let mut all = Infirmary::default();
        all.succeeded("well");
        (0..STREAK_MAX).for_each(|at| all.failed("sick", at, "x"));
        let first = all.due(0, |_| true).expect("due");
        all.quarantine(&first);
        assert!(all.is_quarantined("sick", QUARANTINE_MS - 1) && !all.is_quarantined("sick", QUARANTINE_MS));
        assert_eq!(all.due(QUARANTINE_MS, |_| true), None, "it gets another chance");
        all.failed("sick", 9, "x");
        let second = all.due(QUARANTINE_MS, |_| true).expect("due");
        assert_eq!(second.until_ms, QUARANTINE_MS + 2 * QUARANTINE_MS);
        all.quarantine(&second);
        all.release("sick");
        assert!(!all.is_quarantined("sick", QUARANTINE_MS + 1));
    }
}
