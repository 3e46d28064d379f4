//! Calls of a model over HTTP: streaming, with a limit between two pieces but none on the whole,
//! and asked again where that can help.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sse_stream::SseStream;
use tokio_util::sync::CancellationToken;

use super::wire::{Answer, Api, CallError, Delta, Remedy};

/// Largest refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// How calls are made, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest time to reach the provider.
    pub connect: Duration,
    /// Longest time between two pieces of an answer.
    pub idle: Duration,
    /// How often one call is tried.
    pub tries: u32,
    /// The first pause between two tries; it doubles.
    pub pause: Duration,
    /// Longest pause, and the longest limit of a provider that is waited for.
    pub pause_max: Duration,
    /// Largest answer, in bytes as they travel: nothing a model says is longer.
    pub answer_bytes_max: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            idle: Duration::from_secs(300),
            tries: 6,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(60),
            answer_bytes_max: 32 << 20,
        }
    }
}

/// Where a model is.
#[derive(Clone)]
pub struct Endpoint {
    /// What it speaks.
    pub api: Api,
    /// The provider's address with its version: `https://api.example.com/v1`.
    pub url: String,
    /// The key, if it wants one.
    pub key: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("api", &self.api).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A client of one model.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    patience: Patience,
}

/// Watches an answer as it streams.
pub type OnDelta<'a> = &'a mut (dyn FnMut(Delta) + Send);

impl Client {
    /// For an endpoint. Proxies of the environment are not asked: what may be reached is decided
    /// elsewhere.
    pub fn new(endpoint: Endpoint, patience: Patience) -> Result<Self, CallError> {
        longhaul_common::tls::install();
        let unreachable = |cause: String| CallError::Unreachable { cause };
        let mut headers = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            let name = HeaderName::try_from(name).map_err(|error| unreachable(error.to_string()))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| unreachable("the key is no header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok::<_, CallError>(())
        };
        add("content-type", "application/json")?;
        add("accept", "text/event-stream")?;
        if endpoint.api == Api::Messages {
            add("anthropic-version", ANTHROPIC_VERSION)?;
        }
        if let Some(key) = &endpoint.key {
            match endpoint.api {
                Api::Messages => add("x-api-key", key)?,
                Api::Responses | Api::Chat => add("authorization", &format!("Bearer {key}"))?,
            }
        }
        for (name, value) in &endpoint.headers {
            add(name, value)?;
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(patience.connect)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unreachable(chain(&error)))?;
        Ok(Self { http, endpoint, patience })
    }

    /// What it speaks.
    pub fn api(&self) -> Api {
        self.endpoint.api
    }

    /// Asks until there is an answer, or asking is of no use.
    pub async fn call(&self, body: Vec<u8>, cancel: &CancellationToken, on: OnDelta<'_>) -> Result<Answer, CallError> {
        let body = Bytes::from(body);
        let mut pause = self.patience.pause;
        let mut tried = 0;
        loop {
            let answer = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(CallError::Cancelled),
                answer = self.once(body.clone(), on) => answer,
            };
            let Err(error) = answer else { return answer };
            tried += 1;
            let Remedy::Again(after) = error.remedy() else { return Err(error) };
            if tried >= self.patience.tries || after > self.patience.pause_max {
                return Err(error);
            }
            tracing::info!(%error, tried, "a call of a model is tried again");
            tokio::select! {
                () = tokio::time::sleep(after.max(pause)) => {}
                () = cancel.cancelled() => return Err(CallError::Cancelled),
            }
            pause = (pause * 2).min(self.patience.pause_max);
        }
    }

    async fn once(&self, body: Bytes, on: OnDelta<'_>) -> Result<Answer, CallError> {
        let url = format!("{}/{}", self.endpoint.url.trim_end_matches('/'), self.endpoint.api.path());
        let sent = tokio::time::timeout(self.patience.idle, self.http.post(url).body(body).send()).await;
        let response = sent
            .map_err(|_| CallError::Silent(self.patience.idle))?
            .map_err(|error| CallError::Unreachable { cause: chain(&error) })?;
        let status = response.status();
        if !status.is_success() {
            let after = retry_after(response.headers());
            let text = refusal(response, self.patience.idle).await;
            return Err(CallError::refused(status.as_u16(), after, &text));
        }
        let mut assembler = self.endpoint.api.assembler();
        let mut events = SseStream::from_bytes_stream(Box::pin(pieces(response, self.patience)));
        while !assembler.is_over() {
            match events.next().await {
                Some(Ok(event)) => {
                    if let Some(delta) = assembler.event(event.data.as_deref().unwrap_or_default())? {
                        on(delta);
                    }
                }
                // What is missing was not needed.
                Some(Err(_)) if assembler.is_whole() => break,
                Some(Err(error)) => return Err(broken(error)),
                None => break,
            }
        }
        assembler.finish()
    }
}

/// The pieces of a body, each of which has to come in time.
fn pieces(response: reqwest::Response, patience: Patience) -> impl Stream<Item = Result<Bytes, CallError>> {
    let Patience { idle, answer_bytes_max, .. } = patience;
    futures::stream::try_unfold((response, 0), move |(mut response, seen)| async move {
        let piece = tokio::time::timeout(idle, response.chunk()).await.map_err(|_| CallError::Silent(idle))?;
        let piece = piece.map_err(|error| CallError::Cut { cause: chain(&error) })?;
        let Some(piece) = piece else { return Ok(None) };
        let seen = seen + piece.len();
        if seen > answer_bytes_max {
            return Err(CallError::Endless(answer_bytes_max));
        }
        Ok(Some((piece, (response, seen))))
    })
}

fn broken(error: sse_stream::Error) -> CallError {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<CallError>() {
            Ok(error) => *error,
            Err(error) => CallError::Cut { cause: error.to_string() },
        },
        other => CallError::Garbage { cause: other.to_string() },
    }
}

async fn refusal(mut response: reqwest::Response, idle: Duration) -> String {
    let mut body = Vec::new();
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(idle, response.chunk()).await {
        body.extend_from_slice(&piece);
        if body.len() > REFUSAL_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// An error with its causes: the first one alone says only "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
