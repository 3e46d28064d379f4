//! Faults in time: several at once, never two on the same thing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Instant;

use super::faults::{Fault, Step, Target};

/// A fault begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It begins.
    Begin(Step),
    /// It ends.
    End(Fault),
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(step) => write!(f, "{:?} for {} ms", step.fault, step.lasts.as_millis()),
            Self::End(fault) => write!(f, "{fault:?} is over"),
        }
    }
}

/// A turn with its time.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// When.
    pub at: Instant,
    /// What.
    pub turn: Turn,
}

/// What is still to come.
pub struct Timeline {
    steps: std::vec::IntoIter<Step>,
    next: Option<(Instant, Step)>,
    open: BTreeMap<Target, (Instant, Fault)>,
}

impl Timeline {
    /// From now on.
    pub fn new(steps: Vec<Step>, begun: Instant) -> Self {
        let mut timeline = Self { steps: steps.into_iter(), next: None, open: BTreeMap::new() };
        timeline.draw(begun);
        timeline
    }

    fn draw(&mut self, from: Instant) {
        self.next = self.steps.next().map(|step| (from + step.pause, step));
    }

    /// The next turn; one on something already held is passed over.
    pub fn turn(&mut self) -> Option<Due> {
        loop {
            let ends = self.open.iter().min_by_key(|(_, (at, _))| *at).map(|(target, (at, _))| (*target, *at));
            match (ends, self.next) {
                (Some((target, at)), next) if next.is_none_or(|(begins, _)| at <= begins) => {
                    let (at, fault) = self.open.remove(&target)?;
                    return Some(Due { at, turn: Turn::End(fault) });
                }
                (_, Some((at, step))) => {
                    self.draw(at);
                    let target = step.fault.target();
                    if let Entry::Vacant(free) = self.open.entry(target) {
                        free.insert((at + step.lasts, step.fault));
                        return Some(Due { at, turn: Turn::Begin(step) });
                    }
                }
                (_, None) => return None,
            }
        }
    }

    /// What has begun and not ended.
    pub fn open(self) -> Vec<Fault> {
        self.open.into_values().map(|(_, fault)| fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::Plan;

    #[test]
    fn everything_that_begins_ends_and_nothing_is_held_twice() {
        let steps = Plan { members: 5, faults: 60, disks: true }.draw(3);
        let mut timeline = Timeline::new(steps, Instant::now());
        let (mut held, mut last, mut begun) = (Vec::new(), None, 0);
        while let Some(due) = timeline.turn() {
            assert!(last.is_none_or(|last| due.at >= last), "back in time");
            last = Some(due.at);
            match due.turn {
                Turn::Begin(step) => {
                    begun += 1;
                    assert!(!held.contains(&step.fault.target()));
                    held.push(step.fault.target());
                }
                Turn::End(fault) => held.retain(|target| *target != fault.target()),
            }
        }
        assert!(held.is_empty() && begun > 30 && timeline.open().is_empty());
    }
}
