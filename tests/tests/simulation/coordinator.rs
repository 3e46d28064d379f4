//! A simulated coordinator process: the product's engine over a simulated disk, turned as the
//! driver turns it, with a death between any two steps of a turn.

use longhaul_coordinator::core::{Command, Input, JobPhase, Outage, Request, State, open_generation};
use longhaul_coordinator::engine::{Disposition, Engine, FeedError, GAP_MS};
use longhaul_proto::{JobOpened, Plan, record::Event};

use crate::disk::Disk;
use crate::model::JOB;

/// Wait before a failed commit is tried again, as in the product.
const COMMIT_RETRY_MS: i64 = 1_000;

/// Where in a turn the process dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Decided, nothing written.
    BeforeCommit,
    /// Written, not synced: some of it may survive.
    InSync,
    /// Durable, and so many answers and commands went out.
    AfterCommit(usize),
}

/// What reaches the process.
#[derive(Clone, Debug)]
pub enum Letter {
    Input(Input),
    /// A result, to be answered when its record is durable.
    Deliver {
        worker: usize,
        incarnation: u32,
        id: u64,
        input: Input,
    },
}

/// What leaves the process.
#[derive(Clone, Debug)]
pub enum Outgoing {
    Answer { worker: usize, incarnation: u32, id: u64, disposition: Disposition },
    Command(Command),
}

struct Answer {
    worker: usize,
    incarnation: u32,
    id: u64,
    disposition: Disposition,
}

pub struct Coordinator {
    engine: Engine<Disk>,
    pub up: bool,
    /// It does not run before.
    pub suspended_until: i64,
    /// Its wall clock against the world's.
    pub skew_ms: i64,
    pub wake_at: i64,
    pub death: Option<Death>,
    outage: Outage,
    /// When it last looked whether the broker answers.
    looked_ms: i64,
    inbox: Vec<Letter>,
    answers: Vec<Answer>,
    uncommitted: bool,
    pub turns: u64,
    pub commits: u64,
}

impl Coordinator {
    /// A new job, durable.
    pub fn new(plan: Plan, disk: Disk) -> Self {
        let mut engine = Engine::new(State::default(), disk);
        engine.set_now(1);
        engine.record(Event::JobOpened(JobOpened { job: JOB.into() })).expect("opens");
        let opened = open_generation(engine.state(), plan).expect("a base");
        engine.record(Event::PlanOpened(opened)).expect("opens");
        engine.commit().expect("a good disk");
        Self {
            engine,
            up: true,
            suspended_until: 0,
            skew_ms: 0,
            wake_at: 0,
            death: None,
            outage: Outage::default(),
            looked_ms: 0,
            inbox: Vec::new(),
            answers: Vec::new(),
            uncommitted: false,
            turns: 0,
            commits: 0,
        }
    }

    pub fn state(&self) -> &State {
        self.engine.state()
    }

    pub fn disk(&self) -> &Disk {
        self.engine.store()
    }

    /// For faults.
    pub fn disk_mut(&mut self) -> &mut Disk {
        self.engine.store_mut()
    }

    pub fn take(&mut self, letter: Letter) {
        self.inbox.push(letter);
    }

    /// Whether somebody who asks now is heard.
    pub fn takes_requests(&self, world_ms: i64) -> bool {
        self.up && !self.uncommitted && world_ms >= self.suspended_until
    }

    /// A person's request, made durable by the next turn. What is refused was said in words.
    pub fn request(&mut self, request: &Request) {
        match self.engine.feed(&Input::Request(request.clone())) {
            Ok(_) | Err(FeedError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Looks at the link, as the product does: no lease runs while nobody can be heard.
    pub fn look(&mut self, world_ms: i64, up: bool) {
        let passed = world_ms - std::mem::replace(&mut self.looked_ms, world_ms);
        let forgiven = self.outage.pass(if passed < GAP_MS { passed } else { 0 }, up);
        if let Ok(ms @ 1..) = u64::try_from(forgiven) {
            self.take(Letter::Input(Input::Deaf { ms }));
        }
    }

    /// One turn; `None` when the process died in it, with what left it before.
    pub fn turn(&mut self, world_ms: i64) -> (Vec<Outgoing>, bool) {
        self.turns += 1;
        // A process that is trying to commit reads nothing meanwhile.
        if !self.uncommitted {
            self.engine.tell_time(world_ms + self.skew_ms).expect("no defect of the core");
            self.feed_all();
        }
        self.uncommitted = true;
        let death = self.death.take();
        match death {
            Some(Death::BeforeCommit) => return (Vec::new(), true),
            Some(Death::InSync) => self.disk_mut().cut = true,
            _ => {}
        }
        match self.engine.commit() {
            Ok(records) => self.commits += u64::from(!records.is_empty()),
            Err(_) if death == Some(Death::InSync) => return (Vec::new(), true),
            Err(_) => {
                self.death = death;
                self.wake_at = world_ms + COMMIT_RETRY_MS;
                return (Vec::new(), false);
            }
        }
        self.uncommitted = false;
        let mut outgoing = self.release();
        match death {
            Some(Death::AfterCommit(left)) => {
                outgoing.truncate(left);
                return (outgoing, true);
            }
            // Nothing was to be written: it dies all the same.
            Some(_) => return (outgoing, true),
            None => {}
        }
        // A full disk only costs replay.
        drop(self.engine.snapshot(false));
        (outgoing, false)
    }

    fn feed_all(&mut self) {
        for letter in std::mem::take(&mut self.inbox) {
            match letter {
                Letter::Input(input) => {
                    self.engine.feed(&input).expect("no defect of the core");
                }
                Letter::Deliver { worker, incarnation, id, input } => {
                    let disposition = self.engine.feed(&input).expect("no defect of the core");
                    self.answers.push(Answer { worker, incarnation, id, disposition });
                }
            }
            self.engine.settle().expect("no defect of the core");
        }
        self.engine.settle().expect("no defect of the core");
    }

    fn release(&mut self) -> Vec<Outgoing> {
        let answers = std::mem::take(&mut self.answers);
        let answers = answers.into_iter().map(|Answer { worker, incarnation, id, disposition }| Outgoing::Answer {
            worker,
            incarnation,
            id,
            disposition,
        });
        let commands = self.engine.take_commands();
        answers.chain(commands.into_iter().map(Outgoing::Command)).collect()
    }

    /// When it has to look at the time again.
    pub fn patience(&self, tick_ms: i64) -> i64 {
        let now = self.engine.now();
        let due = self.state().next_due_ms(now).map_or(tick_ms, |at| at - now);
        due.clamp(1, tick_ms)
    }

    /// The power goes; `torn` bytes of what was not synced survive.
    pub fn crash(&mut self, torn: usize) {
        self.up = false;
        self.death = None;
        self.uncommitted = false;
        self.inbox.clear();
        self.answers.clear();
        self.disk_mut().crash(torn);
    }

    /// A new process over the same disk.
    pub fn start(&mut self, world_ms: i64) {
        let engine = std::mem::replace(&mut self.engine, Engine::new(State::default(), Disk::default()));
        let disk = engine.into_store();
        let state = disk.recover();
        let wall = world_ms + self.skew_ms;
        let downtime = u64::try_from(wall - state.now_ms()).unwrap_or(0);
        self.engine = Engine::new(state, disk);
        self.engine.tell_time(wall).expect("no defect of the core");
        self.engine.begin_recovered(downtime).expect("applies");
        self.up = true;
        self.suspended_until = 0;
        self.wake_at = world_ms;
    }

    pub fn is_closed(&self) -> bool {
        // What is not durable yet has not happened.
        matches!(self.state().job_phase(), JobPhase::Closed { .. }) && !self.uncommitted
    }
}
