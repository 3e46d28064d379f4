//! Gemini generateContent.

use serde_json::{Value, json};

use super::answer::{Answer, Frame};

/// The whole response.
pub fn plain(answer: &Answer) -> Value {
    response(answer, parts(answer), true)
}

/// The same as a stream: one event a piece of text, the rest in the last one.
pub fn frames(answer: &Answer) -> Vec<Frame> {
    let (texts, others): (Vec<Value>, Vec<Value>) =
        parts(answer).into_iter().partition(|part| part["text"].is_string() && part["thought"].is_null());
    let mut frames = Vec::new();
    for text in texts.iter().filter_map(|part| part["text"].as_str()) {
        for delta in Answer::deltas(text) {
            frames.push(Frame::data(&response(answer, vec![json!({"text": delta})], false), true));
        }
    }
    frames.push(Frame::data(&response(answer, others, true), false));
    frames
}

fn parts(answer: &Answer) -> Vec<Value> {
    let thought = answer.reasoning.as_ref().map(|text| json!({"text": text, "thought": true}));
    let text = answer.text.as_ref().map(|text| json!({"text": text}));
    let calls = answer.calls.iter().enumerate().map(|(number, call)| {
        let mut part = json!({"functionCall": {"id": answer.call_id(number), "name": call.tool,
            "args": call.arguments_value()}});
        if let Some(text) = &answer.reasoning {
            part["thoughtSignature"] = Answer::sealed(text).into();
        }
        part
    });
    thought.into_iter().chain(text).chain(calls).collect()
}

fn response(answer: &Answer, parts: Vec<Value>, last: bool) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if last {
        candidate["finishReason"] = "STOP".into();
    }
    let tokens = answer.tokens;
    let mut response = json!({"candidates": [candidate], "modelVersion": answer.model, "responseId": answer.id});
    if last {
        // Here reasoning is not part of the output.
        response["usageMetadata"] = json!({
            "promptTokenCount": tokens.input, "cachedContentTokenCount": tokens.cached,
            "candidatesTokenCount": tokens.output.saturating_sub(tokens.reasoning),
            "thoughtsTokenCount": tokens.reasoning, "totalTokenCount": tokens.input + tokens.output
        });
    }
    response
}
