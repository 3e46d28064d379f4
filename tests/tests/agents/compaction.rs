//! A conversation that never ends: its window is emptied again and again, and nothing that must be
//! kept is lost.

use std::collections::BTreeSet;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use longhaul_common::tokens;
use longhaul_proto::Failure;
use longhaul_worker::model::{
    Api, Call, CallError, Client, Conversation, Crew, Delta, Does, Ending, Endpoint, Entry, Facts, Hands, Limits, Note,
    Outcome, Part, Profile, Setup, Turns,
};
use longhaul_worker::stuck::Watch;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wires::{PATIENCE, settings};

/// Tokens of the model's window, and of its largest answer.
const CONTEXT: u64 = 8_000;
const ANSWER: u64 = 1_000;

/// Compactions after which it is believed that it can go on for ever.
const COMPACTIONS: u32 = 50;

/// What the server saw.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    summaries: AtomicUsize,
    largest: AtomicUsize,
    /// Requests with folded output.
    folded: AtomicUsize,
}

/// What stands in the place of output that was folded.
const FOLDED: &[u8] = b"bytes of output folded";

/// A fact that the model asks to be kept in its summary with this number.
fn own_fact(summary: usize) -> String {
    format!("own fact {summary}: run `make check-{summary}`")
}

/// Every third summary is none at all, and no summary mentions what people said.
fn summary(number: usize) -> String {
    if number % 3 == 2 {
        return "I would rather not.".to_owned();
    }
    let done: Vec<String> = (0..number + 40).map(|step| format!("step {step} of a long list of things")).collect();
    json!({"goal": "go on", "done": done, "open": ["the rest"], "keep": [own_fact(number)]}).to_string()
}

/// Chat Completions: a call of a tool, as one or by the schema, or a summary when it is asked for.
async fn answer(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    let body = to_bytes(request.into_body(), 64 << 20).await.expect("a body");
    let size = tokens::count(&String::from_utf8_lossy(&body));
    seen.largest.fetch_max(size, Ordering::Relaxed);
    seen.folded.fetch_add(body.windows(FOLDED.len()).any(|part| part == FOLDED).into(), Ordering::Relaxed);
    let value: Value = serde_json::from_slice(&body).expect("JSON");
    let last = value["messages"].as_array().and_then(|all| all.last()).expect("a message");
    let asks = last["content"].as_str().unwrap_or_default().starts_with("Your context window is nearly full");
    let delta = if asks {
        json!({"content": summary(seen.summaries.fetch_add(1, Ordering::Relaxed))})
    } else {
        let number = seen.calls.fetch_add(1, Ordering::Relaxed);
        let command = format!("look {number}");
        if value["response_format"].is_object() {
            json!({"content": json!({"thought": "t", "action": {"tool": "shell", "command": command}}).to_string()})
        } else {
            let arguments = json!({ "command": command }).to_string();
            let function = json!({"name": "shell", "arguments": arguments});
            json!({"tool_calls": [{"index": 0, "id": format!("c{number}"), "function": function}]})
        }
    };
    let event = json!({"choices": [{"delta": delta, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": size, "completion_tokens": 20}});
    let mut response = Response::new(Body::from(format!("data: {event}\n\ndata: [DONE]\n\n")));
    response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a header"));
    response
}

/// Plants a fact after each compaction, and looks after each turn whether all are still there.
struct Planter {
    planted: BTreeSet<String>,
    waiting: Option<String>,
    compactions: u32,
    turns: u8,
    room: usize,
    cancel: CancellationToken,
    folds: u32,
}

impl Hands for Planter {
    async fn call(&mut self, _: Does, call: &Call) -> Outcome {
        let line = format!("a line of what {} says\n", call.input.text());
        Outcome { file: Some("/tmp/tools/1.txt".into()), ..Outcome::said(line.repeat(60)) }
    }

    async fn check(&mut self) -> Result<Option<String>, Box<Failure>> {
        Ok(None)
    }

    async fn diff(&mut self) -> Result<[u8; 32], Box<Failure>> {
        self.turns = self.turns.wrapping_add(1);
        Ok([self.turns; 32])
    }

    fn turn_ended(&mut self, conversation: &Conversation) {
        let text: String = conversation.history().entries().iter().map(words).collect();
        for fact in &self.planted {
            assert!(text.contains(fact), "lost after {} compactions: {fact}\n{text}", self.compactions);
        }
        assert!(conversation.size() <= self.room, "{} tokens", conversation.size());
        if conversation.summaries() > self.compactions {
            let number = self.compactions as usize;
            if number % 3 != 2 {
                assert!(text.contains(&own_fact(number)), "not kept: {}\n{text}", own_fact(number));
                self.planted.insert(own_fact(number));
            }
            self.compactions = conversation.summaries();
            self.waiting = Some(format!("the port of service {number} is {}", 4_000 + number));
        }
        if self.compactions >= COMPACTIONS {
            self.cancel.cancel();
        }
    }

    fn note(&mut self, note: Note<'_>) {
        self.folds += u32::from(note == Note::Folded);
    }

    fn learned(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn heard(&mut self) -> Vec<String> {
        let heard: Vec<String> = self.waiting.take().into_iter().collect();
        self.planted.extend(heard.iter().cloned());
        heard
    }
}

fn words(entry: &Entry) -> String {
    let text = |parts: &[Part]| {
        let one = |part: &Part| match part {
            Part::Text { text, .. } => format!("{text}\n"),
            Part::Image(_) => String::new(),
        };
        parts.iter().map(one).collect::<String>()
    };
    match entry {
        Entry::User { parts } => text(parts),
        Entry::Results { results } => results.iter().map(|result| text(&result.parts)).collect(),
        Entry::Answer { .. } => String::new(),
    }
}

/// A conversation in a window of [`CONTEXT`] with a server of its own, which ends with the guard.
async fn conversation(profile: &str, task: &str) -> (Conversation, Arc<Seen>, DropGuard) {
    let seen = Arc::new(Seen::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let stop = CancellationToken::new();
    let serving = stop.clone();
    tokio::spawn(async move { serving.run_until_cancelled(axum::serve(listener, router).into_future()).await });
    let endpoint = Endpoint { api: Api::Chat, url, key: None, headers: Vec::new() };
    let client = Client::new(endpoint, PATIENCE).expect("a client");

    let mut profile = Profile::of("m", Some(profile)).expect("a profile");
    (profile.context_tokens, profile.answer_tokens) = (CONTEXT, ANSWER);
    let mut facts = Facts::default();
    facts.tell("never touch the file LICENSE");
    let system = profile.system.to_owned();
    let setup = Setup { settings: settings(), system, profile, task: vec![Part::text(task)], facts };
    (Conversation::new(client, setup, None), seen, stop.drop_guard())
}

/// Keeps looking until the limits, or 50 compactions.
async fn look(conversation: &mut Conversation, limits: Limits) -> (Ending, Planter) {
    let cancel = CancellationToken::new();
    let mut hands = Planter {
        planted: BTreeSet::new(),
        waiting: None,
        compactions: 0,
        turns: 0,
        room: (CONTEXT - ANSWER) as usize,
        cancel: cancel.clone(),
        folds: 0,
    };
    let watch = Watch::default();
    let crew = &mut Crew::default();
    let turns = Turns { conversation, hands: &mut hands, limits, watch, cancel: &cancel, crew, level: 0 };
    (turns.run(&mut |_: Delta| {}).await, hands)
}

#[tokio::test]
async fn fifty_compactions_lose_no_fact_and_stay_within_the_window() {
    let (mut conversation, seen, _serving) = conversation("general", "The task: keep looking.").await;
    let (ending, hands) = look(&mut conversation, Limits::default()).await;
    assert!(matches!(ending, Ending::Unanswered(CallError::Cancelled)), "{ending:?}");
    assert_eq!(conversation.summaries(), COMPACTIONS);
    assert_eq!(seen.summaries.load(Ordering::Relaxed), COMPACTIONS as usize);
    assert!(hands.planted.len() > 80, "{} facts", hands.planted.len());
    assert!(conversation.facts().all().any(|fact| fact == "never touch the file LICENSE"));
    let largest = seen.largest.load(Ordering::Relaxed) as u64;
    assert!(largest + ANSWER <= CONTEXT, "a request of {largest} tokens");
}

#[tokio::test]
async fn a_model_without_calls_has_its_old_output_folded_too() {
    for profile in ["general", "schema"] {
        let (mut conversation, seen, _serving) = conversation(profile, "The task: keep looking.").await;
        let (ending, hands) = look(&mut conversation, Limits { turns: 16, ..Limits::default() }).await;
        assert!(matches!(ending, Ending::Turns(16)), "{profile}: {ending:?}");
        assert!(hands.folds >= 3, "{profile}: {} folds, {} summaries", hands.folds, conversation.summaries());
        assert!(seen.folded.load(Ordering::Relaxed) >= 8, "{profile}: {:?}", seen.folded);
        assert!(conversation.summaries() < hands.folds, "{profile}: {} summaries", conversation.summaries());
    }
}

#[tokio::test]
async fn an_opening_that_leaves_no_room_to_work_in_ends_it_by_name() {
    let task = "The task, at great length. ".repeat(600);
    let (mut conversation, seen, _serving) = conversation("general", &task).await;
    let (ending, _) = look(&mut conversation, Limits::default()).await;
    let Ending::Unanswered(CallError::NoRoom { needs, room }) = ending else { panic!("{ending:?}") };
    assert!(needs > 3_500 && room < 3_500, "{needs} of {room}");
    assert!(ending.words().contains("name a model with a larger window (`context_tokens`)"), "{}", ending.words());
    assert_eq!(seen.calls.load(Ordering::Relaxed), 0, "nothing is asked in vain");
}
