//! Anthropic Messages. Thinking blocks carry a signature and go back exactly as they came; the
//! caches are told once where the part ends that siblings share, and follow the rest by themselves.

use longhaul_common::price::Tokens;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::history::{Call, CallResult, Entry, Image, Input, Item, Part, in_words};
use super::Api;
use super::answer::{Answer, Delta, Stop};
use super::error::CallError;
use super::request::{Choice, Request, Settings, Thinking, ToolSpec, ToolSyntax};

/// Tokens of thinking for an effort, where it is asked for in tokens; always below the largest
/// answer, of which it is a part.
fn budget(settings: &Settings, effort: &str) -> u64 {
    let wanted = match effort {
        "minimal" | "low" => 2_048,
        "high" => 16_384,
        "xhigh" | "max" => 32_768,
        _ => 8_192,
    };
    wanted.min(settings.answer_tokens.saturating_sub(1_024)).max(1_024)
}

/// The body of a request.
pub fn render(request: &Request<'_>) -> Value {
    let settings = request.settings;
    let mut body = json!({ "model": settings.model, "stream": true, "max_tokens": settings.answer_tokens });
    let mut output = json!({});
    match (settings.traits.thinking, &settings.effort) {
        (Thinking::Adaptive, effort) => {
            body["thinking"] = json!({ "type": "adaptive" });
            if let Some(effort) = effort {
                output["effort"] = effort.as_str().into();
            }
        }
        (Thinking::Budget, Some(effort)) => {
            body["thinking"] = json!({ "type": "enabled", "budget_tokens": budget(settings, effort) });
        }
        // Of a family nobody knows: its server says if it cannot.
        (Thinking::None, Some(effort)) => output["effort"] = effort.as_str().into(),
        (Thinking::Budget | Thinking::None, None) => {}
    }
    if let Choice::Schema(schema) = request.choice {
        output["format"] = json!({ "type": "json_schema", "schema": schema });
    }
    if output != json!({}) {
        body["output_config"] = output;
    }
    // On the whole request: the caches find the end of the conversation themselves, and no marker
    // moves through what was sent before.
    body["cache_control"] = json!({ "type": "ephemeral" });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body["system"] = json!([{ "type": "text", "text": request.system }]);
    body["messages"] = request.history.entries().iter().filter_map(entry).collect();
    body
}

fn tool(tool: &ToolSpec) -> Value {
    match &tool.syntax {
        ToolSyntax::Native { kind, .. } => json!({ "type": kind, "name": tool.name }),
        syntax => json!({ "name": tool.name, "description": tool.description, "input_schema": syntax.schema() }),
    }
}

fn entry(entry: &Entry) -> Option<Value> {
    let (role, content): (&str, Vec<Value>) = match entry {
        Entry::User { parts } => ("user", parts.iter().filter_map(part).collect()),
        Entry::Answer { items } => ("assistant", items.iter().filter_map(item).collect()),
        Entry::Results { results } => match in_words(results) {
            Some(parts) => ("user", parts.iter().filter_map(part).collect()),
            None => ("user", results.iter().map(result).collect()),
        },
    };
    (!content.is_empty()).then(|| json!({ "role": role, "content": content }))
}

/// Empty texts are refused there.
fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text, .. } if text.is_empty() => None,
        Part::Text { text, anchor: false } => Some(json!({ "type": "text", "text": text })),
        Part::Text { text, anchor: true } => {
            Some(json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } }))
        }
        Part::Image(Image { media_type, base64, .. }) => {
            let source = json!({ "type": "base64", "media_type": media_type, "data": base64 });
            Some(json!({ "type": "image", "source": source }))
        }
    }
}

fn item(item: &Item) -> Option<Value> {
    match item {
        Item::Sealed { api: Api::Messages, value } => Some(value.clone()),
        Item::Sealed { .. } => None,
        Item::Text { text } if text.trim().is_empty() => None,
        Item::Text { text } => Some(json!({ "type": "text", "text": text })),
        Item::Call(Call { id, name, input }) => {
            Some(json!({ "type": "tool_use", "id": id, "name": name, "input": input.object() }))
        }
    }
}

fn result(result: &CallResult) -> Value {
    let content: Vec<Value> = result.parts.iter().filter_map(part).collect();
    let mut block = json!({ "type": "tool_result", "tool_use_id": result.id, "content": content });
    if result.failed {
        block["is_error"] = true.into();
    }
    block
}

/// An answer in the making.
#[derive(Debug, Default)]
pub struct Assembly {
    blocks: BTreeMap<u64, Block>,
    tokens: Tokens,
    stop: Option<String>,
    over: bool,
}

#[derive(Debug)]
struct Block {
    /// As it began; what streams is added to its fields.
    value: Value,
    /// The input of a call, which streams as text.
    input: String,
}

impl Assembly {
    /// Takes an event.
    pub fn event(&mut self, mut event: Value) -> Result<Option<Delta>, CallError> {
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.used(&event["message"]["usage"]),
            "content_block_start" => {
                let block = Block { value: event["content_block"].take(), input: String::new() };
                self.blocks.insert(index, block);
            }
            "content_block_delta" => return self.delta(index, &event["delta"]),
            "message_delta" => {
                self.used(&event["usage"]);
                if let Some(stop) = event["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop.to_owned());
                }
            }
            "message_stop" => self.over = true,
            "error" => return Err(CallError::in_stream(&event["error"])),
            _ => {}
        }
        Ok(None)
    }

    fn delta(&mut self, index: u64, delta: &Value) -> Result<Option<Delta>, CallError> {
        let Some(block) = self.blocks.get_mut(&index) else {
            return Err(CallError::garbage("a piece of a block that did not begin", &delta.to_string()));
        };
        let text = |key: &str| delta[key].as_str().unwrap_or_default().to_owned();
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => {
                append(&mut block.value, "text", &text("text"));
                Ok(Some(Delta::Text(text("text"))))
            }
            "thinking_delta" => {
                append(&mut block.value, "thinking", &text("thinking"));
                Ok(Some(Delta::Thought(text("thinking"))))
            }
            "signature_delta" => {
                append(&mut block.value, "signature", &text("signature"));
                Ok(None)
            }
            "input_json_delta" => {
                block.input.push_str(&text("partial_json"));
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// The first event knows the input, the last one the output.
    fn used(&mut self, usage: &Value) {
        let number = |key: &str| usage[key].as_u64();
        if let Some(input) = number("input_tokens") {
            let (read, write) = (number("cache_read_input_tokens"), number("cache_creation_input_tokens"));
            self.tokens.cached = read.unwrap_or_default();
            self.tokens.cache_write = write.unwrap_or_default();
            // Here what the cache had is not part of the input.
            self.tokens.input = input + self.tokens.cached + self.tokens.cache_write;
        }
        self.tokens.output = number("output_tokens").unwrap_or(self.tokens.output);
    }

    /// Whether the answer is complete.
    pub fn is_whole(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether the stream said that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The answer.
    pub fn finish(self) -> Result<Answer, CallError> {
        let mut items = Vec::new();
        for block in self.blocks.into_values() {
            items.extend(finished(block)?);
        }
        let stop = match self.stop.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
            Some(stop @ "refusal") => Stop::Refused(stop.to_owned()),
            _ => Stop::End,
        };
        Ok(Answer { items, tokens: self.tokens, stop })
    }
}

fn finished(block: Block) -> Result<Option<Item>, CallError> {
    let Block { value, input } = block;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    match value["type"].as_str().unwrap_or_default() {
        "text" if text("text").is_empty() => Ok(None),
        "text" => Ok(Some(Item::Text { text: text("text") })),
        "thinking" | "redacted_thinking" => Ok(Some(Item::Sealed { api: Api::Messages, value })),
        "tool_use" if text("id").is_empty() || text("name").is_empty() => {
            Err(CallError::garbage("a call without its id or name", &value.to_string()))
        }
        "tool_use" => {
            let input = if input.is_empty() { value["input"].to_string() } else { input };
            Ok(Some(Item::Call(Call { id: text("id"), name: text("name"), input: Input::Json(input) })))
        }
        _ => Ok(None),
    }
}

fn append(value: &mut Value, key: &str, more: &str) {
    match &mut value[key] {
        Value::String(text) => text.push_str(more),
        other => *other = more.into(),
    }
}
