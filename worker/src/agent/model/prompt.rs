//! What a model is told first: by its profile, and of the subtask.

use super::history::Part;
use crate::agent::briefing::Briefing;

/// How a model is to say things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// It says in a sentence what it is about to do.
    pub preambles: bool,
}

/// The system's text: the profile's, and the manner.
pub fn system(profile: &str, manner: Manner) -> String {
    let manner = if manner.preambles {
        "Before you call tools, say in one short sentence what you are about to do."
    } else {
        "Do not comment on what you are about to do; call the tools."
    };
    format!("{}\n\n{manner}", profile.trim_end())
}

/// The first message: the shared part, marked where it ends, then the subtask's own.
pub fn task(briefing: Briefing) -> Vec<Part> {
    vec![Part::Text { text: briefing.shared, anchor: true }, Part::text(briefing.own)]
}
