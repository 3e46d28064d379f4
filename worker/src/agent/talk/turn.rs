//! How a turn of an agent ends.

use serde::Serialize;

/// The end of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TurnEnd {
    /// It says that it is done.
    Done,
    /// It was told to stop.
    Cancelled,
    /// It will not do this.
    Refused,
    /// It needs a person.
    Asked {
        /// For what.
        what: String,
    },
    /// It would have the subtask split.
    Split {
        /// Into how many parts.
        parts: usize,
    },
    /// A limit of its own.
    Limit {
        /// Which, in its words.
        what: String,
    },
    /// It failed.
    Failed {
        /// Why, in its words.
        message: String,
    },
}

impl TurnEnd {
    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Cancelled => "cancelled".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::Asked { what } => format!("it asks a person: {what}"),
            Self::Split { parts } => format!("it would be split into {parts} parts"),
            Self::Limit { what } => format!("at its limit of {what}"),
            Self::Failed { message } => format!("failed: {message}"),
        }
    }
}
