//! What happens in a session with an agent, in the words of none of the protocols.

use longhaul_common::price::Tokens;
use serde::Serialize;
use serde_json::Value;

use super::policy::Answer;
use super::turn::TurnEnd;

/// What a tool does, as far as anybody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Reads or searches files, or only thinks.
    Read,
    /// Changes, moves or deletes files.
    Edit,
    /// Runs a command.
    Execute,
    /// Fetches from the network.
    Fetch,
    /// Whatever else.
    Other,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AgentEvent {
    /// A session began, or goes on.
    Session {
        /// As the program calls it.
        id: String,
        /// Whether it is an earlier one.
        resumed: bool,
    },
    /// What a loop's model is told before everything else.
    System {
        /// What.
        text: String,
    },
    /// The program was told something.
    Told {
        /// What.
        text: String,
        /// Whether it is a person's, said while it worked.
        steers: bool,
    },
    /// It said something, or a piece of it.
    Text {
        /// What.
        text: String,
    },
    /// It thought something, or a piece of it.
    Thought {
        /// What.
        text: String,
    },
    /// It began to use a tool.
    ToolStarted {
        /// Unique in the session.
        id: String,
        /// What it does.
        kind: ToolKind,
        /// For people.
        title: String,
        /// The arguments as the program gave them.
        input: Value,
    },
    /// There is more to say of it.
    ToolUpdated {
        /// Of which.
        id: String,
        /// The arguments, where they were not told before.
        #[serde(skip_serializing_if = "Value::is_null")]
        input: Value,
        /// What came.
        output: String,
    },
    /// It is done with it.
    ToolEnded {
        /// Of which.
        id: String,
        /// Whether it worked.
        failed: bool,
        /// What came of it.
        output: String,
    },
    /// Its plan, whole.
    Plan {
        /// Its steps, each with its state.
        steps: Vec<String>,
    },
    /// What it changed, as it says.
    Diff {
        /// A unified diff, or the path alone.
        diff: String,
    },
    /// What was used since the last such event.
    Usage(Tokens),
    /// It asked whether it may.
    PermissionAsked {
        /// The tool's use.
        id: String,
        /// The kind of action.
        kind: ToolKind,
        /// What it wants.
        title: String,
    },
    /// It was answered.
    PermissionAnswered {
        /// The tool's use.
        id: String,
        /// How.
        answer: Answer,
        /// Why.
        why: String,
    },
    /// A person is asked, and it waits.
    PersonAsked {
        /// What.
        question: String,
        /// For how long at the most, in seconds.
        wait_s: u64,
    },
    /// The wait is over.
    PersonAnswered {
        /// What the person decided; empty when nobody did in time.
        answer: String,
    },
    /// It compacted its history.
    Compacted,
    /// Old output became pointers to files, to make room.
    Folded,
    /// It said that it is done, and a check of the task fails.
    CheckFailed {
        /// What it is told of that.
        report: String,
    },
    /// A turn ended.
    TurnEnded {
        /// How.
        end: TurnEnd,
    },
    /// Something went wrong that need not be the end.
    Warning {
        /// What, in its words.
        message: String,
    },
    /// It wrote what is no message.
    Nonsense {
        /// What, clipped.
        line: String,
    },
}

impl AgentEvent {
    /// One line for whoever watches; `None` for what is too small or too many.
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Session { id, resumed } => {
                format!("{} {id}", if *resumed { "goes on with session" } else { "session" })
            }
            Self::Told { text, steers: true } => format!("told: {text}"),
            Self::ToolStarted { title, .. } => format!("tool: {title}"),
            Self::ToolEnded { id, failed: true, .. } => format!("tool {id} failed"),
            Self::PermissionAnswered { answer, why, .. } => format!("permission: {} ({why})", answer.name()),
            Self::PersonAsked { question, .. } => format!("waits for a person: {question}"),
            Self::PersonAnswered { answer } if answer.is_empty() => "nobody answered in time".to_owned(),
            Self::PersonAnswered { answer } => format!("told: {answer}"),
            Self::TurnEnded { end } => format!("turn ended: {}", end.text()),
            Self::Warning { message } => format!("warning: {message}"),
            Self::Compacted => "compacted its history".to_owned(),
            Self::Folded => "folded old output".to_owned(),
            Self::Text { text } => format!("says: {}", text.trim_start()),
            Self::CheckFailed { .. } => "a check fails".to_owned(),
            Self::System { .. }
            | Self::Told { .. }
            | Self::Thought { .. }
            | Self::ToolUpdated { .. }
            | Self::ToolEnded { .. }
            | Self::Plan { .. }
            | Self::Diff { .. }
            | Self::Usage(_)
            | Self::PermissionAsked { .. }
            | Self::Nonsense { .. } => return None,
        })
    }
}
