//! The loop: ask, do what is asked for, tell what came of it; at the end of a turn without calls
//! run the checks, and go on while they fail.

use std::future::Future;
use std::time::Duration;

use longhaul_proto::{Failure, Question};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use longhaul_common::sign::Sign;

use super::client::OnDelta;
use super::conversation::Conversation;
use super::history::{Call, CallResult, Entry, Input};
use super::profile::Does;
use super::subagent::Crew;
use super::tool::{Outcome, Wanted};
use super::wire::{Answer, CallError, Stop};
use crate::agent::stuck::{Seen, Stuck, Verdict, Watch, worse};

/// Calls of one answer that are done; more are refused.
const CALLS_MAX: usize = 64;

/// What the loop does its work with.
pub trait Hands {
    /// Does what a call asks for.
    fn call(&mut self, does: Does, call: &Call) -> impl Future<Output = Outcome> + Send;
    /// Runs the checks; what fails, in words for the model, or `None`.
    fn check(&mut self) -> impl Future<Output = Result<Option<String>, Box<Failure>>> + Send;
    /// A hash of all that differs from the base.
    fn diff(&mut self) -> impl Future<Output = Result<[u8; 32], Box<Failure>>> + Send;
    /// A turn ended: everything so far can be saved.
    fn turn_ended(&mut self, conversation: &Conversation);
    /// What happens beside calls and checks, for the record.
    fn note(&mut self, note: Note<'_>);
    /// What people said since the last turn.
    fn heard(&mut self) -> Vec<String>;
    /// What people decided since the last turn, which a call was told.
    fn learned(&mut self) -> Vec<String>;
}

/// What happens in a conversation beside calls and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// The model said this.
    Said(&'a str),
    /// The loop tells it this: that it was not understood, or may be going in circles.
    Told(&'a str),
    /// Old output became pointers to files.
    Folded,
    /// The conversation began anew with this.
    Summarised(&'a str),
}

/// What ends the loop at the latest; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Answers of the model.
    pub turns: u32,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Their cost, in millionths of a dollar, where the price is known.
    pub usd_micros: u64,
}

/// How the loop ended.
#[derive(Debug)]
pub enum Ending {
    /// The model said that it is done, and the checks pass.
    Done(String),
    /// It went in circles.
    Stuck(Stuck),
    /// It took as many turns as it may.
    Turns(u32),
    /// It took as many tokens as it may.
    Tokens(u64),
    /// It cost as much as it may, in millionths of a dollar.
    Cost(u64),
    /// It took as long as it may.
    Time(Duration),
    /// The model would not.
    Refused(String),
    /// The model could not be asked.
    Unanswered(CallError),
    /// What it may use does not cover another call.
    Budget(String),
    /// A provider's limit is over only later than is waited for.
    Limit {
        /// Its name.
        provider: String,
        /// When it is over, in milliseconds since the epoch.
        until_ms: i64,
    },
    /// What it read may not be sent to the provider.
    Barred {
        /// The file.
        path: String,
        /// The provider's name.
        provider: String,
    },
    /// The provider refuses the key.
    KeyRefused {
        /// Its name.
        provider: String,
        /// What it answered.
        said: String,
    },
    /// It needs a person before it can go on.
    Asked(Box<Question>),
    /// It would have the subtask split.
    Split(Vec<longhaul_proto::Part>),
    /// The machine failed.
    Broken(Box<Failure>),
}

impl Ending {
    /// What it shows, by name; empty where it shows nothing of the agent.
    pub fn sign(&self) -> &'static str {
        let sign = match self {
            Self::Stuck(stuck) => return stuck.name(),
            Self::Turns(_) | Self::Tokens(_) | Self::Budget(_) => Sign::UsedUp,
            Self::Time(_) => Sign::NeverEnded,
            Self::Refused(_) => Sign::Refused,
            Self::KeyRefused { .. } => Sign::RefusedKey,
            _ => return "",
        };
        sign.as_str()
    }

    /// It in words.
    pub fn words(&self) -> String {
        match self {
            Self::Done(summary) => format!("done: {summary}"),
            Self::Stuck(stuck) => format!("stuck ({}): {stuck}", stuck.name()),
            Self::Turns(turns) => format!("it was not done after {turns} turns, as many as it may take"),
            Self::Tokens(tokens) => format!("it was not done after {tokens} tokens, more than it may take"),
            Self::Cost(usd_micros) => {
                let usd = *usd_micros as f64 / 1e6;
                format!("it was not done after {usd:.4} dollars, more than it may cost")
            }
            Self::Time(limit) => format!("it was not done after {limit:.0?}, all the time it had"),
            Self::Refused(why) => format!("the model refused: {why}"),
            Self::Unanswered(error) => error.to_string(),
            Self::Budget(what) => format!("the budget of this attempt is used up: {what}"),
            Self::Limit { provider, .. } => format!("the limit of the provider {provider} is reached"),
            Self::Barred { path, provider } => crate::failure::barred("the loop", path, provider),
            Self::KeyRefused { provider, said } => {
                format!("the provider {provider} refuses the key: it answered {said}")
            }
            Self::Asked(question) => format!("a person is asked: {}", question.text),
            Self::Split(parts) => format!("it is to be split into {} parts", parts.len()),
            Self::Broken(failure) => failure.message.clone(),
        }
    }
}

/// One run of the loop.
pub struct Turns<'a, H> {
    /// With whom.
    pub conversation: &'a mut Conversation,
    /// With what.
    pub hands: &'a mut H,
    /// How long.
    pub limits: Limits,
    /// Whether it goes in circles.
    pub watch: Watch,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
    /// Whom it may hand pieces to.
    pub crew: &'a mut Crew,
    /// 0 for the attempt's own loop, which alone runs checks, is saved and hears people.
    pub level: u32,
}

/// What a model wants.
enum Wants {
    Calls(Vec<Call>),
    /// It is done, it says.
    Done(String),
    /// Nothing that can be understood: what to tell it.
    Nonsense(String),
}

/// What came of the calls of an answer.
struct Done {
    verdict: Option<Verdict>,
    /// What the work waits for.
    asks: Option<Wanted>,
}

impl<H: Hands + Send> Turns<'_, H> {
    /// Runs until something ends it.
    pub async fn run(mut self, on: OnDelta<'_>) -> Ending {
        match self.until_end(on).await {
            Ok(ending) | Err(ending) => ending,
        }
    }

    async fn until_end(&mut self, on: OnDelta<'_>) -> Result<Ending, Ending> {
        // An attempt that ended between an answer and its results goes on with them.
        let open = self.conversation.history().open_calls();
        if !open.is_empty()
            && let Done { asks: Some(wanted), .. } = self.do_all(open).await
        {
            return Ok(self.wanted(wanted));
        }
        let mut diff = self.hands.diff().await.map_err(Ending::Broken)?;
        let mut turn = 0;
        loop {
            if let Some(ending) = self.at_limit(turn) {
                return Ok(ending);
            }
            if self.level == 0 {
                self.hands.learned().iter().for_each(|words| self.conversation.note(words));
                self.hands.heard().iter().for_each(|words| self.conversation.tell(words));
            }
            let answer = self.ask(&mut *on).await?;
            turn += 1;
            if let Stop::Refused(why) = answer.stop {
                return Ok(Ending::Refused(why));
            }
            let (calls, mut verdict) = match self.wants(&answer) {
                Wants::Done(summary) if self.level > 0 => return Ok(Ending::Done(summary)),
                Wants::Done(summary) => match self.hands.check().await.map_err(Ending::Broken)? {
                    None => return Ok(Ending::Done(summary)),
                    Some(report) => {
                        self.conversation.push(Entry::user(report));
                        (0, None)
                    }
                },
                Wants::Nonsense(words) => {
                    self.conversation.push(Entry::user(words.clone()));
                    self.hands.note(Note::Told(&words));
                    (0, self.watch.see(Seen::Called { call: "", result: &words, failed: true }))
                }
                Wants::Calls(calls) => {
                    let number = calls.len();
                    let done = self.do_all(calls).await;
                    if let Some(wanted) = done.asks {
                        return Ok(self.wanted(wanted));
                    }
                    (number, done.verdict)
                }
            };
            if calls > 0 {
                diff = self.hands.diff().await.map_err(Ending::Broken)?;
            }
            verdict = worse(verdict, self.watch.see(Seen::Turn { calls, diff }));
            match verdict {
                Some(Verdict::End(stuck)) => return Ok(Ending::Stuck(stuck)),
                Some(Verdict::Warn(stuck)) => {
                    let words = format!("You may be going in circles: {stuck}. Try something else, or end your turn.");
                    self.hands.note(Note::Told(&words));
                    self.conversation.push(Entry::user(words));
                }
                None => {}
            }
            if self.level == 0 {
                self.hands.turn_ended(self.conversation);
            }
        }
    }

    /// The limit that is reached after so many turns, if one is.
    fn at_limit(&self, turns: u32) -> Option<Ending> {
        let Limits { turns: turns_max, tokens: tokens_max, usd_micros: cost_max } = self.limits;
        let used = self.conversation.used();
        let (tokens, cost) = (used.total(), self.crew.cost(&used));
        if turns_max > 0 && turns == turns_max {
            return Some(Ending::Turns(turns));
        }
        if tokens_max > 0 && tokens >= tokens_max {
            return Some(Ending::Tokens(tokens));
        }
        (cost_max > 0 && cost >= cost_max).then_some(Ending::Cost(cost))
    }

    /// Asks the model, and notes what it said and what became of the window before that.
    async fn ask(&mut self, on: OnDelta<'_>) -> Result<Answer, Ending> {
        let (summaries, generation) = (self.conversation.summaries(), self.conversation.history().generation());
        let answer = self.conversation.ask(self.cancel, on).await;
        if self.conversation.summaries() > summaries {
            self.hands.note(Note::Summarised(self.conversation.summary()));
        } else if self.conversation.history().generation() > generation {
            self.hands.note(Note::Folded);
        }
        let answer = answer.map_err(Ending::Unanswered)?;
        let text = answer.text();
        if !text.is_empty() {
            self.hands.note(Note::Said(&text));
        }
        Ok(answer)
    }

    /// The loop waits: for a person, with everything so far saved and gone on with, or for parts.
    fn wanted(&mut self, wanted: Wanted) -> Ending {
        match wanted {
            Wanted::Parts(parts) => Ending::Split(parts),
            Wanted::Answer(question) => {
                if self.level == 0 {
                    self.hands.turn_ended(self.conversation);
                }
                Ending::Asked(question)
            }
        }
    }

    fn wants(&self, answer: &Answer) -> Wants {
        if answer.stop == Stop::Length && answer.calls().is_empty() {
            let words = "Your answer was cut at its largest length. Go on in smaller steps.";
            return Wants::Nonsense(words.to_owned());
        }
        if !self.conversation.profile().by_schema {
            let calls = answer.calls();
            return if calls.is_empty() { Wants::Done(answer.text()) } else { Wants::Calls(calls) };
        }
        match action(&answer.text()) {
            Err(error) => Wants::Nonsense(format!("Your answer is not one JSON object with an action: {error}.")),
            Ok(call) if self.conversation.profile().does(&call.name) == Some(Does::Finish) => {
                Wants::Done(call.input.object()["summary"].as_str().unwrap_or_default().to_owned())
            }
            Ok(call) => Wants::Calls(vec![call]),
        }
    }

    /// Does the calls of an answer in their order, and appends what came of them. None is done behind one
    /// that a person is asked for.
    async fn do_all(&mut self, calls: Vec<Call>) -> Done {
        let by_schema = self.conversation.profile().by_schema;
        let mut verdict = None;
        let mut asks = None;
        let mut results = Vec::with_capacity(calls.len());
        for (number, call) in calls.into_iter().enumerate() {
            let mut outcome = if asks.is_some() {
                Outcome::error("not done: what was asked for comes first")
            } else if number < CALLS_MAX && !self.cancel.is_cancelled() {
                self.do_one(&call).await
            } else {
                Outcome::error(format!("not done: at most {CALLS_MAX} calls of one answer are"))
            };
            verdict = worse(verdict, self.seen(&call, &outcome));
            asks = asks.or(outcome.asks.take());
            results.push(CallResult {
                id: call.id,
                name: call.name,
                free: matches!(call.input, Input::Free(_)),
                in_words: by_schema,
                parts: outcome.parts,
                failed: outcome.failed,
                file: outcome.file,
            });
        }
        self.conversation.push(Entry::Results { results });
        Done { verdict, asks }
    }

    async fn do_one(&mut self, call: &Call) -> Outcome {
        match self.conversation.profile().does(&call.name) {
            Some(Does::Delegate) => self.delegate(call).await,
            Some(Does::Split) if self.level > 0 => {
                Outcome::error("only the agent that handed you the piece may: end your turn and say so")
            }
            Some(does) => self.hands.call(does, call).await,
            None => {
                let tools = &self.conversation.profile().tools;
                let names: Vec<&str> = tools.iter().map(|(_, tool)| tool.name.as_str()).collect();
                Outcome::error(format!("there is no tool {}; there are {}", call.name, names.join(", ")))
            }
        }
    }

    fn seen(&mut self, call: &Call, outcome: &Outcome) -> Option<Verdict> {
        let mut verdict = None;
        for edit in &outcome.edits {
            let seen = Seen::Edited { path: &edit.path, before: edit.before, after: edit.after };
            verdict = worse(verdict, self.watch.see(seen));
        }
        if outcome.polled {
            return verdict;
        }
        let what = format!("{} {}", call.name, call.input.text());
        let seen = Seen::Called { call: &what, result: &outcome.text(), failed: outcome.wrong };
        worse(verdict, self.watch.see(seen))
    }
}

/// The action in an answer by schema, as a call.
fn action(text: &str) -> Result<Call, String> {
    let json = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    let value: Value = serde_json::from_str(json.ok_or("there is none in it")?).map_err(|error| error.to_string())?;
    let mut action = match &value["action"] {
        Value::Object(action) => action.clone(),
        // A model that leaves the frame away.
        _ => value.as_object().cloned().unwrap_or_default(),
    };
    let Some(Value::String(name)) = action.remove("tool") else { return Err("the action names no tool".to_owned()) };
    Ok(Call { id: String::new(), name, input: Input::Json(Value::Object(action).to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_from_what_small_models_write() {
        let call = |text: &str| action(text).map(|call| format!("{} {}", call.name, call.input.text()));
        let whole = r#"{"thought":"t","action":{"tool":"rg","pattern":"x"}}"#;
        for text in [whole.to_owned(), format!("```json\n{whole}\n```"), r#"{"tool":"rg","pattern":"x"}"#.to_owned()] {
            assert_eq!(call(&text).as_deref(), Ok(r#"rg {"pattern":"x"}"#), "{text}");
        }
        for (text, error) in [
            ("hello", "there is none in it"),
            ("{\"thought\":", "there is none in it"),
            ("{broken}", "key must be a string"),
            (r#"{"action":{}}"#, "the action names no tool"),
            (r#"{"action":5}"#, "the action names no tool"),
        ] {
            let found = call(text).expect_err("refused");
            assert!(found.contains(error), "{text}: {found}");
        }
    }
}
