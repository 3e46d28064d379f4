//! The server: takes requests, records them, answers from the script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::answer::{Answer, Frame};
use super::body::{self, Gates};
use super::place::Format;
use super::record::{Cache, Recorded};
use super::script::{Script, Step};
use super::{chat, gemini, messages, responses, side};

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 256 << 20;

/// How long a test waits for a request before it gives up.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// A model on 127.0.0.1; it ends when this is dropped.
pub struct ScriptedModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Script,
    seen: Mutex<Seen>,
    count: watch::Sender<usize>,
    gates: Gates,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Recorded>,
    cache: Cache,
}

impl ScriptedModel {
    /// Listens on a free port.
    pub async fn start(script: Script) -> Result<Self> {
        Self::start_at(script, 0).await
    }

    /// Listens on this port; 0 is a free one.
    pub async fn start_at(script: Script, port: u16) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.context("cannot listen")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script,
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            gates: Gates::new(Vec::new()),
        });
        let router = axum::Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends only with the task.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, shared, serving })
    }

    /// Where it listens, without a path: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.seen().requests.clone()
    }

    /// Waits until so many requests came, however long that takes.
    pub async fn wait_for_count(&self, count: usize) {
        // The sender is held here, so the channel cannot close.
        drop(self.shared.count.subscribe().wait_for(|&seen| seen >= count).await);
    }

    /// Waits until so many requests came, and gives them all.
    pub async fn wait_for_requests(&self, count: usize) -> Result<Vec<Recorded>> {
        let waiting = tokio::time::timeout(REQUEST_MAX, self.wait_for_count(count));
        waiting.await.with_context(|| format!("not {count} requests after {REQUEST_MAX:?}"))?;
        Ok(self.requests())
    }

    /// Opens a gate that steps wait for; it stays open.
    pub fn open(&self, gate: &str) {
        self.shared.gates.send_modify(|open| open.push(gate.to_owned()));
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request; gives the bytes of its prompt that were in the cache, and how many with
    /// the same body came before.
    fn record(&self, mut request: Recorded, model: &str, prompt: &[u8]) -> (u64, usize) {
        let mut seen = self.seen();
        let bytes = if prompt.is_empty() { 0 } else { seen.cache.take(model, prompt) };
        request.cached_tokens = count(&prompt[..bytes]);
        let same = |other: &&Recorded| other.body == request.body && other.path == request.path;
        let found = (request.cached_tokens, seen.requests.iter().filter(same).count());
        seen.requests.push(request);
        self.count.send_replace(seen.requests.len());
        found
    }
}

fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn count(prompt: &[u8]) -> u64 {
    longhaul_common::tokens::count(&String::from_utf8_lossy(prompt)) as u64
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return plain(400, &json!({"error": {"message": "the body cannot be read"}}));
    };
    let path = head.uri.path().to_owned();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = value["model"].as_str().map(str::to_owned).unwrap_or_else(|| model_of(&path));
    let found = Format::of(&path).filter(|_| head.method == Method::POST);
    let prompt = found.map(|(format, _)| format.prompt(&value)).unwrap_or_default();
    let recorded = Recorded {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: headers(&head.headers),
        body: body.to_vec(),
        cached_tokens: 0,
        at_us: now_us(),
    };
    let (cached, earlier) = shared.record(recorded, &model, &prompt);
    let Some((format, streams)) = found else { return beside(&head.method, &path, &value) };
    let streams = streams || value["stream"] == true;
    let step = side::answer(&shared.script, &value).unwrap_or_else(|| {
        let place = format.place(&value);
        shared.script.pick(&String::from_utf8_lossy(&body), place.turn, place.step)
    });
    let step = if step.times.is_some_and(|times| earlier >= times) { step.recovered() } else { step };
    if let Some(gate) = &step.gate {
        body::opened(&shared.gates, gate).await;
    }
    if step.delay > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(step.delay)).await;
    }
    if let Some(status) = step.status {
        return with_headers(plain(status, &refusal(format, status, &step)), &step);
    }
    let answer = Answer::new(&step, &body, &model, count(&prompt), cached);
    with_headers(answered(&shared, format, streams, &value, &step, &answer), &step)
}

fn answered(shared: &Shared, format: Format, streams: bool, body: &Value, step: &Step, answer: &Answer) -> Response {
    if !streams {
        let value = match format {
            Format::Responses => responses::plain(answer),
            Format::Chat => chat::plain(answer),
            Format::Messages => messages::plain(answer),
            Format::Gemini => gemini::plain(answer),
        };
        // Failures of streams happen to the one piece that a plain answer is.
        let frame = Frame { bytes: value.to_string().into_bytes(), is_text: true };
        let cut = Step { cut: step.cut.map(|_| 0), ..step.clone() };
        let spoiled = step.drop || step.cut.is_some() || step.garbage || step.invalid_utf8 || step.endless;
        let body = match spoiled || step.gate_middle.is_some() {
            true => body::stream(&cut, vec![frame], shared.gates.clone()),
            false => Body::from(frame.bytes),
        };
        return response(200, "application/json", body);
    }
    let with_usage = body["stream_options"]["include_usage"] == true;
    let frames = match format {
        Format::Responses => responses::frames(answer),
        Format::Chat => chat::frames(answer, with_usage),
        Format::Messages => messages::frames(answer),
        Format::Gemini => gemini::frames(answer),
    };
    response(200, "text/event-stream", body::stream(step, frames, shared.gates.clone()))
}

/// Requests that are no conversation.
fn beside(method: &Method, path: &str, body: &Value) -> Response {
    let counted = || count(&[Format::Messages.prompt(body), Format::Gemini.prompt(body)].concat());
    if *method == Method::GET && path.ends_with("/models") {
        let model = json!({"id": "mock-model", "object": "model", "created": 0, "owned_by": "script"});
        let gemini = json!({"name": "models/mock-model", "supportedGenerationMethods": ["generateContent"]});
        return plain(200, &json!({"object": "list", "data": [model], "models": [gemini]}));
    }
    if path.ends_with("/messages/count_tokens") {
        return plain(200, &json!({"input_tokens": counted()}));
    }
    if path.ends_with(":countTokens") {
        return plain(200, &json!({"totalTokens": counted()}));
    }
    if path.ends_with("/responses/compact") {
        let text = json!({"type": "input_text", "text": "summary: compacted by the script"});
        return plain(200, &json!({"output": [{"type": "message", "role": "user", "content": [text]}]}));
    }
    plain(404, &json!({"error": {"message": format!("the script has no {path}"), "type": "not_found_error"}}))
}

/// An error in the provider's shape.
fn refusal(format: Format, status: u16, step: &Step) -> Value {
    let message = format!("scripted {status}");
    match (format, step.error.clone()) {
        (Format::Messages, Some(error)) if error["type"] != "error" => json!({"type": "error", "error": error}),
        (_, Some(error)) => error,
        (Format::Messages, None) => {
            let kind = match status {
                401 => "authentication_error",
                404 => "not_found_error",
                429 => "rate_limit_error",
                529 => "overloaded_error",
                400..=499 => "invalid_request_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}})
        }
        (Format::Gemini, None) => {
            let kind = match status {
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                400..=499 => "INVALID_ARGUMENT",
                _ => "INTERNAL",
            };
            json!({"error": {"code": status, "message": message, "status": kind}})
        }
        (Format::Responses | Format::Chat, None) => {
            let (kind, code) = match status {
                401 => ("invalid_request_error", "invalid_api_key"),
                404 => ("invalid_request_error", "model_not_found"),
                429 => ("rate_limit_exceeded", "rate_limit_exceeded"),
                400..=499 => ("invalid_request_error", "invalid_value"),
                _ => ("server_error", "server_error"),
            };
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
    }
}

/// The model in a path of Gemini.
fn model_of(path: &str) -> String {
    let name = path.rsplit_once("/models/").map(|(_, rest)| rest.split(':').next().unwrap_or_default());
    name.unwrap_or_default().to_owned()
}

fn headers(headers: &HeaderMap) -> std::collections::BTreeMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn plain(status: u16, value: &Value) -> Response {
    response(status, "application/json", Body::from(Bytes::from(value.to_string())))
}

fn response(status: u16, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn with_headers(mut response: Response, step: &Step) -> Response {
    for (name, value) in &step.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
