//! The loop's own client before the scripted model: every wire, every failure.

use std::time::Duration;

use longhaul_tests::model::ScriptedModel;
use longhaul_worker::model::{
    Answer, Api, CallError, Choice, Client, Delta, Endpoint, Entry, History, Input, Item, Patience, Profile, Request,
    Settings, Stop,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::model::model;

pub const APIS: [Api; 3] = [Api::Responses, Api::Chat, Api::Messages];

/// Short enough for a test, and twice as long as what has to be waited for.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(20),
    idle: Duration::from_secs(20),
    tries: 3,
    pause: Duration::from_millis(1),
    pause_max: Duration::from_secs(1),
    answer_bytes_max: 32 << 20,
};

pub fn client(model: &ScriptedModel, api: Api, patience: Patience) -> Client {
    let endpoint = Endpoint { api, url: format!("{}/v1", model.url()), key: Some("sk-x".into()), headers: Vec::new() };
    Client::new(endpoint, patience).expect("a client")
}

pub fn settings() -> Settings {
    Settings { model: "m".into(), answer_tokens: 1_000, cache_key: "k".into(), ..Settings::default() }
}

fn body(api: Api) -> Vec<u8> {
    let (settings, history) = (settings(), History::of(vec![Entry::user("do it")], 0));
    let tools = Profile::of("m", Some("general")).expect("a profile").specs();
    api.render(&Request {
        settings: &settings,
        system: "be good",
        tools: &tools,
        choice: &Choice::Any,
        history: &history,
    })
}

/// One call, how often it was tried, and what streamed.
async fn called(step: &Value, api: Api, patience: Patience) -> (Result<Answer, CallError>, usize, String) {
    let model = model(json!({ "steps": [step] })).await;
    let mut streamed = String::new();
    let mut on = |delta: Delta| {
        if let Delta::Text(text) = delta {
            streamed.push_str(&text);
        }
    };
    let answer = client(&model, api, patience).call(body(api), &CancellationToken::new(), &mut on).await;
    (answer, model.requests().len(), streamed)
}

#[tokio::test]
async fn every_failure_has_its_name_on_every_wire() {
    let tried = PATIENCE.tries as usize;
    let cases = [
        (json!({"status": 401}), "answered 401: scripted 401", 1),
        (json!({"status": 404}), "answered 404: scripted 404", 1),
        (json!({"status": 500}), "answered 500: scripted 500", tried),
        (json!({"status": 429, "headers": {"retry-after": "7200"}}), "is reached for 7200 s: scripted 429", 1),
        (json!({"status": 529}), "a limit of the model's provider is reached", tried),
        (json!({"text": "some words", "cut": 1}), "broke off", tried),
        (json!({"text": "some words", "garbage": true}), "no answer of its format", tried),
        (json!({"text": "some words", "invalid_utf8": true}), "no answer of its format", tried),
        (
            json!({"status": 400, "error": {"type": "error", "error": {"message": "prompt is too long: 9 > 8"}}}),
            "too long for the model: prompt is too long: 9 > 8",
            1,
        ),
    ];
    for (step, words, tries) in cases {
        for api in APIS {
            let (answer, tried, _) = called(&step, api, PATIENCE).await;
            let error = answer.expect_err("a failure").to_string();
            assert!(error.contains(words), "{api:?} {step}: {error}");
            assert_eq!(tried, tries, "{api:?} {step}: {error}");
        }
    }
}

/// Chat and Messages say why an answer ended before they say that nothing more comes.
#[tokio::test]
async fn a_cut_after_the_whole_answer_loses_nothing() {
    for api in APIS {
        let (answer, tried, _) = called(&json!({"text": "some words", "drop": true}), api, PATIENCE).await;
        match (api, answer) {
            (Api::Responses, Err(CallError::Cut { .. })) => assert_eq!(tried, PATIENCE.tries as usize),
            (Api::Chat | Api::Messages, Ok(answer)) => assert_eq!((answer.text().as_str(), tried), ("some words", 1)),
            (api, other) => panic!("{api:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_over_soon_is_tried_again() {
    for step in [
        json!({"text": "fine", "status": 503, "times": 2}),
        json!({"text": "fine", "status": 429, "headers": {"retry-after-ms": "5"}, "times": 2}),
        json!({"text": "fine", "drop": true, "times": 1}),
        json!({"text": "fine", "garbage": true, "times": 1}),
    ] {
        for api in APIS {
            let (answer, _, _) = called(&step, api, PATIENCE).await;
            assert_eq!(answer.expect("an answer").text(), "fine", "{api:?} {step}");
        }
    }
}

#[tokio::test]
async fn silence_and_answers_without_end_are_ended() {
    let short = Patience { idle: Duration::from_millis(50), tries: 1, ..PATIENCE };
    let small = Patience { answer_bytes_max: 200_000, ..PATIENCE };
    for api in APIS {
        for step in [json!({"text": "late", "gate": "never"}), json!({"text": "late words", "gate_middle": "never"})] {
            let (answer, _, _) = called(&step, api, short).await;
            assert_eq!(answer, Err(CallError::Silent(short.idle)), "{api:?} {step}");
        }
        let (answer, tried, _) = called(&json!({"text": "on and on", "endless": true}), api, small).await;
        assert_eq!((answer, tried), (Err(CallError::Endless(200_000)), 1), "{api:?}");
    }
}

#[tokio::test]
async fn a_slow_answer_may_take_as_long_as_it_likes() {
    // Each piece in time, all of them together longer than one may take.
    let patience = Patience { idle: Duration::from_secs(1), ..PATIENCE };
    let step = json!({"text": "a b c d e f g h i", "delta_delay": 0.12});
    for api in APIS {
        let (answer, tried, streamed) = called(&step, api, patience).await;
        assert_eq!((answer.expect("an answer").text().as_str(), tried), ("a b c d e f g h i", 1), "{api:?}");
        assert_eq!(streamed, "a b c d e f g h i", "{api:?}");
    }
}

#[tokio::test]
async fn ten_megabytes_of_words_are_an_answer() {
    let (answer, tried, streamed) = called(&json!({"text_bytes": 10_000_000}), Api::Chat, PATIENCE).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.text().len(), streamed.len(), tried), (10_000_000, 10_000_000, 1));
}

#[tokio::test]
async fn calls_reasoning_and_usage_arrive_on_every_wire() {
    let step = json!({"say": "I look.", "reasoning": "hm", "usage": {"input": 1000, "cached": 600, "output": 20},
        "tools": [{"tool": "shell", "args": {"command": "ls"}}, {"tool": "shell", "arguments": "{broken"}]});
    for api in APIS {
        let (answer, _, _) = called(&step, api, PATIENCE).await;
        let answer = answer.expect("an answer");
        let inputs: Vec<Input> = answer.calls().into_iter().map(|call| call.input).collect();
        let wanted = [r#"{"command":"ls"}"#, "{broken"].map(|text| Input::Json(text.to_owned()));
        assert_eq!(inputs, wanted, "{api:?}");
        assert_eq!((answer.text().as_str(), &answer.stop), ("I look.", &Stop::End), "{api:?}");
        assert!(answer.items.iter().any(|item| matches!(item, Item::Sealed { .. })), "{api:?}: {answer:?}");
        assert_eq!((answer.tokens.input, answer.tokens.cached, answer.tokens.output), (1_000, 600, 20), "{api:?}");
    }
}

#[tokio::test]
async fn a_call_ends_when_its_attempt_does() {
    let model = model(json!({"steps": [{"text": "late", "gate": "never"}]})).await;
    let (client, cancel) = (client(&model, Api::Chat, PATIENCE), CancellationToken::new());
    let mut quiet = |_: Delta| {};
    let call = client.call(body(Api::Chat), &cancel, &mut quiet);
    let (answer, ()) = tokio::join!(call, async {
        model.wait_for_count(1).await;
        cancel.cancel();
    });
    assert_eq!(answer, Err(CallError::Cancelled));
}
