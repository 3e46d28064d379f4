//! The model gateway before the scripted model: every format, every failure, budgets, limits, replay.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longhaul_common::price::{Price, Prices, Tokens};
use longhaul_tests::model::{Script, ScriptedModel, Step};
use longhaul_worker::Held;
use longhaul_worker::gateway::{
    Allowance, Api, Gateway, GatewayConfig, Outcome, Provider, RateLimiter, RateShare, Recording, Used,
};
use serde_json::{Value, json};

use super::model::{client, requests};

const REAL_KEY: &str = "sk-real-0123456789";

const APIS: [Api; 4] = [Api::OpenaiResponses, Api::OpenaiChat, Api::AnthropicMessages, Api::Gemini];

fn config(model: &ScriptedModel) -> GatewayConfig {
    let provider = |api: Api| Provider {
        name: format!("scripted-{}", api.name()),
        api,
        url: format!("{}/{}", model.url(), if api == Api::Gemini { "v1beta" } else { "v1" }),
        key: Held(vec![REAL_KEY.to_owned()]),
        models: vec!["m".to_owned()],
        rates: Arc::new(RateLimiter::new(RateShare::default())),
    };
    GatewayConfig::new(APIS.map(provider).to_vec())
}

/// A model with one step, and a gateway before it.
async fn both(step: Value, change: impl FnOnce(&mut GatewayConfig)) -> (ScriptedModel, Gateway) {
    let script = Script::parse(&json!({"steps": [step]}).to_string()).expect("a script");
    let model = ScriptedModel::start(script).await.expect("a model");
    let mut config = config(&model);
    change(&mut config);
    let gateway = Gateway::start(config).await.expect("a gateway");
    (model, gateway)
}

async fn call(gateway: &Gateway, path: &str, body: &Value) -> reqwest::Response {
    post(gateway, gateway.key(), path, body).await
}

async fn post(gateway: &Gateway, key: &str, path: &str, body: &Value) -> reqwest::Response {
    let request = client().post(format!("{}{path}", gateway.base_url())).header("x-api-key", key);
    request.header("content-type", "application/json").body(body.to_string()).send().await.expect("an answer")
}

/// Waits until nothing is reserved any more.
async fn settled(gateway: &Gateway, calls: u64) -> Used {
    let mut usage = gateway.usage();
    let done = usage.wait_for(|used| used.calls == calls && used.reserved_tokens == 0);
    *tokio::time::timeout(Duration::from_secs(60), done).await.expect("settled").expect("the gateway runs")
}

fn prices() -> Prices {
    let price =
        Price { input: 1_000_000, cached_input: 100_000, cache_write: 0, output: 10_000_000, as_of: String::new() };
    Prices::new([("m".to_owned(), price)]).expect("a name")
}

const USAGE: &str = r#"{"input": 1000, "cached": 600, "output": 20, "reasoning": 5}"#;

fn usage() -> Value {
    serde_json::from_str(USAGE).expect("JSON")
}

#[tokio::test]
async fn every_format_passes_unchanged_and_is_metered() {
    let step = json!({"text": "all good", "usage": usage()});
    for streams in [false, true] {
        for (index, (path, body)) in requests(streams).into_iter().enumerate() {
            let (model, gateway) = both(step.clone(), |config| config.prices = prices()).await;
            let answer = call(&gateway, path, &body).await;
            assert_eq!(answer.status().as_u16(), 200, "{path}");
            let through = answer.text().await.expect("whole");
            let used = settled(&gateway, 1).await;
            // Messages does not tell reasoning from output.
            let reasoning = if APIS[index] == Api::AnthropicMessages { 0 } else { 5 };
            let expected = Tokens { input: 1000, cached: 600, cache_write: 0, output: 20, reasoning };
            assert_eq!(used.tokens, expected, "{path}, streams {streams}");
            // Only its requests bound the answer, and so what was reserved for it.
            let overrun = APIS[index] == Api::AnthropicMessages;
            assert_eq!((used.usd_micros, used.overrun), (400 + 60 + 200, overrun), "{path}");

            let asked = model.requests().remove(0);
            let direct = client().post(format!("{}{path}", model.url())).body(asked.body.clone()).send().await;
            let direct = direct.expect("an answer").text().await.expect("whole");
            assert_eq!(through, direct, "{path}, streams {streams}");
            let keys = [asked.header("authorization"), asked.header("x-api-key"), asked.header("x-goog-api-key")];
            let shown: Vec<&str> = keys.into_iter().flatten().collect();
            assert!(shown.len() == 1 && shown[0].ends_with(REAL_KEY), "{shown:?}");
            assert!(!format!("{asked:?}").contains(gateway.key()), "the throwaway key went on");
        }
    }
}

#[tokio::test]
async fn what_is_not_allowed_reaches_no_provider() {
    let (model, gateway) = both(json!({"text": "never"}), |config| {
        config.allowance.usd_micros = 1_000_000;
        config.providers[1].models = vec!["other*".to_owned()];
    })
    .await;
    let key = gateway.key().to_owned();
    let other_key = key.replace('0', "1").replace("lh-", "lh_");
    let [(responses, body), (chat, chat_body), ..] = requests(false);
    for (key, path, body, status, code) in [
        (other_key.as_str(), responses, &body, 401, "wrong_key"),
        ("", responses, &body, 401, "wrong_key"),
        (&key, "/v1/files", &body, 404, "unknown_path"),
        (&key, "/v1/responses/../files", &body, 404, "unknown_path"),
        (&key, chat, &chat_body, 403, "model_not_allowed"),
        (&key, responses, &json!({"model": "x", "input": "hi"}), 403, "model_not_allowed"),
        (&key, responses, &json!({"input": "hi"}), 400, "bad_request"),
        (&key, responses, &json!([1]), 400, "bad_request"),
        (&key, responses, &body, 403, "no_price"),
    ] {
        let answer = post(&gateway, key, path, body).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {body}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains(code), "{path}: {text}");
    }
    assert!(model.requests().is_empty());
    assert_eq!(gateway.stop().await, Used::default());
}

#[tokio::test]
async fn a_cut_stream_settles_at_the_worst_case() {
    for step in [json!({"text": "partial answer", "cut": 2}), json!({"text": "partial answer", "endless": true})] {
        for (path, mut body) in requests(true) {
            let bound = if path.starts_with("/v1beta") {
                body["generationConfig"] = json!({"maxOutputTokens": 77});
                77
            } else {
                let name = if path.ends_with("messages") { "max_tokens" } else { "max_output_tokens" };
                let name = if path.ends_with("completions") { "max_completion_tokens" } else { name };
                body[name] = json!(77);
                77
            };
            let (_model, gateway) = both(step.clone(), |_| {}).await;
            let mut answer = call(&gateway, path, &body).await;
            if step["endless"] == true {
                // The agent hangs up in the middle.
                answer.chunk().await.expect("a chunk");
                drop(answer);
            } else {
                assert!(answer.bytes().await.is_err(), "{path}: the cut looks like an end");
            }
            let used = settled(&gateway, 1).await;
            assert_eq!(used.tokens.output, bound, "{path} {step}");
            assert!(used.tokens.input > 0);
        }
    }
}

#[tokio::test]
async fn spoiled_and_huge_answers_pass_on_and_are_metered() {
    for step in [
        json!({"text": "bad bytes", "invalid_utf8": true, "usage": usage()}),
        json!({"text": "bad lines", "garbage": true, "usage": usage()}),
        json!({"text_bytes": 10_000_000, "usage": usage()}),
        json!({"tool": "no_such_tool", "arguments": "{broken", "usage": usage()}),
    ] {
        for (path, mut body) in requests(true) {
            let declared = json!([{"functionDeclarations": [{"name": "bash"}]}]);
            body["tools"] = if path.contains("v1beta") { declared } else { json!([{"name": "bash"}]) };
            let (_model, gateway) = both(step.clone(), |_| {}).await;
            let bytes = call(&gateway, path, &body).await.bytes().await.expect("whole");
            assert!(step["text_bytes"].is_null() || bytes.len() > 10_000_000);
            let used = settled(&gateway, 1).await;
            assert_eq!((used.tokens.input, used.tokens.output), (1000, 20), "{path} {step}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_a_request_is_not_asked_for() {
    for ((path, mut body), (key, value)) in requests(false).into_iter().zip([
        ("previous_response_id", json!("resp_1")),
        ("service_tier", json!("priority")),
        ("tools", json!([{"type": "web_search_20250305", "name": "web_search"}])),
        ("tools", json!([{"googleSearch": {}}])),
    ]) {
        let (model, gateway) = both(json!({"text": "fine"}), |_| {}).await;
        body[key] = value;
        let answer = call(&gateway, path, &body).await;
        assert_eq!(answer.status().as_u16(), 400, "{path}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains("not in the request itself"), "{path}: {text}");
        assert!(model.requests().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn errors_pass_without_the_key_and_cost_nothing() {
    let error = json!({"error": {"message": format!("Incorrect key {REAL_KEY}"), "type": "auth"}});
    for (path, body) in requests(false) {
        let (_model, gateway) = both(json!({"status": 401, "error": error}), |_| {}).await;
        let answer = call(&gateway, path, &body).await;
        assert_eq!(answer.status().as_u16(), 401, "{path}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains("Incorrect key [redacted]") && !text.contains(REAL_KEY), "{text}");
        assert_eq!(settled(&gateway, 1).await.tokens, Tokens::default());
    }
}

#[tokio::test]
async fn a_key_refused_again_and_again_ends_the_attempt_unless_an_answer_comes_between() {
    for (path, body) in requests(false) {
        let (model, gateway) = both(json!({"status": 401}), |_| {}).await;
        for _ in 0..3 {
            call(&gateway, path, &body).await;
        }
        assert_eq!(*gateway.ended().borrow(), None, "{path}");
        call(&gateway, path, &body).await;
        let outcome = gateway.ended().borrow().clone();
        let Some(Outcome::KeyRefused { said, .. }) = outcome else { panic!("{path}: {outcome:?}") };
        assert!(said.starts_with("401: ") && said.contains("scripted 401"), "{said}");
        assert_eq!(model.requests().len(), 4);
    }
    let (_model, gateway) = both(json!({"text": "fine", "status": 403, "times": 3}), |_| {}).await;
    let [(path, body), ..] = requests(false);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(call(&gateway, path, &body).await.status().as_u16());
    }
    assert_eq!((statuses, gateway.ended().borrow().clone()), (vec![403, 403, 403, 200], None));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedModel::start(Script::of([Step::text("stolen")])).await.expect("a model");
    for (path, body) in requests(false) {
        let step = json!({"status": 307, "headers": {"location": format!("{}{path}", elsewhere.url())}});
        let (model, gateway) = both(step, |_| {}).await;
        assert_eq!(call(&gateway, path, &body).await.status().as_u16(), 307, "{path}");
        assert_eq!(model.requests().len(), 1);
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_short_limit_is_waited_for_and_shown() {
    let step = json!({"text": "fine", "status": 429, "headers": {"retry-after-ms": "400"}, "times": 1});
    let (model, gateway) = both(step, |_| {}).await;
    let mut waiting = gateway.waiting();
    let seen = tokio::spawn(async move { waiting.wait_for(Option::is_some).await.expect("runs").clone() });
    let [(path, body), ..] = requests(false);
    assert_eq!(call(&gateway, path, &body).await.status().as_u16(), 200);
    assert!(seen.await.expect("no panic").is_some_and(|waiting| waiting.said_by_provider));
    assert_eq!(model.requests().len(), 2);
    assert_eq!(*gateway.ended().borrow(), None);
}

#[tokio::test]
async fn a_long_limit_ends_the_attempt() {
    let (model, gateway) = both(json!({"status": 429, "headers": {"retry-after": "3600"}}), |_| {}).await;
    for (path, body) in requests(true) {
        let answer = call(&gateway, path, &body).await;
        let after: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("a number");
        assert!(answer.status().as_u16() == 429 && (3_590..=3_600).contains(&after), "{after}");
    }
    assert_eq!(model.requests().len(), 1, "nobody is asked again");
    let outcome = gateway.ended().borrow().clone();
    let Some(Outcome::ProviderLimit { provider, until_ms }) = outcome else { panic!("{outcome:?}") };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_millis() as i64;
    assert_eq!(provider, "scripted-openai-responses");
    assert!((until_ms - now - 3_600_000).abs() < 60_000, "{until_ms}");
    assert_eq!(gateway.stop().await.tokens, Tokens::default());
}

#[tokio::test]
async fn a_silent_provider_is_given_up_between_two_pieces() {
    let step = json!({"text": "slow indeed", "gate_middle": "never opened"});
    let (_model, gateway) = both(step, |config| config.idle_max = Duration::from_millis(300)).await;
    let [(path, body), ..] = requests(true);
    assert!(call(&gateway, path, &body).await.bytes().await.is_err());
    assert!(settled(&gateway, 1).await.tokens.output > 20, "the worst case");
}

#[tokio::test]
async fn parallel_calls_never_exceed_the_budget() {
    let cap = Allowance { tokens: 3_000, usd_micros: 20_000 };
    let step = json!({"text": "fine", "usage": [50, 60], "gate": "go"});
    let (model, gateway) = both(step, |config| {
        config.allowance = cap;
        config.prices = prices();
    })
    .await;
    let holds = move |used: &Used| {
        used.tokens.total() + used.reserved_tokens <= cap.tokens
            && used.usd_micros + used.reserved_usd_micros <= cap.usd_micros
    };
    // Whoever looks sees the newest books only, so a change that breaks the cap cannot hide behind
    // a later one: nothing settles before the gate opens.
    let mut usage = gateway.usage();
    let watching = tokio::spawn(async move {
        while usage.changed().await.is_ok() {
            let used = *usage.borrow_and_update();
            assert!(holds(&used), "{used:?}");
        }
    });
    let body = |number: usize| json!({"model": "m", "input": format!("call {number}"), "max_output_tokens": 100});
    let bodies: Vec<Value> = (0..40).map(body).collect();
    let calls = async { join_all(bodies.iter().map(|body| call(&gateway, "/v1/responses", body))).await };
    let opening = async {
        model.wait_for_requests(5).await.expect("calls fit");
        let held = *gateway.usage().borrow();
        assert!(held.calls == 0 && held.reserved_tokens > 5 * 100 && holds(&held), "{held:?}");
        model.open("go");
    };
    let (answers, ()) = tokio::join!(calls, opening);
    let passed = answers.iter().filter(|answer| answer.status().as_u16() == 200).count();
    let refused = answers.iter().filter(|answer| answer.status().as_u16() == 403).count();
    assert!(passed >= 5 && refused >= 5 && passed + refused == 40, "{passed} passed, {refused} refused");
    drop(answers);
    let used = gateway.stop().await;
    assert!(used.tokens.total() <= cap.tokens && !used.overrun, "{used:?}");
    watching.await.expect("within the cap");
    assert_eq!(model.requests().len(), passed);
}

#[tokio::test]
async fn a_record_answers_again_without_a_provider_or_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let step = json!({"text": format!("the key is {REAL_KEY}!"), "usage": usage()});
    let (model, gateway) = both(step, |config| {
        config.recording = Recording::On(folder.path().to_owned());
        config.prices = prices();
    })
    .await;
    let mut recorded = Vec::new();
    for streams in [false, true] {
        for (path, body) in requests(streams) {
            recorded.push((path, body.clone(), call(&gateway, path, &body).await.text().await.expect("whole")));
        }
    }
    settled(&gateway, 8).await;
    let key = gateway.key().to_owned();
    gateway.stop().await;
    drop(model);

    for entry in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
        let bytes = std::fs::read(entry.path()).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(REAL_KEY) && !text.contains(&key), "{}", entry.path().display());
    }
    let lines = std::fs::read_to_string(folder.path().join("exchanges.jsonl")).expect("lines");
    assert_eq!(lines.lines().count(), 8);
    let first: Value = serde_json::from_str(lines.lines().next().expect("one")).expect("JSON");
    assert_eq!((first["input_tokens"].as_u64(), first["usd_micros"].as_u64()), (Some(1000), Some(660)));

    // The provider is gone: whatever is answered comes from the record.
    let nobody = ScriptedModel::start(Script::of([Step::status(500)])).await.expect("a model");
    let mut replaying = config(&nobody);
    replaying.recording = Recording::Replay(folder.path().to_owned());
    let gateway = Gateway::start(replaying).await.expect("a gateway");
    for (path, body, text) in &recorded {
        let again = call(&gateway, path, body).await.text().await.expect("whole");
        assert_eq!(again, text.replace(REAL_KEY, "[redacted]"), "{path}");
    }
    let unknown = call(&gateway, "/v1/responses", &json!({"model": "m", "input": "something else"})).await;
    assert!(unknown.text().await.expect("a body").contains("not_recorded"));
    assert!(nobody.requests().is_empty());
}
