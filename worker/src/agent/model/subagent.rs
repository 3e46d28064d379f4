//! Bounded pieces of an attempt's work, handed to conversations of their own in the same workspace.
//!
//! A sub-agent lives within its parent's lease: it ends with the parent, what it uses is the parent's
//! use, and their number and depth are limited for the attempt as a whole. It keeps a window free of
//! what only its piece needed; it proves nothing, for the checks are run when the parent is done.

use std::future::Future;
use std::pin::Pin;

use longhaul_common::text::{clip_head, clip_middle};
use longhaul_proto::ModelAgent;
use serde::Deserialize;

use super::history::Call;
use super::tool::{Outcome, Wanted};
use super::turns::{Ending, Hands, Limits, Turns};
use crate::agent::stuck::Watch;

/// Answers one sub-agent may take.
const TURNS_MAX: u32 = 60;

/// Longest report that the parent gets, in bytes.
const REPORT_BYTES_MAX: usize = 8 << 10;

/// Longest beginning of a piece that is shown to people, in bytes.
const TITLE_BYTES_MAX: usize = 120;

/// Sub-agents of one execution, all levels together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// How many more there may be.
    pub left: u32,
    /// How many there were.
    pub made: u32,
    /// How deep they may go.
    pub depth: u32,
    /// Tokens of one, in and out; 0 is a quarter of what is left of the execution's.
    pub tokens: u64,
}

impl Crew {
    /// As the job says of an agent.
    pub fn of(model: &ModelAgent) -> Self {
        Self { left: model.subagents, made: 0, depth: model.subagent_depth, tokens: model.subagent_tokens }
    }
}

#[derive(Deserialize)]
struct Args {
    piece: String,
    #[serde(default)]
    files: Vec<String>,
    max_tokens: Option<f64>,
}

impl Args {
    fn of(call: &Call) -> Result<Self, String> {
        let args: Self =
            serde_json::from_value(call.input.object()).map_err(|error| format!("wrong arguments: {error}"))?;
        if args.piece.trim().is_empty() { Err("say what the piece is".to_owned()) } else { Ok(args) }
    }

    /// What the sub-agent is told.
    fn capsule(&self) -> String {
        let mut text = format!(
            "You are a sub-agent: another agent does the task above and hands you a piece of it. Do this piece and no \
             more, in the workspace as it is, and end your turn with a short report for that agent, which sees nothing \
             else of what you did.\n\n# Your piece\n\n{}\n",
            self.piece.trim()
        );
        if !self.files.is_empty() {
            text.push_str(&format!("\n# Files to begin with\n\n- {}\n", self.files.join("\n- ")));
        }
        text
    }
}

impl<H: Hands + Send> Turns<'_, H> {
    /// Hands a piece to a sub-agent and waits for its report. Boxed, as one may have its own.
    pub(super) fn delegate<'b>(&'b mut self, call: &'b Call) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'b>> {
        Box::pin(async move {
            match self.admit(call) {
                Ok((args, tokens)) => self.hand(&args, tokens).await,
                Err(why) => Outcome::error(why),
            }
        })
    }

    /// Whether there may be one more, and how many tokens it may take.
    fn admit(&mut self, call: &Call) -> Result<(Args, u64), String> {
        let args = Args::of(call)?;
        if self.level >= self.crew.depth {
            return Err("a sub-agent hands nothing on here: do it yourself".to_owned());
        }
        if self.crew.left == 0 {
            let made = self.crew.made;
            return Err(format!("there were {made} sub-agents, as many as there may be: do it yourself"));
        }
        let used = self.conversation.used().total();
        let left = (self.limits.tokens > 0).then(|| self.limits.tokens.saturating_sub(used));
        let share = match (self.crew.tokens, left) {
            (0, left) => left.map(|left| left / 4),
            (own, left) => Some(left.map_or(own, |left| own.min(left))),
        };
        let asked = args.max_tokens.filter(|asked| *asked >= 1.0).map(|asked| asked as u64);
        let tokens = [share, asked].into_iter().flatten().min();
        if tokens == Some(0) {
            return Err("no tokens are left for a sub-agent".to_owned());
        }
        self.crew.left -= 1;
        self.crew.made += 1;
        // 0 is no limit here as well.
        Ok((args, tokens.unwrap_or(0)))
    }

    async fn hand(&mut self, args: &Args, tokens: u64) -> Outcome {
        let number = self.crew.made;
        self.hands.said(&format!("[sub-agent {number}] begins: {}", clip_head(args.piece.trim(), TITLE_BYTES_MAX)));
        let mut conversation = self.conversation.apart(args.capsule());
        let turns = Turns {
            conversation: &mut conversation,
            hands: &mut *self.hands,
            limits: Limits { turns: TURNS_MAX, tokens },
            watch: Watch::default(),
            cancel: self.cancel,
            crew: &mut *self.crew,
            level: self.level + 1,
        };
        let ending = turns.run(&mut |_| {}).await;
        let used = conversation.used();
        self.conversation.charge(used);
        let (report, done) = reported(&ending);
        self.hands.said(&format!("[sub-agent {number}] {report} ({} tokens)", used.total()));
        let words = clip_middle(&format!("Sub-agent {number}: {report}"), REPORT_BYTES_MAX);
        // It ended with its question: once there is an answer, whoever handed it the piece does so again.
        let asks = if let Ending::Asked(question) = ending { Some(Wanted::Answer(question)) } else { None };
        Outcome { wrong: !done, asks, ..Outcome::said(words) }
    }
}

/// What the parent is told, and whether the piece is done.
fn reported(ending: &Ending) -> (String, bool) {
    match ending {
        Ending::Done(report) if report.trim().is_empty() => ("done, without a report".to_owned(), true),
        Ending::Done(report) => (report.trim().to_owned(), true),
        other => (format!("not done: {}", other.words()), false),
    }
}
