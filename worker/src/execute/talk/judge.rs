//! What the end of a session means for the attempt.

use longhaul_proto::{Failure, FailureClass};

use super::both::Ended;
use crate::agent::talk::{TalkError, TurnEnd, failure_of_end, failure_of_error};
use crate::failure::{barred, failure, of_run, with_detail};
use crate::gateway::Outcome;
use crate::process::ProcessEnd;

/// What the gateway of a session says of its end.
#[derive(Debug, Default)]
pub(super) struct Models {
    /// What it ended the session for.
    pub outcome: Option<Outcome>,
    /// How the provider failed at the last call.
    pub trouble: Option<String>,
}

/// The failure, if it is one. What a session breaks off for after its provider failed is the provider's.
pub(super) fn judge(agent: &str, end: &Ended, models: Models) -> Result<(), Box<Failure>> {
    let Models { outcome, trouble } = models;
    match outcome {
        Some(Outcome::ProviderLimit { provider, until_ms }) => {
            let message = format!("the provider {provider} is at its limit");
            let class = FailureClass::ProviderLimit;
            return Err(Box::new(Failure { provider, until_ms, agent: agent.to_owned(), ..failure(class, message) }));
        }
        Some(Outcome::BudgetUsedUp { what }) => {
            let message = format!("the budget of the attempt is used up: {what}");
            return Err(Box::new(failure(FailureClass::Agent, message)));
        }
        Some(Outcome::Barred { path, provider }) => {
            let message = barred(agent, &path, &provider);
            return Err(Box::new(failure(FailureClass::Agent, message)));
        }
        Some(Outcome::KeyRefused { provider, said }) => {
            let message = format!("the provider refused the key of the agent {agent}: {provider} answered {said}");
            return Err(Box::new(failure(FailureClass::Agent, message)));
        }
        None => {}
    }
    let run = of_run(agent, &end.process, FailureClass::Agent);
    let found = match (&end.said, &end.process.end) {
        (Err(TalkError::Cancelled), _) if end.stuck.is_some() => end.stuck.as_ref().map(|stuck| {
            let message = format!("{agent}: stuck ({}): {stuck}", stuck.name());
            with_detail(failure(FailureClass::Agent, message), &end.process.log.tail)
        }),
        (Err(error @ TalkError::Asked(_)), _) => Some(failure_of_error(agent, error)),
        (Err(TalkError::Cancelled), _) => Some(failure_of_error(agent, &TalkError::Cancelled)),
        // Its own end says more than that it ended.
        (Err(TalkError::Ended), _) if run.is_some() && !end.stopped => run,
        (_, ProcessEnd::TimedOut | ProcessEnd::NotStarted(_) | ProcessEnd::Lost) => run,
        (Err(error), _) => Some(with_detail(failure_of_error(agent, error), &end.process.log.tail)),
        (Ok(turn), _) => failure_of_end(agent, turn).map(|failure| with_detail(failure, &end.process.log.tail)),
    };
    let Some(found) = found else { return Ok(()) };
    let broke_off = !matches!(end.said, Err(TalkError::Cancelled | TalkError::Asked(_)) | Ok(TurnEnd::Done));
    Err(Box::new(match trouble.filter(|_| broke_off && found.class() == FailureClass::Agent) {
        None => found,
        Some(trouble) => {
            let message = format!("the provider of the agent {agent} failed: {trouble}");
            Failure { detail: found.message, ..failure(FailureClass::Provider, message) }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::stuck::Stuck;
    use crate::process::{CapturedLog, ProcessOutcome};

    fn ended(said: Result<TurnEnd, TalkError>, end: ProcessEnd) -> Ended {
        let process = ProcessOutcome { end, log: CapturedLog::default() };
        Ended { said, process, stopped: false, used: Default::default(), stuck: None }
    }

    #[test]
    fn what_ended_it_decides_whose_fault_it_is() {
        let exited = || ProcessEnd::Exited(0);
        let limit = Some(Outcome::ProviderLimit { provider: "main".into(), until_ms: 7 });
        let budget = Some(Outcome::BudgetUsedUp { what: "tokens".into() });
        let key = Some(Outcome::KeyRefused { provider: "main".into(), said: "401: no".into() });
        for (said, end, limit, class, words) in [
            (
                Err(TalkError::Cancelled),
                ProcessEnd::Cancelled,
                limit,
                FailureClass::ProviderLimit,
                "main is at its limit",
            ),
            (Err(TalkError::Cancelled), ProcessEnd::Cancelled, budget, FailureClass::Agent, "used up: tokens"),
            (Err(TalkError::Cancelled), ProcessEnd::Cancelled, key, FailureClass::Agent, "main answered 401: no"),
            (Err(TalkError::Cancelled), ProcessEnd::Cancelled, None, FailureClass::Cancelled, "cancelled"),
            (Err(TalkError::Ended), ProcessEnd::Exited(7), None, FailureClass::Agent, "7"),
            (Err(TalkError::Ended), exited(), None, FailureClass::Agent, "ended before its turn"),
            (Ok(TurnEnd::Refused), exited(), None, FailureClass::Agent, "refused"),
        ] {
            let models = Models { outcome: limit, trouble: None };
            let failure = judge("a", &ended(said, end), models).expect_err("a failure");
            assert!(failure.class() == class && failure.message.contains(words), "{words}: {failure:?}");
        }
        let done = || ended(Ok(TurnEnd::Done), exited());
        assert_eq!(judge("a", &done(), Models::default()), Ok(()));
        let trouble = || Models { outcome: None, trouble: Some("main answered 502".into()) };
        assert_eq!(judge("a", &done(), trouble()), Ok(()), "it went on without");
        let failed = || Ok(TurnEnd::Failed { message: "unexpected status 502".into() });
        let failure = judge("a", &ended(failed(), exited()), trouble()).expect_err("a failure");
        assert_eq!((failure.class(), failure.message.contains("main answered 502")), (FailureClass::Provider, true));
        assert!(failure.detail.contains("unexpected status 502"), "{}", failure.detail);
        let mut circling = ended(Err(TalkError::Cancelled), ProcessEnd::Cancelled);
        circling.stuck = Some(Stuck::Monologue(4));
        let failure = judge("a", &circling, Models::default()).expect_err("a failure");
        assert!(failure.message.starts_with("a: stuck (monologue): "), "{}", failure.message);
    }
}
