//! The scripted model by itself: each format, each failure.

use std::time::Duration;

use longhaul_tests::model::{Script, ScriptedModel, Step};
use serde_json::{Value, json};

/// The path and a request of each format, streaming or not.
pub fn requests(streams: bool) -> [(&'static str, Value); 4] {
    let user = json!([{"role": "user", "content": "do it"}]);
    let method =
        if streams { "/v1beta/models/m:streamGenerateContent?alt=sse" } else { "/v1beta/models/m:generateContent" };
    [
        ("/v1/responses", json!({"model": "m", "input": user, "stream": streams})),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": user, "stream": streams,
            "stream_options": {"include_usage": true}}),
        ),
        ("/v1/messages", json!({"model": "m", "max_tokens": 100, "messages": user, "stream": streams})),
        (method, json!({"contents": [{"role": "user", "parts": [{"text": "do it"}]}]})),
    ]
}

pub fn client() -> reqwest::Client {
    // The provider of cryptography is the process's; whoever comes first sets it.
    longhaul_common::tls::install();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A model that answers from a script.
pub(crate) async fn model(script: Value) -> ScriptedModel {
    ScriptedModel::start(Script::parse(&script.to_string()).expect("a script")).await.expect("a model")
}

async fn post(model: &ScriptedModel, path: &str, body: &Value) -> reqwest::Response {
    let request = client().post(format!("{}{path}", model.url())).header("content-type", "application/json");
    request.body(body.to_string()).send().await.expect("an answer")
}

fn script(step: Value) -> Script {
    Script::parse(&json!({"steps": [step]}).to_string()).expect("a script")
}

#[tokio::test]
async fn every_format_carries_text_calls_reasoning_and_usage() {
    let step = json!({"say": "all good", "reasoning": "thought", "usage":
        {"input": 1000, "cached": 600, "output": 20, "reasoning": 5},
        "tools": [{"tool": "bash", "args": {"cmd": "ls"}}, {"tool": "bash", "arguments": "{broken"}]});
    let model = ScriptedModel::start(script(step)).await.expect("a model");
    for streams in [false, true] {
        for (path, mut body) in requests(streams) {
            body["tools"] = json!([{"name": "bash"}]);
            let text = post(&model, path, &body).await.text().await.expect("a body");
            for wanted in ["good", "bash", "ls", "broken", "600", "sealed-"] {
                let unsealed = path.contains("chat") && wanted == "sealed-";
                assert!(unsealed || text.contains(wanted), "{wanted} of {path}, streams {streams}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn statuses_have_their_headers_and_pass_after_so_many_times() {
    let model = ScriptedModel::start(script(
        json!({"text": "fine", "status": 429, "headers": {"retry-after": "7"}, "times": 2}),
    ))
    .await
    .expect("a model");
    for (path, body) in requests(false) {
        for _ in 0..2 {
            let refused = post(&model, path, &body).await;
            assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
            assert!(refused.text().await.expect("a body").contains("error"));
        }
        let answered = post(&model, path, &body).await;
        assert_eq!(answered.status().as_u16(), 200, "{path}");
        assert!(answered.text().await.expect("a body").contains("fine"));
    }
}

#[tokio::test]
async fn streams_break_as_the_script_says() {
    for step in [json!({"text": "partial", "drop": true}), json!({"text": "partial", "cut": 1})] {
        let model = ScriptedModel::start(script(step.clone())).await.expect("a model");
        for (path, body) in requests(true) {
            let error = post(&model, path, &body).await.bytes().await;
            assert!(error.is_err(), "{path} {step}: the end came as if it were whole");
        }
    }
    let model = ScriptedModel::start(script(json!({"text": "partial", "invalid_utf8": true}))).await.expect("a model");
    for (path, body) in requests(true) {
        let bytes = post(&model, path, &body).await.bytes().await.expect("whole");
        assert!(std::str::from_utf8(&bytes).is_err(), "{path}");
    }
    let model = ScriptedModel::start(script(json!({"text": "partial", "garbage": true}))).await.expect("a model");
    for (path, body) in requests(true) {
        assert!(post(&model, path, &body).await.text().await.expect("whole").contains("<html>"), "{path}");
    }
}

#[tokio::test]
async fn long_and_endless_texts_stream_on() {
    let model = ScriptedModel::start(script(json!({"text_bytes": 10_000_000}))).await.expect("a model");
    let [(path, body), ..] = requests(true);
    let bytes = post(&model, path, &body).await.bytes().await.expect("whole");
    assert!(bytes.len() > 10_000_000, "{}", bytes.len());

    let model = ScriptedModel::start(script(json!({"text": "on and on", "endless": true}))).await.expect("a model");
    for (path, body) in requests(true) {
        let mut answer = post(&model, path, &body).await;
        let mut seen = 0;
        while seen < 1_000_000 {
            seen += answer.chunk().await.expect("a chunk").expect("it never ends").len();
        }
    }
}

#[tokio::test]
async fn nothing_is_said_before_its_gate_is_open() {
    let model = ScriptedModel::start(script(json!({"text": "late", "gate_middle": "go"}))).await.expect("a model");
    let [(path, body), ..] = requests(true);
    let mut answer = post(&model, path, &body).await;
    let mut said = String::new();
    while !said.contains("response.created") {
        said += &String::from_utf8_lossy(&answer.chunk().await.expect("a chunk").expect("more"));
    }
    assert!(!said.contains("response.completed"), "{said}");
    let waiting = tokio::time::timeout(Duration::from_secs(60), async {
        model.open("go");
        answer.text().await.expect("whole")
    });
    assert!(waiting.await.expect("the gate is open").contains("response.completed"));
}

#[tokio::test]
async fn a_longer_conversation_finds_its_beginning_in_the_cache() {
    let model = ScriptedModel::start(Script::of([Step::text("fine")])).await.expect("a model");
    let long = "a long system prompt ".repeat(100);
    for count in 1..4 {
        let messages: Vec<Value> =
            (0..count).map(|number| json!({"role": "user", "content": format!("{long}{number}")})).collect();
        let body = json!({"model": "m", "input": messages});
        let answer: Value =
            serde_json::from_str(&post(&model, "/v1/responses", &body).await.text().await.expect("a body"))
                .expect("JSON");
        let cached = answer["usage"]["input_tokens_details"]["cached_tokens"].as_u64().expect("a count");
        let input = answer["usage"]["input_tokens"].as_u64().expect("a count");
        assert!(cached < input && (count == 1) == (cached == 0), "{count}: {cached} of {input}");
    }
    let requests = model.requests();
    assert!(requests[1].extends(&requests[0]) && requests[2].extends(&requests[1]));
    assert!(!requests[0].extends(&requests[1]));
}
