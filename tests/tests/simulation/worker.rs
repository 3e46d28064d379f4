//! A simulated worker: the product's own desk and machine of an attempt, slots, and an outbox on a disk of
//! its own. What is sealed survives a crash, what is not is lost.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::question::settles;
use longhaul_common::{AttemptId, NodeId, Oid};
use longhaul_coordinator::core::Amount;
use longhaul_proto::{Decision, Failure, FailureClass, Finished, GateResult, Question, Verdict, finished};
use longhaul_worker::session::desk::{Desk, Input, Key, Kind, Output};
use longhaul_worker::session::{Do, End, Session, Shape, Told};

use crate::model::{JOB, Model, usage};
use crate::setting::{MINUTE, SECOND, Setting};
use longhaul_tests::random::Random;

/// Rungs of a ladder and checks of a result.
const SHAPE: Shape = Shape { rungs: 2, checks: 1, first: 0 };

/// How long an agent waits for a person.
const WAIT_MS: (i64, i64) = (SECOND, 8 * MINUTE);

/// What a worker is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Assignment {
    Work {
        id: u64,
        node: NodeId,
        base: Oid,
        allowance: Amount,
        /// What its agent asks is decided.
        answered: bool,
        /// It may be split.
        splits: bool,
    },
    Gate {
        id: u64,
        commit: Oid,
    },
}

impl Assignment {
    pub fn id(&self) -> u64 {
        match self {
            Self::Work { id, .. } | Self::Gate { id, .. } => *id,
        }
    }

    fn is_gate(&self) -> bool {
        matches!(self, Self::Gate { .. })
    }
}

/// Where the execution of an assignment is.
enum Execution {
    /// For a slot.
    Waiting,
    /// In a slot.
    Working(Session, Do),
    /// In a slot, for a person.
    Asking(Session, Do, Box<Question>, i64),
    /// In the gate's slot.
    Judging,
    /// Executed, not yet on the disk.
    Sealing(Box<Finished>),
    /// In the outbox; keeps its slot until the ack.
    Sealed,
}

/// What a worker wants of the world.
pub enum Wish {
    /// Told to go on with an assignment after so long.
    Step { id: u64, after_ms: i64 },
    /// A question said until it is answered, for so long.
    Ask { id: u64, asked_ms: i64, wait_ms: i64 },
    /// A sealed result handed over.
    Deliver { id: u64 },
    /// Its presence announced.
    Announce,
}

/// What the world lends a worker for a moment.
pub struct Lent<'a> {
    pub model: &'a mut Model,
    pub random: &'a mut Random,
    pub setting: &'a Setting,
}

pub struct Worker {
    pub up: bool,
    /// Differs for every start.
    pub incarnation: u32,
    /// It does not run before.
    pub suspended_until: i64,
    /// Left for good, by a drain.
    pub gone: bool,
    /// Everything it touches fails.
    pub poisoned: bool,
    /// How many times longer everything takes.
    pub slowness: i64,
    slots: u32,
    desk: Desk,
    executions: BTreeMap<u64, (Assignment, Execution)>,
    /// Survives a crash.
    outbox: BTreeMap<u64, Finished>,
    /// Assignments whose processes were told to end.
    cancelled: BTreeSet<u64>,
    /// Counts what its agents ask.
    questions: i64,
}

impl Worker {
    pub fn new(slots: u32) -> Self {
        Self {
            up: true,
            incarnation: 0,
            suspended_until: 0,
            gone: false,
            poisoned: false,
            slowness: 1,
            slots,
            desk: Desk::new(None),
            executions: BTreeMap::new(),
            outbox: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            questions: 0,
        }
    }

    /// Slots for work and for gates that it announces.
    pub fn slots(&self) -> (u32, u32) {
        if self.desk.is_draining() { (0, 0) } else { (self.slots, 1) }
    }

    pub fn holding(&self) -> BTreeSet<u64> {
        self.desk.holding().into_values().flatten().collect()
    }

    pub fn outbox(&self) -> &BTreeMap<u64, Finished> {
        &self.outbox
    }

    /// The power goes: what is not sealed is gone.
    pub fn crash(&mut self) {
        self.up = false;
        self.executions.clear();
        self.cancelled.clear();
    }

    /// A new process over the same disk.
    pub fn start(&mut self, lent: &mut Lent) -> Vec<Wish> {
        (self.up, self.gone) = (true, false);
        self.incarnation += 1;
        let (desk, outputs) = Desk::resume(None, self.outbox.keys().map(|&id| key(id)));
        self.desk = desk;
        outputs.into_iter().flat_map(|output| self.carry_out(output, None, lent)).collect()
    }

    /// An assignment came, perhaps not for the first time.
    pub fn assign(&mut self, assignment: Assignment, lent: &mut Lent) -> Vec<Wish> {
        let kind = if assignment.is_gate() { Kind::Gate } else { Kind::Work };
        self.take(Input::Assign(key(assignment.id()), kind), Some(assignment), lent)
    }

    /// Anything else that reaches its desk.
    pub fn hear(&mut self, input: Input, lent: &mut Lent) -> Vec<Wish> {
        self.take(input, None, lent)
    }

    fn take(&mut self, input: Input, assignment: Option<Assignment>, lent: &mut Lent) -> Vec<Wish> {
        let outputs = self.desk.take(input);
        outputs.into_iter().flat_map(|output| self.carry_out(output, assignment, lent)).collect()
    }

    fn carry_out(&mut self, output: Output, assignment: Option<Assignment>, lent: &mut Lent) -> Vec<Wish> {
        match output {
            Output::Start(key, _) => {
                let assignment = assignment.expect("only an assignment starts one");
                self.executions.insert(key.id, (assignment, Execution::Waiting));
                self.fill(lent)
            }
            Output::Deliver(key) | Output::DeliverAgain(key) => vec![Wish::Deliver { id: key.id }],
            Output::CancelIt(key, _) => self.end(key.id, FailureClass::Cancelled, lent),
            Output::HandBack(key) => self.end(key.id, FailureClass::HandedBack, lent),
            Output::Announce => vec![Wish::Announce],
            Output::Refuse(..) => Vec::new(),
            Output::End(_) => {
                (self.up, self.gone) = (false, true);
                Vec::new()
            }
        }
    }

    /// An execution's processes end before their time; its result says why.
    fn end(&mut self, id: u64, class: FailureClass, lent: &mut Lent) -> Vec<Wish> {
        match self.executions.get(&id) {
            Some((_, Execution::Working(..) | Execution::Judging)) if class == FailureClass::Cancelled => {
                // It notices at its next step.
                self.cancelled.insert(id);
                Vec::new()
            }
            Some((
                assignment,
                Execution::Waiting | Execution::Working(..) | Execution::Asking(..) | Execution::Judging,
            )) => {
                let assignment = *assignment;
                self.seal(assignment, failed(class), lent)
            }
            _ => Vec::new(),
        }
    }

    /// Begins what waits and finds a slot.
    fn fill(&mut self, lent: &mut Lent) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for gate in [false, true] {
            let of_kind = || self.executions.values().filter(|(assignment, _)| assignment.is_gate() == gate);
            let busy = of_kind().filter(|(_, execution)| !matches!(execution, Execution::Waiting)).count();
            let all = if gate { 1 } else { self.slots as usize };
            let waiting = of_kind().filter(|(_, execution)| matches!(execution, Execution::Waiting));
            let next: Vec<Assignment> =
                waiting.map(|(assignment, _)| *assignment).take(all.saturating_sub(busy)).collect();
            for assignment in next {
                self.desk.take(Input::Started(key(assignment.id())));
                wishes.push(self.begin(assignment, lent));
            }
        }
        wishes
    }

    fn begin(&mut self, assignment: Assignment, lent: &mut Lent) -> Wish {
        let id = assignment.id();
        if assignment.is_gate() {
            self.executions.insert(id, (assignment, Execution::Judging));
            return Wish::Step { id, after_ms: lent.random.between(lent.setting.gate_ms) * self.slowness };
        }
        let (session, step) = Session::begin(SHAPE);
        let after_ms = self.duration(&step, lent);
        self.executions.insert(id, (assignment, Execution::Working(session, step)));
        Wish::Step { id, after_ms }
    }

    fn duration(&self, step: &Do, lent: &mut Lent) -> i64 {
        let range = match step {
            Do::Agent(..) => lent.setting.agent_ms,
            Do::Check(_) => lent.setting.check_ms,
            _ => (2, 300),
        };
        lent.random.between(range) * self.slowness
    }

    /// What it was doing with an assignment is done.
    pub fn step(&mut self, id: u64, lent: &mut Lent) -> Vec<Wish> {
        let Some((assignment, execution)) = self.executions.remove(&id) else { return Vec::new() };
        match execution {
            Execution::Working(session, step) => self.work(assignment, session, &step, lent),
            Execution::Judging => {
                let finished = self.judge(assignment, lent);
                self.seal(assignment, finished, lent)
            }
            Execution::Sealing(finished) => {
                self.outbox.insert(id, *finished);
                self.executions.insert(id, (assignment, Execution::Sealed));
                self.take(Input::Executed(key(id)), None, lent)
            }
            Execution::Waiting | Execution::Asking(..) | Execution::Sealed => {
                self.executions.insert(id, (assignment, execution));
                Vec::new()
            }
        }
    }

    fn work(&mut self, assignment: Assignment, session: Session, step: &Do, lent: &mut Lent) -> Vec<Wish> {
        let Assignment::Work { id, node, answered, splits, .. } = assignment else { return Vec::new() };
        let asks = lent.model.question(node).filter(|_| !answered && matches!(step, Do::Agent(..)));
        let parts = if splits && matches!(step, Do::Agent(..)) { lent.model.parts(node) } else { Vec::new() };
        let told = match self.told(id, node, step, lent) {
            Told::Done if !parts.is_empty() => {
                Told::Broken(Box::new(Failure { parts, ..failure(FailureClass::Split) }))
            }
            Told::Done if asks.is_some() && lent.model.behaviour(node).waits && !self.leaves() => {
                return self.wait(assignment, (session, step.clone()), asks.unwrap_or_default(), lent);
            }
            Told::Done if asks.is_some() => {
                Told::Broken(Box::new(Failure { question: asks, ..failure(FailureClass::Asked) }))
            }
            told => told,
        };
        self.go_on(assignment, session, told, lent)
    }

    /// Its agent asks a person, and waits.
    fn wait(&mut self, assignment: Assignment, at: (Session, Do), asks: Question, lent: &mut Lent) -> Vec<Wish> {
        let id = assignment.id();
        self.questions += 1;
        let asked_ms = self.questions;
        self.executions.insert(id, (assignment, Execution::Asking(at.0, at.1, Box::new(asks), asked_ms)));
        vec![Wish::Ask { id, asked_ms, wait_ms: lent.random.between(WAIT_MS) }]
    }

    /// What an agent asked then and still waits with.
    pub fn waits_with(&self, id: u64, asked_ms: i64) -> Option<&Question> {
        match self.executions.get(&id) {
            Some((_, Execution::Asking(_, _, question, asked))) if *asked == asked_ms => Some(question),
            _ => None,
        }
    }

    pub fn leaves(&self) -> bool {
        self.desk.is_draining()
    }

    /// A person decided about what an agent asked then. Advice alone has it ask again.
    pub fn answered(&mut self, id: u64, asked_ms: i64, decision: &Decision, lent: &mut Lent) -> Vec<Wish> {
        if self.waits_with(id, asked_ms).is_none() {
            return Vec::new();
        }
        let Some((assignment, Execution::Asking(session, step, question, _))) = self.executions.remove(&id) else {
            return Vec::new();
        };
        if !settles(decision, &question) {
            return self.wait(assignment, (session, step), *question, lent);
        }
        let Assignment::Work { node, base, allowance, splits, .. } = assignment else { return Vec::new() };
        let assignment = Assignment::Work { id, node, base, allowance, answered: true, splits };
        self.go_on(assignment, session, Told::Done, lent)
    }

    /// Nobody decided in time.
    pub fn late(&mut self, id: u64, lent: &mut Lent) -> Vec<Wish> {
        let Some((assignment, Execution::Asking(session, _, question, _))) = self.executions.remove(&id) else {
            return Vec::new();
        };
        let asked = Failure { question: Some(*question), ..failure(FailureClass::Asked) };
        self.go_on(assignment, session, Told::Broken(Box::new(asked)), lent)
    }

    fn go_on(&mut self, assignment: Assignment, session: Session, told: Told, lent: &mut Lent) -> Vec<Wish> {
        let Assignment::Work { id, node, base, allowance, .. } = assignment else { return Vec::new() };
        match session.next(told) {
            (_, Do::Deliver(End::Result)) => {
                let outcome = Some(lent.model.result(AttemptId(id), node, base));
                let usage = Some(usage(allowance, lent.random));
                let finished = Finished { outcome, usage, ..Finished::default() };
                self.seal(assignment, finished, lent)
            }
            (_, Do::Deliver(End::Failed(failure))) => {
                let outcome = Some(finished::Outcome::Failure(*failure));
                let usage = Some(usage(allowance, lent.random));
                self.seal(assignment, Finished { outcome, usage, ..Finished::default() }, lent)
            }
            (session, step) => {
                let after_ms = self.duration(&step, lent);
                self.executions.insert(id, (assignment, Execution::Working(session, step)));
                vec![Wish::Step { id, after_ms }]
            }
        }
    }

    /// How a step of an attempt ended.
    fn told(&mut self, id: u64, node: NodeId, step: &Do, lent: &mut Lent) -> Told {
        let broken = |class: FailureClass| Told::Broken(Box::new(failure(class)));
        let limited = || {
            let limit = Failure { provider: "p".into(), agent: "a".into(), ..failure(FailureClass::ProviderLimit) };
            Told::Broken(Box::new(limit))
        };
        let refused = |class: FailureClass| Told::Refused(Box::new(failure(class)));
        if self.cancelled.remove(&id) {
            return broken(FailureClass::Cancelled);
        }
        if self.poisoned {
            return broken(FailureClass::Infrastructure);
        }
        let unlucky = lent.setting.has_faults() && lent.random.below(1_000) < 4;
        match step {
            Do::Setup if unlucky => broken(FailureClass::Setup),
            Do::Slot if unlucky => broken(FailureClass::DiskFull),
            Do::Agent(..) if unlucky => limited(),
            Do::Agent(0, _) if lent.model.behaviour(node).weak => refused(FailureClass::Agent),
            Do::Check(_) if lent.model.refuses(AttemptId(id), node) => refused(FailureClass::Check),
            _ => Told::Done,
        }
    }

    fn judge(&mut self, assignment: Assignment, lent: &mut Lent) -> Finished {
        let Assignment::Gate { id, commit } = assignment else { return Finished::default() };
        if self.cancelled.remove(&id) {
            return failed(FailureClass::Cancelled);
        }
        let faults = lent.setting.has_faults();
        let green = lent.model.is_green(commit);
        let verdict = if self.poisoned || (faults && lent.random.chance(3)) {
            Verdict::Inconclusive
        } else if green && !(faults && lent.random.chance(3)) {
            Verdict::Green
        } else {
            Verdict::Red
        };
        let result = GateResult { verdict: verdict.into(), ..GateResult::default() };
        Finished { outcome: Some(finished::Outcome::Gate(result)), ..Finished::default() }
    }

    fn seal(&mut self, assignment: Assignment, finished: Finished, lent: &mut Lent) -> Vec<Wish> {
        let id = assignment.id();
        self.executions.insert(id, (assignment, Execution::Sealing(Box::new(finished))));
        vec![Wish::Step { id, after_ms: lent.random.between((1, 200)) }]
    }

    /// Its result is durable with the coordinator: only now is the slot free.
    pub fn acknowledged(&mut self, id: u64, lent: &mut Lent) -> Vec<Wish> {
        self.outbox.remove(&id);
        self.executions.remove(&id);
        let mut wishes = self.take(Input::Acknowledged(key(id)), None, lent);
        wishes.extend(self.fill(lent));
        wishes
    }
}

fn key(id: u64) -> Key {
    Key { job: JOB.parse().expect("a name"), id }
}

fn failure(class: FailureClass) -> Failure {
    Failure { class: class.into(), message: "simulated".into(), ..Failure::default() }
}

fn failed(class: FailureClass) -> Finished {
    Finished { outcome: Some(finished::Outcome::Failure(failure(class))), ..Finished::default() }
}
