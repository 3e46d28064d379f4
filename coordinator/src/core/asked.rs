//! What agents ask people: subtasks that wait with a question, and the answers, each for those in its
//! scope.
//!
//! Only a person's request makes an answer. Time passing, a deadline or a new generation never does,
//! and an answer is for one question: what nobody asked is decided by the rules of the job.

use longhaul_common::question::{self, is_same};
use longhaul_common::{AttemptId, NodeId, ParkId};
use longhaul_proto as pb;
use longhaul_proto::{Answer, AnswerScope, FailureClass, Question};
use serde::{Deserialize, Serialize};

use super::request::Refusal;
use super::retry::{self, Decision};
use super::{Event, Millis, Phase, State};

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

    /// Whether an answer came while the attempt that asks was at work, so that the next one has it. One
    /// that was told before and asks all the same is for a person again.
    fn answered_meanwhile(&self, node: NodeId, attempt: AttemptId, question: &Question) -> bool {
        let meanwhile = |ruling: &&Ruling| ruling.after >= attempt && self.holds(ruling, node);
        self.rulings.iter().filter(meanwhile).any(|ruling| question::settles(&ruling.decision, question))
    }

    /// The question a subtask waits with, and its park.
    pub fn asks(&self, node: NodeId) -> Option<(ParkId, &Question)> {
        match self.subtask(node).phase() {
            Phase::Parked { park, .. } => Some((*park, self.subtask(node).asked.as_deref()?)),
            _ => None,
        }
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
    let question = failure.question.as_ref().filter(|_| failure.class() == FailureClass::Asked);
    match question.is_some_and(|question| state.answered_meanwhile(node, attempt, question)) {
        true => retry::again(now),
        false => retry::park(state),
    }
}

/// The events of an answer: the decision, then everybody who goes on with it.
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
    let woken = state.askers(park, scope).into_iter().filter_map(|node| {
        let (park, _) = state.asks(node)?;
        Some(Event::Woken(pb::Woken { node: node.0, park: park.0, by: said.by.to_owned() }))
    });
    Ok(std::iter::once(decided).chain(woken).collect())
}
