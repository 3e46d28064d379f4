//! Each wire by data: what is rendered, what is made of its events, and that what was sent once
//! is sent the same ever after.

use serde_json::{Value, json};

use super::super::history::{Call, CallResult, Entry, History, Image, Input, Item, Part};
use super::*;

const APIS: [Api; 3] = [Api::Responses, Api::Chat, Api::Messages];

fn settings() -> Settings {
    Settings {
        model: "m".into(),
        effort: Some("high".into()),
        verbosity: Some("low".into()),
        answer_tokens: 9_000,
        cache_key: "k".into(),
        traits: Traits { reasons: true, thinking: Thinking::Budget, ..Traits::default() },
    }
}

fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str, syntax| ToolSpec { name: name.into(), description: "does".into(), syntax };
    vec![
        tool("shell", ToolSyntax::Object(json!({ "type": "object", "properties": {} }))),
        tool("apply_patch", ToolSyntax::Lark("start: \"x\"".into())),
        tool("bash", ToolSyntax::Native { kind: "bash_20250124".into(), schema: json!({ "type": "object" }) }),
    ]
}

fn rendered(api: Api, history: &History) -> Value {
    let (settings, tools) = (settings(), tools());
    let request = Request { settings: &settings, system: "be good", tools: &tools, choice: &Choice::Any, history };
    serde_json::from_slice(&api.render(&request)).expect("JSON")
}

fn bytes(api: Api, history: &History) -> Vec<u8> {
    let (settings, tools) = (settings(), tools());
    api.render(&Request { settings: &settings, system: "be good", tools: &tools, choice: &Choice::Any, history })
}

fn assembled(api: Api, events: &[Value]) -> Result<Answer, CallError> {
    let mut assembler = api.assembler();
    for event in events {
        assembler.event(&event.to_string())?;
    }
    assembler.finish()
}

fn call(id: &str, name: &str, input: Input) -> Item {
    Item::Call(Call { id: id.into(), name: name.into(), input })
}

/// An answer with sealed reasoning, words and two calls, one with broken arguments, on each wire.
fn events(api: Api) -> Vec<Value> {
    match api {
        Api::Responses => vec![
            json!({"type": "response.created", "response": {}}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1",
                "summary": [], "encrypted_content": "sealed"}}),
            json!({"type": "response.output_text.delta", "output_index": 1, "delta": "so"}),
            json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "message", "id": "msg_1",
                "content": [{"type": "output_text", "text": "so"}]}}),
            json!({"type": "response.output_item.done", "output_index": 3, "item": {"type": "function_call", "id": "fc_2",
                "call_id": "c2", "name": "shell", "arguments": "{broken"}}),
            json!({"type": "response.output_item.done", "output_index": 2, "item": {"type": "custom_tool_call", "id": "fc_1",
                "call_id": "c1", "name": "apply_patch", "input": "*** Begin"}}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 10, "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 2}}}}),
        ],
        Api::Chat => vec![
            json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
            json!({"choices": [{"delta": {"reasoning_content": "hm"}}]}),
            json!({"choices": [{"delta": {"content": "so"}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "apply_patch",
                "arguments": "{\"input\":"}}]}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\"*** Begin\"}"}},
                {"index": 1, "id": "c2", "function": {"name": "shell", "arguments": "{broken"}}]}}]}),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}}),
        ],
        Api::Messages => vec![
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 6, "cache_read_input_tokens": 4,
                "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "",
                "signature": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "h"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "m"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "so"}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "c1",
                "name": "apply_patch", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta",
                "partial_json": "{\"input\":"}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta",
                "partial_json": "\"*** Begin\"}"}}),
            json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "c2",
                "name": "shell", "input": {}}}),
            json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta",
                "partial_json": "{broken"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}),
            json!({"type": "message_stop"}),
        ],
    }
}

#[test]
fn answers_are_put_together_the_same_on_every_wire() {
    for api in APIS {
        let answer = assembled(api, &events(api)).expect("an answer");
        let patch = match api {
            Api::Responses => Input::Free("*** Begin".into()),
            Api::Chat | Api::Messages => Input::Json("{\"input\":\"*** Begin\"}".into()),
        };
        let sealed = match api {
            Api::Responses => json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}),
            Api::Chat => json!({"reasoning_content": "hm"}),
            Api::Messages => json!({"type": "thinking", "thinking": "hm", "signature": "sig"}),
        };
        let wanted = [
            Item::Sealed { api, value: sealed },
            Item::Text { text: "so".into() },
            call("c1", "apply_patch", patch),
            call("c2", "shell", Input::Json("{broken".into())),
        ];
        assert_eq!(answer.items, wanted, "{api:?}");
        assert_eq!((answer.tokens.input, answer.tokens.cached, answer.tokens.output), (10, 4, 5), "{api:?}");
        assert_eq!(answer.stop, Stop::End);
    }
}

#[test]
fn a_stream_that_ends_early_is_cut_wherever_it_ends() {
    for api in APIS {
        let all = events(api);
        let whole = |cut: usize| match api {
            Api::Responses => cut >= all.len(),
            // The reason of its end comes one event before the last.
            Api::Chat | Api::Messages => cut + 1 >= all.len(),
        };
        for cut in 0..=all.len() {
            match assembled(api, &all[..cut]) {
                Ok(_) => assert!(whole(cut), "{api:?} after {cut}"),
                Err(CallError::Cut { .. }) => assert!(!whole(cut), "{api:?} after {cut}"),
                Err(error) => panic!("{api:?} after {cut}: {error}"),
            }
        }
    }
}

#[test]
fn garbage_and_errors_in_a_stream_are_named() {
    for api in APIS {
        let mut assembler = api.assembler();
        assert!(matches!(assembler.event("{\"type\":"), Err(CallError::Garbage { .. })), "{api:?}");
        assert_eq!(assembler.event(""), Ok(None));
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
        assert!(matches!(assembled(api, &[error]), Err(CallError::Limited { .. })), "{api:?}");
    }
    let failed = json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}});
    assert!(matches!(assembled(Api::Responses, &[failed]), Err(CallError::Failed { .. })));
    let piece = json!({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}});
    assert!(matches!(assembled(Api::Messages, &[piece]), Err(CallError::Garbage { .. })));
    assert!(matches!(assembled(Api::Chat, &[json!({"hello": 1})]), Err(CallError::Garbage { .. })));
}

#[test]
fn the_reasons_of_an_end_are_told_apart() {
    let chat = |reason: &str| assembled(Api::Chat, &[json!({"choices": [{"delta": {}, "finish_reason": reason}]})]);
    assert_eq!(chat("length").map(|answer| answer.stop), Ok(Stop::Length));
    assert_eq!(chat("content_filter").map(|answer| answer.stop), Ok(Stop::Refused("content_filter".into())));
    let messages = |reason: &str| {
        assembled(Api::Messages, &[json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}})])
    };
    assert_eq!(messages("max_tokens").map(|answer| answer.stop), Ok(Stop::Length));
    assert_eq!(messages("refusal").map(|answer| answer.stop), Ok(Stop::Refused("refusal".into())));
    let responses =
        json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
    assert_eq!(assembled(Api::Responses, &[responses]).map(|answer| answer.stop), Ok(Stop::Length));
}

fn image() -> Part {
    Part::Image(Image { media_type: "image/png".into(), base64: "AAAA".into(), width: 1, height: 1 })
}

/// A conversation that grows by every kind of entry.
fn growing(api: Api) -> Vec<Entry> {
    let result = |id: &str, free, parts| CallResult {
        id: id.into(),
        name: "t".into(),
        free,
        in_words: false,
        parts,
        failed: free,
        file: None,
    };
    let answer = assembled(api, &events(api)).expect("an answer");
    vec![
        Entry::User { parts: vec![Part::Text { text: "shared".into(), anchor: true }, Part::text("own")] },
        Entry::Answer { items: answer.items },
        Entry::Results {
            results: vec![
                result("c1", true, vec![Part::text("no")]),
                result("c2", false, vec![Part::text("see"), image()]),
            ],
        },
        Entry::Answer { items: vec![Item::Text { text: "done".into() }] },
        Entry::user("the checks failed"),
        Entry::Answer { items: Vec::new() },
        Entry::user("go on"),
    ]
}

#[test]
fn what_was_sent_once_is_sent_the_same_ever_after() {
    for api in APIS {
        let mut history = History::default();
        let mut before: Vec<u8> = Vec::new();
        for entry in growing(api) {
            history.push(entry);
            let body = bytes(api, &history);
            // Without the brackets that close the list and the body.
            let open = body.strip_suffix(b"]}").expect("the conversation is last");
            assert!(open.starts_with(&before), "{api:?}:\n{}", String::from_utf8_lossy(&body));
            before = open.to_vec();
        }
    }
}

#[test]
fn reasoning_goes_back_as_it_came_and_only_over_its_own_wire() {
    for api in APIS {
        let history = History::of(growing(api), 0);
        let own = rendered(api, &history).to_string();
        let sealed = match api {
            Api::Responses => r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"sealed"}"#,
            Api::Chat => r#""reasoning_content":"hm""#,
            Api::Messages => r#"{"type":"thinking","thinking":"hm","signature":"sig"}"#,
        };
        assert!(own.contains(sealed), "{api:?}: {own}");
        for other in APIS.into_iter().filter(|&other| other != api) {
            let body = rendered(other, &history).to_string();
            assert!(!body.contains("\"hm\"") && !body.contains("sealed"), "{api:?} over {other:?}");
        }
    }
}

#[test]
fn each_wire_says_it_its_own_way() {
    let body = rendered(Api::Responses, &History::of(growing(Api::Responses), 0));
    assert_eq!(
        body["input"][3],
        json!({"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"})
    );
    assert_eq!(body["input"][5], json!({"type": "custom_tool_call_output", "call_id": "c1", "output": "no"}));
    assert_eq!(body["input"][6]["output"][1]["image_url"], "data:image/png;base64,AAAA");
    assert_eq!(body["tools"][1]["format"]["syntax"], "lark");
    assert_eq!((&body["store"], &body["include"][0]), (&json!(false), &json!("reasoning.encrypted_content")));
    assert_eq!((&body["reasoning"]["effort"], &body["text"]["verbosity"]), (&json!("high"), &json!("low")));

    let body = rendered(Api::Chat, &History::of(growing(Api::Chat), 0));
    assert_eq!(body["messages"][2]["tool_calls"][1]["function"]["arguments"], "{\"invalid_arguments\":\"{broken\"}");
    assert_eq!(body["messages"][4], json!({"role": "tool", "tool_call_id": "c2", "content": "see"}));
    assert_eq!(body["messages"][5]["content"][1]["image_url"]["url"], "data:image/png;base64,AAAA");
    assert_eq!((&body["max_tokens"], &body["reasoning_effort"]), (&json!(9_000), &json!("high")));

    let body = rendered(Api::Messages, &History::of(growing(Api::Messages), 0));
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["messages"][2]["content"][0]["is_error"], true);
    assert_eq!(body["messages"][2]["content"][1]["content"][1]["source"]["data"], "AAAA");
    assert_eq!(body["tools"][2], json!({"type": "bash_20250124", "name": "bash"}));
    assert_eq!(body["thinking"]["budget_tokens"], 7_976, "below the largest answer");
    assert!(body["messages"].as_array().expect("a list").iter().all(|message| message["content"] != json!([])));
}

#[test]
fn what_a_job_sets_reaches_a_model_that_nobody_knows() {
    let traits = Traits::default();
    let (settings, history) = (Settings { traits, ..settings() }, History::default());
    for (api, places) in [
        (Api::Responses, &["/reasoning/effort", "/text/verbosity"][..]),
        (Api::Chat, &["/reasoning_effort", "/verbosity"]),
        (Api::Messages, &["/output_config/effort"]),
    ] {
        let body = |settings: &Settings| -> Value {
            let request = Request { settings, system: "s", tools: &[], choice: &Choice::Any, history: &history };
            serde_json::from_slice(&api.render(&request)).expect("JSON")
        };
        let said = body(&settings);
        for (place, wanted) in places.iter().zip(["high", "low"]) {
            assert_eq!(said.pointer(place), Some(&wanted.into()), "{api:?}: {said}");
        }
        let silent = body(&Settings { effort: None, verbosity: None, ..settings.clone() });
        assert!(places.iter().all(|place| silent.pointer(place).is_none()), "{api:?}: {silent}");
    }
}

#[test]
fn an_answer_can_be_bound_to_a_schema_or_to_words() {
    let (settings, history, schema) = (settings(), History::default(), json!({"type": "object"}));
    for (api, place) in [
        (Api::Responses, "/text/format/schema"),
        (Api::Chat, "/response_format/json_schema/schema"),
        (Api::Messages, "/output_config/format/schema"),
    ] {
        let choice = Choice::Schema(schema.clone());
        let request = Request { settings: &settings, system: "s", tools: &[], choice: &choice, history: &history };
        let body: Value = serde_json::from_slice(&api.render(&request)).expect("JSON");
        assert_eq!(body.pointer(place), Some(&schema), "{api:?}: {body}");
        assert_eq!(body.get("tools"), None);
        let tools = tools();
        let request =
            Request { settings: &settings, system: "s", tools: &tools, choice: &Choice::Words, history: &history };
        let body: Value = serde_json::from_slice(&api.render(&request)).expect("JSON");
        let forbidden = if api == Api::Messages { Value::Null } else { "none".into() };
        assert_eq!(body["tool_choice"], forbidden, "a choice would empty the caches of messages");
    }
}
