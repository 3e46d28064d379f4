//! What agents ask people: subtasks that wait with a question, and the answers, each for those in its
//! scope.
//!
//! An agent that asks may wait in its slot for some minutes: its attempt is live and its subtask runs. When
//! it is told the answer, it goes on; when it ends without one, its subtask is parked under the number that
//! the question had all the time.
//!
//! Only a person's request makes an answer. Time passing, a deadline or a new generation never does,
//! and an answer is for one question: what nobody asked is decided by the rules of the job.

use longhaul_common::question::{self, QUESTION_BYTES_MAX, is_same};
use longhaul_common::{AttemptId, NodeId, ParkId};
use longhaul_proto as pb;
use longhaul_proto::{Answer, AnswerScope, FailureClass, Question};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::live::Asks;
use super::request::Refusal;
use super::retry::{self, Decision};
use super::{Event, Millis, Phase, State};

/// Questions that the agents of one attempt may wait with; with what they ask then, the attempt ends.
pub const QUESTIONS_MAX: u32 = 100;

/// Largest question that is waited with, all parts together; with another, the attempt ends.
const QUESTION_PARTS_BYTES_MAX: usize = 4 * QUESTION_BYTES_MAX;

/// An answer, and for whom.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ruling {
    /// What was decided.
    pub decision: pb::Decision,
    /// As [`AnswerScope`].
    pub scope: i32,
    /// Id of the subtask, or name of the map; empty for the job.
    pub of: String,
    /// The newest attempt when it was made: later ones are told of it.
    pub after: AttemptId,
}

/// What a person said to an agent's question.
#[derive(Clone, Debug)]
pub(super) struct Said<'a> {
    pub answer: Answer,
    pub text: &'a str,
    pub scope: AnswerScope,
    pub by: &'a str,
}

impl State {
    /// What people decided for a subtask, oldest first.
    pub fn decisions(&self, node: NodeId) -> impl Iterator<Item = &pb::Decision> {
        self.rulings.iter().filter(move |ruling| self.holds(ruling, node)).map(|ruling| &ruling.decision)
    }

    fn holds(&self, ruling: &Ruling, node: NodeId) -> bool {
        self.in_scope(AnswerScope::try_from(ruling.scope).unwrap_or_default(), &ruling.of, node)
    }

    fn in_scope(&self, scope: AnswerScope, of: &str, node: NodeId) -> bool {
        match scope {
            AnswerScope::Job => true,
            AnswerScope::Map => self.task(node).map == of,
            AnswerScope::Once | AnswerScope::Unspecified => self.node(node).id == of,
        }
    }

    /// The answer that came while the attempt that asks was at work: it has to be told, or the next one has
    /// it. One that was told before and asks all the same is for a person again.
    fn answered_meanwhile(&self, node: NodeId, attempt: AttemptId, question: &Question) -> Option<u32> {
        let settles = |ruling: &Ruling| {
            ruling.after >= attempt && self.holds(ruling, node) && question::settles(&ruling.decision, question)
        };
        self.rulings.iter().rposition(settles).and_then(|at| u32::try_from(at).ok())
    }

    /// The question a subtask waits with, parked or with its agent, and its park.
    pub fn asks(&self, node: NodeId) -> Option<(ParkId, &Question)> {
        match self.subtask(node).phase() {
            Phase::Parked { park, .. } => Some((*park, self.subtask(node).asked.as_deref()?)),
            Phase::Running { attempt } => {
                let asks = self.waits(*attempt)?;
                Some((asks.park, asks.open()?))
            }
            _ => None,
        }
    }

    /// What the agent of a live attempt asked last.
    fn waits(&self, attempt: AttemptId) -> Option<&Asks> {
        self.attempts.get(&attempt)?.asks.as_deref()
    }

    /// The decision that a live attempt is told about its last question.
    pub fn told(&self, attempt: AttemptId) -> Option<&pb::Decision> {
        let ruling = self.rulings.get(self.waits(attempt)?.told? as usize)?;
        Some(&ruling.decision)
    }

    /// The subtask that waits with a question under a park.
    pub(super) fn asker(&self, park: ParkId) -> Option<(NodeId, &Question)> {
        let asks = |node| self.asks(node).filter(|(found, _)| *found == park).map(|(_, question)| (node, question));
        self.nodes().find_map(asks)
    }

    /// Who goes on with an answer under a park: who asks there, and whoever in the scope asks the same.
    pub fn askers(&self, park: ParkId, scope: AnswerScope) -> Vec<NodeId> {
        let Some((node, asked)) = self.asker(park) else { return Vec::new() };
        let of = self.scope_of(node, scope);
        let same = |question: &Question| is_same(question, asked);
        let goes_on = |&other: &NodeId| {
            other == node
                || self.in_scope(scope, &of, other) && self.asks(other).is_some_and(|(_, question)| same(question))
        };
        self.nodes().filter(goes_on).collect()
    }

    /// What a scope is called, seen from a subtask.
    fn scope_of(&self, node: NodeId, scope: AnswerScope) -> String {
        match scope {
            AnswerScope::Map => self.task(node).map.clone(),
            AnswerScope::Job => String::new(),
            AnswerScope::Once | AnswerScope::Unspecified => self.node(node).id.clone(),
        }
    }
}

/// After an attempt that ended with a question: it waits for a person, whatever its attempts.
pub(super) fn after_question(
    state: &State,
    (attempt, node): (AttemptId, NodeId),
    failure: &pb::Failure,
    now: Millis,
) -> Decision {
    let Some(question) = failure.question.as_ref().filter(|_| failure.class() == FailureClass::Asked) else {
        return retry::park(state);
    };
    let is_it = |asks: &&Asks| asks.question.as_ref().is_some_and(|asked| is_same(asked, question));
    match state.waits(attempt).filter(is_it) {
        // What it was told crossed with its end.
        Some(asks) if asks.told.is_some() => retry::again(now),
        _ if state.answered_meanwhile(node, attempt, question).is_some() => retry::again(now),
        // Somebody may have read the number.
        Some(asks) => Decision { park: asks.park.0, ..retry::park(state) },
        None => retry::park(state),
    }
}

/// The events of an agent that waits, or does not any longer. What was said before leads to none.
pub(super) fn asking(state: &State, worker: &str, attempt: AttemptId, asking: &pb::Asking) -> Vec<Event> {
    let Some(live) = state.attempts.get(&attempt).filter(|live| live.worker == worker) else { return Vec::new() };
    let (node, before) = (live.node, live.asks.as_deref());
    let open = before.filter(|asks| asks.open().is_some());
    let asked = |park: u64, question: Option<Question>| {
        let asked_ms = asking.asked_ms;
        Event::AttemptAsked(pb::AttemptAsked { attempt: attempt.0, node: node.0, park, question, asked_ms })
    };
    let Some(question) = &asking.question else {
        let ended = open.filter(|asks| asking.asked_ms >= asks.asked_ms);
        return ended.map(|asks| asked(asks.park.0, None)).into_iter().collect();
    };
    let is_known = before.is_some_and(|asks| asking.asked_ms <= asks.asked_ms || asks.count >= QUESTIONS_MAX);
    if is_known || question.encoded_len() > QUESTION_PARTS_BYTES_MAX {
        return Vec::new();
    }
    // A worker that began the attempt anew asks the same.
    let again = open.filter(|asks| asks.open().is_some_and(|open| is_same(open, question)));
    let park = again.map_or_else(|| state.next_park(), |asks| asks.park.0);
    let told = state.answered_meanwhile(node, attempt, question).map(|decision| {
        let by = state.rulings[decision as usize].decision.by.clone();
        Event::AttemptTold(pb::AttemptTold { attempt: attempt.0, node: node.0, park, decision, by })
    });
    std::iter::once(asked(park, Some(question.clone()))).chain(told).collect()
}

/// A live attempt whose worker's process ended waits with nothing: whoever begins it anew asks anew.
pub fn forgotten(state: &State, attempt: AttemptId) -> Option<Event> {
    let live = state.attempts.get(&attempt)?;
    let asks = live.asks.as_deref().filter(|asks| asks.open().is_some())?;
    let (park, asked_ms) = (asks.park.0, asks.asked_ms);
    Some(Event::AttemptAsked(pb::AttemptAsked {
        attempt: attempt.0,
        node: live.node.0,
        park,
        question: None,
        asked_ms,
    }))
}

/// The events of an answer: the decision, then everybody who goes on with it, woken or told.
pub(super) fn answered(state: &State, park: ParkId, said: &Said<'_>) -> Result<Vec<Event>, Refusal> {
    let Some((node, asked)) = state.asker(park) else { return Ok(Vec::new()) };
    let scope = if said.scope == AnswerScope::Unspecified { AnswerScope::Once } else { said.scope };
    let of = state.scope_of(node, scope);
    if scope == AnswerScope::Map && of.is_empty() {
        let id = &state.node(node).id;
        return Err(Refusal(format!("{id:?} is of no map: leave `--scope` out, or say `--scope job`")));
    }
    let decision = pb::Decision {
        question: Some(asked.clone()),
        answer: said.answer.into(),
        text: said.text.to_owned(),
        by: said.by.to_owned(),
    };
    let decided = Event::Decided(pb::Decided { decision: Some(decision), scope: scope.into(), of });
    let number = u32::try_from(state.rulings.len()).unwrap_or(u32::MAX);
    let goes_on = state.askers(park, scope).into_iter().filter_map(|node| {
        let (park, by) = (state.asks(node)?.0.0, said.by.to_owned());
        Some(match state.subtask(node).phase() {
            Phase::Running { attempt } => {
                let (attempt, node) = (attempt.0, node.0);
                Event::AttemptTold(pb::AttemptTold { attempt, node, park, decision: number, by })
            }
            _ => Event::Woken(pb::Woken { node: node.0, park, by }),
        })
    });
    Ok(std::iter::once(decided).chain(goes_on).collect())
}
