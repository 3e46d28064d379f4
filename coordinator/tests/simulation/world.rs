//! One simulated run: the engine, a worker with an outbox, a branch, and a crash now and then.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::{AttemptId, NodeId, Oid};
use longhaul_coordinator::core::{
    BaseGate, Command, Input, JobPhase, MemberMerge, Merge, MoveResult, Phase, State, WorkerView, open_generation,
};
use longhaul_coordinator::engine::{Disposition, Engine};
use longhaul_proto::{Failure, FailureClass, Finished, GateResult, Patch, Unchanged, Verdict, finished, record::Event};

use crate::model::{BASE, Content, Model};
use crate::random::Random;
use crate::store::MemoryStore;

const WORKER: &str = "w1";
const TURNS_MAX: u32 = 40_000;

pub struct World {
    random: Random,
    model: Model,
    engine: Engine<MemoryStore>,
    faults: bool,
    now: i64,
    /// Assignments being executed: lost in a crash.
    executing: BTreeMap<u64, i64>,
    /// Results that wait for their durable ack: kept through a crash.
    outbox: BTreeMap<u64, Finished>,
    /// Outcomes of commands on their way back: lost in a crash.
    inbox: Vec<Input>,
    branch: Option<Oid>,
    green: BTreeSet<Oid>,
    /// Results of each attempt, so that running one again gives the same.
    tries: BTreeMap<u32, u32>,
    kept: BTreeSet<u64>,
    pub crashes: u32,
}

fn failure(class: FailureClass) -> finished::Outcome {
    finished::Outcome::Failure(Failure { class: class.into(), message: "simulated".into(), ..Failure::default() })
}

impl World {
    pub fn run(seed: u64, faults: bool) -> Self {
        let mut random = Random::new(seed);
        let model = Model::new(&mut random, faults);
        let failing_sync = if faults { 3 + random.below(40) as u32 } else { 0 };
        let store = MemoryStore::failing(failing_sync);
        let mut engine = Engine::new(State::default(), store);
        engine.record(Event::JobOpened(longhaul_proto::JobOpened { job: "sim".into() })).expect("opens");
        let opened = open_generation(engine.state(), model.plan.clone()).expect("a base");
        engine.record(Event::PlanOpened(opened)).expect("opens");
        engine.commit().expect("memory");
        let mut world = Self {
            random,
            model,
            engine,
            faults,
            now: 1,
            executing: BTreeMap::new(),
            outbox: BTreeMap::new(),
            inbox: Vec::new(),
            branch: None,
            green: BTreeSet::new(),
            tries: BTreeMap::new(),
            kept: BTreeSet::new(),
            crashes: 0,
        };
        for turn in 0.. {
            assert!(
                turn < TURNS_MAX,
                "seed {seed}: no end after {turn} turns: {:?} {:?}",
                world.engine.state().counts(),
                world.engine.state().landing
            );
            if world.over() {
                break;
            }
            world.turn(seed);
        }
        world.check_end(seed);
        world
    }

    fn over(&self) -> bool {
        let state = self.engine.state();
        let quiet = self.outbox.is_empty() && self.inbox.is_empty() && self.executing.is_empty();
        matches!(state.job_phase(), JobPhase::Closed { .. }) || (quiet && state.is_stuck())
    }

    /// One step of the world; the process may die before, in the middle of, or after it.
    fn turn(&mut self, seed: u64) {
        self.now += 1 + self.random.below(2_000) as i64;
        self.engine.set_now(self.now);
        let input = self.next_input();
        let disposition = self.engine.feed(&input).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        self.engine.settle().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if self.dies() {
            return;
        }
        // A full disk: nothing leaves the engine until a commit succeeds.
        while self.engine.commit().is_err() {
            if self.dies() {
                return;
            }
        }
        if self.dies() {
            return;
        }
        self.acknowledge(&input, disposition);
        self.engine.state().assert_invariants();
        for command in self.engine.take_commands() {
            self.perform(&command);
            if self.dies() {
                return;
            }
        }
        self.engine.snapshot(false).expect("memory");
    }

    fn dies(&mut self) -> bool {
        let dies = self.faults && self.random.below(1_000) < 12;
        if dies {
            self.crash();
        }
        dies
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.executing.clear();
        self.inbox.clear();
        let torn = self.random.below(200) as usize;
        let engine = std::mem::replace(&mut self.engine, Engine::new(State::default(), MemoryStore::default()));
        let store = engine.into_store().crash(torn);
        let state = store.recover();
        for attempt in &self.kept {
            let lost = state.attempts().contains_key(&AttemptId(*attempt));
            assert!(!lost, "the acknowledged result of attempt {attempt} was lost");
        }
        self.engine = Engine::new(state, store);
        self.engine.set_now(self.now);
        self.engine.begin_recovered(5).expect("recovers");
    }

    fn next_input(&mut self) -> Input {
        if self.random.chance(25) {
            return self.presence();
        }
        if !self.inbox.is_empty() {
            let at = self.random.below(self.inbox.len() as u64) as usize;
            return self.inbox.swap_remove(at);
        }
        let done: Vec<u64> = self.executing.iter().filter(|(_, due)| **due <= self.now).map(|(id, _)| *id).collect();
        for id in done {
            self.executing.remove(&id);
            if let Some(finished) = self.execute(id) {
                self.outbox.insert(id, finished);
            }
        }
        let waiting: Vec<u64> = self.outbox.keys().copied().collect();
        if !waiting.is_empty() && self.random.chance(70) {
            let id = waiting[self.random.below(waiting.len() as u64) as usize];
            return Input::Finished { id, finished: Box::new(self.outbox[&id].clone()) };
        }
        if self.faults && self.random.chance(1) {
            self.now += 90_000;
            return Input::Gap { ms: 90_000 };
        }
        Input::Tick
    }

    fn presence(&self) -> Input {
        let holding = self.executing.keys().chain(self.outbox.keys()).copied().collect();
        let view = WorkerView { work_slots: 4, gate_slots: 1, holding, ..WorkerView::default() };
        Input::Presence { worker: WORKER.to_owned(), view }
    }

    fn acknowledge(&mut self, input: &Input, disposition: Disposition) {
        let Input::Finished { id, .. } = input else { return };
        // The ack itself may be lost: the result is delivered again.
        if self.faults && self.random.chance(5) {
            return;
        }
        self.outbox.remove(id);
        if disposition == Disposition::Kept {
            self.kept.insert(*id);
        }
    }

    fn perform(&mut self, command: &Command) {
        match command {
            Command::Assign(AttemptId(id)) => self.start(*id),
            Command::Gate(gate) => self.start(gate.0),
            Command::Stop(id) => {
                self.executing.remove(id);
            }
            Command::Merge(batch) => {
                let work = self.engine.state().landing.batch.clone().expect("a batch");
                let (members, merge) = self.merge(&work.members, work.tip);
                self.inbox.push(Input::Merged { batch: *batch, members, merge });
            }
            Command::Stage(node, _) => {
                let head = self.engine.state().staging_head(*node);
                let (mut members, _) = self.merge(&[*node], head);
                self.inbox.push(Input::Staged { node: *node, result: members.remove(0).result });
            }
            Command::Seal(_) => unreachable!("nothing is derived here"),
            Command::Land(batch) => {
                let work = self.engine.state().landing.batch.clone().expect("a batch");
                let (old, new) = (work.tip, work.merge.commit);
                assert!(self.green.contains(&new), "the branch moves to {new}, which no gate passed");
                let at = self.branch.unwrap_or(BASE);
                let result = if at == old || at == new {
                    self.branch = Some(new);
                    MoveResult::Moved
                } else {
                    MoveResult::Foreign { found: at }
                };
                self.inbox.push(Input::RefMoved { batch: *batch, result });
            }
        }
    }

    fn start(&mut self, id: u64) {
        // Messages get lost.
        if self.outbox.contains_key(&id) || (self.faults && self.random.chance(3)) {
            return;
        }
        let due = self.now + self.random.below(6_000) as i64;
        self.executing.entry(id).or_insert(due);
    }

    fn merge(&mut self, nodes: &[NodeId], tip: Oid) -> (Vec<MemberMerge>, Option<Merge>) {
        let mut content = self.model.commits[&tip].clone();
        let mut members = Vec::new();
        let mut any = false;
        for &node in nodes {
            let state = self.engine.state();
            let patch = &state.subtask(node).phase().candidate().expect("a candidate").patch;
            let base = self.model.commits[&Oid::from_bytes(&patch.base).expect("an id")].clone();
            let own = self.model.commits[&Oid::from_bytes(&patch.commit).expect("an id")].clone();
            let against = self.model.behaviour[node.index()].conflicts;
            let conflict = against.is_some_and(|other| content.nodes.contains(&other) && !base.nodes.contains(&other));
            let result = if conflict {
                Err(vec!["f".to_owned()])
            } else {
                content.nodes.insert(node.0);
                content.bad.extend(own.bad.iter().filter(|&&bad| bad == node.0));
                any = true;
                Ok(self.model.commit(content.clone()))
            };
            members.push(MemberMerge { node, result });
        }
        let merge = any.then(|| self.model.commit(content)).map(|commit| Merge { commit, tree: commit });
        (members, merge)
    }

    /// Does an assignment; `None` when the coordinator no longer knows it.
    fn execute(&mut self, id: u64) -> Option<Finished> {
        let state = self.engine.state();
        let gate = state.landing.gates.get(&longhaul_common::GateId(id)).map(|run| run.commit);
        let attempt = state.attempts().get(&AttemptId(id)).map(|live| (live.node, live.base));
        let outcome = match (gate, attempt) {
            (Some(commit), _) => finished::Outcome::Gate(self.judge(commit)),
            (None, Some((node, base))) => self.work(node, base),
            (None, None) => return None,
        };
        Some(Finished { outcome: Some(outcome), ..Finished::default() })
    }

    fn judge(&mut self, commit: Oid) -> GateResult {
        let green = self.model.is_green(commit);
        let verdict = if self.faults && self.random.chance(4) {
            Verdict::Inconclusive
        } else if green && self.faults && self.random.chance(4) {
            Verdict::Red
        } else if green {
            self.green.insert(commit);
            Verdict::Green
        } else {
            Verdict::Red
        };
        GateResult { verdict: verdict.into(), ..GateResult::default() }
    }

    fn work(&mut self, node: NodeId, base: Oid) -> finished::Outcome {
        let behaviour = self.model.behaviour[node.index()].clone();
        if self.faults && self.random.chance(3) {
            return failure(FailureClass::Infrastructure);
        }
        let tries = self.tries.entry(node.0).or_insert(0);
        *tries += 1;
        if *tries <= behaviour.failing {
            return failure(FailureClass::Check);
        }
        if behaviour.idle {
            return finished::Outcome::Unchanged(Unchanged::default());
        }
        let bad = *tries <= behaviour.bad;
        let content = Content { nodes: BTreeSet::from([node.0]), bad: bad.then_some(node.0).into_iter().collect() };
        let commit = self.model.commit(content);
        finished::Outcome::Patch(Patch {
            commit: commit.to_vec(),
            tree: commit.to_vec(),
            base: base.to_vec(),
            files: vec![format!("f{node}")],
            ..Patch::default()
        })
    }

    fn check_end(&self, seed: u64) {
        let state = self.engine.state();
        state.assert_invariants();
        let tip = &self.model.commits[&state.landing.tip];
        assert_eq!(self.branch.unwrap_or(BASE), state.landing.tip, "seed {seed}: branch and state differ");
        let landed: BTreeSet<u32> = state
            .nodes()
            .filter(|&node| matches!(state.subtask(node).phase(), Phase::Landed(_)))
            .map(|node| node.0)
            .collect();
        assert_eq!(tip.nodes, landed, "seed {seed}: what is on the branch is what the state says");
        assert!(self.model.is_green(state.landing.tip), "seed {seed}: the branch is red");
        let counts = state.counts();
        let open = counts.waiting + counts.ready + counts.backoff + counts.running + counts.landing + counts.parked;
        let closed = matches!(state.job_phase(), JobPhase::Closed { .. });
        assert!(open > 0 || closed, "seed {seed}: everything is settled and the job never closed");
        if matches!(state.landing.base_gate, BaseGate::Red(_)) {
            assert_eq!(state.spend.attempts, 0, "seed {seed}: something was spent on a red base");
            return;
        }
        for node in state.nodes() {
            let phase = state.subtask(node).phase();
            let fine = match phase {
                Phase::Landed(_) | Phase::Unchanged | Phase::Parked { .. } | Phase::Closed { .. } => true,
                Phase::Waiting => self.waits_for_a_park(node),
                Phase::Ready | Phase::Backoff { .. } => self.waits_for_a_park(node),
                // A group lands when its parked member does.
                Phase::Delivered { .. } => !state.task(node).land_with.is_empty() || state.landing.halted.is_some(),
                _ => state.landing.halted.is_some(),
            };
            assert!(fine, "seed {seed}: {node} is left {phase:?}");
        }
    }

    fn waits_for_a_park(&self, node: NodeId) -> bool {
        let state = self.engine.state();
        state.landing.halted.is_some()
            || state.node(node).deps.iter().any(|&dep| match state.subtask(NodeId(dep)).phase() {
                Phase::Parked { .. } | Phase::Delivered { .. } => true,
                Phase::Waiting | Phase::Ready | Phase::Backoff { .. } => self.waits_for_a_park(NodeId(dep)),
                _ => false,
            })
    }

    pub fn assert_all_done(&self, seed: u64) {
        let state = self.engine.state();
        let counts = state.counts();
        assert_eq!(counts.landed + counts.unchanged, counts.total, "seed {seed}: {counts:?}");
        assert_eq!(state.retries(), 0, "seed {seed}");
        assert_eq!(state.spend.attempts, u64::from(counts.total), "seed {seed}: every subtask ran once");
    }

    pub fn landed(&self) -> u32 {
        self.engine.state().counts().landed
    }

    pub fn state(&self) -> &State {
        self.engine.state()
    }

    /// The state from the journal alone.
    pub fn replayed(&self) -> State {
        let mut state = State::default();
        for record in self.engine.store().records().0 {
            state.apply(record.seq, record.at_ms, record.event.as_ref().expect("an event")).expect("applies");
        }
        state
    }

    pub fn event_hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for record in self.engine.store().records().0 {
            hasher.update(&prost::Message::encode_to_vec(&record));
        }
        hasher.finalize()
    }
}
