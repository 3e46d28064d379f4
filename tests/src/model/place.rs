//! Where in a script a request stands: which format it is in, which turn, which step.

use serde_json::Value;

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// Gemini generateContent.
    Gemini,
}

/// Texts that agent programs put into a conversation as if the user had written them.
const INJECTED: &[&str] = &[
    "<environment_context",
    "<user_instructions",
    "<INSTRUCTIONS",
    "<permissions",
    "<turn_aborted",
    "<skills",
    "<apps",
    "<multi_agent",
    "<collaboration",
    "<system-reminder>",
    "<session_context>",
    "<user_shell_command",
    "# AGENTS.md",
    "Another language model started to solve this problem",
    "This is the Gemini CLI",
    "This is the Qwen Code",
    "Okay, just setting up",
];

/// An entry of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Prompt,
    Injected,
    Result,
    Model,
}

/// Turn and step of a request, both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Prompts before the last one.
    pub turn: usize,
    /// Tool rounds since the last prompt.
    pub step: usize,
}

impl Format {
    /// The format of a path, and whether the path alone says that it streams.
    pub fn of(path: &str) -> Option<(Self, bool)> {
        if path.ends_with("/responses") {
            Some((Self::Responses, false))
        } else if path.ends_with("/chat/completions") {
            Some((Self::Chat, false))
        } else if path.ends_with("/messages") {
            Some((Self::Messages, false))
        } else if path.ends_with(":streamGenerateContent") {
            Some((Self::Gemini, true))
        } else if path.ends_with(":generateContent") {
            Some((Self::Gemini, false))
        } else {
            None
        }
    }

    /// What of a request a provider reads as the prompt, in the order it reads it.
    pub fn prompt(self, body: &Value) -> Vec<u8> {
        let keys: &[&str] = match self {
            Self::Responses => &["tools", "instructions", "input"],
            Self::Chat => &["tools", "messages"],
            Self::Messages => &["tools", "system", "messages"],
            Self::Gemini => &["tools", "systemInstruction", "contents"],
        };
        let mut prompt = Vec::new();
        for value in keys.iter().map(|&key| &body[key]).filter(|value| !value.is_null()) {
            // Element by element: a longer list begins with the bytes of the shorter one.
            for element in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                prompt.extend_from_slice(element.to_string().as_bytes());
                prompt.push(b'\n');
            }
        }
        prompt
    }

    /// Whether a request offers tools.
    pub fn offers_tools(body: &Value) -> bool {
        body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
    }

    /// The turn and step that a request asks for.
    pub fn place(self, body: &Value) -> Place {
        let entries: Vec<Entry> = match self {
            Self::Responses => responses(&body["input"]),
            Self::Chat => list(&body["messages"]).iter().map(chat).collect(),
            Self::Messages => list(&body["messages"]).iter().map(messages).collect(),
            Self::Gemini => list(&body["contents"]).iter().map(gemini).collect(),
        };
        let (mut prompts, mut step, mut last) = (0_usize, 0, Entry::Model);
        for entry in entries {
            match entry {
                Entry::Prompt => (prompts, step) = (prompts + 1, 0),
                Entry::Result if last != Entry::Result => step += 1,
                Entry::Injected => continue,
                Entry::Result | Entry::Model => {}
            }
            last = entry;
        }
        Place { turn: prompts.saturating_sub(1), step }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a content that is a string or a list of parts.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        parts => list(parts).iter().filter_map(|part| part["text"].as_str()).collect(),
    }
}

/// A prompt as soon as one text, or an image, is not injected.
fn user(content: &Value) -> Entry {
    let texts = texts(content);
    let images = list(content).iter().any(|part| part["text"].is_null());
    let injected = |text: &&str| INJECTED.iter().any(|start| text.trim_start().starts_with(start));
    if !images && texts.iter().all(injected) { Entry::Injected } else { Entry::Prompt }
}

fn responses(input: &Value) -> Vec<Entry> {
    if input.is_string() {
        return vec![Entry::Prompt];
    }
    let entry = |item: &Value| match (item["type"].as_str().unwrap_or("message"), item["role"].as_str()) {
        ("message", Some("user")) => user(&item["content"]),
        ("message", Some("developer" | "system")) => Entry::Injected,
        (kind, _) if kind.ends_with("_output") => Entry::Result,
        _ => Entry::Model,
    };
    list(input).iter().map(entry).collect()
}

fn chat(message: &Value) -> Entry {
    match message["role"].as_str() {
        Some("user") => user(&message["content"]),
        Some("tool" | "function") => Entry::Result,
        Some("system" | "developer") => Entry::Injected,
        _ => Entry::Model,
    }
}

fn messages(message: &Value) -> Entry {
    let content = &message["content"];
    match message["role"].as_str() {
        Some("user") if list(content).iter().any(|block| block["type"] == "tool_result") => Entry::Result,
        Some("user") => user(content),
        _ => Entry::Model,
    }
}

fn gemini(content: &Value) -> Entry {
    let parts = &content["parts"];
    match content["role"].as_str() {
        Some("model") => Entry::Model,
        _ if list(parts).iter().any(|part| !part["functionResponse"].is_null()) => Entry::Result,
        _ => user(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_place_is_the_same_in_every_format() {
        let responses = json!({"input": [
            {"role": "developer", "content": "be good"},
            {"role": "user", "content": [{"type": "input_text", "text": "<environment_context>\n"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
            {"type": "function_call"}, {"type": "function_call"},
            {"type": "function_call_output"}, {"type": "custom_tool_call_output"},
            {"role": "assistant", "content": "done"},
            {"role": "user", "content": "two"},
            {"type": "function_call"}, {"type": "function_call_output"}]});
        let chat = json!({"messages": [
            {"role": "system", "content": "be good"}, {"role": "user", "content": "one"},
            {"role": "assistant"}, {"role": "tool"}, {"role": "tool"}, {"role": "assistant", "content": "done"},
            {"role": "user", "content": [{"type": "text", "text": "two"}]},
            {"role": "assistant"}, {"role": "tool"}]});
        let messages = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>x"}, {"type": "text", "text": "one"}]},
            {"role": "assistant"}, {"role": "user", "content": [{"type": "tool_result"}, {"type": "tool_result"}]},
            {"role": "assistant"}, {"role": "user", "content": "two"}, {"role": "assistant"},
            {"role": "user", "content": [{"type": "tool_result"}]},
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>y"}]}]});
        let gemini = json!({"contents": [
            {"role": "user", "parts": [{"text": "<session_context>"}]}, {"role": "user", "parts": [{"text": "one"}]},
            {"role": "model"}, {"role": "user", "parts": [{"functionResponse": {}}, {"functionResponse": {}}]},
            {"role": "model"}, {"parts": [{"text": "two"}]}, {"role": "model"},
            {"role": "function", "parts": [{"functionResponse": {}}]}]});
        let all = [
            (Format::Responses, responses),
            (Format::Chat, chat),
            (Format::Messages, messages),
            (Format::Gemini, gemini),
        ];
        for (format, body) in all {
            assert_eq!(format.place(&body), Place { turn: 1, step: 1 }, "{format:?}");
        }
        assert_eq!(Format::Responses.place(&json!({"input": "hello"})), Place { turn: 0, step: 0 });
    }

    #[test]
    fn a_conversation_that_goes_on_begins_with_what_it_was() {
        let before = json!({"messages": [{"role": "user", "content": "one"}], "system": "s", "tools": [{"name": "t"}]});
        let after = json!({"system": "s", "messages": [{"role": "user", "content": "one"}, {"role": "assistant"}],
            "tools": [{"name": "t"}]});
        let (before, after) = (Format::Messages.prompt(&before), Format::Messages.prompt(&after));
        assert!(after.starts_with(&before) && after.len() > before.len());
    }
}
