//! How the last attempts ended: what the breaker, the deadline and the forecast go by.

use std::collections::VecDeque;

use longhaul_proto::FailureClass;
use serde::{Deserialize, Serialize};

use super::spend::Amount;

/// Attempts that are remembered.
pub const RECENT_MAX: usize = 256;

/// Attempts needed before their times say how long the next one takes.
pub const TIMED_MIN: usize = 3;

/// Attempts needed before they say what the next one needs of the budget.
pub const PEAKS_MIN: usize = 8;

/// One attempt that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// As `FailureClass`; 0 when it gave a result.
    pub class: i32,
    /// From assignment to report, without the time in which a person was asked.
    pub ms: u64,
    /// What it used.
    pub used: Amount,
    /// What it would have needed as its allowance.
    pub peak: Amount,
}

impl Ended {
    /// Whether it gave a result.
    pub fn is_good(&self) -> bool {
        self.class == 0
    }
}

/// The last attempts, oldest first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    ended: VecDeque<Ended>,
    /// How many of them ended since a person last said to go on.
    since_resumed: u64,
    /// After a breaker: one attempt at a time until one gives a result.
    probing: bool,
}

impl Recent {
    /// Notes an attempt that ended and says something about the work: a result, or a failure that
    /// is neither a person's doing nor a worker's that leaves.
    pub(super) fn note(&mut self, ended: Ended) {
        self.ended.push_back(ended);
        self.since_resumed += 1;
        self.probing &= !ended.is_good();
        if self.ended.len() > RECENT_MAX {
            self.ended.pop_front();
        }
    }

    /// The job was paused; by the breaker, what comes after is a probe.
    pub(super) fn paused(&mut self, by_breaker: bool) {
        self.probing |= by_breaker;
    }

    /// A person said to go on: what came before is no reason to stop again.
    pub(super) fn resumed(&mut self) {
        self.since_resumed = 0;
    }

    /// Whether one attempt at a time tries out if it is any better.
    pub fn is_probing(&self) -> bool {
        self.probing
    }

    /// All that are remembered, oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Ended> {
        self.ended.iter()
    }

    /// Why nothing more should be handed out, where `failed` of the last `of` attempts are too
    /// many; 0 is no limit.
    pub(super) fn trips(&self, failed: u32, of: u32) -> Option<String> {
        if failed == 0 || of == 0 {
            return None;
        }
        let window = if self.probing { 1 } else { of.max(failed) as usize };
        let limit = if self.probing { 1 } else { failed as usize };
        if self.since_resumed < window as u64 {
            return None;
        }
        let bad: Vec<i32> =
            self.ended.iter().rev().take(window).filter(|ended| !ended.is_good()).map(|ended| ended.class).collect();
        if bad.len() < limit {
            return None;
        }
        let count = |class: i32| bad.iter().filter(|&&other| other == class).count();
        let most = bad.iter().copied().max_by_key(|&class| (count(class), -class)).unwrap_or_default();
        let class = super::retry::class_words(FailureClass::try_from(most).unwrap_or_default());
        Some(if self.probing {
            format!(
                "breaker open: the attempt that probed failed too ({class}); mend the cause, then `longhaul resume`"
            )
        } else {
            let (failed, same) = (bad.len(), count(most));
            let mostly = if same == failed { String::new() } else { format!("{same} of them ") };
            format!(
                "breaker open: {failed} of the last {window} attempts failed, {mostly}by {class}; mend the cause, then \
                 `longhaul resume`"
            )
        })
    }

    /// The largest allowance that one of them needed, once there are enough that used models.
    pub fn peak(&self) -> Option<Amount> {
        let peaks = self.ended.iter().map(|ended| ended.peak).filter(|peak| !peak.is_zero());
        let (count, largest) =
            peaks.fold((0, Amount::default()), |(count, largest), peak| (count + 1, largest.max(peak)));
        (count >= PEAKS_MIN).then_some(largest)
    }

    /// The median time of an attempt, once there are enough.
    pub fn median_ms(&self) -> Option<u64> {
        let mut times: Vec<u64> = self.ended.iter().map(|ended| ended.ms).collect();
        if times.len() < TIMED_MIN {
            return None;
        }
        let middle = times.len() / 2;
        Some(*times.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(class: FailureClass, ms: u64) -> Ended {
        Ended { class: class.into(), ms, used: Amount::default(), peak: Amount::default() }
    }

    const GOOD: FailureClass = FailureClass::Unspecified;

    fn after(classes: &[FailureClass]) -> Recent {
        let mut recent = Recent::default();
        classes.iter().for_each(|&class| recent.note(ended(class, 1)));
        recent
    }

    #[test]
    fn it_trips_on_a_full_window_only_and_names_what_fails_most() {
        let check = FailureClass::Check;
        assert_eq!(after(&[check; 4]).trips(4, 5), None, "the window is not full");
        assert_eq!(after(&[check, GOOD, check, GOOD, check]).trips(4, 5), None);
        assert_eq!(after(&[check; 5]).trips(0, 0), None, "off");
        let mixed = after(&[check, GOOD, FailureClass::Agent, check, check]).trips(4, 5).expect("trips");
        assert!(mixed.contains("4 of the last 5 attempts failed, 3 of them by a check"), "{mixed}");
    }

    #[test]
    fn after_a_breaker_one_attempt_probes_and_a_good_one_closes_it() {
        let mut recent = after(&[FailureClass::Check; 5]);
        assert!(recent.trips(4, 5).is_some());
        recent.paused(true);
        recent.resumed();
        assert!(recent.trips(4, 5).is_none() && recent.is_probing());
        recent.note(ended(FailureClass::Check, 1));
        assert!(recent.trips(4, 5).is_some_and(|why| why.contains("probed")));
        recent.paused(true);
        recent.resumed();
        recent.note(ended(GOOD, 1));
        assert!(recent.trips(4, 5).is_none() && !recent.is_probing());
        recent.note(ended(FailureClass::Check, 1));
        assert!(recent.trips(4, 5).is_none(), "the window begins anew");
    }

    #[test]
    fn the_median_needs_a_few_and_what_is_old_is_forgotten() {
        let mut recent = after(&[GOOD, GOOD]);
        assert_eq!(recent.median_ms(), None);
        (0..RECENT_MAX).for_each(|_| recent.note(ended(GOOD, 9)));
        assert_eq!((recent.median_ms(), recent.all().count()), (Some(9), RECENT_MAX));
    }
}
