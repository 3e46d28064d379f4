//! The tables about models: where they are, what they cost, what may be sent to them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, StringList};

/// The wire format of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderApi {
    /// OpenAI Responses.
    OpenaiResponses,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// Anthropic Messages.
    AnthropicMessages,
    /// Gemini generateContent.
    Gemini,
}

impl ProviderApi {
    /// As the job file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenaiResponses => "openai-responses",
            Self::OpenaiChat => "openai-chat",
            Self::AnthropicMessages => "anthropic-messages",
            Self::Gemini => "gemini",
        }
    }
}

/// Where models are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderTable {
    /// "openai-responses", "openai-chat", "anthropic-messages" or "gemini".
    pub api: At<ProviderApi>,
    /// Address with its version, e.g. "https://models.example.com/v1".
    pub url: At<String>,
    /// Name of the environment variable of the worker that holds the key; no key is sent when left out.
    pub key_env: Option<At<String>>,
    /// Calls per minute of all workers together; no limit when left out.
    pub requests_per_minute: Option<At<u64>>,
    /// Tokens per minute of all workers together; no limit when left out.
    pub tokens_per_minute: Option<At<u64>>,
    /// Where it computes, in your own words, as `regions` of `[[policy.model]]` names it.
    pub region: Option<At<String>>,
}

/// What a model costs, in US dollars per million tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// Of input that no cache had.
    pub input: At<f64>,
    /// Of input from the provider's cache; as `input` when left out.
    pub cached_input: Option<At<f64>>,
    /// Of input written to the provider's cache; as `input` when left out.
    pub cache_write: Option<At<f64>>,
    /// Of output, reasoning included.
    pub output: At<f64>,
    /// The day the prices were looked up, as "2026-11-21".
    pub as_of: At<String>,
}

/// Which providers some paths may be sent to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRuleTable {
    /// Globs of paths of the repository.
    pub paths: StringList,
    /// Names of the providers that may get them; no other may.
    #[serde(default)]
    pub providers: StringList,
    /// Regions whose providers may get them, too.
    #[serde(default)]
    pub regions: StringList,
}
