//! The books of attempts: what each took, of time and of the budget.

use longhaul_common::{AttemptId, NodeId};
use longhaul_proto as pb;

use super::ApplyError;
use crate::core::Millis;
use crate::core::recent::Ended;
use crate::core::retry;
use crate::core::spend::Amount;
use crate::core::state::State;

/// What the end of an attempt says for the books.
pub(super) struct Books {
    pub usage: Option<pb::Usage>,
    pub timing: Option<pb::Timing>,
    /// As `FailureClass`; 0 for a result.
    pub class: i32,
}

impl State {
    /// Ends an attempt's lease and books its time, its cost and how it ended; gives the worker, if it
    /// is known.
    pub(super) fn end_attempt(&mut self, id: u64, node: NodeId, books: Books) -> String {
        let attempt = AttemptId(id);
        self.fleet.forget(id);
        let Books { usage, timing, class } = books;
        let (now, usage) = (self.now_ms, usage.unwrap_or_default());
        let asked_ms = timing.map_or(0, |timing| timing.asked_ms);
        let worked = |since: Millis| u64::try_from(now - since).unwrap_or(0).saturating_sub(asked_ms);
        let lost = self.lost.remove(&attempt).map(|lost| lost.worker);
        let (worker, since) = match self.end_live(attempt) {
            Some(live) => {
                if retry::is_telling(pb::FailureClass::try_from(class).unwrap_or_default()) {
                    let ms = worked(live.since_ms);
                    let used = Amount::from(usage);
                    let peak = usage.peak.map(Amount::from).unwrap_or_default().max(used);
                    self.recent.note(Ended { class, ms, used, peak });
                }
                (live.worker, live.since_ms)
            }
            None => (lost.unwrap_or_default(), now),
        };
        self.settle(attempt, node, &usage);
        let subtask = &mut self.subtasks[node.index()];
        subtask.spent_ms += worked(since);
        subtask.finished_ms = now;
        worker
    }

    /// Closes a reservation and books what was used on the subtask.
    pub(super) fn settle(&mut self, attempt: AttemptId, node: NodeId, usage: &pb::Usage) {
        self.spend.settle(attempt, usage, &self.limits);
        let subtask = &mut self.subtasks[node.index()];
        subtask.tokens = subtask.tokens.saturating_add(usage.tokens);
        subtask.usd_micros = subtask.usd_micros.saturating_add(usage.usd_micros);
    }

    /// What was in doubt is known, or given up by a person.
    pub(super) fn spend_settled(&mut self, event: &pb::SpendSettled) -> Result<(), ApplyError> {
        let attempt = AttemptId(event.attempt);
        if !event.written_off_by.is_empty() {
            self.spend.write_off(attempt);
            return Ok(());
        }
        // It has reported: another result of it would be paid for twice.
        self.lost.remove(&attempt);
        let usage = event.usage.unwrap_or_default();
        let subtask = self.spend.unsettled(attempt).map(|reservation| reservation.subtask.clone());
        match subtask.and_then(|id| self.find(&id)) {
            Some(node) => self.settle(attempt, node, &usage),
            // The open plan has no such subtask any more; the job paid for it all the same.
            None => self.spend.settle(attempt, &usage, &self.limits),
        }
        Ok(())
    }
}
