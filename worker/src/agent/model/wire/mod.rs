//! Three wire formats of models: a conversation in, a stream of events out.
//!
//! Requests are rendered with all that stays the same first and the conversation last, so that the
//! body of a turn begins with the bytes of the turn before. Answers are put together from their
//! events; what the model encrypted or signed is kept as it came.

mod answer;
mod chat;
mod error;
mod messages;
mod request;
mod responses;

pub use answer::{Answer, Delta, Stop};
pub use error::{CallError, Remedy};
pub use longhaul_common::price::Tokens;
pub use request::{Choice, Request, Settings, Thinking, ToolSpec, ToolSyntax, Traits};

use serde::{Deserialize, Serialize};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    /// OpenAI Responses.
    #[serde(rename = "openai-responses")]
    Responses,
    /// OpenAI Chat Completions, and all that copy it.
    #[serde(rename = "openai-chat")]
    Chat,
    /// Anthropic Messages.
    #[serde(rename = "anthropic-messages")]
    Messages,
}

impl Api {
    /// By its name in a job file.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "openai-responses" => Some(Self::Responses),
            "openai-chat" => Some(Self::Chat),
            "anthropic-messages" => Some(Self::Messages),
            _ => None,
        }
    }

    /// Where it is, behind the provider's address with its version.
    pub fn path(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat/completions",
            Self::Messages => "messages",
        }
    }

    /// The body of a request.
    pub fn render(self, request: &Request<'_>) -> Vec<u8> {
        let body = match self {
            Self::Responses => responses::render(request),
            Self::Chat => chat::render(request),
            Self::Messages => messages::render(request),
        };
        body.to_string().into_bytes()
    }

    /// What puts an answer together.
    pub fn assembler(self) -> Assembler {
        match self {
            Self::Responses => Assembler::Responses(responses::Assembly::default()),
            Self::Chat => Assembler::Chat(chat::Assembly::default()),
            Self::Messages => Assembler::Messages(messages::Assembly::default()),
        }
    }
}

/// Puts an answer together from its events.
#[derive(Debug)]
pub enum Assembler {
    /// Of OpenAI Responses.
    Responses(responses::Assembly),
    /// Of Chat Completions.
    Chat(chat::Assembly),
    /// Of Anthropic Messages.
    Messages(messages::Assembly),
}

impl Assembler {
    /// Takes the data of one event; gives what of it can be shown at once.
    pub fn event(&mut self, data: &str) -> Result<Option<Delta>, CallError> {
        let data = data.trim();
        if data.is_empty() || data == "[DONE]" {
            if let (Self::Chat(assembly), "[DONE]") = (self, data) {
                assembly.done();
            }
            return Ok(None);
        }
        let value = serde_json::from_str(data).map_err(|error| CallError::garbage(&error.to_string(), data))?;
        match self {
            Self::Responses(assembly) => assembly.event(value),
            Self::Chat(assembly) => assembly.event(&value),
            Self::Messages(assembly) => assembly.event(value),
        }
    }

    /// Whether the answer is complete, whatever may still follow it.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Responses(assembly) => assembly.is_whole(),
            Self::Chat(assembly) => assembly.is_whole(),
            Self::Messages(assembly) => assembly.is_whole(),
        }
    }

    /// Whether the stream said that nothing more comes.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Responses(assembly) => assembly.is_whole(),
            Self::Chat(assembly) => assembly.is_done(),
            Self::Messages(assembly) => assembly.is_over(),
        }
    }

    /// The answer; an error if the stream ended before it.
    pub fn finish(self) -> Result<Answer, CallError> {
        if !self.is_whole() {
            return Err(CallError::Cut { cause: "the stream ended before the answer did".to_owned() });
        }
        match self {
            Self::Responses(assembly) => assembly.finish(),
            Self::Chat(assembly) => assembly.finish(),
            Self::Messages(assembly) => assembly.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
