//! A person who looks now and then: resumes what halted, retries what is parked, gives up on what
//! never works, and sometimes pauses or cancels something.

use std::collections::BTreeMap;

use longhaul_common::question::wants_words;
use longhaul_common::{NodeId, ParkId};
use longhaul_coordinator::core::{BaseGate, JobPhase, Phase, Request};
use longhaul_proto::{AnswerScope, Budget};

use crate::happening::Happening;
use crate::world::World;

/// How often one subtask is retried before the person cancels it.
const RETRIES_MAX: u32 = 3;

/// How often a job that closed on a red base is opened again.
const REOPENED_MAX: u32 = 5;

fn going_on() -> Request {
    Request::Resume { limits: None, write_off: String::new() }
}

#[derive(Default)]
pub struct Person {
    retried: BTreeMap<NodeId, u32>,
    reopened: u32,
    meddled: u32,
    pub requests: u32,
    /// Answers to agents.
    pub answers: u32,
    /// Agents that were told while they waited.
    pub told: u32,
}

/// Whoever answers agents.
pub const PERSON: &str = "a person";

impl World {
    pub fn person_looks(&mut self) {
        self.after(self.setting.presence_ms * 6, Happening::PersonLooks);
        if !self.coordinator.takes_requests(self.now) {
            return;
        }
        for request in self.wanted() {
            self.person.requests += 1;
            self.trace.note(self.now, "a person asks", 0, u64::from(self.person.requests));
            self.coordinator.request(&request);
        }
    }

    fn wanted(&mut self) -> Vec<Request> {
        let state = self.state();
        match state.job_phase() {
            JobPhase::Closed { .. } => {
                let red = matches!(state.landing.base_gate, BaseGate::Red(_));
                let again = red && self.person.reopened < REOPENED_MAX;
                self.person.reopened += u32::from(again);
                return if again { vec![going_on()] } else { Vec::new() };
            }
            JobPhase::Paused { by_budget, .. } => {
                let now = *state.limits();
                let more = Budget {
                    attempts: now.attempts * 2,
                    tokens: now.tokens * 2,
                    usd_micros: now.usd_micros * 2,
                    ..now
                };
                return vec![Request::Resume { limits: by_budget.then_some(more), write_off: String::new() }];
            }
            _ if state.landing.halted.is_some() => return vec![going_on()],
            _ => {}
        }
        let mut requests = self.parked();
        requests.extend(self.answer());
        requests.extend(self.meddle());
        requests
    }

    /// What to do about what is parked.
    fn parked(&mut self) -> Vec<Request> {
        let looks_closer = self.random.chance(15);
        let state = self.coordinator.state();
        if state.counts().parked == 0 || !(state.is_stuck() || looks_closer) {
            return Vec::new();
        }
        let parked =
            |node: &NodeId| matches!(state.subtask(*node).phase(), Phase::Parked { .. }) && state.asks(*node).is_none();
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        for node in state.nodes().filter(parked).collect::<Vec<_>>() {
            let retried = self.person.retried.entry(node).or_default();
            *retried += 1;
            if *retried <= RETRIES_MAX { again.push(node) } else { given_up.push(node) }
        }
        let mut requests = Vec::new();
        if !again.is_empty() {
            requests.push(Request::Retry { nodes: again, remark: "once more".to_owned() });
        }
        if !given_up.is_empty() {
            let reason = "it never works".to_owned();
            requests.push(Request::Cancel { nodes: given_up, whole_job: false, reason });
        }
        requests
    }

    /// Something to one of the questions, at some time.
    fn answer(&mut self) -> Option<Request> {
        if !self.random.chance(20) {
            return None;
        }
        let state = self.coordinator.state();
        let open: Vec<(ParkId, bool)> = state
            .nodes()
            .filter_map(|node| state.asks(node).map(|(park, question)| (park, wants_words(question))))
            .collect();
        let at = usize::try_from(self.random.below(open.len().max(1) as u64)).unwrap_or(0);
        let &(park, words) = open.get(at)?;
        self.person.answers += 1;
        let by = PERSON.to_owned();
        let scope = if self.random.chance(50) { AnswerScope::Once } else { AnswerScope::Job };
        Some(match self.random.below(4) {
            0 => Request::Reject { park, reason: "no".to_owned(), scope, by },
            // Of an action it decides nothing, so that it is asked again.
            1 => Request::Answer { park, text: "as you like".to_owned(), scope, by },
            _ if words => Request::Answer { park, text: "the first".to_owned(), scope, by },
            _ => Request::Approve { parks: vec![park], scope, by },
        })
    }

    fn meddle(&mut self) -> Option<Request> {
        if !self.setting.has_faults() || self.person.meddled >= 3 || !self.random.chance(4) {
            return None;
        }
        self.person.meddled += 1;
        if self.random.chance(50) {
            return Some(Request::Pause { reason: "lunch".to_owned() });
        }
        let node = NodeId(u32::try_from(self.random.below(u64::from(self.setting.subtasks))).unwrap_or(0));
        Some(Request::Cancel { nodes: vec![node], whole_job: false, reason: "not wanted".to_owned() })
    }
}
