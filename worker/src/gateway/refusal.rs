//! What the gateway itself answers instead of a provider, in the provider's shape.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::api::Api;

/// Why a call was not answered by a provider. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the gateway does not serve {0}")]
    Path(String),
    #[error("this key opens nothing: use the key of this attempt")]
    Key,
    #[error("the request is no JSON object, or too large: {0}")]
    Body(String),
    #[error(
        "the request asks for {0}, which is not in the request itself: no budget bounds it, nor the attempt's network"
    )]
    Beyond(String),
    #[error("the request holds lines of {path}, which the job's policy does not let go to {provider}")]
    Barred { path: String, provider: String },
    #[error("bodies in the encoding {0} are not taken: send them as they are")]
    Encoding(String),
    #[error(
        "no provider allowed for this attempt has the model `{model}` over {api}: name it in the job file's providers, or see `policy.model`"
    )]
    Model { model: String, api: &'static str },
    #[error("the model `{0}` has no price and the budget is in dollars: add [price.\"{0}\"] to the job file")]
    NoPrice(String),
    #[error("the budget of this attempt is used up: {0}; give the subtask a larger one")]
    Budget(String),
    #[error("{provider} is at its limit for {seconds} s more; the attempt goes on after that")]
    Limit { provider: String, seconds: u64 },
    #[error("the provider {0} cannot be reached: {1}")]
    Unreachable(String, String),
    #[error("the provider {0} did not answer within {1} s")]
    Silent(String, u64),
    #[error("the record holds no answer to this request: record it again")]
    NotRecorded,
    #[error("the gateway of this attempt has ended")]
    Ended,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Self::Path(_) => 404,
            Self::Key => 401,
            Self::Body(_) | Self::Beyond(_) => 400,
            Self::Encoding(_) => 415,
            // 403 and not 429: agents try the latter again.
            Self::Model { .. } | Self::Barred { .. } | Self::NoPrice(_) | Self::Budget(_) | Self::NotRecorded => 403,
            Self::Limit { .. } => 429,
            Self::Unreachable(..) => 502,
            Self::Silent(..) => 504,
            Self::Ended => 503,
        }
    }

    /// A word for records and agents.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path(_) => "unknown_path",
            Self::Key => "wrong_key",
            Self::Body(_) => "bad_request",
            Self::Beyond(_) => "beyond_the_request",
            Self::Encoding(_) => "unsupported_encoding",
            Self::Model { .. } => "model_not_allowed",
            Self::Barred { .. } => "barred_by_policy",
            Self::NoPrice(_) => "no_price",
            Self::Budget(_) => "budget_exceeded",
            Self::Limit { .. } => "provider_limit",
            Self::Unreachable(..) => "provider_unreachable",
            Self::Silent(..) => "provider_silent",
            Self::NotRecorded => "not_recorded",
            Self::Ended => "gateway_ended",
        }
    }

    /// The body, in the shape of a format; OpenAI's where none is known.
    fn body(&self, api: Option<Api>) -> Value {
        let (message, code, status) = (self.to_string(), self.code(), self.status());
        match api {
            Some(Api::AnthropicMessages) => {
                let kind = match status {
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    429 => "rate_limit_error",
                    400..=499 => "invalid_request_error",
                    _ => "api_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            Some(Api::Gemini) => {
                let kind = match status {
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    400..=499 => "INVALID_ARGUMENT",
                    _ => "UNAVAILABLE",
                };
                json!({"error": {"code": status, "message": message, "status": kind}})
            }
            Some(Api::OpenaiResponses | Api::OpenaiChat) | None => {
                json!({"error": {"message": message, "type": code, "param": null, "code": code}})
            }
        }
    }

    pub fn response(&self, api: Option<Api>) -> Response {
        let mut response = Response::new(Body::from(self.body(api).to_string()));
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Self::Limit { seconds, .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        response
    }
}
