//! Wire formats, and what a path of each asks for.

use serde_json::Value;

/// A wire format that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI Responses.
    OpenaiResponses,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// Anthropic Messages.
    AnthropicMessages,
    /// Gemini generateContent.
    Gemini,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// An answer of a model: it is reserved, metered and recorded.
    Generate,
    /// A count of tokens, which costs nothing.
    Count,
}

/// A path that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub api: Api,
    pub ask: Ask,
    /// What follows the version in the provider's own path.
    pub rest: String,
    /// The model, where the path names it.
    pub model: Option<String>,
    /// Whether the path says that the answer streams.
    pub streams: bool,
}

impl Route {
    /// The route of a path; `None` for one that is not served.
    pub fn of(path: &str) -> Option<Self> {
        let route = |api, ask, rest: &str| Self { api, ask, rest: rest.to_owned(), model: None, streams: false };
        match path {
            "/v1/responses" => return Some(route(Api::OpenaiResponses, Ask::Generate, "/responses")),
            "/v1/chat/completions" => return Some(route(Api::OpenaiChat, Ask::Generate, "/chat/completions")),
            "/v1/messages" => return Some(route(Api::AnthropicMessages, Ask::Generate, "/messages")),
            "/v1/messages/count_tokens" => {
                return Some(route(Api::AnthropicMessages, Ask::Count, "/messages/count_tokens"));
            }
            _ => {}
        }
        let (model, method) = path.strip_prefix("/v1beta/models/")?.split_once(':')?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if model.is_empty() || model.starts_with('.') || !model.bytes().all(plain) {
            return None;
        }
        let (ask, streams) = match method {
            "generateContent" => (Ask::Generate, false),
            "streamGenerateContent" => (Ask::Generate, true),
            "countTokens" => (Ask::Count, false),
            _ => return None,
        };
        let rest = format!("/models/{model}:{method}");
        Some(Self { api: Api::Gemini, ask, rest, model: Some(model.to_owned()), streams })
    }
}

impl Api {
    /// How the job file calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenaiResponses => "openai-responses",
            Self::OpenaiChat => "openai-chat",
            Self::AnthropicMessages => "anthropic-messages",
            Self::Gemini => "gemini",
        }
    }

    /// The most tokens of output that a request allows; `None` where it sets no bound.
    pub(super) fn output_max(self, body: &Value) -> Option<u64> {
        let number = |value: &Value| value.as_u64();
        match self {
            Self::OpenaiResponses => number(&body["max_output_tokens"]),
            Self::OpenaiChat => number(&body["max_completion_tokens"]).or_else(|| number(&body["max_tokens"])),
            Self::AnthropicMessages => number(&body["max_tokens"]),
            Self::Gemini => number(gemini(body, ["maxOutputTokens", "max_output_tokens"])),
        }
    }

    /// Sets the bound on the output.
    pub(super) fn set_output_max(self, body: &mut Value, tokens: u64) {
        match self {
            Self::OpenaiResponses => body["max_output_tokens"] = tokens.into(),
            Self::OpenaiChat => body["max_completion_tokens"] = tokens.into(),
            Self::AnthropicMessages => body["max_tokens"] = tokens.into(),
            Self::Gemini => {
                // Both spellings at once would be a request for two things.
                let [known, other] = GENERATION;
                let key = if body[known].is_object() || !body[other].is_object() { known } else { other };
                if !body[key].is_object() {
                    body[key] = Value::Object(serde_json::Map::new());
                }
                if let Some(fields) = body[key].as_object_mut() {
                    fields.remove("max_output_tokens");
                    fields.insert("maxOutputTokens".to_owned(), tokens.into());
                }
            }
        }
    }

    /// How many answers a request asks for at once.
    pub(super) fn answers(self, body: &Value) -> u64 {
        let count = match self {
            Self::OpenaiChat => &body["n"],
            Self::Gemini => gemini(body, ["candidateCount", "candidate_count"]),
            Self::OpenaiResponses | Self::AnthropicMessages => &Value::Null,
        };
        count.as_u64().unwrap_or(1).max(1)
    }
}

/// The two spellings of what bounds an answer of Gemini.
const GENERATION: [&str; 2] = ["generationConfig", "generation_config"];

/// A value of that, in whichever spelling it is.
fn gemini<'v>(body: &'v Value, names: [&str; 2]) -> &'v Value {
    let found = GENERATION.iter().flat_map(|place| names.map(|name| &body[*place][name]));
    found.into_iter().find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_known_paths_are_routes() {
        for path in [
            "/v1/files",
            "/v1/responses/",
            "/v1/responses/../files",
            "/",
            "/v1beta/models/a/b:generateContent",
            "/v1beta/models/..:generateContent",
            "/v1beta/models/m:tune",
            "/v1beta/models/:generateContent",
            "/v1beta/models/a%2fb:generateContent",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
        let route = Route::of("/v1beta/models/gemini-2.5-pro:streamGenerateContent").expect("known");
        assert_eq!((route.model.as_deref(), route.streams), (Some("gemini-2.5-pro"), true));
        assert_eq!(Route::of("/v1/messages/count_tokens").map(|route| route.ask), Some(Ask::Count));
    }

    #[test]
    fn a_bound_that_is_set_is_the_bound_that_is_read() {
        for api in [Api::OpenaiResponses, Api::OpenaiChat, Api::AnthropicMessages, Api::Gemini] {
            let mut body = json!({});
            assert_eq!(api.output_max(&body), None);
            api.set_output_max(&mut body, 7);
            assert_eq!(api.output_max(&body), Some(7), "{api:?}");
        }
        assert_eq!(Api::OpenaiChat.answers(&json!({"n": 3})), 3);
        assert_eq!(Api::Gemini.answers(&json!({"generationConfig": {"candidateCount": 0}})), 1);
        assert_eq!(Api::Gemini.answers(&json!({"generation_config": {"candidate_count": 8}})), 8);
        let mut other = json!({"generation_config": {"max_output_tokens": 9}});
        assert_eq!(Api::Gemini.output_max(&other), Some(9));
        Api::Gemini.set_output_max(&mut other, 5);
        assert_eq!(other, json!({"generation_config": {"maxOutputTokens": 5}}));
    }
}
