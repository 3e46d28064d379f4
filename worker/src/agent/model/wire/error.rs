//! Everything that goes wrong with a call of a model, and what can be done about it.

use std::time::Duration;

use longhaul_common::text::clip_head;
use serde_json::Value;

/// Longest words of a provider that are kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 500;

/// Words by which providers say that a prompt is longer than their model takes.
const TOO_LONG: [&str; 6] = [
    "context_length_exceeded",
    "prompt is too long",
    "maximum context length",
    "exceeds the context window",
    "exceed context limit",
    "exceeds the available context size",
];

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The provider refused, with a status.
    #[error("the model's provider answered {status}: {message}")]
    Status {
        /// Of HTTP.
        status: u16,
        /// Its words.
        message: String,
    },
    /// A limit of requests, tokens or a subscription.
    #[error("a limit of the model's provider is reached{}: {message}", over(after))]
    Limited {
        /// When it is over, as far as the provider said.
        after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// The prompt is longer than the model takes.
    #[error("the prompt is too long for the model: {message}")]
    TooLong {
        /// The provider's words.
        message: String,
    },
    /// What opens the conversation leaves no room to work in.
    #[error(
        "the window of the model is too small for the subtask: the system's text, the tools, the task and what must be \
         kept take about {needs} tokens, and may take {room}. Shorten `instructions`, or name a model with a larger \
         window (`context_tokens`)"
    )]
    NoRoom {
        /// Tokens of it.
        needs: usize,
        /// Tokens there are for it.
        room: usize,
    },
    /// Nobody is there.
    #[error("the model's provider cannot be reached: {cause}")]
    Unreachable {
        /// Why.
        cause: String,
    },
    /// The answer broke off.
    #[error("the model's answer broke off: {cause}")]
    Cut {
        /// How.
        cause: String,
    },
    /// Nothing came for so long.
    #[error("the model's provider said nothing for {0:?}")]
    Silent(Duration),
    /// What came is no answer.
    #[error("the model's provider sent no answer of its format: {cause}")]
    Garbage {
        /// What it is.
        cause: String,
    },
    /// It never ends.
    #[error("the model's answer is longer than {0} bytes")]
    Endless(usize),
    /// The provider failed while it answered.
    #[error("the model's provider failed: {code}: {message}")]
    Failed {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// The attempt was ended.
    #[error("cancelled")]
    Cancelled,
}

fn over(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |after| format!(" for {} s", after.as_secs_f64().ceil()))
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Ask again, at the soonest after this long.
    Again(Duration),
    /// Ask again with less.
    Shorten,
    /// Nothing: asking again gives the same.
    None,
}

impl CallError {
    /// From the status and the body of a refusal.
    pub fn refused(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let error = if value["error"].is_object() { &value["error"] } else { &value };
        let words = error["message"].as_str().or_else(|| value["error"].as_str()).unwrap_or(body);
        let message = clip_head(words.trim(), MESSAGE_BYTES_MAX).to_owned();
        if status == 429 || status == 529 {
            let after = retry_after.or_else(|| error["resets_in_seconds"].as_f64().and_then(seconds));
            return Self::Limited { after, message };
        }
        if (400..500).contains(&status) && is_too_long(body) {
            return Self::TooLong { message };
        }
        Self::Status { status, message }
    }

    /// From an error inside a stream.
    pub fn in_stream(error: &Value) -> Self {
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        let code = if text("code").is_empty() { text("type") } else { text("code") };
        let message = clip_head(text("message"), MESSAGE_BYTES_MAX).to_owned();
        if is_too_long(code) || is_too_long(&message) {
            return Self::TooLong { message };
        }
        match code {
            "rate_limit_exceeded" | "rate_limit_error" | "usage_limit_reached" | "overloaded_error" => {
                Self::Limited { after: error["resets_in_seconds"].as_f64().and_then(seconds), message }
            }
            _ => Self::Failed { code: code.to_owned(), message },
        }
    }

    /// Data that is no event.
    pub fn garbage(cause: &str, data: &str) -> Self {
        Self::Garbage { cause: format!("{cause} in {:?}", clip_head(data, MESSAGE_BYTES_MAX)) }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Limited { after, .. } => Remedy::Again(after.unwrap_or_default()),
            Self::Status { status: 408 | 409 | 425 | 500..=599, .. }
            | Self::Unreachable { .. }
            | Self::Cut { .. }
            | Self::Silent(_)
            | Self::Garbage { .. }
            | Self::Failed { .. } => Remedy::Again(Duration::ZERO),
            Self::TooLong { .. } => Remedy::Shorten,
            Self::Status { .. } | Self::NoRoom { .. } | Self::Endless(_) | Self::Cancelled => Remedy::None,
        }
    }
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

fn is_too_long(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    TOO_LONG.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let openai = r#"{"error":{"message":"nope","type":"x","code":"invalid_api_key"}}"#;
        let anthropic = r#"{"type":"error","error":{"type":"not_found_error","message":"no model"}}"#;
        for (status, body, wanted, remedy) in [
            (401, openai, "the model's provider answered 401: nope", Remedy::None),
            (404, anthropic, "the model's provider answered 404: no model", Remedy::None),
            (503, "<html>busy</html>", "answered 503: <html>busy</html>", Remedy::Again(Duration::ZERO)),
            (400, r#"{"error":{"message":"prompt is too long: 9 > 8"}}"#, "too long for the model", Remedy::Shorten),
            (400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#, "too long", Remedy::Shorten),
            (400, r#"{"error":"plain"}"#, "answered 400: plain", Remedy::None),
            (
                429,
                r#"{"error":{"message":"slow","resets_in_seconds":90}}"#,
                "for 90 s: slow",
                Remedy::Again(Duration::from_secs(90)),
            ),
            (529, "", "reached: ", Remedy::Again(Duration::ZERO)),
        ] {
            let error = CallError::refused(status, None, body);
            assert!(error.to_string().contains(wanted), "{error}");
            assert_eq!(error.remedy(), remedy, "{error}");
        }
        let limited = CallError::refused(429, Some(Duration::from_secs(7)), openai);
        assert_eq!(limited.remedy(), Remedy::Again(Duration::from_secs(7)));
    }

    #[test]
    fn errors_in_a_stream_are_told_apart() {
        let error = |json: &str| CallError::in_stream(&serde_json::from_str(json).expect("JSON"));
        assert!(matches!(error(r#"{"type":"overloaded_error","message":"x"}"#), CallError::Limited { .. }));
        assert!(matches!(error(r#"{"code":"context_length_exceeded","message":"x"}"#), CallError::TooLong { .. }));
        assert!(matches!(error(r#"{"code":"server_error","message":"x"}"#), CallError::Failed { .. }));
    }
}
