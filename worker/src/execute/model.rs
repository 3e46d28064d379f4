//! A rung whose agent is our own loop around a model.

use std::sync::Arc;
use std::time::Duration;

use longhaul_common::model_policy::{Footprint, ModelRule, allowed};
use longhaul_proto::{Agent, Failure, FailureClass, ModelAgent};

use super::checking::{Bench, left};
use super::{Attempt, refused, told_of};
use crate::agent::instructions::{Instructions, TOKENS_MAX};
use crate::agent::model::{
    Call, CallError, Conversation, Crew, Delta, Does, Ending, Facts, Hands, Limits, Manner, Outcome, Profile, Reach,
    Remedy, SessionFile, Settings, Setup, Toolbox, Transcript, Turns, prompt,
};
use crate::agent::skills;
use crate::agent::stuck::Watch;
use crate::commit::{Snapshot, StageError, snapshot_aside};
use crate::execution::{cancelled, limit_of};
use crate::failure::{failure, infrastructure};
use crate::gateway::{self, Allowance, Used};
use crate::session::Told;
use crate::wip::{Saver, copy_index};
use crate::workspace::WorkspaceError;

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
        self.may_be_sent(model)?;
        let profile = profile(model)?;
        self.restore_session(before).await.map_err(|error| Box::new(Failure::from(error)))?;
        let reach = Reach::open(model, &profile, self.allowance()?, &self.execution).await?;
        let mut setup = self.setup(model, profile, before).await?;
        let mut session = SessionFile::new(&Saver::session_dir(&self.execution.slot), &model.model);
        let history = session.read().map(|(history, facts)| {
            setup.facts = facts;
            history
        });
        let mut conversation = Conversation::new(reach.client.clone(), setup, history);
        let (log, path) = self.execution.own_log(&agent.name);
        let transcript = Transcript::new(path, self.execution.secrets(), self.execution.reporter.lines());
        let toolbox = Toolbox::new(&self.execution).map_err(|error| Box::new(infrastructure(error.to_string())))?;
        let mut workshop = Workshop {
            bench: Bench { execution: &self.execution, work: &self.work, services: &mut self.services },
            left: self.left.as_ref(),
            toolbox,
            transcript,
            session: &mut session,
            words: self.execution.reporter.listen(),
            touched: true,
            diff: [0; 32],
            turn: 0,
        };
        let cancel = self.execution.cancel.clone();
        let mut crew =
            Crew { left: model.subagents, made: 0, depth: model.subagent_depth, tokens: model.subagent_tokens };
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
            limit = out_of(time) => Ending::Time(limit),
            () = self.saver.watch(self.rung) => Ending::Unanswered(CallError::Cancelled),
        };
        let Workshop { mut toolbox, mut transcript, .. } = workshop;
        toolbox.close().await;
        let ending = match reach.gateway.ended().borrow().clone() {
            Some(outcome) if !matches!(ending, Ending::Done(_)) => ended_by(outcome),
            _ => ending,
        };
        transcript.note("end", &ending.words());
        transcript.tokens(conversation.used());
        self.execution.keep_log(log, &transcript.finish());
        self.book(reach.gateway.stop().await);
        let goes_on = self.execution.leave.is_cancelled() || matches!(ending, Ending::Limit { .. });
        if goes_on && !matches!(ending, Ending::Done(_)) {
            self.saver.last(self.rung).await;
        }
        Ok(told(&agent.name, ending))
    }

    /// What the attempt may still use; its earlier rungs used the rest.
    fn allowance(&self) -> Result<Allowance, Box<Failure>> {
        let left = |allowed: u64, used: u64| match allowed {
            0 => Some(0),
            allowed => allowed.checked_sub(used).filter(|&left| left > 0),
        };
        let tokens = left(self.work.allowance_tokens, self.usage.tokens);
        let usd_micros = left(self.work.allowance_usd_micros, self.usage.usd_micros);
        match (tokens, usd_micros) {
            (Some(tokens), Some(usd_micros)) => Ok(Allowance { tokens, usd_micros }),
            _ => Err(Box::new(failure(FailureClass::Agent, "earlier rungs used up the budget of this attempt"))),
        }
    }

    fn book(&mut self, used: Used) {
        let (sum, tokens) = (&mut self.usage, used.tokens);
        sum.tokens += tokens.total();
        sum.usd_micros += used.usd_micros;
        sum.input_tokens += tokens.input;
        sum.cached_tokens += tokens.cached;
        sum.output_tokens += tokens.output;
        sum.reasoning_tokens += tokens.reasoning;
    }

    /// Whether the policy lets this subtask's paths go to the model's provider.
    fn may_be_sent(&self, model: &ModelAgent) -> Result<(), Box<Failure>> {
        let policy = self.execution.assignment.policy.clone().unwrap_or_default();
        let rule = |rule: &longhaul_proto::ModelRule| {
            ModelRule::new(rule.paths.iter().map(String::as_str), rule.providers.iter().cloned())
        };
        let rules: Vec<ModelRule> = policy.models.iter().map(rule).collect();
        let task = self.work.task.clone().unwrap_or_default();
        // A glob of files that are not there yet counts as a path of its own folder.
        let paths: Vec<String> = self.work.files.iter().chain(&self.work.claims).chain(&task.write).cloned().collect();
        let whole = task.whole_repository;
        let footprint = if whole { Footprint::Whole } else { Footprint::Paths(&paths) };
        let name = model.provider.as_ref().map(|provider| provider.name.clone()).unwrap_or_default();
        if allowed(&rules, footprint, std::slice::from_ref(&name)).is_empty() {
            let message = format!("the policy does not let this subtask's files go to the provider {name}");
            return Err(Box::new(failure(FailureClass::Agent, message)));
        }
        Ok(())
    }

    async fn setup(
        &self,
        model: &ModelAgent,
        profile: Profile,
        before: Option<&Failure>,
    ) -> Result<Setup, Box<Failure>> {
        let files = self.work.files.clone();
        let folders = model.skills.clone();
        let gather = move |slot: &crate::workspace::Slot| {
            let ws = slot.ws();
            (Instructions::gather(&ws, &files, TOKENS_MAX), skills::gather(&ws, &folders))
        };
        let (found, skills) = self.execution.blocking(gather).await.map_err(|error| Box::new(Failure::from(error)))?;
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
        Ok(Setup { settings, system, profile, task: prompt::task(&self.work, &found, &skills, before), facts })
    }
}

fn profile(model: &ModelAgent) -> Result<Profile, Box<Failure>> {
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
    if model.subagents == 0 {
        profile = profile.without(Does::Delegate);
    }
    Ok(profile)
}

/// When a time is over; never without one.
async fn out_of(time: Option<Duration>) -> Duration {
    match time {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn ended_by(outcome: gateway::Outcome) -> Ending {
    match outcome {
        gateway::Outcome::BudgetUsedUp { what } => Ending::Budget(what),
        gateway::Outcome::ProviderLimit { provider, until_ms } => Ending::Limit { provider, until_ms },
    }
}

/// What an ending means for the attempt: what a provider or the machine did is not the agent's.
fn told(name: &str, ending: Ending) -> Told {
    match ending {
        Ending::Done(_) => Told::Done,
        Ending::Broken(failure) => told_of(Err(failure)),
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
        other => refused(FailureClass::Agent, format!("{name}: {}", other.words())),
    }
}

/// What the loop does its work with: the tools, the checks, the workspace.
struct Workshop<'a> {
    bench: Bench<'a>,
    left: Option<&'a regex::bytes::Regex>,
    toolbox: Toolbox,
    transcript: Transcript,
    session: &'a mut SessionFile,
    /// Of people, while it works.
    words: tokio::sync::mpsc::Receiver<String>,
    /// Something may have changed since the diff was taken.
    touched: bool,
    diff: [u8; 32],
    turn: u32,
}

impl Workshop<'_> {
    async fn snapshot(&self) -> Result<Snapshot, Box<Failure>> {
        let (base, exclusions) = (self.bench.execution.base, self.bench.execution.exclusions());
        let taken = self.bench.execution.blocking(move |slot| {
            let index = slot.git_dir().join("loop-index");
            copy_index(&slot.index(), &index).map_err(|source| WorkspaceError::Io {
                action: "copy the index to",
                path: index.clone(),
                source,
            })?;
            snapshot_aside(slot, &index, base, &exclusions)
        });
        match taken.await.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok(snapshot) => Ok(snapshot),
            Err(StageError::Refused(failure)) => Err(failure),
            Err(StageError::Broken(error)) => Err(Box::new(error.into())),
        }
    }
}

impl Hands for Workshop<'_> {
    async fn call(&mut self, does: Does, call: &Call) -> Outcome {
        self.transcript.note(&format!("call {}", call.name), call.input.text());
        let outcome = self.toolbox.call(does, call).await;
        let runs = matches!(does, Does::Exec | Does::WriteStdin | Does::Shell | Does::Bash);
        self.touched |= runs || !outcome.edits.is_empty();
        self.transcript.note(if outcome.failed { "error" } else { "result" }, &outcome.text());
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
            self.transcript.note("check", &report);
            return Ok(Some(report));
        }
        for number in 0..self.bench.checks() {
            if let Some(report) = report(self.bench.check(number, changed.clone()).await)? {
                self.transcript.note("check", &report);
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
        self.transcript.tokens(conversation.used());
        let slot: &Arc<crate::workspace::Slot> = &self.bench.execution.slot;
        let written = self.session.write(conversation.history(), conversation.facts());
        let noted = written.and_then(|()| std::fs::write(Saver::turn_file(slot), self.turn.to_string()));
        if let Err(error) = noted {
            tracing::warn!(%error, "the conversation of a loop is not kept");
        }
    }

    fn said(&mut self, text: &str) {
        self.transcript.note("model", text);
    }

    fn heard(&mut self) -> Vec<String> {
        let heard: Vec<String> = std::iter::from_fn(|| self.words.try_recv().ok()).collect();
        heard.iter().for_each(|words| self.transcript.note("person", words));
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
