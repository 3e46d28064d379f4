//! OpenAI Responses.

use serde_json::{Value, json};

use super::answer::{Answer, CREATED, Frame};

/// The whole response.
pub fn plain(answer: &Answer) -> Value {
    let mut response = head(answer, "completed");
    response["output"] = Value::Array(items(answer));
    response["usage"] = usage(answer);
    response
}

/// The same as a stream of events.
pub fn frames(answer: &Answer) -> Vec<Frame> {
    let mut stream = Stream { frames: Vec::new() };
    stream.event("response.created", json!({"response": head(answer, "in_progress")}));
    stream.event("response.in_progress", json!({"response": head(answer, "in_progress")}));
    for (index, item) in items(answer).into_iter().enumerate() {
        stream.item(index, &item);
    }
    stream.event("response.completed", json!({"response": plain(answer)}));
    stream.frames
}

struct Stream {
    frames: Vec<Frame>,
}

impl Stream {
    fn event(&mut self, name: &str, fields: Value) {
        let mut data = json!({"type": name, "sequence_number": self.frames.len()});
        if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
            data.extend(fields);
        }
        self.frames.push(Frame::named(name, &data));
    }

    fn item(&mut self, index: usize, item: &Value) {
        let id = item["id"].clone();
        let at = |fields: Value| {
            let mut all = json!({"item_id": id, "output_index": index});
            if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
                all.extend(fields);
            }
            all
        };
        let mut started = item.clone();
        started["status"] = "in_progress".into();
        match item["type"].as_str() {
            Some("message") => started["content"] = json!([]),
            Some("function_call") => started["arguments"] = "".into(),
            Some("custom_tool_call") => started["input"] = "".into(),
            _ => {}
        }
        self.event("response.output_item.added", json!({"output_index": index, "item": started}));
        match item["type"].as_str() {
            Some("message") => {
                let part = &item["content"][0];
                let empty = json!({"type": "output_text", "text": "", "annotations": []});
                self.event("response.content_part.added", at(json!({"content_index": 0, "part": empty})));
                for delta in Answer::deltas(part["text"].as_str().unwrap_or_default()) {
                    self.event("response.output_text.delta", at(json!({"content_index": 0, "delta": delta})));
                }
                self.event("response.output_text.done", at(json!({"content_index": 0, "text": part["text"]})));
                self.event("response.content_part.done", at(json!({"content_index": 0, "part": part})));
            }
            Some("function_call") => {
                self.event("response.function_call_arguments.delta", at(json!({"delta": item["arguments"]})));
                self.event("response.function_call_arguments.done", at(json!({"arguments": item["arguments"]})));
            }
            Some("custom_tool_call") => {
                self.event("response.custom_tool_call_input.delta", at(json!({"delta": item["input"]})));
                self.event("response.custom_tool_call_input.done", at(json!({"input": item["input"]})));
            }
            _ => {}
        }
        self.event("response.output_item.done", json!({"output_index": index, "item": item}));
    }
}

fn head(answer: &Answer, status: &str) -> Value {
    json!({
        "id": format!("resp_{}", answer.id), "object": "response", "created_at": CREATED, "status": status,
        "error": null, "incomplete_details": null, "model": answer.model, "output": []
    })
}

fn items(answer: &Answer) -> Vec<Value> {
    let mut items = Vec::new();
    if let Some(text) = &answer.reasoning {
        items.push(json!({
            "type": "reasoning", "id": format!("rs_{}", answer.id), "status": "completed",
            "summary": [{"type": "summary_text", "text": text}], "encrypted_content": Answer::sealed(text)
        }));
    }
    if let Some(text) = &answer.text {
        items.push(json!({
            "type": "message", "id": format!("msg_{}", answer.id), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]
        }));
    }
    for (number, call) in answer.calls.iter().enumerate() {
        let (id, name) = (answer.call_id(number), &call.tool);
        let mut item = match &call.input {
            Some(input) => json!({"type": "custom_tool_call", "id": format!("ctc_{}_{number}", answer.id),
                "call_id": id, "name": name, "input": input, "status": "completed"}),
            None => json!({"type": "function_call", "id": format!("fc_{}_{number}", answer.id), "call_id": id,
                "name": name, "arguments": call.arguments_text(), "status": "completed"}),
        };
        if let Some(namespace) = &call.namespace {
            item["namespace"] = namespace.as_str().into();
        }
        items.push(item);
    }
    items
}

fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "input_tokens": tokens.input, "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.output, "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output
    })
}
