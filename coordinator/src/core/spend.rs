//! What a job may spend and has spent.
//!
//! Settled + reserved + in doubt never exceeds the cap: a reservation is made with the assignment,
//! settled by the report, and stays in doubt, counted in full, when the lease expires without one.

use std::collections::BTreeMap;

use longhaul_common::AttemptId;
use longhaul_proto::{Budget, Usage};
use serde::{Deserialize, Serialize};

/// An amount of what can run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Model tokens.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub usd_micros: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            usd_micros: self.usd_micros.saturating_add(other.usd_micros),
        }
    }
}

impl From<Usage> for Amount {
    fn from(usage: Usage) -> Self {
        Self { tokens: usage.tokens, usd_micros: usage.usd_micros }
    }
}

/// The ledger's totals and its open reservations.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spend {
    /// Reported.
    pub settled: Amount,
    reserved: BTreeMap<AttemptId, Amount>,
    in_doubt: BTreeMap<AttemptId, Amount>,
    /// Executions begun.
    pub attempts: u64,
}

impl Spend {
    /// Opens a reservation.
    pub fn reserve(&mut self, attempt: AttemptId, amount: Amount) {
        self.attempts += 1;
        self.reserved.insert(attempt, amount);
    }

    /// Closes a reservation, in doubt or not, with what was really used.
    pub fn settle(&mut self, attempt: AttemptId, used: Amount) {
        self.reserved.remove(&attempt);
        self.in_doubt.remove(&attempt);
        self.settled = self.settled.plus(used);
    }

    /// The lease ended without a report: counted in full until one comes.
    pub fn doubt(&mut self, attempt: AttemptId) {
        if let Some(amount) = self.reserved.remove(&attempt) {
            self.in_doubt.insert(attempt, amount);
        }
    }

    /// Settled, reserved and in doubt together.
    pub fn total(&self) -> Amount {
        self.reserved.values().chain(self.in_doubt.values()).fold(self.settled, |sum, &amount| sum.plus(amount))
    }

    /// What stands in the way of reserving `next`, if anything does; `active_ms` is the time the
    /// job has been worked on.
    pub fn refuses(&self, budget: &Budget, next: Amount, active_ms: u64) -> Option<String> {
        let after = self.total().plus(next);
        let over = |used: u64, cap: u64| cap > 0 && used > cap;
        if over(after.tokens, budget.tokens) {
            Some(format!("the budget of {} tokens is used up", budget.tokens))
        } else if over(after.usd_micros, budget.usd_micros) {
            Some(format!("the budget of ${:.2} is used up", budget.usd_micros as f64 / 1e6))
        } else if over(self.attempts + 1, budget.attempts) {
            Some(format!("the budget of {} attempts is used up", budget.attempts))
        } else if budget.wall_ms > 0 && active_ms >= budget.wall_ms {
            Some(format!("the budget of {:.1} hours is used up", budget.wall_ms as f64 / 3_600_000.0))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_counts_in_full_until_reported() {
        let budget = Budget { tokens: 100, ..Budget::default() };
        let ask = |tokens| Amount { tokens, usd_micros: 0 };
        let mut spend = Spend::default();
        spend.reserve(AttemptId(1), ask(60));
        assert!(spend.refuses(&budget, ask(41), 0).is_some());
        assert!(spend.refuses(&budget, ask(40), 0).is_none());
        spend.doubt(AttemptId(1));
        assert!(spend.refuses(&budget, ask(41), 0).is_some());
        spend.settle(AttemptId(1), ask(10));
        assert_eq!(spend.total(), ask(10));
        assert!(spend.refuses(&budget, ask(90), 0).is_none());
    }

    #[test]
    fn attempts_and_time_have_caps_of_their_own() {
        let budget = Budget { attempts: 1, wall_ms: 1000, ..Budget::default() };
        let mut spend = Spend::default();
        assert!(spend.refuses(&budget, Amount::default(), 999).is_none());
        assert!(spend.refuses(&budget, Amount::default(), 1000).is_some());
        spend.reserve(AttemptId(1), Amount::default());
        assert!(spend.refuses(&budget, Amount::default(), 0).is_some());
    }
}
