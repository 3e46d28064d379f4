//! What the end of a session means for the attempt.

use longhaul_proto::{Failure, FailureClass};

use super::both::Ended;
use crate::agent::talk::{TalkError, failure_of_end, failure_of_error};
use crate::failure::{failure, infrastructure, of_run, with_detail};
use crate::gateway::Outcome;
use crate::process::ProcessEnd;

/// The failure, if it is one; `limit` is what the gateway ended the session for.
pub(super) fn judge(agent: &str, end: &Ended, limit: Option<Outcome>) -> Result<(), Box<Failure>> {
    match limit {
        Some(Outcome::ProviderLimit { provider, until_ms }) => {
            let message = format!("a limit of the provider {provider} lasts until {until_ms} ms since the epoch");
            return Err(Box::new(infrastructure(message)));
        }
        Some(Outcome::BudgetUsedUp { what }) => {
            let message = format!("the budget of the attempt is used up: {what}");
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
        (Err(TalkError::Cancelled), _) => Some(failure_of_error(agent, &TalkError::Cancelled)),
        // Its own end says more than that it ended.
        (Err(TalkError::Ended), _) if run.is_some() && !end.stopped => run,
        (_, ProcessEnd::TimedOut | ProcessEnd::NotStarted(_) | ProcessEnd::Lost) => run,
        (Err(error), _) => Some(with_detail(failure_of_error(agent, error), &end.process.log.tail)),
        (Ok(turn), _) => failure_of_end(agent, turn).map(|failure| with_detail(failure, &end.process.log.tail)),
    };
    found.map_or(Ok(()), |failure| Err(Box::new(failure)))
}
