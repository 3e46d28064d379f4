//! What the end of a session means for the attempt.

use longhaul_proto::{Failure, FailureClass};

use super::both::Ended;
use crate::agent::talk::{TalkError, failure_of_end, failure_of_error};
use crate::failure::{failure, of_run, with_detail};
use crate::gateway::Outcome;
use crate::process::ProcessEnd;

/// The failure, if it is one; `limit` is what the gateway ended the session for.
pub(super) fn judge(agent: &str, end: &Ended, limit: Option<Outcome>) -> Result<(), Box<Failure>> {
    match limit {
        Some(Outcome::ProviderLimit { provider, until_ms }) => {
            let message = format!("the provider {provider} is at its limit");
            let class = FailureClass::ProviderLimit;
            return Err(Box::new(Failure { provider, until_ms, agent: agent.to_owned(), ..failure(class, message) }));
        }
        Some(Outcome::BudgetUsedUp { what }) => {
            let message = format!("the budget of the attempt is used up: {what}");
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
    found.map_or(Ok(()), |failure| Err(Box::new(failure)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::stuck::Stuck;
    use crate::agent::talk::TurnEnd;
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
            let failure = judge("a", &ended(said, end), limit).expect_err("a failure");
            assert!(failure.class() == class && failure.message.contains(words), "{words}: {failure:?}");
        }
        assert_eq!(judge("a", &ended(Ok(TurnEnd::Done), exited()), None), Ok(()));
        let mut circling = ended(Err(TalkError::Cancelled), ProcessEnd::Cancelled);
        circling.stuck = Some(Stuck::Monologue(4));
        let failure = judge("a", &circling, None).expect_err("a failure");
        assert!(failure.message.starts_with("a: stuck (monologue): "), "{}", failure.message);
    }
}
