//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::answer::{Answer, CREATED, Frame};

/// The whole completion.
pub fn plain(answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text});
    if let Some(text) = &answer.reasoning {
        message["reasoning_content"] = text.as_str().into();
    }
    if !answer.calls.is_empty() {
        message["tool_calls"] = Value::Array(calls(answer, false));
    }
    json!({
        "id": format!("chatcmpl-{}", answer.id), "object": "chat.completion", "created": CREATED, "model": answer.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish(answer)}], "usage": usage(answer)
    })
}

/// The same as a stream; usage is in it only where the request asked for it.
pub fn frames(answer: &Answer, with_usage: bool) -> Vec<Frame> {
    let chunk = |choices: Value| {
        json!({"id": format!("chatcmpl-{}", answer.id), "object": "chat.completion.chunk", "created": CREATED,
            "model": answer.model, "choices": choices})
    };
    let delta =
        |delta: Value, finish: Option<&str>| chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]));
    let mut frames = vec![Frame::data(&delta(json!({"role": "assistant", "content": ""}), None), false)];
    if let Some(text) = &answer.reasoning {
        frames.push(Frame::data(&delta(json!({"reasoning_content": text}), None), false));
    }
    for text in answer.text.as_deref().map(Answer::deltas).unwrap_or_default() {
        frames.push(Frame::data(&delta(json!({"content": text}), None), true));
    }
    for call in calls(answer, true) {
        frames.push(Frame::data(&delta(json!({"tool_calls": [call]}), None), false));
    }
    frames.push(Frame::data(&delta(json!({}), Some(finish(answer))), false));
    if with_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(answer);
        frames.push(Frame::data(&last, false));
    }
    frames.push(Frame::done());
    frames
}

fn finish(answer: &Answer) -> &'static str {
    if answer.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn calls(answer: &Answer, indexed: bool) -> Vec<Value> {
    let call = |(number, call): (usize, &super::Call)| {
        let mut value = match &call.input {
            Some(input) => json!({"id": answer.call_id(number), "type": "custom",
                "custom": {"name": call.tool, "input": input}}),
            None => json!({"id": answer.call_id(number), "type": "function",
                "function": {"name": call.tool, "arguments": call.arguments_text()}}),
        };
        if indexed {
            value["index"] = number.into();
        }
        value
    };
    answer.calls.iter().enumerate().map(call).collect()
}

fn usage(answer: &Answer) -> Value {
    let tokens = answer.tokens;
    json!({
        "prompt_tokens": tokens.input, "completion_tokens": tokens.output, "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning}
    })
}
