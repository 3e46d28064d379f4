//! What lies between coordinator and workers: a bus that loses, doubles, delays and reorders, and
//! streams for results that break at either end.

use std::collections::BTreeSet;

use crate::setting::Setting;
use longhaul_tests::random::Random;

/// How long a message takes when nothing is wrong, in milliseconds.
const LATENCY_MS: (i64, i64) = (1, 40);

/// A message that was held up somewhere.
const HELD_UP_MS: (i64, i64) = (1_000, 20_000);

/// How long a caller waits for an answer before it gives up.
pub const ANSWER_MS_MAX: i64 = 10_000;

/// Which way a message goes, by the worker's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    ToWorker(usize),
    FromWorker(usize),
    /// Results, which do not go over the bus.
    Results(usize),
}

#[derive(Default)]
pub struct Network {
    cut: BTreeSet<Way>,
    /// The broker does not answer.
    pub down: bool,
    /// Percent of messages that are lost, doubled or held up while the net is bad.
    pub bad_percent: u64,
    pub lost: u64,
    pub doubled: u64,
}

impl Network {
    pub fn cut(&mut self, way: Way) {
        self.cut.insert(way);
    }

    pub fn mend(&mut self, way: Way) {
        self.cut.remove(&way);
    }

    fn is_cut(&self, way: Way) -> bool {
        self.cut.contains(&way) || (self.down && !matches!(way, Way::Results(_)))
    }

    /// After how long a message arrives, as often as it does: not at all, once or twice.
    pub fn send(&mut self, way: Way, setting: &Setting, random: &mut Random) -> Vec<i64> {
        let once = random.between(LATENCY_MS);
        if !setting.has_faults() {
            return vec![once];
        }
        if self.is_cut(way) {
            // Some of it is kept by the broker and arrives when nobody thinks of it any more.
            let kept = matches!(way, Way::ToWorker(_)) && !self.down && random.chance(30);
            self.lost += u64::from(!kept);
            return if kept { vec![random.between((60_000, 240_000))] } else { Vec::new() };
        }
        let bad = random.below(100) < self.bad_percent;
        match random.below(3) {
            _ if !bad => vec![once],
            0 => {
                self.lost += 1;
                Vec::new()
            }
            1 => {
                self.doubled += 1;
                vec![once, random.between(HELD_UP_MS)]
            }
            _ => vec![random.between(HELD_UP_MS)],
        }
    }

    /// After how long one half of a call arrives; `None` when the stream breaks.
    pub fn call(&mut self, way: Way, setting: &Setting, random: &mut Random) -> Option<i64> {
        let broken = setting.has_faults() && (self.is_cut(way) || random.below(100) < self.bad_percent);
        self.lost += u64::from(broken);
        (!broken).then(|| random.between(LATENCY_MS))
    }
}
