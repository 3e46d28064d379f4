//! One turn of the coordinator, without threads or IO of its own: input → decide → apply →
//! journal → what to perform. The driver turns it in the product, the simulator in tests.
//!
//! Events are applied in memory before they are durable, but nothing leaves the engine
//! (commands, answers, records) before [`Engine::commit`] succeeded.

use std::collections::BTreeSet;

use longhaul_common::{AttemptId, GateId, Oid};
use longhaul_proto::{Audited, JobOpened, Patch, Plan, Record, carried};

use crate::changes::differences;
use crate::checkpoint::{CheckpointError, Store};
use crate::core::{
    Command, Event, Graph, Input, JobPhase, Millis, Refusal, Request, State, advance, decide, forgotten,
    open_generation, with_parts,
};

/// A turn later than this means that this process could not run: a suspended machine, SIGSTOP.
pub const GAP_MS: Millis = 5_000;

/// Wait before a snapshot that failed is tried again; it doubles with each.
pub const SNAPSHOT_WAIT_MS: Millis = 5_000;

/// Longest such wait.
pub const SNAPSHOT_WAIT_MS_MAX: Millis = 300_000;

/// What became of a delivered result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Recorded.
    Kept,
    /// Recorded as a later result of its subtask.
    Spare,
    /// Not wanted any more.
    Closed,
}

impl Disposition {
    /// The word in the ack.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Spare => "spare",
            Self::Closed => "closed",
        }
    }
}

/// The state, its store, and what is between them.
pub struct Engine<S> {
    state: State,
    store: S,
    uncommitted: Vec<Record>,
    /// Commands to workers, and the record at which they were compared with the state.
    assigned: BTreeSet<Command>,
    compared: u64,
    /// Commands of the landing side.
    issued: BTreeSet<Command>,
    /// Commands whose outcome arrived as a report: nothing is left to stop.
    reported: BTreeSet<u64>,
    /// Attempts that say again that they wait: what they were told did not reach them.
    waiting: BTreeSet<AttemptId>,
    /// Snapshots that failed in a row, and when the next may be tried.
    unsnapped: (u32, Millis),
    now: Millis,
    /// What the wall clock said last.
    wall: Option<Millis>,
    /// Whether a commit is gone from the store; such results are not carried over.
    lacks: Option<Lacks>,
}

/// Whether a commit is gone.
pub type Lacks = Box<dyn Fn(Oid) -> bool + Send>;

impl<S: Store> Engine<S> {
    /// Over a recovered (or empty) state.
    pub fn new(state: State, store: S) -> Self {
        let now = state.now_ms();
        Self {
            state,
            store,
            uncommitted: Vec::new(),
            assigned: BTreeSet::new(),
            compared: 0,
            issued: BTreeSet::new(),
            reported: BTreeSet::new(),
            waiting: BTreeSet::new(),
            unsnapped: (0, Millis::MIN),
            now,
            wall: None,
            lacks: None,
        }
    }

    /// The state, uncommitted events included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Sets how long a worker may be silent before its leases are lost.
    pub fn set_lease(&mut self, lease_ms: Millis) {
        self.state.fleet.set_lease(lease_ms);
    }

    /// Says how it is known that a commit was forgotten, so that a next generation does its work
    /// again instead of carrying it over.
    pub fn set_lacks(&mut self, lacks: Lacks) {
        self.lacks = Some(lacks);
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, for tests whose disk fails.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the parts back, for tests that crash.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Time as the engine counts it: never going back.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Sets the time, unless it would go back.
    pub fn set_now(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// What the wall clock says, once a turn. A clock that is set back stops nothing: time goes on
    /// by what passes. A long silence was no time in which anybody could have been heard.
    pub fn tell_time(&mut self, wall: Millis) -> Result<(), FeedError> {
        let passed = wall - self.wall.replace(wall).unwrap_or(wall);
        self.set_now(wall.max(self.now + passed.max(0)));
        if passed > GAP_MS {
            self.feed(&Input::Gap { ms: u64::try_from(passed).unwrap_or(0) })?;
        }
        Ok(())
    }

    /// After a restart: live work waits for its worker to say what it still holds.
    ///
    /// Time from here to the first turn is forgiven too: call it when the wall clock was just told.
    pub fn begin_recovered(&mut self, downtime_ms: u64) -> Result<(), crate::core::ApplyError> {
        let attempts: Vec<u64> = self.state.attempts().keys().map(|id| id.0).collect();
        let gates: Vec<u64> = self.state.landing.gates.keys().map(|id| id.0).collect();
        self.state.fleet.expect_back(attempts.iter().chain(&gates).copied(), self.now);
        self.assigned = self.state.assignments().collect();
        let open = !matches!(self.state.job_phase(), JobPhase::Closed { .. } | JobPhase::Empty);
        if open && self.state.seq() > 0 {
            self.record(Event::Recovered(longhaul_proto::Recovered {
                lost_attempts: attempts,
                lost_gates: gates,
                downtime_ms,
            }))?;
        }
        Ok(())
    }

    /// Applies an event and puts it into the next commit.
    pub fn record(&mut self, event: Event) -> Result<(), crate::core::ApplyError> {
        let seq = self.state.seq() + 1;
        self.state.apply(seq, self.now, &event)?;
        self.uncommitted.push(Record { seq, at_ms: self.now, event: Some(event) });
        Ok(())
    }

    /// Takes an input in. Say what it led to with [`Engine::disposition_since`].
    pub fn feed(&mut self, input: &Input) -> Result<Disposition, FeedError> {
        if let Input::Presence { worker, view } = input {
            self.hear(worker, view)?;
        }
        if let Input::Gap { ms } | Input::Deaf { ms } = input {
            self.state.fleet.forgive(i64::try_from(*ms).unwrap_or(i64::MAX));
        }
        if let Input::Finished { id, .. } = input {
            self.reported.insert(*id);
        }
        if let Input::Asking { id, .. } = input {
            self.waiting.insert(AttemptId(*id));
        }
        let events = decide(&self.state, self.now, input)?;
        let disposition = match events.first() {
            None | Some(Event::SpendSettled(_)) => Disposition::Closed,
            Some(Event::SpareKept(_)) => Disposition::Spare,
            Some(_) => Disposition::Kept,
        };
        for event in events {
            self.record(event)?;
        }
        Ok(disposition)
    }

    /// Takes a person's request in. Who asked is recorded before what it led to, in the same
    /// commit; a request that leads to nothing leaves no record. Gives the number of events.
    pub fn request(&mut self, request: &Request, asked: Option<&Audited>) -> Result<usize, FeedError> {
        let events = decide(&self.state, self.now, &Input::Request(request.clone()))?;
        let led = events.len();
        if let Some(asked) = asked.filter(|_| led > 0) {
            self.record(Event::Audited(asked.clone()))?;
        }
        for event in events {
            self.record(event)?;
        }
        Ok(led)
    }

    /// Opens a plan: the first one, or the next generation. Refused when it cannot be run.
    pub fn open_plan(&mut self, plan: Plan, asked: Option<&Audited>) -> Result<usize, FeedError> {
        let plan = with_parts(self.state.plan(), plan);
        Graph::of(&plan).map_err(|error| Refusal(error.to_string()))?;
        let job = plan.job.clone();
        let mut opened = open_generation(&self.state, plan).map_err(|error| Refusal(error.to_string()))?;
        if let Some(lacks) = &self.lacks {
            let is_gone = |patch: &Patch| Oid::from_bytes(&patch.commit).is_ok_and(lacks);
            opened.carried.retain(|node| !matches!(&node.what, Some(carried::What::Patch(patch)) if is_gone(patch)));
        }
        if self.state.seq() == 0 {
            self.record(Event::JobOpened(JobOpened { job }))?;
        }
        if let Some(asked) = asked {
            self.record(Event::Audited(asked.clone()))?;
        }
        self.record(Event::PlanOpened(opened))?;
        Ok(1)
    }

    /// A worker's presence; after a restart it may show that live work is gone.
    fn hear(&mut self, worker: &str, view: &crate::core::WorkerView) -> Result<(), FeedError> {
        let theirs = self.state.live_on(worker);
        let mut view = view.clone();
        view.seen_ms = self.now;
        if self.state.fleet.is_anew(worker, &view) {
            let not_held = theirs.iter().filter(|id| !view.holding.contains(id));
            let forgotten: Vec<_> = not_held.filter_map(|&id| forgotten(&self.state, AttemptId(id))).collect();
            for event in forgotten {
                self.record(event)?;
            }
        }
        for id in self.state.fleet.hear(worker, view, &theirs) {
            let why = format!("{worker} came back without it");
            let attempt = self.state.attempts().get(&AttemptId(id)).map(|live| live.node);
            self.record(match attempt {
                Some(node) => {
                    let handed_back = false;
                    Event::LeaseExpired(longhaul_proto::LeaseExpired { attempt: id, node: node.0, why, handed_back })
                }
                None => Event::GateLost(longhaul_proto::GateLost { gate: id, why, handed_back: false }),
            })?;
        }
        Ok(())
    }

    /// Decides everything that follows from the state and the time.
    pub fn settle(&mut self) -> Result<(), FeedError> {
        // Each node can be closed, handed out or landed in one turn; more is a loop in the core.
        let most = 1_000 + self.state.counts().total as usize * 8;
        for _ in 0..most {
            match advance(&self.state, self.now) {
                Some(event) => self.record(event)?,
                None => return Ok(()),
            }
        }
        let last: Vec<_> = self.uncommitted.iter().rev().take(4).filter_map(|record| record.event.as_ref()).collect();
        Err(FeedError::Loop(format!("{last:?}")))
    }

    /// Makes all decided events durable and gives them out. After an error nothing is given out,
    /// nothing is lost, and the call may be made again.
    pub fn commit(&mut self) -> Result<Vec<Record>, CheckpointError> {
        if self.uncommitted.is_empty() {
            return Ok(Vec::new());
        }
        self.store.append(&self.uncommitted)?;
        self.store.sync()?;
        Ok(std::mem::take(&mut self.uncommitted))
    }

    /// A snapshot where one is due (or asked for). Only after a commit. One that fails is due again
    /// after a while: writing a large state again and again would only keep a full disk full.
    pub fn snapshot(&mut self, force: bool) -> Result<bool, CheckpointError> {
        let (failed, not_before) = self.unsnapped;
        let due = force || (self.now >= not_before && self.store.wants_snapshot(self.state.seq()));
        if !due || !self.uncommitted.is_empty() {
            return Ok(false);
        }
        let written = self.store.snapshot(&self.state);
        self.unsnapped = match &written {
            Ok(()) => (0, Millis::MIN),
            Err(_) => {
                let wait = (SNAPSHOT_WAIT_MS << failed.min(16)).min(SNAPSHOT_WAIT_MS_MAX);
                (failed.saturating_add(1), self.now.saturating_add(wait))
            }
        };
        written.map(|()| true)
    }

    /// Commands to perform now: new ones, and assignments their worker has not heard of.
    pub fn take_commands(&mut self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut due: Vec<Command> = Vec::new();
        // Only an event changes what is live; most turns of a large fleet only hear presences.
        if self.compared != self.state.seq() {
            self.compared = self.state.seq();
            let (gone, fresh) = differences(self.assigned.iter().cloned(), self.state.assignments());
            for gone in &gone {
                self.assigned.remove(gone);
                let stopped = assignment_id(gone).filter(|id| !self.reported.contains(id));
                commands.extend(stopped.map(Command::Stop));
            }
            self.assigned.extend(fresh.iter().cloned());
            due = fresh;
        }
        self.reported.clear();
        let again = std::mem::take(&mut self.waiting).into_iter().filter_map(|id| self.state.tell(id));
        due.extend(again.filter(|tell| self.assigned.contains(tell)));
        due.extend(self.state.fleet.unheard(self.now).filter_map(|id| self.assignment(id)));
        due.sort();
        due.dedup();
        for id in due.iter().filter_map(assignment_id) {
            self.state.fleet.sent(id, self.now);
        }
        commands.extend(due);
        let landing: BTreeSet<Command> = self.state.landing_commands().into_iter().collect();
        commands.extend(landing.difference(&self.issued).cloned());
        self.issued = landing;
        commands
    }

    /// The command that gave an id to its worker, while it has no outcome.
    fn assignment(&self, id: u64) -> Option<Command> {
        let both = [Command::Assign(AttemptId(id)), Command::Gate(GateId(id))];
        both.into_iter().find(|command| self.assigned.contains(command))
    }
}

fn assignment_id(command: &Command) -> Option<u64> {
    match command {
        Command::Assign(attempt) => Some(attempt.0),
        Command::Gate(gate) => Some(gate.0),
        _ => None,
    }
}

/// Why an input was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A person's request that cannot be met.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A defect: a decided event that does not apply.
    #[error("the core decided what cannot be: {0}")]
    Apply(#[from] crate::core::ApplyError),
    /// A defect: decisions that lead to each other without end.
    #[error("the core decides in a circle: {0}")]
    Loop(String),
}
