//! The books of a job: what its attempts have used, may still use, and may have used.
//!
//! Settled, reserved and in doubt together stay within the caps: an assignment reserves its worst
//! case, its report settles it, and where the lease ends without one it stays in doubt, counted in
//! full, until a late report settles it or a person writes it off. Only who uses more than was
//! reserved can break that; it is a breach, and kept to be shown.

use std::collections::BTreeMap;

use longhaul_common::AttemptId;
use longhaul_proto::{Budget, Peak, Usage};
use serde::{Deserialize, Serialize};

/// Breaches kept one by one; more are counted.
pub const BREACHES_MAX: usize = 100;

/// An amount of what can run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Model tokens.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub usd_micros: u64,
}

impl Amount {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            usd_micros: self.usd_micros.saturating_add(other.usd_micros),
        }
    }

    /// Without the other, at least nothing.
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            usd_micros: self.usd_micros.saturating_sub(other.usd_micros),
        }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self { tokens: self.tokens.max(other.tokens), usd_micros: self.usd_micros.max(other.usd_micros) }
    }

    /// Whether it is nothing at all.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl From<Usage> for Amount {
    fn from(usage: Usage) -> Self {
        Self { tokens: usage.tokens, usd_micros: usage.usd_micros }
    }
}

impl From<Peak> for Amount {
    fn from(peak: Peak) -> Self {
        Self { tokens: peak.tokens, usd_micros: peak.usd_micros }
    }
}

impl From<Amount> for Usage {
    fn from(amount: Amount) -> Self {
        Self { tokens: amount.tokens, usd_micros: amount.usd_micros, ..Self::default() }
    }
}

/// A reservation: how much, whose, and who may answer for it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reservation {
    /// The most it may use.
    pub amount: Amount,
    /// Id of the subtask, which outlives the numbers of a plan.
    pub subtask: String,
    /// Who works or worked on it.
    pub worker: String,
}

/// An attempt that used more than was reserved, or took the job over its cap.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Breach {
    /// Which.
    pub attempt: AttemptId,
    /// Id of its subtask.
    pub subtask: String,
    /// What it might have used.
    pub reserved: Amount,
    /// What it says it used.
    pub used: Amount,
}

/// The ledger's totals and its open reservations.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spend {
    settled: Amount,
    reserved: BTreeMap<AttemptId, Reservation>,
    in_doubt: BTreeMap<AttemptId, Reservation>,
    /// In doubt until a person gave it up; a report may still come.
    written_off: BTreeMap<AttemptId, Reservation>,
    /// The sums of `reserved` and `in_doubt`, which every assignment asks for.
    held: Amount,
    doubted: Amount,
    /// Executions begun that count.
    pub attempts: u64,
    /// Some usage was an agent's own word.
    observed: bool,
    breaches: Vec<Breach>,
    breaches_total: u64,
}

impl Spend {
    /// Opens a reservation.
    pub fn reserve(&mut self, attempt: AttemptId, reservation: Reservation) {
        self.attempts += 1;
        self.held = self.held.plus(reservation.amount);
        self.reserved.insert(attempt, reservation);
    }

    /// What was begun turned out not to count.
    pub fn give_back(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// Closes a reservation, in doubt or not, with what was really used. Also what reserved nothing
    /// is paid for.
    pub fn settle(&mut self, attempt: AttemptId, usage: &Usage, limits: &Budget) {
        let reservation = self.take(attempt).unwrap_or_else(|| {
            // What was written off may be promised to others by now.
            let given_up = self.written_off.remove(&attempt).unwrap_or_default();
            Reservation { amount: Amount::default(), ..given_up }
        });
        let used = Amount::from(*usage);
        self.settled = self.settled.plus(used);
        self.observed |= usage.observed;
        let (reserved, total) = (reservation.amount, self.total());
        let breached = |used: u64, reserved: u64, cap: u64, total: u64| {
            used > 0 && if reserved > 0 { used > reserved } else { cap > 0 && total > cap }
        };
        if breached(used.tokens, reserved.tokens, limits.tokens, total.tokens)
            || breached(used.usd_micros, reserved.usd_micros, limits.usd_micros, total.usd_micros)
        {
            self.breaches_total += 1;
            if self.breaches.len() < BREACHES_MAX {
                self.breaches.push(Breach { attempt, subtask: reservation.subtask, reserved, used });
            }
        }
    }

    fn take(&mut self, attempt: AttemptId) -> Option<Reservation> {
        if let Some(reservation) = self.reserved.remove(&attempt) {
            self.held = self.held.minus(reservation.amount);
            return Some(reservation);
        }
        let reservation = self.in_doubt.remove(&attempt)?;
        self.doubted = self.doubted.minus(reservation.amount);
        Some(reservation)
    }

    /// The lease ended without a report: counted in full until one comes. What reserved nothing
    /// leaves nothing in doubt, and a late report of it still counts.
    pub fn doubt(&mut self, attempt: AttemptId) {
        let Some(reservation) = self.reserved.remove(&attempt) else { return };
        self.held = self.held.minus(reservation.amount);
        if !reservation.amount.is_zero() {
            self.doubted = self.doubted.plus(reservation.amount);
            self.in_doubt.insert(attempt, reservation);
        } else {
            self.written_off.insert(attempt, reservation);
        }
    }

    /// A person takes it that nothing was used.
    pub fn write_off(&mut self, attempt: AttemptId) {
        if let Some(reservation) = self.in_doubt.remove(&attempt) {
            self.doubted = self.doubted.minus(reservation.amount);
            self.written_off.insert(attempt, reservation);
        }
    }

    /// Attempts whose use is not known and counted in full.
    pub fn in_doubt(&self) -> &BTreeMap<AttemptId, Reservation> {
        &self.in_doubt
    }

    /// An open reservation of a live attempt.
    pub fn reserved(&self, attempt: AttemptId) -> Option<&Reservation> {
        self.reserved.get(&attempt)
    }

    /// A reservation whose attempt is over and that a late report may still settle.
    pub fn unsettled(&self, attempt: AttemptId) -> Option<&Reservation> {
        self.in_doubt.get(&attempt).or_else(|| self.written_off.get(&attempt))
    }

    /// What is in doubt for one subtask.
    pub fn doubts_of(&self, subtask: &str) -> Amount {
        let of = self.in_doubt.values().filter(|reservation| reservation.subtask == subtask);
        of.fold(Amount::default(), |sum, reservation| sum.plus(reservation.amount))
    }

    /// What was reported.
    pub fn settled(&self) -> Amount {
        self.settled
    }

    /// What live attempts may still use.
    pub fn held(&self) -> Amount {
        self.held
    }

    /// What attempts may have used that ended without a report.
    pub fn doubted(&self) -> Amount {
        self.doubted
    }

    /// Settled, reserved and in doubt together.
    pub fn total(&self) -> Amount {
        self.settled.plus(self.held).plus(self.doubted)
    }

    /// Whether some of it is only an agent's own word.
    pub fn is_observed(&self) -> bool {
        self.observed
    }

    /// The first breaches, and how many there were.
    pub fn breaches(&self) -> (&[Breach], u64) {
        (&self.breaches, self.breaches_total)
    }

    /// What stands in the way of one more attempt whatever it reserves, if anything does;
    /// `active_ms` is the time the job has been worked on.
    pub fn refuses(&self, budget: &Budget, active_ms: u64) -> Option<String> {
        if budget.attempts > 0 && self.attempts >= budget.attempts {
            Some(format!("the budget of {} attempts is used up", budget.attempts))
        } else if budget.wall_ms > 0 && active_ms >= budget.wall_ms {
            Some(format!("the budget of {:.1} hours is used up", budget.wall_ms as f64 / 3_600_000.0))
        } else {
            None
        }
    }

    /// Whether the sums are those of the parts, for the invariants.
    pub(super) fn adds_up(&self) -> bool {
        let sum = |parts: &BTreeMap<AttemptId, Reservation>| {
            parts.values().fold(Amount::default(), |sum, reservation| sum.plus(reservation.amount))
        };
        sum(&self.reserved) == self.held && sum(&self.in_doubt) == self.doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tokens: u64) -> Reservation {
        Reservation { amount: Amount { tokens, usd_micros: 0 }, subtask: "a".into(), worker: "w".into() }
    }

    fn used(tokens: u64) -> Usage {
        Usage { tokens, ..Usage::default() }
    }

    #[test]
    fn what_is_in_doubt_counts_in_full_until_reported_and_a_report_counts_once() {
        let budget = Budget { tokens: 100, ..Budget::default() };
        let mut spend = Spend::default();
        spend.reserve(AttemptId(1), ask(60));
        spend.doubt(AttemptId(1));
        assert_eq!((spend.total().tokens, spend.doubts_of("a").tokens, spend.doubts_of("b").tokens), (60, 60, 0));
        assert!(spend.unsettled(AttemptId(1)).is_some());
        spend.settle(AttemptId(1), &used(10), &budget);
        assert!(spend.unsettled(AttemptId(1)).is_none(), "it was settled before");
        assert_eq!((spend.total().tokens, spend.breaches().1), (10, 0));
        assert!(spend.adds_up());
    }

    #[test]
    fn what_is_written_off_counts_again_when_it_is_reported_after_all() {
        let budget = Budget { tokens: 100, ..Budget::default() };
        let mut spend = Spend::default();
        spend.reserve(AttemptId(1), ask(60));
        spend.doubt(AttemptId(1));
        spend.write_off(AttemptId(1));
        assert_eq!(spend.total(), Amount::default());
        spend.settle(AttemptId(1), &used(50), &budget);
        assert_eq!(spend.total().tokens, 50);
    }

    #[test]
    fn more_than_reserved_is_a_breach_and_so_is_going_over_the_cap_unreserved() {
        let budget = Budget { tokens: 100, ..Budget::default() };
        let mut spend = Spend::default();
        spend.reserve(AttemptId(1), ask(60));
        spend.settle(AttemptId(1), &Usage { observed: true, ..used(61) }, &budget);
        assert_eq!((spend.breaches().1, spend.is_observed()), (1, true));
        spend.reserve(AttemptId(2), ask(0));
        spend.settle(AttemptId(2), &used(39), &budget);
        assert_eq!(spend.breaches().1, 1, "within the cap");
        spend.reserve(AttemptId(3), ask(0));
        spend.settle(AttemptId(3), &used(1), &budget);
        assert_eq!(spend.breaches().1, 2);
    }

    #[test]
    fn attempts_and_time_have_caps_of_their_own() {
        let budget = Budget { attempts: 1, wall_ms: 1000, ..Budget::default() };
        let mut spend = Spend::default();
        assert!(spend.refuses(&budget, 999).is_none());
        assert!(spend.refuses(&budget, 1000).is_some());
        spend.reserve(AttemptId(1), Reservation::default());
        assert!(spend.refuses(&budget, 0).is_some());
        spend.give_back();
        assert!(spend.refuses(&budget, 0).is_none());
    }
}
