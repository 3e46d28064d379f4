//! One run: everything that happens, in the order of virtual time, decided by one seed.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use longhaul_coordinator::core::{Command, Input, MoveResult, State, WorkerView};
use longhaul_coordinator::engine::Disposition;
use longhaul_proto::{Finished, Patch, Verdict, finished};
use longhaul_worker::session::desk;

use crate::coordinator::{Coordinator, Letter, Outgoing};
use crate::disk::Disk;
use crate::faults::Fault;
use crate::model::{BASE, JOB, Model};
use crate::network::{ANSWER_MS_MAX, Network, Way};
use crate::person::Person;
use crate::random::Random;
use crate::setting::Setting;
use crate::trace::Trace;
use crate::worker::{Assignment, Lent, Wish, Worker};

/// How long git works on a command.
const GIT_MS: (i64, i64) = (5, 800);

/// What can happen.
#[derive(Debug)]
pub enum Happening {
    /// The coordinator looks what there is.
    Turn,
    /// Something reaches it; with a life, only if it has not died since.
    Letter {
        life: Option<u32>,
        letter: Box<Letter>,
    },
    CoordinatorStarts,
    /// Git moves the branch.
    MoveRef {
        life: u32,
        batch: BatchId,
        old: Oid,
        new: Oid,
    },
    /// A message reaches a worker.
    Order {
        worker: usize,
        order: Order,
    },
    /// An assignment goes on.
    Step {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    Presence {
        worker: usize,
        incarnation: u32,
    },
    /// A sealed result is handed over (again).
    Deliver {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    Ack {
        worker: usize,
        incarnation: u32,
        id: u64,
    },
    WorkerStarts {
        worker: usize,
    },
    NextFault,
    FaultEnds(Fault),
    PersonLooks,
}

/// What a coordinator sends to a worker.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Assign(Assignment),
    Stop(u64),
    Hello,
}

/// The integration branch: where it is, and where a crash may put it back to.
pub struct Branch {
    pub at: Oid,
    pub unsynced_from: Option<Oid>,
}

pub struct World {
    pub setting: Setting,
    pub random: Random,
    pub now: i64,
    pub model: Model,
    pub network: Network,
    pub coordinator: Coordinator,
    /// Which process of the coordinator this is.
    pub life: u32,
    pub workers: Vec<Worker>,
    pub branch: Branch,
    pub person: Person,
    pub trace: Trace,
    /// Commits a gate really was green on.
    pub green: BTreeSet<Oid>,
    /// What was answered to each result.
    pub answered: BTreeMap<u64, Disposition>,
    /// How often what went wrong.
    pub faults: BTreeMap<&'static str, u64>,
    queue: BTreeMap<(i64, u64), Happening>,
    queued: u64,
    /// When each result is to be handed over again.
    retries: BTreeMap<(usize, u64), i64>,
}

impl World {
    /// Runs a setting to its end and checks everything.
    pub fn run(setting: Setting) -> Self {
        let mut random = Random::new(setting.seed);
        let model = Model::new(&mut random, &setting);
        let coordinator = Coordinator::new(model.plan.clone(), Disk::new(setting.snapshot_every));
        let workers = (0..setting.workers).map(|_| Worker::new(setting.slots)).collect();
        let mut world = Self {
            random,
            now: 1,
            model,
            network: Network::default(),
            coordinator,
            life: 0,
            workers,
            branch: Branch { at: BASE, unsynced_from: None },
            person: Person::default(),
            trace: Trace::default(),
            green: BTreeSet::new(),
            answered: BTreeMap::new(),
            faults: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            retries: BTreeMap::new(),
            setting,
        };
        world.begin();
        while !world.is_over() {
            world.next();
        }
        world.check_end();
        world
    }

    fn begin(&mut self) {
        self.after(0, Happening::Turn);
        for worker in 0..self.workers.len() {
            let first = self.random.between((0, self.setting.presence_ms));
            self.after(first, Happening::Presence { worker, incarnation: 0 });
        }
        self.after(self.setting.presence_ms * 6, Happening::PersonLooks);
        if self.setting.has_faults() {
            self.after(self.setting.fault_every_ms, Happening::NextFault);
        }
    }

    pub fn after(&mut self, ms: i64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + ms, self.queued), happening);
    }

    pub fn state(&self) -> &State {
        self.coordinator.state()
    }

    fn is_over(&self) -> bool {
        let quiet = |worker: &Worker| worker.outbox().is_empty() && worker.holding().is_empty();
        self.coordinator.up && self.coordinator.is_closed() && self.workers.iter().all(quiet)
    }

    fn next(&mut self) {
        let ((at, _), happening) = self.queue.pop_first().expect("somebody always looks again");
        self.now = at;
        let limit = self.setting.faults_until_ms + self.setting.end_within_ms;
        assert!(
            at <= limit,
            "no end {} min after the last fault: {:?} {:?} {:?}",
            self.setting.end_within_ms / 60_000,
            self.state().job_phase(),
            self.state().counts(),
            self.state().landing
        );
        match happening {
            Happening::Turn => self.turn(),
            Happening::Letter { life, letter } => self.letter(life, *letter),
            Happening::CoordinatorStarts => self.coordinator_starts(),
            Happening::MoveRef { life, batch, old, new } => self.move_ref(life, batch, old, new),
            Happening::NextFault => self.next_fault(),
            Happening::FaultEnds(fault) => self.fault_ends(fault),
            Happening::PersonLooks => self.person_looks(),
            Happening::WorkerStarts { worker } => {
                self.trace.note(at, "worker starts", worker, 0);
                self.with_worker(worker, |worker, lent| worker.start(lent));
                let incarnation = self.workers[worker].incarnation;
                self.after(self.setting.presence_ms, Happening::Presence { worker, incarnation });
            }
            of_worker => self.of_worker(of_worker),
        }
    }

    fn turn(&mut self) {
        if !self.coordinator.up || self.now != self.coordinator.wake_at.max(1) {
            return;
        }
        if self.now < self.coordinator.suspended_until {
            self.wake(self.coordinator.suspended_until);
            return;
        }
        let commits = self.coordinator.commits;
        self.coordinator.wake_at = 0;
        self.coordinator.look(self.now, !self.network.down);
        let (outgoing, died) = self.coordinator.turn(self.now);
        let waits = self.coordinator.wake_at;
        for outgoing in outgoing {
            self.send(outgoing);
        }
        if died {
            self.coordinator_dies();
            return;
        }
        if self.coordinator.commits != commits {
            self.model.moved(self.coordinator.state().landing.tip);
            self.check_commit();
        }
        let next = if waits > 0 { waits } else { self.now + self.coordinator.patience(self.setting.tick_ms) };
        self.wake(next);
    }

    /// Has the coordinator look at the latest then.
    fn wake(&mut self, at: i64) {
        self.coordinator.wake_at = at;
        self.after(at - self.now, Happening::Turn);
    }

    pub fn coordinator_dies(&mut self) {
        *self.faults.entry("coordinator crashes").or_default() += 1;
        self.trace.note(self.now, "coordinator dies", 0, u64::from(self.life));
        let torn = self.random.below(400);
        self.coordinator.crash(usize::try_from(torn).unwrap_or(0));
        self.life += 1;
        if let Some(before) = self.branch.unsynced_from.take()
            && self.random.chance(50)
        {
            self.branch.at = before;
        }
        if self.random.chance(15) {
            self.coordinator.disk_mut().rot();
        }
        let down = self.random.between((100, 2 * self.setting.tick_ms * 15));
        self.after(down, Happening::CoordinatorStarts);
    }

    fn coordinator_starts(&mut self) {
        self.trace.note(self.now, "coordinator starts", 0, u64::from(self.life));
        self.coordinator.start(self.now);
        self.check_recovered();
        self.wake(self.now);
        for worker in 0..self.workers.len() {
            self.order(worker, Order::Hello);
        }
    }

    fn letter(&mut self, life: Option<u32>, letter: Letter) {
        if !self.coordinator.up || life.is_some_and(|life| life != self.life) {
            return;
        }
        if matches!(letter, Letter::Input(Input::RefMoved { .. })) {
            self.branch.unsynced_from = None;
        }
        self.coordinator.take(letter);
        let soon = self.now + self.random.between(self.setting.group_ms);
        if soon < self.coordinator.wake_at {
            self.wake(soon);
        }
    }

    fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Answer { worker, incarnation, id, disposition } => {
                self.trace.note(self.now, disposition.as_str(), worker, id);
                self.check_answer(id, disposition);
                if let Some(ms) = self.network.call(Way::Results(worker), &self.setting, &mut self.random) {
                    self.after(ms, Happening::Ack { worker, incarnation, id });
                }
            }
            Outgoing::Command(command) => self.perform(&command),
        }
    }

    fn perform(&mut self, command: &Command) {
        match command {
            Command::Assign(AttemptId(id)) => {
                let live = self.state().attempts().get(&AttemptId(*id)).cloned();
                let Some(live) = live else { return };
                let assignment = Assignment::Work { id: *id, node: live.node, base: live.base };
                self.order(number(&live.worker), Order::Assign(assignment));
            }
            Command::Gate(GateId(id)) => {
                let run = self.state().landing.gates.get(&GateId(*id)).cloned();
                let Some(run) = run else { return };
                let assignment = Assignment::Gate { id: *id, commit: run.commit };
                self.order(number(&run.worker), Order::Assign(assignment));
            }
            Command::Stop(id) => {
                for worker in 0..self.workers.len() {
                    self.order(worker, Order::Stop(*id));
                }
            }
            Command::Merge(batch) => {
                let work = self.state().landing.batch.clone().expect("a batch");
                let (members, merge) = self.model.merge(&self.patches(&work.members), work.tip);
                self.git(Input::Merged { batch: *batch, members, merge });
            }
            Command::Stage(node, _) => {
                let head = self.state().staging_head(*node);
                let (mut members, _) = self.model.merge(&self.patches(&[*node]), head);
                self.git(Input::Staged { node: *node, result: members.remove(0).result });
            }
            Command::Seal(_) => unreachable!("nothing is derived here"),
            Command::Land(batch) => {
                let work = self.state().landing.batch.clone().expect("a batch");
                let ms = self.random.between(GIT_MS);
                let (life, old, new) = (self.life, work.tip, work.merge.commit);
                self.after(ms, Happening::MoveRef { life, batch: *batch, old, new });
            }
        }
    }

    fn patches(&self, nodes: &[NodeId]) -> Vec<(NodeId, Patch)> {
        let patch = |node: NodeId| self.state().subtask(node).phase().candidate().expect("a candidate").patch.clone();
        nodes.iter().map(|&node| (node, *patch(node))).collect()
    }

    /// The outcome of a git command, on its way back to the process that asked.
    fn git(&mut self, input: Input) {
        let ms = self.random.between(GIT_MS);
        let letter = Box::new(Letter::Input(input));
        self.after(ms, Happening::Letter { life: Some(self.life), letter });
    }

    fn move_ref(&mut self, life: u32, batch: BatchId, old: Oid, new: Oid) {
        if life != self.life {
            return;
        }
        assert!(self.green.contains(&new), "the branch moves to {new}, which no gate passed");
        let at = self.branch.at;
        self.trace.note(self.now, "branch moves", 0, batch.0);
        let result = if at == old || at == new {
            self.branch = Branch { at: new, unsynced_from: (at == old).then_some(old) };
            MoveResult::Moved
        } else {
            MoveResult::Foreign { found: at }
        };
        self.git(Input::RefMoved { batch, result });
    }

    fn order(&mut self, worker: usize, order: Order) {
        for ms in self.network.send(Way::ToWorker(worker), &self.setting, &mut self.random) {
            self.after(ms, Happening::Order { worker, order });
        }
    }

    fn of_worker(&mut self, happening: Happening) {
        let (worker, incarnation) = match &happening {
            Happening::Order { worker, .. } => (*worker, None),
            Happening::Step { worker, incarnation, .. }
            | Happening::Presence { worker, incarnation }
            | Happening::Deliver { worker, incarnation, .. }
            | Happening::Ack { worker, incarnation, .. } => (*worker, Some(*incarnation)),
            other => unreachable!("{other:?} is of no worker"),
        };
        let process = &self.workers[worker];
        if !process.up || incarnation.is_some_and(|incarnation| incarnation != process.incarnation) {
            return;
        }
        if self.now < process.suspended_until {
            self.after(process.suspended_until - self.now, happening);
            return;
        }
        match happening {
            Happening::Order { order, .. } => self.obey(worker, order),
            Happening::Step { id, .. } => self.with_worker(worker, |process, lent| process.step(id, lent)),
            Happening::Presence { incarnation, .. } => {
                self.announce(worker);
                self.after(self.setting.presence_ms, Happening::Presence { worker, incarnation });
            }
            Happening::Deliver { id, .. } => {
                // One chain of tries at a time; a suspended process is late.
                if self.retries.get(&(worker, id)).is_some_and(|&at| at <= self.now) {
                    self.deliver(worker, id);
                }
            }
            Happening::Ack { id, .. } => {
                self.retries.remove(&(worker, id));
                self.with_worker(worker, |process, lent| process.acknowledged(id, lent));
            }
            other => unreachable!("{other:?} is of no worker"),
        }
    }

    fn obey(&mut self, worker: usize, order: Order) {
        match order {
            Order::Assign(assignment) => {
                self.trace.note(self.now, "assigned", worker, assignment.id());
                self.with_worker(worker, |process, lent| process.assign(assignment, lent));
            }
            Order::Stop(id) => {
                let key = desk::Key { job: JOB.parse().expect("a name"), id };
                self.hear(worker, desk::Input::Cancel(key, "stopped".to_owned()));
            }
            Order::Hello => self.hear(worker, desk::Input::Hello),
        }
    }

    pub fn hear(&mut self, worker: usize, input: desk::Input) {
        self.with_worker(worker, |process, lent| process.hear(input, lent));
    }

    /// Has a worker do something, and does what it wishes.
    pub fn with_worker(&mut self, worker: usize, act: impl FnOnce(&mut Worker, &mut Lent) -> Vec<Wish>) {
        let mut lent = Lent { model: &mut self.model, random: &mut self.random, setting: &self.setting };
        let wishes = act(&mut self.workers[worker], &mut lent);
        let incarnation = self.workers[worker].incarnation;
        for wish in wishes {
            match wish {
                Wish::Step { id, after_ms } => self.after(after_ms, Happening::Step { worker, incarnation, id }),
                Wish::Deliver { id } => self.deliver(worker, id),
                Wish::Announce => self.announce(worker),
            }
        }
    }

    fn announce(&mut self, worker: usize) {
        let process = &self.workers[worker];
        let (work_slots, gate_slots) = process.slots();
        let holding = process.holding();
        for ms in self.network.send(Way::FromWorker(worker), &self.setting, &mut self.random) {
            let view = WorkerView { work_slots, gate_slots, holding: holding.clone(), ..WorkerView::default() };
            let letter = Letter::Input(Input::Presence { worker: name(worker), view });
            self.after(ms, Happening::Letter { life: None, letter: Box::new(letter) });
        }
    }

    /// Hands a result over, and again later if no answer came by then.
    fn deliver(&mut self, worker: usize, id: u64) {
        let Some(finished) = self.workers[worker].outbox().get(&id).cloned() else { return };
        self.trace.note(self.now, "delivers", worker, id);
        self.note_green(id, &finished);
        let incarnation = self.workers[worker].incarnation;
        if let Some(ms) = self.network.call(Way::Results(worker), &self.setting, &mut self.random) {
            let input = Input::Finished { id, finished: Box::new(finished) };
            let letter = Box::new(Letter::Deliver { worker, incarnation, id, input });
            self.after(ms, Happening::Letter { life: None, letter });
        }
        let again = ANSWER_MS_MAX + self.random.between((0, 500));
        self.retries.insert((worker, id), self.now + again);
        self.after(again, Happening::Deliver { worker, incarnation, id });
    }

    /// A green verdict on its way: of which commit, only its worker knew.
    fn note_green(&mut self, id: u64, finished: &Finished) {
        let Some(finished::Outcome::Gate(result)) = &finished.outcome else { return };
        let commit = self.state().landing.gates.get(&GateId(id)).map(|run| run.commit);
        if result.verdict() == Verdict::Green
            && let Some(commit) = commit
        {
            assert!(self.model.is_green(commit), "a verdict of green on {commit}, which is red");
            self.green.insert(commit);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Setting { seed, test, .. } = self.setting;
            eprintln!("the last steps of seed {seed}:\n{}", self.trace);
            eprintln!(
                "again: LONGHAUL_SEED={seed} cargo nextest run -p longhaul-tests --all-targets -E 'test(={test})'"
            );
        }
    }
}

/// A worker's name.
pub fn name(worker: usize) -> String {
    format!("w{worker:02}")
}

fn number(name: &str) -> usize {
    name.trim_start_matches('w').parse().expect("a simulated worker's name")
}
