//! OpenAI Chat Completions, as OpenAI and all who copy it speak it.

use longhaul_common::price::Tokens;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::history::{Call, CallResult, Entry, Image, Input, Item, Part, in_words};
use super::Api;
use super::answer::{Answer, Delta, Stop};
use super::error::CallError;
use super::request::{Choice, Request, ToolSpec};

/// The body of a request.
pub fn render(request: &Request<'_>) -> Value {
    let settings = request.settings;
    let limit = if settings.traits.completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    let mut body = json!({
        "model": settings.model, "stream": true, "stream_options": { "include_usage": true },
        limit: settings.answer_tokens
    });
    // Also to a model whose family nobody knows: the job says so, and its provider says if it cannot.
    if let Some(effort) = &settings.effort {
        body["reasoning_effort"] = effort.as_str().into();
    }
    if let Some(verbosity) = &settings.verbosity {
        body["verbosity"] = verbosity.as_str().into();
    }
    if let Choice::Schema(schema) = request.choice {
        let format = json!({ "name": "action", "strict": true, "schema": schema });
        body["response_format"] = json!({ "type": "json_schema", "json_schema": format });
    }
    if !request.tools.is_empty() {
        body["parallel_tool_calls"] = true.into();
        body["tool_choice"] = if *request.choice == Choice::Words { "none" } else { "auto" }.into();
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    let system = json!({ "role": "system", "content": request.system });
    body["messages"] = std::iter::once(system).chain(request.history.entries().iter().flat_map(entry)).collect();
    body
}

fn tool(tool: &ToolSpec) -> Value {
    let function = json!({
        "name": tool.name, "description": tool.description, "parameters": tool.syntax.schema()
    });
    json!({ "type": "function", "function": function })
}

fn entry(entry: &Entry) -> Vec<Value> {
    match entry {
        Entry::User { parts } => vec![told(parts)],
        Entry::Answer { items } => answer(items).into_iter().collect(),
        Entry::Results { results } => {
            if let Some(parts) = in_words(results) {
                return vec![told(&parts)];
            }
            // A tool's message holds no pictures: they follow all of them.
            let mut messages: Vec<Value> = results.iter().map(result).collect();
            let images: Vec<Part> =
                results.iter().flat_map(|result| &result.parts).filter(|part| is_image(part)).cloned().collect();
            if !images.is_empty() {
                let parts: Vec<Part> =
                    std::iter::once(Part::text("The pictures of these results:")).chain(images).collect();
                messages.push(told(&parts));
            }
            messages
        }
    }
}

fn told(parts: &[Part]) -> Value {
    json!({ "role": "user", "content": content(parts) })
}

fn is_image(part: &Part) -> bool {
    matches!(part, Part::Image(_))
}

/// A string where there are only words: not every server takes a list.
fn content(parts: &[Part]) -> Value {
    if !parts.iter().any(is_image) {
        return texts(parts).into();
    }
    let part = |part: &Part| match part {
        Part::Text { text, .. } => json!({ "type": "text", "text": text }),
        Part::Image(Image { media_type, base64, .. }) => {
            json!({ "type": "image_url", "image_url": { "url": format!("data:{media_type};base64,{base64}") } })
        }
    };
    parts.iter().map(part).collect()
}

fn texts(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text { text, .. } => Some(text.clone()),
        Part::Image(_) => None,
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join("\n\n")
}

fn answer(items: &[Item]) -> Option<Value> {
    let mut texts = Vec::new();
    let mut calls = Vec::new();
    let mut message = json!({ "role": "assistant" });
    for item in items {
        match item {
            Item::Text { text } => texts.push(text.as_str()),
            Item::Call(call) => {
                let arguments = match &call.input {
                    // Templates of local servers read the arguments: they must be JSON.
                    Input::Json(text) if serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()) => {
                        text.clone()
                    }
                    input => input.object().to_string(),
                };
                let function = json!({ "name": call.name, "arguments": arguments });
                calls.push(json!({ "id": call.id, "type": "function", "function": function }));
            }
            Item::Sealed { api: Api::Chat, value: Value::Object(fields) } => {
                for (key, value) in fields {
                    message[key] = value.clone();
                }
            }
            Item::Sealed { .. } => {}
        }
    }
    if texts.is_empty() && calls.is_empty() {
        return None;
    }
    message["content"] = if texts.is_empty() { Value::Null } else { texts.join("\n").into() };
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    Some(message)
}

fn result(result: &CallResult) -> Value {
    let text = texts(&result.parts);
    let text = if text.is_empty() { "(see the picture below)".to_owned() } else { text };
    json!({ "role": "tool", "tool_call_id": result.id, "content": text })
}

/// An answer in the making.
#[derive(Debug, Default)]
pub struct Assembly {
    text: String,
    refusal: String,
    /// Reasoning by the name of its field.
    reasoning: BTreeMap<&'static str, String>,
    calls: BTreeMap<u64, Calling>,
    tokens: Tokens,
    finish: Option<String>,
    done: bool,
}

#[derive(Debug, Default)]
struct Calling {
    id: String,
    name: String,
    arguments: String,
}

/// Fields by which servers give reasoning; the first is what most take back.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

impl Assembly {
    /// Takes an event.
    pub fn event(&mut self, event: &Value) -> Result<Option<Delta>, CallError> {
        if event["error"].is_object() {
            return Err(CallError::in_stream(&event["error"]));
        }
        if event["usage"].is_object() {
            self.used(&event["usage"]);
        }
        if !event["choices"].is_array() && !event["usage"].is_object() {
            return Err(CallError::garbage("an event without choices", &event.to_string()));
        }
        let choice = &event["choices"][0];
        let delta = &choice["delta"];
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
        self.refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            self.call(call);
        }
        let thought =
            REASONING.iter().find_map(|&key| Some((key, delta[key].as_str().filter(|text| !text.is_empty())?)));
        if let Some((key, text)) = thought {
            self.reasoning.entry(key).or_default().push_str(text);
            return Ok(Some(Delta::Thought(text.to_owned())));
        }
        let Some(text) = delta["content"].as_str().filter(|text| !text.is_empty()) else { return Ok(None) };
        self.text.push_str(text);
        Ok(Some(Delta::Text(text.to_owned())))
    }

    fn used(&mut self, usage: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        self.tokens = Tokens {
            input: number(&usage["prompt_tokens"]),
            cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
            cache_write: 0,
            output: number(&usage["completion_tokens"]),
            reasoning: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
        };
    }

    fn call(&mut self, part: &Value) {
        // Some servers send whole calls without a number: each is its own.
        let next = self.calls.keys().next_back().map_or(0, |last| last + 1);
        let index = part["index"].as_u64().unwrap_or(next);
        let call = self.calls.entry(index).or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        call.id.push_str(&text(&part["id"]));
        for body in ["function", "custom"] {
            call.name.push_str(&text(&part[body]["name"]));
            call.arguments.push_str(&text(&part[body]["arguments"]));
            call.arguments.push_str(&text(&part[body]["input"]));
        }
    }

    /// The stream said that it is over.
    pub fn done(&mut self) {
        self.done = true;
    }

    /// Whether it said so.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the answer is complete; usage may still follow.
    pub fn is_whole(&self) -> bool {
        self.finish.is_some()
    }

    /// The answer.
    pub fn finish(self) -> Result<Answer, CallError> {
        let mut items = Vec::new();
        if let Some((field, text)) = self.reasoning.into_iter().next()
            && !self.calls.is_empty()
        {
            // Within a tool round such models want their reasoning back, in the field it came in.
            items.push(Item::Sealed { api: Api::Chat, value: json!({ field: text }) });
        }
        if !self.text.is_empty() {
            items.push(Item::Text { text: self.text });
        }
        for (index, Calling { id, name, arguments }) in self.calls {
            if name.is_empty() {
                return Err(CallError::garbage("a call without a name", &arguments));
            }
            let id = if id.is_empty() { format!("call_{index}") } else { id };
            items.push(Item::Call(Call { id, name, input: Input::Json(arguments) }));
        }
        let stop = match self.finish.as_deref() {
            _ if !self.refusal.is_empty() => Stop::Refused(self.refusal),
            Some("length") => Stop::Length,
            Some("content_filter") => Stop::Refused("content_filter".to_owned()),
            _ => Stop::End,
        };
        Ok(Answer { items, tokens: self.tokens, stop })
    }
}
