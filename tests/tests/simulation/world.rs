//! One run: everything that happens, in the order of virtual time, decided by one seed.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::Oid;
use longhaul_coordinator::core::{Input, Phase, State, explain};
use longhaul_coordinator::engine::Disposition;
use longhaul_tests::random::Random;

use crate::coordinator::{Coordinator, Letter};
use crate::disk::Disk;
use crate::happening::{Happening, Order};
use crate::model::{BASE, Model};
use crate::network::Network;
use crate::person::Person;
use crate::setting::Setting;
use crate::trace::Trace;
use crate::worker::Worker;

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
    pub retries: BTreeMap<(usize, u64), i64>,
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

    /// The words for a run that does not end, with the causes of the first subtasks that do not run.
    fn no_end(&self) -> String {
        let state = self.state();
        let ready = state.nodes().filter(|&node| matches!(state.subtask(node).phase(), Phase::Ready)).take(3);
        let causes: Vec<Vec<String>> = ready.map(|node| explain(state, node, self.now).causes).collect();
        format!(
            "no end {} min after the last fault: {:?} {:?} {causes:?} {:?} {:?}",
            self.setting.end_within_ms / 60_000,
            state.job_phase(),
            state.counts(),
            state.limits(),
            state.landing
        )
    }

    fn next(&mut self) {
        let ((at, _), happening) = self.queue.pop_first().expect("somebody always looks again");
        self.now = at;
        let limit = self.setting.faults_until_ms + self.setting.end_within_ms;
        assert!(at <= limit, "{}", self.no_end());
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
    pub fn wake(&mut self, at: i64) {
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
