//! What agents ask people, each question once however many subtasks wait with it.

use std::collections::BTreeMap;

use longhaul_common::question::{key, kind_name, sentence, wants_words};
use longhaul_proto::{ParkRow, Question};

use crate::core::State;

/// Questions that warnings name; more are counted.
const WARNED_MAX: usize = 5;

/// An open question.
pub(super) struct Open<'a> {
    question: &'a Question,
    /// The first park with it.
    park: u64,
    count: u32,
}

/// Open questions; those that are the same are one.
pub(super) type Questions<'a> = BTreeMap<(&'static str, String), Open<'a>>;

/// All of a job.
pub(super) fn open(state: &State) -> Questions<'_> {
    let mut open = BTreeMap::new();
    for (park, question) in state.nodes().filter_map(|node| state.asks(node)) {
        let first = || Open { question, park: park.0, count: 0 };
        open.entry(key(question)).or_insert_with(first).count += 1;
    }
    open
}

/// The row of a park with what its agent asked.
pub(super) fn filled(row: ParkRow, question: &Question, open: &Questions<'_>) -> ParkRow {
    ParkRow {
        asks: kind_name(question.kind()).to_owned(),
        prefix: question.prefix.clone(),
        agent: question.agent.clone(),
        same: open.get(&key(question)).map_or(1, |open| open.count),
        ..row
    }
}

/// A line for each question, with the command that answers it.
pub(super) fn warnings(state: &State) -> Vec<String> {
    let mut open: Vec<Open<'_>> = open(state).into_values().collect();
    open.sort_by_key(|open| open.park);
    let line = |open: &Open<'_>| {
        let Open { question, park, count } = open;
        let verb = if wants_words(question) { format!("answer {park} \"…\"") } else { format!("approve {park}") };
        let (who, scope) = match count {
            1 => (String::new(), ""),
            _ => (format!("{count} subtasks wait with the same question: "), " --scope job"),
        };
        format!("{who}{}; `longhaul {verb}{scope}`", sentence(question))
    };
    let mut lines: Vec<String> = open.iter().take(WARNED_MAX).map(line).collect();
    if open.len() > WARNED_MAX {
        lines.push(format!("agents ask {} more questions: `longhaul list`", open.len() - WARNED_MAX));
    }
    lines
}
