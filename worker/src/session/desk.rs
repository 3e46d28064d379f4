//! What a worker holds, and what it does about each message.
//!
//! The desk is the whole of a worker's conduct towards its coordinator, without bus, disk or clock:
//! `inbox` feeds it and does what it answers, and the simulation of a fleet drives the same machine.
//! An assignment is held from its arrival until the durable ack of its result; what is held is
//! announced, and what is announced is never given to another worker. Losing a message costs time
//! only: a repeated assignment is answered with the result that waits, or not at all when it is
//! known as done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longhaul_common::JobId;

pub use super::conduct::{Input, Key, Kind, Leave, Output, Why};

/// Assignments held at once, waiting ones included. A coordinator that sends more than this worker
/// announced slots sees the rest missing in its presence.
pub const HELD_MAX: usize = 1_024;

/// Acknowledged assignments remembered, so that a late duplicate is not executed again.
pub const DONE_MAX: usize = 4_096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Waiting,
    Running,
    Sealed,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    kind: Kind,
    stage: Stage,
    leaving: bool,
}

/// The desk of one worker.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The one job served; `None` serves all.
    scope: Option<JobId>,
    held: BTreeMap<Key, Held>,
    done: BTreeSet<Key>,
    done_order: VecDeque<Key>,
    draining: bool,
    full: Option<String>,
}

impl Desk {
    /// An empty desk that serves one job, or all.
    pub fn new(scope: Option<JobId>) -> Self {
        Self {
            scope,
            held: BTreeMap::new(),
            done: BTreeSet::new(),
            done_order: VecDeque::new(),
            draining: false,
            full: None,
        }
    }

    /// A desk after a restart: what earlier processes sealed is held, and is delivered before
    /// anything else. More than [`HELD_MAX`] may be: results are never given up.
    pub fn resume(scope: Option<JobId>, sealed: impl IntoIterator<Item = Key>) -> (Self, Vec<Output>) {
        let mut desk = Self::new(scope);
        let mut out = vec![Output::Announce];
        for key in sealed {
            // Its kind no longer matters: nothing of it is executed.
            desk.held.insert(key.clone(), Held { kind: Kind::Work, stage: Stage::Sealed, leaving: false });
            out.push(Output::Deliver(key));
        }
        (desk, out)
    }

    /// What an input means.
    pub fn take(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Assign(key, kind) => self.assign(key, kind),
            Input::Cancel(key, reason) => match self.held.get(&key) {
                Some(held) if held.stage != Stage::Sealed => vec![Output::CancelIt(key, reason)],
                _ => Vec::new(),
            },
            Input::Hello => self.called(),
            Input::Refusal(reason) => vec![Output::End(Leave::Refused(reason))],
            Input::Drain => self.drain(),
            Input::Overdue => self.hand_back(|_| true),
            Input::Room(full) => {
                let changed = self.full != full;
                self.full = full;
                if changed { vec![Output::Announce] } else { Vec::new() }
            }
            Input::Started(key) => {
                if let Some(held) = self.held.get_mut(&key).filter(|held| held.stage == Stage::Waiting) {
                    held.stage = Stage::Running;
                }
                Vec::new()
            }
            Input::Executed(key) => match self.held.get_mut(&key) {
                Some(held) if held.stage != Stage::Sealed => {
                    held.stage = Stage::Sealed;
                    vec![Output::Deliver(key)]
                }
                _ => Vec::new(),
            },
            Input::HandedBack(key) => {
                let known = self.held.remove(&key).is_some();
                self.left(known)
            }
            Input::Acknowledged(key) => {
                let known = self.held.remove(&key).is_some();
                self.remember(key);
                self.left(known)
            }
        }
    }

    /// Assignments held, by job: announced so that nobody gives them to another worker.
    pub fn holding(&self) -> BTreeMap<JobId, Vec<u64>> {
        let mut by_job: BTreeMap<JobId, Vec<u64>> = BTreeMap::new();
        for key in self.held.keys() {
            by_job.entry(key.job.clone()).or_default().push(key.id);
        }
        by_job
    }

    /// Whether an assignment is held.
    pub fn holds(&self, key: &Key) -> bool {
        self.held.contains_key(key)
    }

    /// Held assignments of a kind that are not sealed yet.
    pub fn open(&self, kind: Kind) -> usize {
        self.held.values().filter(|held| held.kind == kind && held.stage != Stage::Sealed).count()
    }

    /// Whether the desk answers for an assignment, or knows that nobody has to any more: only then
    /// may its message be acknowledged to the bus.
    pub fn answers_for(&self, key: &Key) -> bool {
        self.holds(key) || self.done.contains(key) || self.scope.as_ref().is_some_and(|job| *job != key.job)
    }

    /// Whether nothing new is taken because the worker leaves.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Why nothing new is taken, if there is no room.
    pub fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    fn assign(&mut self, key: Key, kind: Kind) -> Vec<Output> {
        if let Some(held) = self.held.get(&key) {
            return if held.stage == Stage::Sealed { vec![Output::DeliverAgain(key)] } else { Vec::new() };
        }
        let why = if self.scope.as_ref().is_some_and(|job| *job != key.job) {
            Why::Foreign
        } else if self.done.contains(&key) {
            Why::Done
        } else if self.draining {
            Why::Draining
        } else if let Some(full) = &self.full {
            Why::NoRoom(full.clone())
        } else if self.held.len() >= HELD_MAX {
            Why::TooMany
        } else {
            self.held.insert(key.clone(), Held { kind, stage: Stage::Waiting, leaving: false });
            return vec![Output::Start(key, kind)];
        };
        // The announcement shows that it is not held.
        vec![Output::Refuse(key, why), Output::Announce]
    }

    /// A coordinator looks who is there: it is told, and what waits for one is delivered now
    /// instead of after a pause that grew while there was none.
    fn called(&self) -> Vec<Output> {
        let sealed = self.held.iter().filter(|(_, held)| held.stage == Stage::Sealed);
        let again = sealed.map(|(key, _)| Output::DeliverAgain(key.clone()));
        [Output::Announce].into_iter().chain(again).collect()
    }

    fn drain(&mut self) -> Vec<Output> {
        if std::mem::replace(&mut self.draining, true) {
            return Vec::new();
        }
        let mut out = vec![Output::Announce];
        // What has not begun loses nothing by beginning elsewhere.
        out.extend(self.hand_back(|stage| stage == Stage::Waiting));
        out.extend(self.end_if_drained());
        out
    }

    fn hand_back(&mut self, which: impl Fn(Stage) -> bool) -> Vec<Output> {
        let mut out = Vec::new();
        for (key, held) in &mut self.held {
            if held.stage != Stage::Sealed && which(held.stage) && !held.leaving {
                held.leaving = true;
                out.push(Output::HandBack(key.clone()));
            }
        }
        out
    }

    fn left(&self, known: bool) -> Vec<Output> {
        let mut out = if known { vec![Output::Announce] } else { Vec::new() };
        out.extend(self.end_if_drained());
        out
    }

    fn end_if_drained(&self) -> Option<Output> {
        (self.draining && self.held.is_empty()).then_some(Output::End(Leave::Drained))
    }

    fn remember(&mut self, key: Key) {
        if !self.done.insert(key.clone()) {
            return;
        }
        self.done_order.push_back(key);
        if self.done_order.len() > DONE_MAX
            && let Some(oldest) = self.done_order.pop_front()
        {
            self.done.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> Key {
        Key { job: "a".parse().expect("a name"), id }
    }

    fn assign(desk: &mut Desk, id: u64) -> Vec<Output> {
        desk.take(Input::Assign(key(id), Kind::Work))
    }

    #[test]
    fn an_assignment_is_held_until_its_ack_and_executed_once() {
        let mut desk = Desk::new(None);
        assert_eq!(assign(&mut desk, 1), [Output::Start(key(1), Kind::Work)]);
        assert_eq!(assign(&mut desk, 1), [], "it waits already");
        desk.take(Input::Started(key(1)));
        assert_eq!(assign(&mut desk, 1), [], "it runs already");
        assert_eq!(desk.take(Input::Executed(key(1))), [Output::Deliver(key(1))]);
        assert_eq!(assign(&mut desk, 1), [Output::DeliverAgain(key(1))]);
        assert_eq!(desk.holding(), BTreeMap::from([(key(1).job, vec![1])]));
        assert_eq!(desk.take(Input::Acknowledged(key(1))), [Output::Announce]);
        assert_eq!(assign(&mut desk, 1), [Output::Refuse(key(1), Why::Done), Output::Announce]);
        assert!(desk.holding().is_empty() && desk.answers_for(&key(1)));
    }

    #[test]
    fn a_restart_holds_and_delivers_what_was_sealed() {
        let (mut desk, out) = Desk::resume(None, [key(1), key(2)]);
        assert_eq!(out, [Output::Announce, Output::Deliver(key(1)), Output::Deliver(key(2))]);
        assert_eq!(desk.holding()[&key(1).job], [1, 2]);
        assert_eq!(assign(&mut desk, 2), [Output::DeliverAgain(key(2))]);
        assert_eq!(desk.take(Input::Cancel(key(2), "x".into())), [], "its result is delivered all the same");
    }

    #[test]
    fn draining_takes_nothing_new_and_ends_when_all_is_acknowledged() {
        let mut desk = Desk::new(None);
        assign(&mut desk, 1);
        assign(&mut desk, 2);
        desk.take(Input::Started(key(1)));
        assert_eq!(desk.take(Input::Drain), [Output::Announce, Output::HandBack(key(2))]);
        assert_eq!(desk.take(Input::Drain), [], "once is enough");
        assert_eq!(assign(&mut desk, 3), [Output::Refuse(key(3), Why::Draining), Output::Announce]);
        assert!(!desk.answers_for(&key(3)));
        assert_eq!(desk.take(Input::Overdue), [Output::HandBack(key(1))]);
        assert_eq!(desk.take(Input::Overdue), []);
        for id in [1, 2] {
            assert_eq!(desk.take(Input::Executed(key(id))), [Output::Deliver(key(id))]);
        }
        assert_eq!(desk.take(Input::Acknowledged(key(2))), [Output::Announce]);
        assert_eq!(
            desk.take(Input::Acknowledged(key(1))),
            [Output::Announce, Output::End(Leave::Drained)],
            "a result that is not acknowledged keeps the worker"
        );
        assert_eq!(Desk::new(None).take(Input::Drain), [Output::Announce, Output::End(Leave::Drained)]);
    }

    #[test]
    fn no_room_refuses_and_says_so_until_there_is_room() {
        let mut desk = Desk::new(None);
        assert_eq!(desk.take(Input::Room(Some("1 GB free".into()))), [Output::Announce]);
        assert_eq!(desk.take(Input::Room(Some("1 GB free".into()))), []);
        let refused = Output::Refuse(key(1), Why::NoRoom("1 GB free".into()));
        assert_eq!(assign(&mut desk, 1), [refused, Output::Announce]);
        assert_eq!(desk.take(Input::Room(None)), [Output::Announce]);
        assert_eq!(assign(&mut desk, 1), [Output::Start(key(1), Kind::Work)]);
    }

    #[test]
    fn other_jobs_and_one_too_many_are_refused() {
        let mut desk = Desk::new(Some("b".parse().expect("a name")));
        assert_eq!(assign(&mut desk, 1), [Output::Refuse(key(1), Why::Foreign), Output::Announce]);
        assert!(desk.answers_for(&key(1)), "nobody brings it again");
        let mut desk = Desk::new(None);
        for id in 0..HELD_MAX as u64 {
            assign(&mut desk, id);
        }
        assert_eq!(assign(&mut desk, 9_999), [Output::Refuse(key(9_999), Why::TooMany), Output::Announce]);
        assert_eq!(desk.take(Input::HandedBack(key(3))), [Output::Announce]);
        assert_eq!(assign(&mut desk, 3), [Output::Start(key(3), Kind::Work)], "what was dropped may come again");
        assert_eq!(desk.open(Kind::Work), HELD_MAX);
    }

    #[test]
    fn what_is_done_is_forgotten_oldest_first() {
        let mut desk = Desk::new(None);
        for id in 0..=DONE_MAX as u64 {
            desk.take(Input::Acknowledged(key(id)));
            desk.take(Input::Acknowledged(key(id)));
        }
        assert_eq!(assign(&mut desk, 0), [Output::Start(key(0), Kind::Work)]);
        assert_eq!(assign(&mut desk, 1), [Output::Refuse(key(1), Why::Done), Output::Announce]);
    }

    #[test]
    fn hello_announces_and_a_refusal_ends() {
        let mut desk = Desk::new(None);
        assert_eq!(desk.take(Input::Hello), [Output::Announce]);
        let (mut holding, _) = Desk::resume(None, [key(7)]);
        assert_eq!(
            holding.take(Input::Hello),
            [Output::Announce, Output::DeliverAgain(key(7))],
            "a coordinator that comes up is given what waits for one"
        );
        let refusal = Input::Refusal("too old".into());
        assert_eq!(desk.take(refusal), [Output::End(Leave::Refused("too old".into()))]);
    }
}
