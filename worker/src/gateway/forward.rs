//! A call on its way: looked at, reserved, sent on, and its answer passed back as it comes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::api::{Api, Ask, Route};
use super::beyond;
use super::config::Provider;
use super::estimate;
use super::exchange::{Asked, Exchange};
use super::ledger::Worst;
use super::record::digest;
use super::refusal::Refusal;
use super::reset;
use super::server::{Outcome, Shared, Waiting};

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Bytes of an error's text that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// From this size on the tokens of a request are counted on a thread of their own, in bytes.
const COUNTED_APART_BYTES: usize = 64 << 10;

/// Shortest wait for a provider's limit, whatever it says.
const LIMIT_WAIT_MIN: Duration = Duration::from_millis(250);

/// Headers of a request that stay here: they are about this connection, or are keys.
const KEPT_BACK: [&str; 13] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "x-api-key",
    "x-goog-api-key",
];

/// Headers of an answer that are passed on: these, and those that begin so.
const PASSED: [&str; 5] = ["content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms"];
const PASSED_STARTS: [&str; 3] = ["x-ratelimit-", "anthropic-", "openai-"];

pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let route = Route::of(head.uri.path()).filter(|_| head.method == Method::POST);
    let api = route.as_ref().map(|route| route.api);
    let served = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Err(Refusal::Ended),
        served = serve(&shared, &head, body, route) => served,
    };
    served.unwrap_or_else(|refusal| {
        tracing::debug!(code = refusal.code(), %refusal, "a call to a model is refused");
        refusal.response(api)
    })
}

async fn serve(shared: &Arc<Shared>, head: &Parts, body: Body, route: Option<Route>) -> Result<Response, Refusal> {
    if !is_ours(shared, head) {
        return Err(Refusal::Key);
    }
    let path = head.uri.path();
    if head.method == Method::GET && (path == "/v1/models" || path == "/v1beta/models") {
        return Ok(models(shared));
    }
    let route = route.ok_or_else(|| Refusal::Path(format!("{} {path}", head.method)))?;
    if let Some(Outcome::ProviderLimit { provider, until_ms }) = shared.outcome() {
        let left = until_ms.saturating_sub(Timestamp::now().as_millisecond());
        return Err(Refusal::Limit { provider, seconds: u64::try_from(left).unwrap_or_default().div_ceil(1_000) });
    }
    if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(Refusal::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let bytes = to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|error| Refusal::Body(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| Refusal::Body(error.to_string()))?;
    if !value.is_object() {
        return Err(Refusal::Body("not an object".to_owned()));
    }
    if let Some(what) = beyond::named(route.api, &value) {
        return Err(Refusal::Beyond(what));
    }
    let named = route.model.clone().or_else(|| value["model"].as_str().map(str::to_owned));
    let model = named.ok_or_else(|| Refusal::Body("no model is named".to_owned()))?;
    let provider = shared.provider(route.api, &model).cloned();
    let provider = provider.ok_or_else(|| Refusal::Model { model: model.clone(), api: route.api.name() })?;
    if let Some(path) = shared.config.barred.found(&value) {
        let (path, provider) = (path.to_owned(), provider.name);
        shared.end(Outcome::Barred { path: path.clone(), provider: provider.clone() });
        return Err(Refusal::Barred { path, provider });
    }
    let call = Call { shared, head, route: &route, provider, model };
    match route.ask {
        Ask::Generate => call.generate(bytes, value).await,
        Ask::Count => call.count(bytes).await,
    }
}

/// Whether every key that a request shows, and at least one, is this gateway's.
fn is_ours(shared: &Shared, head: &Parts) -> bool {
    let text = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let bearer = text("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or_default());
    let in_query = head.uri.query().into_iter().flat_map(|query| query.split('&'));
    let in_query = in_query.filter_map(|pair| pair.strip_prefix("key="));
    let shown: Vec<&str> =
        bearer.into_iter().chain(text("x-api-key")).chain(text("x-goog-api-key")).chain(in_query).collect();
    !shown.is_empty() && shown.iter().fold(true, |all, key| shared.opens(key) & all)
}

/// The models that are allowed by their names; nobody is asked.
fn models(shared: &Shared) -> Response {
    let names = shared.config.providers.iter().flat_map(|provider| {
        provider.models.iter().filter(|name| !name.contains(['*', '?', '[', '{'])).map(move |name| (name, provider))
    });
    let model = |(name, provider): (&String, &Provider)| json!({"id": name, "object": "model", "created": 0, "owned_by": provider.name});
    let body = json!({"object": "list", "data": names.map(model).collect::<Vec<_>>()});
    respond(200, "application/json", Body::from(body.to_string()))
}

/// A call that may be made.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    head: &'a Parts,
    route: &'a Route,
    provider: Provider,
    model: String,
}

impl Call<'_> {
    async fn generate(self, bytes: Bytes, mut value: Value) -> Result<Response, Refusal> {
        let (shared, api) = (self.shared, self.route.api);
        let streams = self.route.streams || value["stream"] == true;
        let digest = digest(api, &self.model, streams, &value);
        if let Some(replayer) = &shared.replayer {
            let answer =
                replayer.answer(&digest).inspect_err(|error| tracing::warn!(%error, "the record is not readable"));
            let (entry, body) = answer.ok().flatten().ok_or(Refusal::NotRecorded)?;
            return Ok(respond(entry.status, &entry.content_type, Body::from(body)));
        }
        let config = &shared.config;
        let price = config.prices.of(&self.model).cloned();
        if price.is_none() && config.allowance.usd_micros > 0 {
            return Err(Refusal::NoPrice(self.model));
        }
        let bytes = complete(api, streams, config.output_tokens_max, &mut value).unwrap_or(bytes);
        let output = estimate::output_tokens(api, &value, config.output_tokens_max);
        let input = input_tokens(value, bytes.len()).await;
        let usd_micros = price.as_ref().map_or(0, |price| price.worst(input, output));
        let worst = Worst { input, output, usd_micros };
        let asked = Asked { provider: self.provider.clone(), model: self.model.clone(), streams, digest, worst, price };
        let mut exchange = Exchange::open(shared, asked, &bytes)?;
        self.wait_for_rates(input.saturating_add(output)).await;
        exchange.passed = true;
        let answer = self.send_within_limits(&mut exchange, &bytes).await?;
        let status = answer.status().as_u16();
        let headers = passed_on(answer.headers());
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        exchange.begins(status, kind);
        let body = if status >= 300 {
            // Errors may say the key they were sent with.
            let text = config.secrets.redact(&read(answer, config.idle_max).await);
            shared.answered(&self.provider.name, status, &String::from_utf8_lossy(&text));
            exchange.passes(&text);
            exchange.ends();
            Body::from(text)
        } else {
            shared.answered(&self.provider.name, status, "");
            relay(exchange, answer)
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Counting costs nothing and leaves no trace, but what is counted goes to the provider.
    async fn count(self, bytes: Bytes) -> Result<Response, Refusal> {
        if self.shared.replayer.is_some() {
            return Err(Refusal::NotRecorded);
        }
        let answer = self.send(&bytes).await.map_err(|(refusal, _)| refusal)?;
        let (status, kind) = (answer.status().as_u16(), "application/json");
        let text = self.shared.config.secrets.redact(&read(answer, self.shared.config.idle_max).await);
        Ok(respond(status, kind, Body::from(text)))
    }

    async fn wait_for_rates(&self, tokens: u64) {
        let mut waited = false;
        let waits = |wait: Duration| {
            waited = true;
            self.shared.waits(Some(self.waiting(wait, false)));
        };
        self.provider.rates.acquire(tokens, waits).await;
        if waited {
            self.shared.waits(None);
        }
    }

    fn waiting(&self, wait: Duration, said_by_provider: bool) -> Waiting {
        Waiting { provider: self.provider.name.clone(), until_ms: in_ms(wait), said_by_provider }
    }

    /// Sends until the provider takes it; a limit that is over soon is waited for.
    async fn send_within_limits(&self, exchange: &mut Exchange, bytes: &Bytes) -> Result<reqwest::Response, Refusal> {
        let config = &self.shared.config;
        let mut waited = Duration::ZERO;
        loop {
            exchange.sent = true;
            let answer = self.send(bytes).await.map_err(|(refusal, reached)| {
                exchange.sent = reached;
                refusal
            })?;
            if !reset::is_limit(answer.status().as_u16(), answer.headers()) {
                return Ok(answer);
            }
            // A call that was turned away is not billed.
            exchange.sent = false;
            let headers = answer.headers().clone();
            let text = String::from_utf8_lossy(&read(answer, config.idle_max).await).into_owned();
            let wait = reset::wait(&headers, &text, Timestamp::now()).max(LIMIT_WAIT_MIN);
            waited = waited.saturating_add(wait);
            if waited > config.limit_wait_max {
                let provider = self.provider.name.clone();
                let seconds = wait.as_secs_f64().ceil() as u64;
                self.shared.end(Outcome::ProviderLimit { provider: provider.clone(), until_ms: in_ms(wait) });
                return Err(Refusal::Limit { provider, seconds });
            }
            self.shared.waits(Some(self.waiting(wait, true)));
            tokio::time::sleep(wait).await;
            self.shared.waits(None);
        }
    }

    /// Sends once, with the real key; an error says whether the provider may have got it.
    async fn send(&self, bytes: &Bytes) -> Result<reqwest::Response, (Refusal, bool)> {
        let (provider, idle) = (&self.provider, self.shared.config.idle_max);
        let mut url = format!("{}{}", provider.url.trim_end_matches('/'), self.route.rest);
        let query: Vec<&str> = self.head.uri.query().into_iter().flat_map(|query| query.split('&')).collect();
        let query: Vec<&str> = query.into_iter().filter(|pair| !pair.starts_with("key=")).collect();
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        let mut headers = self.head.headers.clone();
        for name in KEPT_BACK {
            headers.remove(name);
        }
        if let Some((name, value)) = key_header(provider) {
            headers.insert(name, value);
        }
        let sending = self.shared.client.post(url).headers(headers).body(bytes.clone()).send();
        match timeout(idle, sending).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let reached = !error.is_connect() && !error.is_builder();
                // Not the address: it is the operator's.
                let what = error.without_url();
                tracing::warn!(provider = provider.name, error = %what, "a provider cannot be reached");
                self.shared.troubled(Some(format!("{} cannot be reached: {what}", provider.name)));
                Err((Refusal::Unreachable(provider.name.clone(), what.to_string()), reached))
            }
            Err(_) => {
                let refusal = Refusal::Silent(provider.name.clone(), idle.as_secs());
                self.shared.troubled(Some(refusal.to_string()));
                Err((refusal, true))
            }
        }
    }
}

/// Adds what a body lacks for its worst case to hold; `None` when it lacks nothing.
fn complete(api: Api, streams: bool, output_max: u64, body: &mut Value) -> Option<Bytes> {
    let unbounded = api.output_max(body).is_none();
    if unbounded {
        api.set_output_max(body, output_max);
    }
    let silent = api == Api::OpenaiChat && streams && body["stream_options"]["include_usage"] != true;
    if silent {
        if !body["stream_options"].is_object() {
            body["stream_options"] = json!({});
        }
        body["stream_options"]["include_usage"] = true.into();
    }
    (unbounded || silent).then(|| Bytes::from(body.to_string()))
}

async fn input_tokens(body: Value, bytes: usize) -> u64 {
    if bytes < COUNTED_APART_BYTES {
        return estimate::input_tokens(&body);
    }
    // Every byte is a token at worst, should the thread fail.
    tokio::task::spawn_blocking(move || estimate::input_tokens(&body)).await.unwrap_or(bytes as u64)
}

fn key_header(provider: &Provider) -> Option<(HeaderName, HeaderValue)> {
    let key = provider.key.0.first()?;
    let (name, value) = match provider.api {
        Api::OpenaiResponses | Api::OpenaiChat => (header::AUTHORIZATION, format!("Bearer {key}")),
        Api::AnthropicMessages => (HeaderName::from_static("x-api-key"), key.clone()),
        Api::Gemini => (HeaderName::from_static("x-goog-api-key"), key.clone()),
    };
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let passes = |name: &str| PASSED.contains(&name) || PASSED_STARTS.iter().any(|start| name.starts_with(start));
    let all = headers.iter().filter(|(name, _)| passes(name.as_str()));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Passes an answer on as it comes. An error on the way breaks the connection to the agent too: an
/// end that looks whole would be a lie.
fn relay(exchange: Exchange, answer: reqwest::Response) -> Body {
    let (idle, stop) = (exchange.idle_max(), exchange.stop());
    let stream = futures::stream::unfold(Some((exchange, answer)), move |state| {
        let stop = stop.clone();
        async move {
            let (mut exchange, mut answer) = state?;
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Some((Err(std::io::Error::other("the gateway has ended")), None)),
                next = timeout(idle, answer.chunk()) => next,
            };
            match next {
                Ok(Ok(Some(bytes))) => {
                    exchange.passes(&bytes);
                    Some((Ok(bytes), Some((exchange, answer))))
                }
                Ok(Ok(None)) => {
                    exchange.ends();
                    None
                }
                Ok(Err(_)) => Some((Err(exchange.breaks("the provider broke off")), None)),
                Err(_) => Some((Err(exchange.breaks("the provider fell silent")), None)),
            }
        }
    });
    Body::from_stream(stream)
}

/// The beginning of an answer that is read whole.
async fn read(mut answer: reqwest::Response, idle: Duration) -> Vec<u8> {
    let mut text = Vec::new();
    while let Ok(Ok(Some(bytes))) = timeout(idle, answer.chunk()).await {
        let room = ERROR_BYTES_MAX - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if text.len() == ERROR_BYTES_MAX {
            break;
        }
    }
    text
}

fn respond(status: u16, kind: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    if let Ok(kind) = HeaderValue::try_from(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// A time from now, in milliseconds since the epoch.
fn in_ms(wait: Duration) -> i64 {
    Timestamp::now().as_millisecond().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}
