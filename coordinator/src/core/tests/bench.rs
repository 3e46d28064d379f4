//! A bench to tell stories on: inputs in, decided events out. A story that leaves an event
//! unasserted fails, and every event goes through the wire encoding.

use std::collections::VecDeque;

use longhaul_proto as pb;
use longhaul_proto::{Failure, FailureClass, Finished, GateResult, Patch, Record, Verdict, finished};
use prost::Message as _;

use crate::core::{
    Command, Event, Input, MemberMerge, Merge, MoveResult, Refusal, Request, State, WorkerView, advance, decide,
    open_generation,
};
use longhaul_common::{BatchId, NodeId, Oid, ParkId};

pub struct Bench {
    pub state: State,
    pub now: i64,
    events: VecDeque<Event>,
    next_oid: u8,
}

/// A plan of nodes given as (id, dependencies).
pub fn plan(nodes: &[(&str, &[u32])]) -> pb::Plan {
    let node = |(at, (id, deps)): (usize, &(&str, &[u32]))| pb::Node {
        id: (*id).to_owned(),
        deps: deps.to_vec(),
        claims: vec![format!("file{at}")],
        key: format!("key-{id}").into_bytes(),
        ..pb::Node::default()
    };
    let agent = pb::Agent { name: "script".into(), kind: Some(pb::agent::Kind::Command(pb::CommandAgent::default())) };
    pb::Plan {
        job: "bench".into(),
        repo: Some(pb::Repo { base: oid(200).to_vec(), ..pb::Repo::default() }),
        agents: vec![agent],
        tasks: vec![pb::Task { ladder: vec![0], max_attempts: 3, ..pb::Task::default() }],
        nodes: nodes.iter().enumerate().map(node).collect(),
        gate: Some(pb::GateSpec { batch: 8, ..pb::GateSpec::default() }),
        budget: Some(pb::Budget { parallel: 4, ..pb::Budget::default() }),
        ..pb::Plan::default()
    }
}

pub fn oid(byte: u8) -> Oid {
    Oid([byte; 20])
}

/// A person's yes.
pub fn approve(parks: &[u64]) -> Request {
    let parks = parks.iter().map(|&park| ParkId(park)).collect();
    Request::Approve { parks, scope: pb::AnswerScope::Once, by: "me".into() }
}

/// A person's words.
pub fn answer(park: u64, text: &str) -> Request {
    Request::Answer { park: ParkId(park), text: text.into(), scope: pb::AnswerScope::Once, by: "me".into() }
}

impl Bench {
    /// A job whose base gate is green, with one worker.
    pub fn new(plan: pb::Plan) -> Self {
        let mut bench = Self::raw(plan);
        bench.presence();
        let asked = bench.gate_asked();
        bench.verdict(asked, Verdict::Green);
        bench.expect("gate_done");
        bench
    }

    /// Before anything was asked.
    pub fn raw(plan: pb::Plan) -> Self {
        let mut bench = Self { state: State::default(), now: 1_000, events: VecDeque::new(), next_oid: 0 };
        bench.take(Event::JobOpened(pb::JobOpened { job: "bench".into() }));
        bench.open(plan);
        bench.events.clear();
        bench
    }

    pub fn open(&mut self, plan: pb::Plan) {
        let opened = open_generation(&self.state, plan).expect("a base");
        self.take(Event::PlanOpened(opened));
    }

    /// As older programs wrote it down.
    pub fn open_as_before(&mut self, plan: pb::Plan) {
        let opened = open_generation(&self.state, plan).expect("a base");
        self.take(Event::PlanOpened(pb::PlanOpened { asks_without_yes: false, ..opened }));
    }

    fn take(&mut self, event: Event) {
        let record = Record { seq: self.state.seq() + 1, at_ms: self.now, event: Some(event) };
        let wire = Record::decode(record.encode_to_vec().as_slice()).expect("round trip");
        assert_eq!(wire, record);
        let event = wire.event.expect("an event");
        self.state.apply(record.seq, self.now, &event).expect("applies");
        self.state.assert_invariants();
        self.events.push_back(event);
    }

    pub fn feed(&mut self, input: Input) {
        self.try_feed(input).expect("accepted");
    }

    pub fn try_feed(&mut self, input: Input) -> Result<(), Refusal> {
        if let Input::Presence { worker, view } = &input {
            let theirs = self.state.live_on(worker);
            let mut view = view.clone();
            view.seen_ms = self.now;
            self.state.fleet.hear(worker, view, &theirs);
        }
        for event in decide(&self.state, self.now, &input)? {
            self.take(event);
        }
        while let Some(event) = advance(&self.state, self.now) {
            self.take(event);
        }
        let sent: Vec<u64> = self
            .state
            .pending()
            .iter()
            .filter_map(|command| match command {
                Command::Assign(id) => Some(id.0),
                Command::Gate(id) => Some(id.0),
                _ => None,
            })
            .collect();
        sent.into_iter().for_each(|id| self.state.fleet.sent(id, self.now));
        Ok(())
    }

    pub fn request(&mut self, request: Request) {
        self.feed(Input::Request(request));
    }

    pub fn presence(&mut self) {
        let holding = self.state.live_on("w").into_iter().collect();
        let view = WorkerView { work_slots: 4, gate_slots: 1, holding, ..WorkerView::default() };
        self.feed(Input::Presence { worker: "w".into(), view });
    }

    /// A worker with these labels says that it is there and holds what is live on it.
    pub fn hear(&mut self, worker: &str, labels: &[&str], unavailable: &str) {
        let view = WorkerView {
            work_slots: 1,
            gate_slots: 1,
            holding: self.state.live_on(worker).into_iter().collect(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            unavailable: unavailable.to_owned(),
            ..WorkerView::default()
        };
        self.feed(Input::Presence { worker: worker.to_owned(), view });
    }

    /// A job whose base gate was green on the worker `first`, who is the only one there.
    pub fn fleet(plan: pb::Plan, first: &str, labels: &[&str]) -> Self {
        let mut bench = Self::raw(plan);
        bench.hear(first, labels, "");
        let asked = bench.gate_asked();
        bench.verdict(asked, Verdict::Green);
        bench.expect("gate_done");
        bench
    }

    pub fn wait(&mut self, ms: i64) {
        self.now += ms;
        self.presence();
    }

    pub fn verdict(&mut self, gate: u64, verdict: Verdict) {
        let result = GateResult { verdict: verdict.into(), log_tail: "the gate's log".into(), ..GateResult::default() };
        self.finish(gate, finished::Outcome::Gate(result));
    }

    pub fn finish(&mut self, id: u64, outcome: finished::Outcome) {
        let finished = Finished { outcome: Some(outcome), ..Finished::default() };
        self.feed(Input::Finished { id, finished: Box::new(finished) });
    }

    pub fn fail(&mut self, id: u64, class: FailureClass) {
        let failure = Failure { class: class.into(), message: format!("{class:?}"), ..Failure::default() };
        self.finish(id, finished::Outcome::Failure(failure));
    }

    pub fn deliver(&mut self, id: u64) {
        let mut patch = self.patch();
        if let Some(live) = self.state.attempts().get(&longhaul_common::AttemptId(id)) {
            patch.base = live.base.to_vec();
        }
        self.finish(id, finished::Outcome::Patch(patch));
    }

    pub fn patch(&mut self) -> Patch {
        self.next_oid += 1;
        let id = oid(self.next_oid).to_vec();
        Patch { commit: id.clone(), tree: id, base: self.state.landing.tip.to_vec(), ..Patch::default() }
    }

    /// Merges the open batch, with these members in conflict.
    pub fn merge(&mut self, conflicts: &[u32]) {
        let batch = self.state.landing.batch.clone().expect("a batch");
        let members = batch
            .members
            .iter()
            .map(|&node| {
                let conflict = conflicts.contains(&node.0);
                self.next_oid += 1;
                MemberMerge { node, result: if conflict { Err(vec!["src/x".into()]) } else { Ok(oid(self.next_oid)) } }
            })
            .collect();
        self.next_oid += 1;
        let merge = Merge { commit: oid(self.next_oid), tree: oid(self.next_oid) };
        let merge = (conflicts.len() < batch.members.len()).then_some(merge);
        self.feed(Input::Merged { batch: batch.id, members, merge });
    }

    pub fn moved(&mut self) {
        let batch = self.state.landing.batch.as_ref().expect("a batch").id;
        self.feed(Input::RefMoved { batch, result: MoveResult::Moved });
    }

    /// The next event, which must be of this name; names are those of `--json`.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> Event {
        let event = self.events.pop_front().unwrap_or_else(|| panic!("expected {name}, nothing happened"));
        let record = Record { seq: 1, at_ms: 1, event: Some(event.clone()) };
        let found = crate::view::watch_event(&self.state, &record).expect("described").event;
        assert_eq!(found, name, "{event:?} then {:?}", self.events);
        event
    }

    #[track_caller]
    pub fn expect_all(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.expect(name)));
        self.nothing_more();
    }

    #[track_caller]
    pub fn nothing_more(&self) {
        assert!(self.events.is_empty(), "unasserted: {:?}", self.events);
    }

    #[track_caller]
    pub fn assigned(&mut self) -> (u64, NodeId) {
        match self.expect("assigned") {
            Event::Assigned(event) => (event.attempt, NodeId(event.node)),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn gate_asked(&mut self) -> u64 {
        match self.expect("gate_asked") {
            Event::GateAsked(event) => event.gate,
            other => panic!("{other:?}"),
        }
    }

    /// Merges, gates green and lands the open batch.
    #[track_caller]
    pub fn land(&mut self) {
        self.expect("batch_opened");
        self.merge(&[]);
        self.expect("batch_merged");
        let gate = self.gate_asked();
        self.verdict(gate, Verdict::Green);
        self.expect("gate_done");
        self.expect("land_intent");
        self.moved();
        self.expect("landed");
    }

    pub fn batch(&self) -> BatchId {
        self.state.landing.batch.as_ref().expect("a batch").id
    }

    pub fn name(&self, node: u32) -> &'static str {
        self.state.subtask(NodeId(node)).phase().name()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.nothing_more();
        }
    }
}
