//! Why a session broke, and what failure that or the end of a turn is.

use std::time::Duration;

use longhaul_proto::{Failure, FailureClass, Question};

use super::turn::TurnEnd;
use crate::failure::{asked, failure};
use crate::process::talk::LineError;

/// Why a session broke.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// It ended, or closed its output, before the turn did.
    #[error("it ended before its turn did")]
    Ended,
    /// A line that is no line.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A message that was cut or garbled.
    #[error("it wrote a broken message ({cause}): {line}")]
    Broken {
        /// The parser's word.
        cause: String,
        /// The beginning of it.
        line: String,
    },
    /// Too much of what it writes is no message.
    #[error("it does not speak the protocol; it wrote: {line}")]
    NoProtocol {
        /// The last such line.
        line: String,
    },
    /// It said no to a request.
    #[error("it answered {method} with an error: {message}")]
    Answered {
        /// What it was asked.
        method: String,
        /// Its words.
        message: String,
    },
    /// It never answered.
    #[error("it did not answer {method} within {} s", limit.as_secs())]
    NoAnswer {
        /// What it was asked.
        method: String,
        /// For how long.
        limit: Duration,
    },
    /// It speaks another version.
    #[error("it speaks version {version} of the protocol")]
    Version {
        /// Which.
        version: String,
    },
    /// Nothing came from it for too long.
    #[error("nothing came from it for {:.0?} (its limit without a sign of life)", .0)]
    Silent(Duration),
    /// The session was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It needs a person before it can go on.
    #[error("it asked a person")]
    Asked(Box<Question>),
}

/// Words of programs and providers that say whose fault it is. Nobody has codes for it: what is here
/// was seen in the error texts of the programs that are tested.
const KEY: &[&str] =
    &["401", "unauthorized", "invalid api key", "incorrect api key", "api key not valid", "authentication"];
const MODEL: &[&str] =
    &["model_not_found", "model not found", "unknown model", "does not exist or you do not have access"];
const LIMIT: &[&str] = &[
    "status: 429",
    "status 429",
    "error 429",
    "rate limit",
    "usage limit",
    "quota exceeded",
    "exceeded your current quota",
    "too many requests",
];

/// The failure that words of a program stand for. A key or a model that its provider refuses is the
/// rung's: the next one may have another.
fn of_words(agent: &str, message: &str) -> Failure {
    let low = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| low.contains(word));
    if says(LIMIT) {
        failure(FailureClass::Provider, format!("a limit of the provider stopped the agent {agent}: {message}"))
    } else if says(KEY) {
        failure(FailureClass::Agent, format!("the provider refused the key of the agent {agent}: {message}"))
    } else if says(MODEL) {
        failure(FailureClass::Agent, format!("the provider does not know the model of the agent {agent}: {message}"))
    } else {
        failure(FailureClass::Agent, format!("the agent {agent} failed: {message}"))
    }
}

/// What the end of the last turn means; `None` when the work may be looked at.
pub fn failure_of_end(agent: &str, end: &TurnEnd) -> Option<Failure> {
    match end {
        TurnEnd::Done => None,
        TurnEnd::Cancelled => Some(failure(FailureClass::Agent, format!("the agent {agent} stopped its turn"))),
        TurnEnd::Refused => Some(failure(FailureClass::Agent, format!("the agent {agent} refused to do it"))),
        // A program asks by a request, which ends its session.
        TurnEnd::Split { .. } => None,
        TurnEnd::Asked { what } => Some(failure(FailureClass::Agent, format!("the agent {agent} asked: {what}"))),
        TurnEnd::Limit { what } => {
            Some(failure(FailureClass::Agent, format!("the agent {agent} ran into its limit of {what}")))
        }
        TurnEnd::Failed { message } => Some(of_words(agent, message)),
    }
}

/// What a broken session means.
pub fn failure_of_error(agent: &str, error: &TalkError) -> Failure {
    match error {
        TalkError::Cancelled => failure(FailureClass::Cancelled, "cancelled"),
        TalkError::Asked(question) => asked(agent, question),
        TalkError::Answered { message, method } => of_words(agent, &format!("{message} (to {method})")),
        other => failure(FailureClass::Agent, format!("the session with the agent {agent} broke: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_providers_have_classes() {
        for (message, class, words) in [
            ("unexpected status 401 Unauthorized: mock 401", FailureClass::Agent, "refused the key"),
            ("API key not valid. Please pass a valid API key.", FailureClass::Agent, "refused the key"),
            (
                "The model `gpt-x` does not exist or you do not have access to it.",
                FailureClass::Agent,
                "know the model",
            ),
            ("exceeded retry limit, last status: 429 Too Many Requests", FailureClass::Provider, "a limit"),
            ("stream disconnected before completion", FailureClass::Agent, "failed: stream"),
        ] {
            let end = TurnEnd::Failed { message: message.to_owned() };
            let failure = failure_of_end("a", &end).expect("a failure");
            assert!(failure.class() == class && failure.message.contains(words), "{failure:?}");
        }
        assert_eq!(failure_of_end("a", &TurnEnd::Done), None);
    }

    #[test]
    fn a_broken_session_is_the_agents_failure() {
        for error in [TalkError::Ended, TalkError::Line(LineError::TooLong), TalkError::Silent(Duration::from_secs(9))]
        {
            let failure = failure_of_error("a", &error);
            assert_eq!(failure.class(), FailureClass::Agent);
            assert!(failure.message.contains(&error.to_string()), "{}", failure.message);
        }
    }
}
