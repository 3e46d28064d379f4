//! Anthropic Messages.

use serde_json::{Value, json};

use super::answer::{Answer, Frame};

/// The whole message.
pub fn plain(answer: &Answer) -> Value {
    let mut message = head(answer);
    message["content"] = Value::Array(blocks(answer));
    message["stop_reason"] = stop(answer).into();
    message["usage"] = usage(answer, answer.tokens.output);
    message
}

/// The same as a stream of events.
pub fn frames(answer: &Answer) -> Vec<Frame> {
    let mut message = head(answer);
    message["usage"] = usage(answer, 1);
    let mut frames = vec![Frame::named("message_start", &json!({"type": "message_start", "message": message}))];
    for (index, block) in blocks(answer).iter().enumerate() {
        let (empty, deltas) = pieces(answer, block);
        let start = json!({"type": "content_block_start", "index": index, "content_block": empty});
        frames.push(Frame::named("content_block_start", &start));
        for delta in deltas {
            let mut frame = Frame::named(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            );
            frame.is_text = delta["type"] == "text_delta";
            frames.push(frame);
        }
        frames.push(Frame::named("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
    }
    let stop = json!({"type": "message_delta", "delta": {"stop_reason": stop(answer), "stop_sequence": null},
        "usage": {"output_tokens": answer.tokens.output}});
    let mut last = Frame::named("message_delta", &stop);
    last.is_text = false;
    frames.push(last);
    frames.push(Frame::named("message_stop", &json!({"type": "message_stop"})));
    frames
}

/// A block as it starts, and its deltas.
fn pieces(answer: &Answer, block: &Value) -> (Value, Vec<Value>) {
    let mut empty = block.clone();
    match block["type"].as_str() {
        Some("text") => {
            empty["text"] = "".into();
            let deltas = Answer::deltas(block["text"].as_str().unwrap_or_default());
            (empty, deltas.into_iter().map(|text| json!({"type": "text_delta", "text": text})).collect())
        }
        Some("thinking") => {
            empty["thinking"] = "".into();
            empty["signature"] = "".into();
            let deltas = vec![
                json!({"type": "thinking_delta", "thinking": block["thinking"]}),
                json!({"type": "signature_delta", "signature": block["signature"]}),
            ];
            (empty, deltas)
        }
        _ => {
            empty["input"] = json!({});
            let call = answer.calls.iter().enumerate().find(|(number, _)| block["id"] == id(answer, *number));
            // As text: what is broken stays broken.
            let raw = call.and_then(|(_, call)| call.arguments.clone()).unwrap_or_else(|| block["input"].to_string());
            (empty, vec![json!({"type": "input_json_delta", "partial_json": raw})])
        }
    }
}

fn head(answer: &Answer) -> Value {
    json!({"id": format!("msg_{}", answer.id), "type": "message", "role": "assistant", "model": answer.model,
        "content": [], "stop_reason": null, "stop_sequence": null})
}

fn id(answer: &Answer, number: usize) -> String {
    format!("toolu_{}_{number}", answer.id)
}

fn blocks(answer: &Answer) -> Vec<Value> {
    let thinking = answer
        .reasoning
        .as_ref()
        .map(|text| json!({"type": "thinking", "thinking": text, "signature": Answer::sealed(text)}));
    let text = answer.text.as_ref().map(|text| json!({"type": "text", "text": text}));
    let calls = answer.calls.iter().enumerate().map(|(number, call)| {
        json!({"type": "tool_use", "id": id(answer, number), "name": call.tool, "input": call.arguments_value()})
    });
    thinking.into_iter().chain(text).chain(calls).collect()
}

fn stop(answer: &Answer) -> &'static str {
    if answer.calls.is_empty() { "end_turn" } else { "tool_use" }
}

/// Here cached tokens are not part of the input.
fn usage(answer: &Answer, output: u64) -> Value {
    let tokens = answer.tokens;
    json!({
        "input_tokens": tokens.input.saturating_sub(tokens.cached + tokens.cache_write),
        "cache_creation_input_tokens": tokens.cache_write, "cache_read_input_tokens": tokens.cached,
        "output_tokens": output
    })
}
