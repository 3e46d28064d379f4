//! A rung whose agent is our own loop around a model.

mod workshop;

use std::time::Duration;

use longhaul_common::question::decided;
use longhaul_proto::{Agent, Failure, FailureClass, ModelAgent};

use self::workshop::{Workshop, meter};
use super::checking::Bench;
use super::{Attempt, policy, record, told_of};
use crate::agent::metered::{Asks, Who};
use crate::agent::model::{
    CallError, Conversation, Crew, Delta, Does, Ending, Facts, Limits, Manner, Part, Profile, Reach, Remedy, Servers,
    SessionFile, Settings, Setup, Toolbox, Turns, prompt,
};
use crate::agent::stuck::Watch;
use crate::agent::talk::{AgentEvent, Totals, TurnEnd};
use crate::agent::{command, instructions, metered, split};
use crate::execution::{cancelled, limit_of};
use crate::failure::{asked, failure, infrastructure};
use crate::gateway;
use crate::session::Told;
use crate::standstill::Standstill;
use crate::wip::Saver;

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
        let allowance = self.allowance()?;
        let asks = Asks {
            models: Vec::new(),
            prices: &[],
            allowance,
            who: Who::Worker,
            books: self.books(),
            barred: policy::barred(&self.execution, provider.unwrap_or_default()).await?,
        };
        let reach = Reach::open(model, &profile, asks, &self.execution).await?;
        let context_tokens = profile.context_tokens;
        let (setup, cut) = self.setup(model, profile, before).await?;
        let mut session = SessionFile::new(&Saver::session_dir(&self.execution.slot), &model.model);
        let opening = opening(&setup, cut.iter().chain(servers.left_out()));
        let mut conversation = self.conversation(&reach, setup, &session);
        let (log, mut witness) = record::witness(&self.execution, &agent.name, Box::new(|_, _, _| {}))?;
        opening.iter().for_each(|event| witness.tell(event));
        let toolbox = Toolbox::new(&self.execution, servers, &self.work, context_tokens)
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
        let price = metered::prices(&model.prices)?.of(&model.model).cloned();
        let mut crew = Crew::of(model, allowance, price);
        let turns = Turns {
            conversation: &mut conversation,
            hands: &mut workshop,
            limits: Limits { turns: model.max_turns, tokens: model.max_tokens, usd_micros: 0 },
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

    /// What the conversation is made of, and what was left out of it.
    async fn setup(
        &self,
        model: &ModelAgent,
        profile: Profile,
        before: Option<&Failure>,
    ) -> Result<(Setup, Vec<String>), Box<Failure>> {
        let tokens_max = instructions::tokens_max(profile.context_tokens);
        let (briefing, cut) = self.briefing_within(tokens_max, &model.skills, before).await?;
        let cut = cut.iter().map(|path| format!("{path} is cut: instructions get {tokens_max} tokens of this window"));
        let cut = cut.collect();
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
        let mut setup = Setup { settings, system, task: prompt::task(briefing), profile, facts };
        if setup.profile.by_schema {
            setup.task.push(Part::text(self.files_shown(&setup).await));
        }
        Ok((setup, cut))
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
    // What the family answers at most would be most of a smaller window.
    let part = if model.answer_tokens > 0 { 2 } else { 4 };
    profile.answer_tokens = profile.answer_tokens.min(profile.context_tokens / part);
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
        Ending::Cost(_) => TurnEnd::Limit { what: "cost".to_owned() },
        Ending::Time(_) => TurnEnd::Limit { what: "time".to_owned() },
        Ending::Budget(_) => TurnEnd::Limit { what: "budget".to_owned() },
        Ending::Limit { .. } => TurnEnd::Limit { what: "provider".to_owned() },
        Ending::KeyRefused { .. } | Ending::Barred { .. } => TurnEnd::Failed { message: ending.words() },
        Ending::Asked(question) => TurnEnd::Asked { what: question.text.clone() },
        Ending::Split(parts) => TurnEnd::Split { parts: parts.len() },
        Ending::Stuck(_) | Ending::Unanswered(_) | Ending::Broken(_) => TurnEnd::Failed { message: ending.words() },
    }
}

/// What the trace begins with: what the model is told first, and what was left out of that.
fn opening<'a>(setup: &Setup, left_out: impl Iterator<Item = &'a String>) -> Vec<AgentEvent> {
    let words = setup.task.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        Part::Image(_) => None,
    });
    let system = AgentEvent::System { text: setup.system.clone() };
    let told = AgentEvent::Told { text: words.collect(), steers: false };
    let left_out = left_out.map(|message| AgentEvent::Warning { message: message.clone() });
    [system, told].into_iter().chain(left_out).collect()
}

fn ended_by(outcome: gateway::Outcome) -> Ending {
    match outcome {
        gateway::Outcome::BudgetUsedUp { what } => Ending::Budget(what),
        gateway::Outcome::Barred { path, provider } => Ending::Barred { path, provider },
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
