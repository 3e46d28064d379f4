//! The workers in the world: what reaches them, what they say, and the results they hand over.

use longhaul_common::GateId;
use longhaul_coordinator::core::{Input, WorkerView};
use longhaul_proto::{Asking, Finished, Verdict, finished};
use longhaul_worker::session::desk;

use crate::coordinator::Letter;
use crate::happening::{Happening, Order};
use crate::model::JOB;
use crate::network::{ANSWER_MS_MAX, Way};
use crate::worker::{Lent, Wish, Worker};
use crate::world::World;

/// How often an agent says that it waits.
const ASK_AGAIN_MS: i64 = 2_000;

impl World {
    pub fn order(&mut self, worker: usize, order: Order) {
        for ms in self.network.send(Way::ToWorker(worker), &self.setting, &mut self.random) {
            self.after(ms, Happening::Order { worker, order: order.clone() });
        }
    }

    pub fn of_worker(&mut self, happening: Happening) {
        let (worker, incarnation) = match &happening {
            Happening::Order { worker, .. } => (*worker, None),
            Happening::Step { worker, incarnation, .. }
            | Happening::Ask { worker, incarnation, .. }
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
            Happening::Ask { id, asked_ms, until, .. } => self.ask(worker, id, asked_ms, until),
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
            Order::Answer { id, asked_ms, decision } => {
                self.trace.note(self.now, "told", worker, id);
                self.person.told += u32::from(self.workers[worker].waits_with(id, asked_ms).is_some());
                self.with_worker(worker, |process, lent| process.answered(id, asked_ms, &decision, lent));
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
                Wish::Ask { id, asked_ms, wait_ms } => self.ask(worker, id, asked_ms, self.now + wait_ms),
                Wish::Deliver { id } => self.deliver(worker, id),
                Wish::Announce => self.announce(worker),
            }
        }
    }

    /// Says that an agent waits, until it is told or its time is over.
    fn ask(&mut self, worker: usize, id: u64, asked_ms: i64, until: i64) {
        let process = &self.workers[worker];
        let Some(question) = process.waits_with(id, asked_ms).cloned() else { return };
        let incarnation = process.incarnation;
        if self.now >= until || process.leaves() {
            self.trace.note(self.now, "not told", worker, id);
            return self.with_worker(worker, |process, lent| process.late(id, lent));
        }
        for ms in self.network.send(Way::FromWorker(worker), &self.setting, &mut self.random) {
            let asking = Box::new(Asking { question: Some(question.clone()), asked_ms });
            let letter = Letter::Input(Input::Asking { worker: name(worker), id, asking });
            self.after(ms, Happening::Letter { life: None, letter: Box::new(letter) });
        }
        let again = (until - self.now).min(ASK_AGAIN_MS);
        self.after(again, Happening::Ask { worker, incarnation, id, asked_ms, until });
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

/// A worker's name.
pub fn name(worker: usize) -> String {
    format!("w{worker:02}")
}
