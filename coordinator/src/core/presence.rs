//! A worker as one job sees it, and which worker gets what.

use std::collections::BTreeSet;

use super::Millis;

/// One worker as last heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkerView {
    /// Subtasks of this job it can work on at once.
    pub work_slots: u32,
    /// Gates of this job it can run at once.
    pub gate_slots: u32,
    /// Ids of this job it is executing or whose result waits for an ack.
    pub holding: BTreeSet<u64>,
    /// What it can do.
    pub labels: BTreeSet<String>,
    /// Why it takes nothing new (it drains, its disk is full), in words; empty when it does.
    pub unavailable: String,
    /// What its programs are not kept from, in words; empty when all of the sandbox is enforced.
    pub unenforced: String,
    /// Other jobs have something on it: it may have more slots once they are done.
    pub is_shared: bool,
    /// It has the job's repository at hand.
    pub warm: bool,
    /// Differs for every start of its process.
    pub incarnation: u64,
    /// When it was heard.
    pub seen_ms: Millis,
}

impl WorkerView {
    /// Whether it may get what needs these labels.
    pub fn takes(&self, labels: &[String]) -> bool {
        self.unavailable.is_empty() && labels.iter().all(|label| self.labels.contains(label))
    }
}
