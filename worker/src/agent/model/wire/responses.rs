//! OpenAI Responses, stateless: nothing is stored there, so encrypted reasoning comes back with
//! each answer and goes up again with each request.

use longhaul_common::price::Tokens;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::history::{Call, CallResult, Entry, Input, Item, Part, in_words};
use super::Api;
use super::answer::{Answer, Delta, Stop};
use super::error::CallError;
use super::request::{Choice, Request, ToolSpec, ToolSyntax};

/// The body of a request.
pub fn render(request: &Request<'_>) -> Value {
    let settings = request.settings;
    let mut body = json!({
        "model": settings.model, "stream": true, "store": false,
        "max_output_tokens": settings.answer_tokens, "prompt_cache_key": settings.cache_key
    });
    // What the job says is sent whatever is known of the model: its provider says if it cannot.
    if settings.traits.reasons || settings.effort.is_some() {
        body["include"] = json!(["reasoning.encrypted_content"]);
        body["reasoning"] = json!({ "summary": "auto" });
        if let Some(effort) = &settings.effort {
            body["reasoning"]["effort"] = effort.as_str().into();
        }
    }
    let mut text = json!({});
    if let Some(verbosity) = &settings.verbosity {
        text["verbosity"] = verbosity.as_str().into();
    }
    if let Choice::Schema(schema) = request.choice {
        text["format"] = json!({ "type": "json_schema", "name": "action", "schema": schema, "strict": true });
    }
    if text != json!({}) {
        body["text"] = text;
    }
    if !request.tools.is_empty() {
        body["parallel_tool_calls"] = true.into();
        body["tool_choice"] = if *request.choice == Choice::Words { "none" } else { "auto" }.into();
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body["instructions"] = request.system.into();
    body["input"] = request.history.entries().iter().flat_map(entry).collect();
    body
}

fn tool(tool: &ToolSpec) -> Value {
    match &tool.syntax {
        ToolSyntax::Lark(grammar) => json!({
            "type": "custom", "name": tool.name, "description": tool.description,
            "format": { "type": "grammar", "syntax": "lark", "definition": grammar }
        }),
        syntax => json!({
            "type": "function", "name": tool.name, "description": tool.description,
            "parameters": syntax.schema(), "strict": false
        }),
    }
}

fn entry(entry: &Entry) -> Vec<Value> {
    match entry {
        Entry::User { parts } => vec![told(parts)],
        Entry::Answer { items } => items.iter().filter_map(item).collect(),
        Entry::Results { results } => match in_words(results) {
            Some(parts) => vec![told(&parts)],
            None => results.iter().map(result).collect(),
        },
    }
}

fn told(parts: &[Part]) -> Value {
    let content: Vec<Value> = parts.iter().map(part).collect();
    json!({ "type": "message", "role": "user", "content": content })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text { text, .. } => json!({ "type": "input_text", "text": text }),
        Part::Image(image) => json!({
            "type": "input_image", "image_url": format!("data:{};base64,{}", image.media_type, image.base64)
        }),
    }
}

fn item(item: &Item) -> Option<Value> {
    Some(match item {
        Item::Sealed { api: Api::Responses, value } => value.clone(),
        Item::Sealed { .. } => return None,
        Item::Text { text } => {
            let content = json!([{ "type": "output_text", "text": text }]);
            json!({ "type": "message", "role": "assistant", "content": content })
        }
        Item::Call(Call { id, name, input: Input::Json(arguments) }) => {
            json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments })
        }
        Item::Call(Call { id, name, input: Input::Free(input) }) => {
            json!({ "type": "custom_tool_call", "call_id": id, "name": name, "input": input })
        }
    })
}

fn result(result: &CallResult) -> Value {
    let kind = if result.free { "custom_tool_call_output" } else { "function_call_output" };
    let output = match &result.parts[..] {
        [Part::Text { text, .. }] => Value::from(text.as_str()),
        parts => parts.iter().map(part).collect(),
    };
    json!({ "type": kind, "call_id": result.id, "output": output })
}

/// An answer in the making.
#[derive(Debug, Default)]
pub struct Assembly {
    items: BTreeMap<u64, Vec<Item>>,
    refusal: Option<String>,
    end: Option<(Tokens, Stop)>,
}

impl Assembly {
    /// Takes an event.
    pub fn event(&mut self, mut event: Value) -> Result<Option<Delta>, CallError> {
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => return Ok(delta(&event, Delta::Text)),
            "response.reasoning_summary_text.delta" => return Ok(delta(&event, Delta::Thought)),
            "response.output_item.done" => {
                let index = event["output_index"].as_u64().unwrap_or(u64::MAX);
                let items = self.item(event["item"].take())?;
                self.items.insert(index, items);
            }
            kind @ ("response.completed" | "response.incomplete") => {
                let kind = kind.to_owned();
                self.ended(&kind, event["response"].take())?;
            }
            "response.failed" => return Err(CallError::in_stream(&event["response"]["error"])),
            "error" => {
                let error = if event["error"].is_object() { &event["error"] } else { &event };
                return Err(CallError::in_stream(error));
            }
            _ => {}
        }
        Ok(None)
    }

    fn item(&mut self, item: Value) -> Result<Vec<Item>, CallError> {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let call = |id: &str, input| {
            if id.is_empty() || text("name").is_empty() {
                return Err(CallError::garbage("a call without its id or name", &item.to_string()));
            }
            Ok(vec![Item::Call(Call { id: id.to_owned(), name: text("name"), input })])
        };
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                let mut items = Vec::new();
                for part in item["content"].as_array().into_iter().flatten() {
                    if let Some(refusal) = part["refusal"].as_str() {
                        self.refusal = Some(refusal.to_owned());
                    }
                    if let Some(text) = part["text"].as_str().filter(|text| !text.is_empty()) {
                        items.push(Item::Text { text: text.to_owned() });
                    }
                }
                Ok(items)
            }
            "function_call" => call(&text("call_id"), Input::Json(text("arguments"))),
            "custom_tool_call" => call(&text("call_id"), Input::Free(text("input"))),
            // Without its encrypted content it is known only to a provider that stores answers.
            "reasoning" if item["encrypted_content"].is_string() => {
                Ok(vec![Item::Sealed { api: Api::Responses, value: item }])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn ended(&mut self, kind: &str, mut response: Value) -> Result<(), CallError> {
        let usage = &response["usage"];
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let tokens = Tokens {
            input: number(&usage["input_tokens"]),
            cached: number(&usage["input_tokens_details"]["cached_tokens"]),
            cache_write: 0,
            output: number(&usage["output_tokens"]),
            reasoning: number(&usage["output_tokens_details"]["reasoning_tokens"]),
        };
        let reason = response["incomplete_details"]["reason"].as_str().unwrap_or_default().to_owned();
        if self.items.is_empty()
            && let Some(output) = response["output"].as_array_mut()
        {
            // A server that sends no event for each item.
            for (index, item) in (0..).zip(std::mem::take(output)) {
                let items = self.item(item)?;
                self.items.insert(index, items);
            }
        }
        let stop = match (self.refusal.take(), kind) {
            (Some(refusal), _) => Stop::Refused(refusal),
            (None, "response.incomplete") if reason == "content_filter" => Stop::Refused(reason),
            (None, "response.incomplete") => Stop::Length,
            (None, _) => Stop::End,
        };
        self.end = Some((tokens, stop));
        Ok(())
    }

    /// Whether the answer is complete.
    pub fn is_whole(&self) -> bool {
        self.end.is_some()
    }

    /// The answer.
    pub fn finish(self) -> Result<Answer, CallError> {
        let (tokens, stop) = self.end.unwrap_or_default();
        Ok(Answer { items: self.items.into_values().flatten().collect(), tokens, stop })
    }
}

fn delta(event: &Value, of: fn(String) -> Delta) -> Option<Delta> {
    event["delta"].as_str().map(|text| of(text.to_owned()))
}
