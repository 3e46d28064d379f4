//! What a request is made of, whichever wire it goes over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::history::History;

/// What stays the same for a whole conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The model's name at its provider.
    pub model: String,
    /// How much it reasons: "low", "medium", "high" …; `None` leaves it to the provider.
    pub effort: Option<String>,
    /// How much it says: "low", "medium", "high"; `None` leaves it to the provider.
    pub verbosity: Option<String>,
    /// Largest answer, in tokens.
    pub answer_tokens: u64,
    /// The same for conversations that begin alike, so that one machine serves them.
    pub cache_key: String,
    /// What this model's family needs.
    pub traits: Traits,
}

/// What differs between families of models on one wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traits {
    /// It reasons, and gives its reasoning to be sent back.
    pub reasons: bool,
    /// It sees pictures.
    pub sees: bool,
    /// Anthropic: "adaptive", "budget", or nothing.
    pub thinking: Thinking,
    /// Chat: the key of the largest answer is `max_completion_tokens`, not `max_tokens`.
    pub completion_tokens: bool,
    /// Further headers of each request.
    pub headers: BTreeMap<String, String>,
}

/// How reasoning is asked for over Anthropic Messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thinking {
    /// Not at all.
    #[default]
    None,
    /// The model decides, within an effort.
    Adaptive,
    /// Within a number of tokens.
    Budget,
}

/// A tool as a model is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// What it takes.
    pub syntax: ToolSyntax,
}

/// What a tool takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolSyntax {
    /// An object of this JSON schema.
    Object(Value),
    /// Free text of this Lark grammar; where a wire has no such thing, an object with `input`.
    Lark(String),
    /// A tool that Anthropic defines itself; other wires get the schema.
    Native {
        /// Its type there.
        kind: String,
        /// The same in words of JSON schema.
        schema: Value,
    },
}

/// What the model may answer with.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Words and calls.
    Any,
    /// Words alone.
    Words,
    /// JSON of this schema.
    Schema(Value),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What stays the same.
    pub settings: &'a Settings,
    /// The system's text.
    pub system: &'a str,
    /// What it may call.
    pub tools: &'a [ToolSpec],
    /// What it may answer with.
    pub choice: &'a Choice,
    /// What was said so far.
    pub history: &'a History,
}

impl ToolSyntax {
    /// As a JSON schema, for wires that know nothing else.
    pub fn schema(&self) -> Value {
        match self {
            Self::Object(schema) | Self::Native { schema, .. } => schema.clone(),
            Self::Lark(_) => serde_json::json!({
                "type": "object",
                "properties": { "input": { "type": "string", "description": "The whole text." } },
                "required": ["input"],
                "additionalProperties": false
            }),
        }
    }
}
