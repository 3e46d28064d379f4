//! Agents with a session: complete programs that are talked with, and what the record of every
//! session holds.
//!
//! A program runs through the process shim with its stdin and stdout as a conversation. Its client
//! ([`super::acp`], [`super::codex`]) turns what it says into [`AgentEvent`]s, and the [`Witness`]
//! takes each: into the attempt's trace, to watchers, and as a sign of life. What it asks to be
//! allowed is answered by a [`Policy`], by the kind of action. Nothing it says is believed about the
//! result: the patch is taken from the workspace.

mod error;
mod event;
mod keep;
mod nonsense;
mod policy;
mod prompt;
mod turn;
mod usage;
mod witness;

pub use error::{TalkError, failure_of_end, failure_of_error};
pub use event::{AgentEvent, ToolKind};
pub use keep::{Kept, keep, restore};
pub use nonsense::Nonsense;
pub use policy::{Answer, Asked, Policy, Ruled};
pub use prompt::prompt;
pub use turn::TurnEnd;
pub use usage::Totals;
pub use witness::{OnProgress, Progress, Uses, Witness};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use longhaul_proto::Question;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::asking::{Asks, Waited};

/// How long a program may take for its first answer. Some unpack themselves first.
pub const START_MAX: Duration = Duration::from_secs(120);

/// How long it may take to end a turn that is cancelled, before its process is ended.
pub const CANCEL_MAX: Duration = Duration::from_millis(400);

/// How long it may take to exit once its input has ended; some never do.
pub const EXIT_MAX: Duration = Duration::from_secs(3);

/// What a client needs to know of a session.
pub struct Setting {
    /// The workspace.
    pub cwd: PathBuf,
    /// What is to be done.
    pub prompt: String,
    /// The model; empty leaves the choice to the program.
    pub model: String,
    /// A session to go on with: its id.
    pub resume: Option<String>,
    /// Further words of people.
    pub words: mpsc::Receiver<String>,
    /// Ends the session.
    pub cancel: CancellationToken,
    /// Longest time without a sign of life.
    pub idle: Option<Duration>,
    /// What it may.
    pub policy: Policy,
    /// Where a person is asked what the policy leaves to one.
    pub asks: Asks,
    /// What the job calls it.
    pub agent: String,
    /// Servers of tools it is given.
    pub mcp: Vec<McpServer>,
}

impl Setting {
    /// A question as it is put to a person.
    pub fn question(&self, question: &Question) -> Question {
        Question { agent: self.agent.clone(), ..question.clone() }
    }
}

/// A wait for a person, beside what else happens in a session.
pub type Waiting = Pin<Box<dyn Future<Output = Waited> + Send>>;

/// What came of a wait; never without one.
pub async fn waited(waiting: &mut Option<Waiting>) -> Waited {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

/// A server of tools: the program that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// What the agent calls it.
    pub name: String,
    /// Its program, as an absolute path.
    pub command: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Variables set for it.
    pub env: BTreeMap<String, String>,
}
