//! How much an attempt may use: its subtask's own budget, or its share of the job's.
//!
//! What an agent may use is reserved whole before it begins, so the job's cap is split among as many
//! attempts as can run at once. Once attempts have shown what they need, a share is no larger than
//! a multiple of the most that one of them needed: what is reserved and not used, or in doubt after
//! an attempt was lost, keeps others from running. While others hold what is missing, the next one
//! waits for them to settle; with nobody left to wait for it gets what there is. Codemods use no
//! model.

use longhaul_common::NodeId;

use super::State;
use super::spend::Amount;

/// A share is at most so many times what the neediest of the last attempts needed.
const HEADROOM: u64 = 8;

/// Parts that a cap is split into at least, however few slots there are so far.
const PARTS_MIN: u64 = 8;

/// Why an attempt gets no allowance now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Short {
    /// Live attempts hold it: it comes back when they settle.
    Held,
    /// The subtask's own budget is used up.
    Subtask(String),
    /// The job's is.
    Job(String),
}

/// One kind of amount, with everything that bounds it. 0 is no limit.
struct Account {
    unit: &'static str,
    /// The subtask's limit, and what its attempts used or may have used.
    own: (u64, u64),
    cap: u64,
    total: u64,
    held: u64,
    doubted: u64,
    /// The most that one of the last attempts needed, if that is known.
    peak: Option<u64>,
}

impl Account {
    /// What is reserved, where the cap is split in so many parts.
    fn allowance(&self, parts: u64) -> Result<u64, Short> {
        let (limit, used) = self.own;
        if limit > 0 && used >= limit {
            return Err(Short::Subtask(format!("its budget of {} is used up", self.amount(limit))));
        }
        let rest = limit.saturating_sub(used);
        if self.cap == 0 {
            return Ok(rest);
        }
        let left = self.cap.saturating_sub(self.total);
        let known = self.peak.map_or(u64::MAX, |peak| peak.saturating_mul(HEADROOM));
        let share = (self.cap / parts.max(1)).min(known).max(1);
        let wanted = if limit > 0 { rest } else { share };
        match left {
            left if wanted <= left => Ok(wanted),
            // A share may be smaller, so that the last ones need not all wait.
            left if limit == 0 && left >= wanted.div_ceil(2) => Ok(left),
            _ if self.held > 0 => Err(Short::Held),
            0 => Err(Short::Job(self.used_up())),
            left => Ok(left),
        }
    }

    fn used_up(&self) -> String {
        let what = format!("the budget of {} is used up", self.amount(self.cap));
        if self.doubted == 0 {
            return what;
        }
        let doubted = self.amount(self.doubted);
        format!("{what}, {doubted} of it in doubt: attempts ended without a report (`longhaul resume --write-off`)")
    }

    fn amount(&self, number: u64) -> String {
        match self.unit {
            "$" => format!("${:.2}", number as f64 / 1e6),
            unit => format!("{number} {unit}"),
        }
    }
}

/// What the next attempt of a node reserves.
pub(super) fn of(state: &State, node: NodeId) -> Result<Amount, Short> {
    let (task, cap) = (state.task(node), state.limits());
    if task.wall_ms_max > 0 && time_left(state, node) == 0 {
        let hours = task.wall_ms_max as f64 / 3.6e6;
        return Err(Short::Subtask(format!("its budget of {hours:.4} hours is used up")));
    }
    if state.deterministic(node) || (cap.tokens, cap.usd_micros, task.tokens_max, task.usd_micros_max) == (0, 0, 0, 0) {
        return Ok(Amount::default());
    }
    let subtask = state.subtask(node);
    let own = state.spend.doubts_of(&state.node(node).id);
    let own = own.plus(Amount { tokens: subtask.tokens, usd_micros: subtask.usd_micros });
    let (total, held, doubted) = (state.spend.total(), state.spend.held(), state.spend.doubted());
    let peak = state.recent.peak();
    let tokens = Account {
        unit: "tokens",
        own: (task.tokens_max, own.tokens),
        cap: cap.tokens,
        total: total.tokens,
        held: held.tokens,
        doubted: doubted.tokens,
        peak: peak.map(|peak| peak.tokens).filter(|&most| most > 0),
    };
    let usd = Account {
        unit: "$",
        own: (task.usd_micros_max, own.usd_micros),
        cap: cap.usd_micros,
        total: total.usd_micros,
        held: held.usd_micros,
        doubted: doubted.usd_micros,
        peak: peak.map(|peak| peak.usd_micros).filter(|&most| most > 0),
    };
    let parts = parts(state);
    Ok(Amount { tokens: tokens.allowance(parts)?, usd_micros: usd.allowance(parts)? })
}

/// What the attempts of a node may still take together, in milliseconds; 0 is nothing, or no limit.
fn time_left(state: &State, node: NodeId) -> u64 {
    state.task(node).wall_ms_max.saturating_sub(state.subtask(node).spent_ms)
}

/// The wall time of the next attempt of a node, in milliseconds: its own limit, or what is left of the
/// subtask's budget; 0 is no limit.
pub(crate) fn wall_ms(state: &State, node: NodeId) -> u64 {
    let limit = state.task(node).timeout_ms;
    match time_left(state, node) {
        0 => limit,
        left if limit == 0 => left,
        left => limit.min(left),
    }
}

/// Among how many attempts the cap is split: as many as can run at once, with room for workers that
/// join.
fn parts(state: &State) -> u64 {
    let counts = state.counts();
    let open = u64::from(counts.waiting + counts.ready + counts.backoff + counts.running);
    let slots = state.fleet.roster.slots() as u64;
    u64::from(state.limits().parallel).min(open).min((2 * slots).max(PARTS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(own: (u64, u64), cap: u64, total: u64, held: u64) -> Account {
        Account { unit: "tokens", own, cap, total, held, doubted: 0, peak: None }
    }

    fn known(peak: u64, account: Account) -> Account {
        Account { peak: Some(peak), ..account }
    }

    #[test]
    fn an_attempt_gets_its_subtasks_rest_or_a_share_or_what_is_left() {
        let cases = [
            ("no limits", account((0, 0), 0, 0, 0), Ok(0)),
            ("the subtask's rest", account((100, 30), 0, 0, 0), Ok(70)),
            ("a share", account((0, 0), 1_000, 0, 0), Ok(250)),
            ("a smaller share", account((0, 0), 1_000, 850, 300), Ok(150)),
            ("the last ones wait for the others", account((0, 0), 1_000, 900, 300), Err(Short::Held)),
            ("with nobody to wait for, what is left", account((0, 0), 1_000, 900, 0), Ok(100)),
            ("a cap smaller than its parts", account((0, 0), 2, 0, 0), Ok(1)),
            ("what attempts need, and more", known(10, account((0, 0), 1_000, 0, 0)), Ok(80)),
            ("less of that at the end", known(10, account((0, 0), 1_000, 950, 300)), Ok(50)),
            ("never more than a share", known(900, account((0, 0), 1_000, 0, 0)), Ok(250)),
            ("whatever others need", known(10, account((500, 0), 1_000, 0, 0)), Ok(500)),
            ("the subtask's rest within the cap", account((500, 0), 1_000, 600, 0), Ok(400)),
        ];
        for (what, account, expected) in cases {
            assert_eq!(account.allowance(4), expected, "{what}");
        }
        assert!(matches!(account((100, 100), 0, 0, 0).allowance(4), Err(Short::Subtask(_))));
        assert!(matches!(account((0, 0), 1_000, 1_000, 0).allowance(4), Err(Short::Job(_))));
    }
}
