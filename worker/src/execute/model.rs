//! A rung whose agent is our own loop around a model.

use std::sync::Arc;
use std::time::Duration;

use longhaul_common::question::{decided, wants_words};
use longhaul_common::text::clip_head;
use longhaul_proto::{Agent, Answer, Failure, FailureClass, ModelAgent, Question};

use super::checking::{Bench, left};
use super::{Attempt, policy, record, told_of};
use crate::agent::model::{
    Call, CallError, Conversation, Crew, Delta, Does, Ending, Facts, Hands, Limits, Manner, Outcome, Part, Profile,
    Reach, Remedy, Servers, SessionFile, Settings, Setup, Tokens, Toolbox, Turns, Wanted, prompt,
};
use crate::agent::stuck::Watch;
use crate::agent::talk::{AgentEvent, ToolKind, Totals, TurnEnd, Witness};
use crate::agent::{command, split};
use crate::asking::Waited;
use crate::commit::{Snapshot, StageError, snapshot_aside};
use crate::execution::{cancelled, limit_of};
use crate::failure::{asked, failure, infrastructure};
use crate::gateway;
use crate::session::Told;
use crate::standstill::Standstill;
use crate::wip::Saver;
use crate::workspace::Slot;

/// Longest part of what a tool is given that is shown to watchers, in bytes.
const TITLE_BYTES_MAX: usize = 200;

impl Attempt {
    pub(super) async fn model(&mut self, agent: &Agent, model: &ModelAgent, before: Option<&Failure>) -> Told {
        match Box::pin(self.loop_of(agent, model, before)).await {
            Ok(told) => told,
            Err(failure) => told_of(Err(failure)),
        }
    }

    async fn loop_of(
        &mut self,
        agent: &Agent,
        model: &ModelAgent,
        before: Option<&Failure>,
    ) -> Result<Told, Box<Failure>> {
        let provider = model.provider.as_ref().map(|provider| provider.name.as_str());
        policy::may_be_sent(&self.execution, &self.work, provider)?;
        let profile = profile(model, self.work.split_max)?;
        self.restore_session(before).await.map_err(|error| Box::new(Failure::from(error)))?;
        let servers = self.servers(model, &profile).await?;
        let profile = profile.with_served(servers.specs());
        let reach = Reach::open(model, &profile, self.allowance()?, &self.execution).await?;
        let setup = self.setup(model, profile, before).await?;
        let mut session = SessionFile::new(&Saver::session_dir(&self.execution.slot), &model.model);
        let first = words_of(&setup.task);
        let mut conversation = self.conversation(&reach, setup, &session);
        let (log, mut witness) = record::witness(&self.execution, &agent.name, Box::new(|_, _, _| {}))?;
        witness.tell(&AgentEvent::Told { text: first, steers: false });
        for message in servers.left_out() {
            witness.tell(&AgentEvent::Warning { message: message.clone() });
        }
        let toolbox = Toolbox::new(&self.execution, servers, &self.work)
            .map_err(|error| Box::new(infrastructure(error.to_string())))?;
        let mut workshop = Workshop {
            agent: &agent.name,
            learned: Vec::new(),
            bench: Bench { execution: &self.execution, work: &self.work, services: &mut self.services },
            left: self.left.as_ref(),
            toolbox,
            witness,
            totals: Totals::default(),
            session: &mut session,
            words: self.execution.reporter.listen(),
            touched: true,
            diff: [0; 32],
            turn: 0,
        };
        let cancel = self.execution.cancel.clone();
        let still = self.execution.still.clone();
        let mut crew = Crew::of(model);
        let turns = Turns {
            conversation: &mut conversation,
            hands: &mut workshop,
            limits: Limits { turns: model.max_turns, tokens: model.max_tokens },
            watch: Watch::default(),
            cancel: &cancel,
            crew: &mut crew,
            level: 0,
        };
        let time = [self.execution.time_left(), limit_of(model.timeout_ms)].into_iter().flatten().min();
        let mut quiet = |_: Delta| {};
        let ending = tokio::select! {
            biased;
            ending = turns.run(&mut quiet) => ending,
            limit = out_of(&still, time) => Ending::Time(limit),
            () = self.saver.watch(self.rung) => Ending::Unanswered(CallError::Cancelled),
        };
        let Workshop { mut toolbox, mut witness, mut totals, .. } = workshop;
        toolbox.end().await;
        let ending = match reach.gateway.ended().borrow().clone() {
            Some(outcome) if !matches!(ending, Ending::Done(_)) => ended_by(outcome),
            _ => ending,
        };
        meter(&mut witness, &mut totals, conversation.used());
        witness.tell(&AgentEvent::TurnEnded { end: turn_end(&ending) });
        record::keep(&self.execution, &agent.name, log, witness, reach.gateway.calls()).await;
        self.book(reach.gateway.stop().await);
        let waits = matches!(ending, Ending::Limit { .. } | Ending::Asked(_));
        if waits || self.execution.leave.is_cancelled() && !matches!(ending, Ending::Done(_)) {
            self.saver.last(self.rung).await;
        }
        Ok(told(&agent.name, ending))
    }

    /// The servers of tools that the job gives to it; they work in the same place as its commands.
    async fn servers(&self, model: &ModelAgent, profile: &Profile) -> Result<Servers, Box<Failure>> {
        let values = command::placeholders(&self.execution.assignment, &self.work.files, &self.execution.slot.ws());
        let wanted = self.mcp_servers(&model.mcp, &values)?;
        Servers::start(&self.execution, &wanted, profile).await
    }

    /// A new conversation, or the one that an earlier attempt left.
    fn conversation(&self, reach: &Reach, mut setup: Setup, session: &SessionFile) -> Conversation {
        let Some((history, facts)) = session.read() else {
            return Conversation::new(reach.client.clone(), setup, None);
        };
        setup.facts = facts;
        let mut conversation = Conversation::new(reach.client.clone(), setup, Some(history));
        // What was decided since is in no message yet.
        self.work.decisions.iter().for_each(|decision| conversation.learn(&decided(decision)));
        conversation
    }

    async fn setup(
        &self,
        model: &ModelAgent,
        profile: Profile,
        before: Option<&Failure>,
    ) -> Result<Setup, Box<Failure>> {
        let briefing = self.briefing(&model.skills, before).await?;
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let task = self.work.task.clone().unwrap_or_default();
        let group = if task.map.is_empty() { &task.id } else { &task.map };
        let settings = Settings {
            model: model.model.clone(),
            effort: text(&model.effort),
            verbosity: text(&model.verbosity),
            answer_tokens: profile.answer_tokens,
            cache_key: format!("{}/{group}", self.execution.assignment.job),
            traits: profile.traits.clone(),
        };
        let mut facts = Facts::default();
        task.constraints.iter().for_each(|constraint| facts.tell(constraint.as_str()));
        let system = prompt::system(profile.system, Manner { preambles: model.preambles });
        Ok(Setup { settings, system, profile, task: prompt::task(briefing), facts })
    }
}

fn profile(model: &ModelAgent, split_max: u32) -> Result<Profile, Box<Failure>> {
    let named = (!model.profile.is_empty()).then_some(model.profile.as_str());
    let Some(mut profile) = Profile::of(&model.model, named) else {
        let message = format!("this worker knows no profile {:?}", model.profile);
        return Err(Box::new(failure(FailureClass::Agent, message)));
    };
    for (own, set) in
        [(&mut profile.context_tokens, model.context_tokens), (&mut profile.answer_tokens, model.answer_tokens)]
    {
        if set > 0 {
            *own = set;
        }
    }
    profile.answer_tokens = profile.answer_tokens.min(profile.context_tokens / 2);
    if !profile.traits.sees {
        profile = profile.without(Does::ViewImage);
    }
    for (does, is_there) in [(Does::Delegate, model.subagents > 0), (Does::Split, split_max > 0)] {
        if !is_there {
            profile = profile.without(does);
        }
    }
    Ok(profile)
}

/// When a time of work is over; never without one.
async fn out_of(still: &Standstill, time: Option<Duration>) -> Duration {
    match time {
        Some(limit) => {
            still.worked(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// An ending, for the trace.
fn turn_end(ending: &Ending) -> TurnEnd {
    match ending {
        Ending::Done(_) => TurnEnd::Done,
        Ending::Refused(_) => TurnEnd::Refused,
        Ending::Unanswered(CallError::Cancelled) => TurnEnd::Cancelled,
        Ending::Turns(_) => TurnEnd::Limit { what: "turns".to_owned() },
        Ending::Tokens(_) => TurnEnd::Limit { what: "tokens".to_owned() },
        Ending::Time(_) => TurnEnd::Limit { what: "time".to_owned() },
        Ending::Budget(_) => TurnEnd::Limit { what: "budget".to_owned() },
        Ending::Limit { .. } => TurnEnd::Limit { what: "provider".to_owned() },
        Ending::KeyRefused { .. } => TurnEnd::Failed { message: ending.words() },
        Ending::Asked(question) => TurnEnd::Asked { what: question.text.clone() },
        Ending::Split(parts) => TurnEnd::Split { parts: parts.len() },
        Ending::Stuck(_) | Ending::Unanswered(_) | Ending::Broken(_) => TurnEnd::Failed { message: ending.words() },
    }
}

/// The words of a message.
fn words_of(parts: &[Part]) -> String {
    let words = parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        Part::Image(_) => None,
    });
    words.collect()
}

fn kind_of(does: Does) -> ToolKind {
    match does {
        Does::Exec | Does::WriteStdin | Does::Shell | Does::Bash => ToolKind::Execute,
        Does::ApplyPatch | Does::TextEditor | Does::Edit => ToolKind::Edit,
        Does::ReadFile | Does::Search | Does::ViewImage => ToolKind::Read,
        Does::UpdatePlan | Does::Delegate | Does::Ask | Does::Split | Does::Finish | Does::Mcp => ToolKind::Other,
    }
}

/// What was used since the last time, if anything was.
fn meter(witness: &mut Witness, totals: &mut Totals, all: Tokens) {
    let since = totals.take(all);
    if since != Tokens::default() {
        witness.tell(&AgentEvent::Usage(since));
    }
}

fn ended_by(outcome: gateway::Outcome) -> Ending {
    match outcome {
        gateway::Outcome::BudgetUsedUp { what } => Ending::Budget(what),
        gateway::Outcome::KeyRefused { provider, said } => Ending::KeyRefused { provider, said },
        gateway::Outcome::ProviderLimit { provider, until_ms } => Ending::Limit { provider, until_ms },
    }
}

/// What an ending means for the attempt: what a provider or the machine did is not the agent's.
fn told(name: &str, ending: Ending) -> Told {
    match ending {
        Ending::Done(_) => Told::Done,
        Ending::Broken(failure) => told_of(Err(failure)),
        Ending::Asked(question) => Told::Broken(Box::new(asked(name, &question))),
        Ending::Split(parts) => Told::Broken(Box::new(split::split(name, parts))),
        Ending::Unanswered(CallError::Cancelled) => Told::Broken(cancelled()),
        Ending::Unanswered(error) if matches!(error.remedy(), Remedy::Again(_)) => {
            Told::Broken(Box::new(failure(FailureClass::Provider, error.to_string())))
        }
        Ending::Limit { ref provider, until_ms } => Told::Broken(Box::new(Failure {
            provider: provider.clone(),
            until_ms,
            agent: name.to_owned(),
            ..failure(FailureClass::ProviderLimit, ending.words())
        })),
        other => Told::Refused(Box::new(Failure {
            sign: other.sign().to_owned(),
            ..failure(FailureClass::Agent, format!("{name}: {}", other.words()))
        })),
    }
}

/// What the loop does its work with: the tools, the checks, the workspace.
struct Workshop<'a> {
    agent: &'a str,
    /// Decisions that the conversation does not keep yet.
    learned: Vec<String>,
    bench: Bench<'a>,
    left: Option<&'a regex::bytes::Regex>,
    toolbox: Toolbox,
    witness: Witness,
    totals: Totals,
    session: &'a mut SessionFile,
    /// Of people, while it works.
    words: tokio::sync::mpsc::Receiver<String>,
    /// Something may have changed since the diff was taken.
    touched: bool,
    diff: [u8; 32],
    turn: u32,
}

impl Workshop<'_> {
    /// Waits for a person with a question, and does the call with the answer; `None` when there is none.
    async fn ask(&mut self, does: Does, call: &Call, question: &Question) -> Option<Outcome> {
        let asks = self.bench.execution.asks.clone();
        asks.patience()?;
        let question = Question { agent: self.agent.to_owned(), ..question.clone() };
        self.witness.tell(&asks.event(&question));
        let waited = asks.ask(question.clone()).await;
        self.witness.tell(&waited.event());
        let decision = match waited {
            Waited::Told(decision) => decision,
            Waited::Late => return None,
            Waited::Cancelled => return Some(Outcome::error("not done: it was ended")),
        };
        self.toolbox.learn(&decision);
        let words = decided(&decision);
        self.learned.push(words.clone());
        // A yes lets it be done; words are the answer to words, and advice to all else.
        let goes_on = wants_words(&question) || decision.answer() == Answer::Yes;
        Some(if goes_on { self.toolbox.call(does, call).await } else { Outcome::error(format!("not done: {words}")) })
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Box<Failure>> {
        let (base, exclusions) = (self.bench.execution.base, self.bench.execution.exclusions());
        let taken = move |slot: &Slot| snapshot_aside(slot, "loop-index", base, &exclusions);
        let taken = self.bench.execution.blocking(taken);
        match taken.await.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok(snapshot) => Ok(snapshot),
            Err(StageError::Refused(failure)) => Err(failure),
            Err(StageError::Broken(error)) => Err(Box::new(error.into())),
        }
    }
}

impl Hands for Workshop<'_> {
    async fn call(&mut self, does: Does, call: &Call) -> Outcome {
        self.witness.tell(&AgentEvent::ToolStarted {
            id: call.id.clone(),
            kind: kind_of(does),
            title: format!("{} {}", call.name, clip_head(call.input.text(), TITLE_BYTES_MAX)),
            input: call.input.object(),
        });
        let mut outcome = self.toolbox.call(does, call).await;
        while let Some(Wanted::Answer(question)) = &outcome.asks {
            let question = question.clone();
            match self.ask(does, call, &question).await {
                Some(answered) => outcome = answered,
                None => break,
            }
        }
        let runs = matches!(does, Does::Exec | Does::WriteStdin | Does::Shell | Does::Bash | Does::Mcp);
        self.touched |= runs || !outcome.edits.is_empty();
        let (id, failed) = (call.id.clone(), outcome.failed);
        self.witness.tell(&AgentEvent::ToolEnded { id, failed, output: outcome.text() });
        outcome
    }

    async fn check(&mut self) -> Result<Option<String>, Box<Failure>> {
        // A server left running would hold the ports that checks want.
        self.toolbox.close().await;
        let changed = match self.snapshot().await {
            Ok(snapshot) => Attempt::changed_files(&snapshot),
            Err(failure) => return report(told_of(Err(failure))),
        };
        let left = left(self.bench.execution, self.bench.work, self.left).await;
        let left = left.map_err(|error| Box::new(Failure::from(error)))?;
        if !left.is_empty() {
            let report = format!("The work is not done: these files still match what had to go: {}", left.join(", "));
            self.witness.tell(&AgentEvent::CheckFailed { report: report.clone() });
            return Ok(Some(report));
        }
        for number in 0..self.bench.checks() {
            if let Some(report) = report(self.bench.check(number, changed.clone()).await)? {
                self.witness.tell(&AgentEvent::CheckFailed { report: report.clone() });
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    async fn diff(&mut self) -> Result<[u8; 32], Box<Failure>> {
        if std::mem::take(&mut self.touched) {
            self.diff = match self.snapshot().await {
                Ok(snapshot) => *blake3::hash(&snapshot.tree.0).as_bytes(),
                // What cannot be a tree is refused at the end, with its reason; here it is a change.
                Err(failure) if failure.class() == FailureClass::Result => {
                    *blake3::hash(failure.message.as_bytes()).as_bytes()
                }
                Err(failure) => return Err(failure),
            };
        }
        Ok(self.diff)
    }

    fn turn_ended(&mut self, conversation: &Conversation) {
        self.turn += 1;
        meter(&mut self.witness, &mut self.totals, conversation.used());
        let slot: &Arc<Slot> = &self.bench.execution.slot;
        let written = self.session.write(conversation.history(), conversation.facts());
        let noted = written.and_then(|()| Saver::note_turn(slot, &self.turn.to_string()));
        if let Err(error) = noted {
            tracing::warn!(%error, "the conversation of a loop is not kept");
        }
    }

    fn said(&mut self, text: &str) {
        self.witness.tell(&AgentEvent::Text { text: text.to_owned() });
    }

    fn learned(&mut self) -> Vec<String> {
        std::mem::take(&mut self.learned)
    }

    fn heard(&mut self) -> Vec<String> {
        let heard: Vec<String> = std::iter::from_fn(|| self.words.try_recv().ok()).collect();
        for words in &heard {
            self.witness.tell(&AgentEvent::Told { text: words.clone(), steers: true });
        }
        heard
    }
}

/// What a model is told of a check; `None` when it passed.
fn report(told: Told) -> Result<Option<String>, Box<Failure>> {
    match told {
        Told::Done => Ok(None),
        Told::Broken(failure) => Err(failure),
        Told::Refused(failure) => {
            let words = "The work is not done yet. A check of the task fails:";
            Ok(Some(format!("{words}\n{}\n\n{}", failure.message, failure.detail)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_does_is_not_the_agents_fault_and_a_used_up_budget_is_its_end() {
        let class = |ending: Ending| match told("coder", ending) {
            Told::Broken(failure) => (true, failure),
            Told::Refused(failure) => (false, failure),
            Told::Done => panic!("done"),
        };
        let (ends, failure) = class(Ending::Limit { provider: "p".into(), until_ms: 7 });
        assert_eq!((ends, failure.class()), (true, FailureClass::ProviderLimit));
        assert_eq!((failure.provider.as_str(), failure.agent.as_str(), failure.until_ms), ("p", "coder", 7));
        let (ends, failure) = class(Ending::Unanswered(CallError::Silent(Duration::from_secs(1))));
        assert_eq!((ends, failure.class()), (true, FailureClass::Provider));
        let (ends, failure) = class(Ending::Budget("more".into()));
        assert_eq!((ends, failure.class()), (false, FailureClass::Agent), "the next rung may need none");
    }
}
