//! The transition table of an attempt.
//!
//! ```text
//! slot → setup → agent i → fix → snapshot → left? → checks → deliver
//!                   ↑                          │        │
//!                   └──────── restore ←────────┴────────┘   while a further rung is there
//! ```

use longhaul_proto::{Failure, FailureClass};

/// What is fixed about an attempt before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Agents of the ladder.
    pub rungs: usize,
    /// Check commands.
    pub checks: usize,
    /// The rung to begin with: not the first where work in progress goes on.
    pub first: usize,
}

/// What to do next. The number of a rung or check is its position.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// Bring a slot to the base.
    Slot,
    /// Make it able to build and test.
    Setup,
    /// Run an agent; the failure of what came before it, if anything did.
    Agent(usize, Option<Box<Failure>>),
    /// Format what it changed.
    Fix,
    /// Take the tree and check that it may be a patch.
    Snapshot,
    /// Look whether work is left.
    LookForLeft,
    /// Run a check.
    Check(usize),
    /// Bring the workspace back to the last good snapshot (the base when there is none).
    Restore,
    /// Hand over the end.
    Deliver(End),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It went well.
    Done,
    /// The agent, fix, check or result said no: the subtask's doing.
    Refused(Box<Failure>),
    /// The machine, the set-up or a cancellation ended it.
    Broken(Box<Failure>),
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The last snapshot is the result: a patch, or unchanged.
    Result,
    /// There is none.
    Failed(Box<Failure>),
}

/// Where an attempt is.
#[derive(Clone, Debug, PartialEq)]
pub enum Session {
    /// Waiting for the slot.
    Slot(Shape),
    /// Waiting for the set-up.
    Setup(Shape),
    /// An agent runs.
    Agent(Shape, usize),
    /// Its work is formatted.
    Fix(Shape, usize),
    /// Its work is taken.
    Snapshot(Shape, usize, Option<Box<Failure>>),
    /// Looking for work it left.
    Left(Shape, usize),
    /// A check of its work runs.
    Check(Shape, usize, usize),
    /// The workspace goes back for the next agent, which is told why.
    Restore(Shape, usize, Box<Failure>),
    /// Nothing more is to be done.
    Over,
}

impl Session {
    /// The first step.
    pub fn begin(shape: Shape) -> (Self, Do) {
        (Self::Slot(shape), Do::Slot)
    }

    /// The next step after what happened.
    pub fn next(self, told: Told) -> (Self, Do) {
        use Session as S;
        let failure = match told {
            Told::Broken(failure) => return over(End::Failed(failure)),
            Told::Refused(failure) => Some(failure),
            Told::Done => None,
        };
        match (self, failure) {
            (S::Slot(shape), None) => (S::Setup(shape), Do::Setup),
            (S::Setup(shape), None) if shape.rungs == 0 => over(End::Failed(Box::new(no_agent()))),
            (S::Setup(shape), None) => {
                let rung = shape.first.min(shape.rungs - 1);
                (S::Agent(shape, rung), Do::Agent(rung, None))
            }
            (S::Agent(shape, rung), None) => (S::Fix(shape, rung), Do::Fix),
            // A failed agent leaves nothing: the next one starts where it started.
            (S::Agent(shape, rung), Some(failure)) => further(shape, rung, failure),
            (S::Fix(shape, rung), None) => (S::Snapshot(shape, rung, None), Do::Snapshot),
            // Unformatted work may still be right for the next agent to finish.
            (S::Fix(shape, rung), Some(failure)) => (S::Snapshot(shape, rung, Some(failure)), Do::Snapshot),
            (S::Snapshot(shape, rung, None), None) => (S::Left(shape, rung), Do::LookForLeft),
            (S::Snapshot(shape, rung, Some(failure)), None) => further(shape, rung, failure),
            // What cannot be a patch is no ground for a further agent to build on.
            (S::Snapshot(..), Some(failure)) => over(End::Failed(failure)),
            (S::Left(shape, rung), None) => check(shape, rung, 0),
            (S::Left(shape, rung), Some(failure)) => further(shape, rung, failure),
            (S::Check(shape, rung, number), None) => check(shape, rung, number + 1),
            (S::Check(shape, rung, _), Some(failure)) => further(shape, rung, failure),
            (S::Restore(shape, rung, failure), None) => (S::Agent(shape, rung), Do::Agent(rung, Some(failure))),
            (S::Slot(_) | S::Setup(_) | S::Restore(..), Some(failure)) => over(End::Failed(failure)),
            (S::Over, _) => over(End::Failed(Box::new(illegal()))),
        }
    }
}

fn over(end: End) -> (Session, Do) {
    (Session::Over, Do::Deliver(end))
}

fn check(shape: Shape, rung: usize, number: usize) -> (Session, Do) {
    if number < shape.checks { (Session::Check(shape, rung, number), Do::Check(number)) } else { over(End::Result) }
}

/// On to the next rung, or to the end with the failure of the last.
fn further(shape: Shape, rung: usize, failure: Box<Failure>) -> (Session, Do) {
    if rung + 1 < shape.rungs {
        (Session::Restore(shape, rung + 1, failure), Do::Restore)
    } else {
        over(End::Failed(failure))
    }
}

fn no_agent() -> Failure {
    let message = "the subtask has no agent".to_owned();
    Failure { class: FailureClass::Agent.into(), message, ..Failure::default() }
}

fn illegal() -> Failure {
    let message = "a step after the end of the attempt".to_owned();
    Failure { class: FailureClass::Infrastructure.into(), message, ..Failure::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: FailureClass) -> Box<Failure> {
        Box::new(Failure { class: class.into(), ..Failure::default() })
    }

    fn no(class: FailureClass) -> Told {
        Told::Refused(failed(class))
    }

    /// Feeds what happened and gives all that was to be done.
    fn check_trace(shape: Shape, told: impl IntoIterator<Item = Told>) -> Vec<String> {
        let (mut session, first) = Session::begin(shape);
        let mut trace = vec![first];
        for told in told {
            let (next, step) = session.next(told);
            session = next;
            trace.push(step);
        }
        trace.iter().map(word).collect()
    }

    fn word(step: &Do) -> String {
        match step {
            Do::Agent(rung, before) => format!("agent{rung}{}", if before.is_some() { "!" } else { "" }),
            Do::Check(number) => format!("check{number}"),
            Do::Deliver(End::Result) => "result".into(),
            Do::Deliver(End::Failed(failure)) => format!("failed:{:?}", failure.class()),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn the_straight_way() {
        let told = vec![Told::Done; 8];
        let trace = check_trace(Shape { rungs: 2, checks: 2, first: 0 }, told);
        assert_eq!(trace, ["slot", "setup", "agent0", "fix", "snapshot", "lookforleft", "check0", "check1", "result"]);
    }

    #[test]
    fn work_in_progress_goes_on_at_its_rung() {
        let trace = check_trace(Shape { rungs: 2, checks: 0, first: 1 }, vec![Told::Done; 6]);
        assert_eq!(trace, ["slot", "setup", "agent1", "fix", "snapshot", "lookforleft", "result"]);
        let trace = check_trace(Shape { rungs: 2, checks: 0, first: 9 }, vec![Told::Done; 2]);
        assert_eq!(trace[2], "agent1", "a rung the ladder no longer has is its last");
    }

    #[test]
    fn a_failed_check_brings_the_next_rung() {
        let told = [vec![Told::Done; 6], vec![no(FailureClass::Check)], vec![Told::Done; 6]].concat();
        let trace = check_trace(Shape { rungs: 2, checks: 1, first: 0 }, told);
        assert_eq!(trace[6..], ["check0", "restore", "agent1!", "fix", "snapshot", "lookforleft", "check0", "result"]);
    }

    #[test]
    fn work_left_on_the_last_rung_fails() {
        let told = [vec![Told::Done; 5], vec![no(FailureClass::Agent)]].concat();
        let trace = check_trace(Shape { rungs: 1, checks: 3, first: 0 }, told);
        assert_eq!(trace.last().map(String::as_str), Some("failed:Agent"));
    }

    #[test]
    fn a_bad_result_ends_it_though_rungs_are_left() {
        let told = [vec![Told::Done; 4], vec![no(FailureClass::Footprint)]].concat();
        assert_eq!(
            check_trace(Shape { rungs: 3, checks: 0, first: 0 }, told).last().map(String::as_str),
            Some("failed:Footprint")
        );
    }

    #[test]
    fn a_broken_machine_ends_it_anywhere() {
        for steps in 0..7 {
            let broken = Told::Broken(failed(FailureClass::DiskFull));
            let told = [vec![Told::Done; steps], vec![broken]].concat();
            assert_eq!(
                check_trace(Shape { rungs: 2, checks: 2, first: 0 }, told).last().map(String::as_str),
                Some("failed:DiskFull")
            );
        }
    }

    #[test]
    fn every_ladder_ends() {
        // Whatever is said at each step, an attempt ends within its stated bound.
        for pattern in 0..(1_u32 << 16) {
            let shape = Shape { rungs: 3, checks: 2, first: 0 };
            let (mut session, mut step) = Session::begin(shape);
            let mut steps = 0;
            while !matches!(step, Do::Deliver(_)) {
                let told = if pattern >> (steps % 16) & 1 == 1 { no(FailureClass::Agent) } else { Told::Done };
                (session, step) = session.next(told);
                steps += 1;
                assert!(steps <= 3 + shape.rungs * (5 + shape.checks), "{pattern:b}");
            }
        }
    }
}
