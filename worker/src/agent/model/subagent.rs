//! Bounded pieces of an attempt's work, handed to conversations of their own in the same workspace.
//!
//! A sub-agent lives within its parent's lease: it ends with the parent, what it uses is the parent's
//! use, and their number and depth are limited for the attempt as a whole. It keeps a window free of
//! what only its piece needed; it proves nothing, for the checks are run when the parent is done.

use std::future::Future;
use std::pin::Pin;

use longhaul_common::price::{Price, Tokens};
use longhaul_common::text::{clip_head, clip_middle};
use longhaul_proto::ModelAgent;
use serde::Deserialize;

use super::history::Call;
use super::tool::{Outcome, Wanted};
use super::turns::{Ending, Hands, Limits, Note, Turns};
use crate::agent::stuck::Watch;
use crate::gateway::Allowance;

/// Answers one sub-agent may take.
const TURNS_MAX: u32 = 60;

/// Longest report that the parent gets, in bytes.
const REPORT_BYTES_MAX: usize = 8 << 10;

/// Longest beginning of a piece that is shown to people, in bytes.
const TITLE_BYTES_MAX: usize = 120;

/// Of what is left of an execution's budget one sub-agent gets this part, unless the job says otherwise.
const SHARE: u64 = 4;

/// Sub-agents of one execution, all levels together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// How many more there may be.
    pub left: u32,
    /// How many there were.
    pub made: u32,
    /// How deep they may go.
    pub depth: u32,
    /// Tokens of one, in and out; 0 is its share of what is left of the execution's.
    pub tokens: u64,
    /// What the execution may use in all. The gateway holds it; here shares are cut from it.
    pub allowance: Allowance,
    /// What the model costs, where that is known.
    pub price: Option<Price>,
}

impl Crew {
    /// As the job says of an agent, for an execution that may use so much at this price.
    pub fn of(model: &ModelAgent, allowance: Allowance, price: Option<Price>) -> Self {
        let (left, depth, tokens) = (model.subagents, model.subagent_depth, model.subagent_tokens);
        Self { left, made: 0, depth, tokens, allowance, price }
    }

    /// What so many tokens cost, in millionths of a dollar; 0 where the price is not known.
    pub(super) fn cost(&self, used: &Tokens) -> u64 {
        self.price.as_ref().map_or(0, |price| price.cost(used))
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
                Ok((args, limits)) => self.hand(&args, limits).await,
                Err(why) => Outcome::error(why),
            }
        })
    }

    /// Whether there may be one more, and how much it may take.
    fn admit(&mut self, call: &Call) -> Result<(Args, Limits), String> {
        let args = Args::of(call)?;
        if self.level >= self.crew.depth {
            return Err("a sub-agent hands nothing on here: do it yourself".to_owned());
        }
        if self.crew.left == 0 {
            let made = self.crew.made;
            return Err(format!("there were {made} sub-agents, as many as there may be: do it yourself"));
        }
        let asked = args.max_tokens.filter(|asked| *asked >= 1.0).map(|asked| asked as u64);
        let limits = self.share(asked).ok_or("what is left of the budget is too little for a sub-agent")?;
        self.crew.left -= 1;
        self.crew.made += 1;
        Ok((args, limits))
    }

    /// What the next one may take; `None` where that is nothing.
    fn share(&self, asked: Option<u64>) -> Option<Limits> {
        let used = self.conversation.used();
        let left = |limits: [u64; 2], used: u64| {
            limits.into_iter().filter(|&limit| limit > 0).map(|limit| limit.saturating_sub(used)).min()
        };
        let Crew { tokens: own, allowance, .. } = &*self.crew;
        let tokens = left([self.limits.tokens, allowance.tokens], used.total());
        // Without a price it costs nothing that could be compared.
        let cost = left([self.limits.usd_micros, allowance.usd_micros], self.crew.cost(&used));
        let cost = cost.filter(|_| self.crew.price.is_some());
        let part = if *own > 0 { 1 } else { SHARE };
        let own = (*own > 0).then_some(*own);
        let tokens = [tokens.map(|left| left / part), own, asked].into_iter().flatten().min();
        let cost = cost.map(|left| left / part);
        // 0 is no limit there.
        let limit = |share: Option<u64>| share.map_or(Some(0), |share| (share > 0).then_some(share));
        Some(Limits { turns: TURNS_MAX, tokens: limit(tokens)?, usd_micros: limit(cost)? })
    }

    async fn hand(&mut self, args: &Args, limits: Limits) -> Outcome {
        let number = self.crew.made;
        let title = clip_head(args.piece.trim(), TITLE_BYTES_MAX);
        self.hands.note(Note::Said(&format!("[sub-agent {number}] begins: {title}")));
        let mut conversation = self.conversation.apart(args.capsule());
        let turns = Turns {
            conversation: &mut conversation,
            hands: &mut *self.hands,
            limits,
            watch: Watch::default(),
            cancel: self.cancel,
            crew: &mut *self.crew,
            level: self.level + 1,
        };
        let ending = turns.run(&mut |_| {}).await;
        let used = conversation.used();
        self.conversation.charge(used);
        let (report, done) = reported(&ending);
        self.hands.note(Note::Said(&format!("[sub-agent {number}] {report} ({} tokens)", used.total())));
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
