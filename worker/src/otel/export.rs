//! Where spans go: a collector that the `OTEL_*` variables name, over gRPC or HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::{Notify, mpsc};

use super::spans::{About, Span, SpanValue};

/// Sessions that wait for the collector.
const QUEUE_MAX: usize = 64;

/// How long a collector may take for one session.
const EXPORT_MAX: Duration = Duration::from_secs(10);

/// How long the end waits for what is queued.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// The variables do not say where to.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A protocol there is no exporter for.
    #[error("{variable} is {value:?}; grpc and http/protobuf are known")]
    Protocol {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// The exporter, in its words.
    #[error("cannot export spans as the OTEL variables say: {0}")]
    Exporter(String),
}

/// Sends sessions to a collector, one after another.
#[derive(Clone, Debug)]
pub struct Telemetry {
    queue: mpsc::Sender<Vec<SpanData>>,
    open: Arc<Open>,
}

/// Sessions that were queued and not yet sent, and those that never will be.
#[derive(Debug, Default)]
struct Open {
    waiting: AtomicU64,
    dropped: AtomicU64,
    sent: Notify,
}

impl Telemetry {
    /// As the variables of this process say; `None` where they name no collector, or switch it off.
    pub fn from_env() -> Result<Option<Self>, TelemetryError> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TelemetryError> {
        let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if off || named.iter().all(|name| variable(name).is_none()) {
            return Ok(None);
        }
        longhaul_common::tls::install();
        let failed = |error: &dyn std::fmt::Display| TelemetryError::Exporter(error.to_string());
        let mut exporter = match protocol(variable)? {
            Protocol::Grpc => OtlpExporter::builder().with_tonic().build().map_err(|error| failed(&error))?,
            Protocol::Http => {
                let client = reqwest::Client::builder().timeout(EXPORT_MAX).build().map_err(|error| failed(&error))?;
                let builder = OtlpExporter::builder().with_http().with_http_client(client);
                builder.build().map_err(|error| failed(&error))?
            }
        };
        let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
        let resource = Resource::builder();
        let resource = if named { resource } else { resource.with_service_name("longhaul") };
        exporter.set_resource(&resource.build());
        let (queue, sessions) = mpsc::channel(QUEUE_MAX);
        let open = Arc::new(Open::default());
        tokio::spawn(send(exporter, sessions, Arc::clone(&open)));
        Ok(Some(Self { queue, open }))
    }

    /// Queues a session. One that finds the queue full is dropped.
    pub fn session(&self, about: &About, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        self.open.waiting.fetch_add(1, Ordering::SeqCst);
        if self.queue.try_send(data(about, spans)).is_err() {
            self.open.gone(true);
        }
    }

    /// Waits until everything is sent, but not for ever.
    pub async fn flush(&self) {
        let all = async {
            loop {
                let sent = self.open.sent.notified();
                if self.open.waiting.load(Ordering::SeqCst) == 0 {
                    return;
                }
                sent.await;
            }
        };
        let late = tokio::time::timeout(FLUSH_MAX, all).await.is_err();
        let dropped = self.open.dropped.load(Ordering::SeqCst);
        if late || dropped > 0 {
            tracing::warn!(dropped, late, "the collector did not take the spans of all sessions");
        }
    }
}

impl Open {
    fn gone(&self, dropped: bool) {
        self.dropped.fetch_add(u64::from(dropped), Ordering::SeqCst);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.sent.notify_waiters();
    }
}

enum Protocol {
    Grpc,
    Http,
}

/// gRPC where nothing is said: the collector's own default, whose port it is.
fn protocol(variable: impl Fn(&str) -> Option<String>) -> Result<Protocol, TelemetryError> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match variable(name).as_deref() {
            None => {}
            Some("grpc") => return Ok(Protocol::Grpc),
            Some("http/protobuf") => return Ok(Protocol::Http),
            Some(other) => return Err(TelemetryError::Protocol { variable: name, value: other.to_owned() }),
        }
    }
    Ok(Protocol::Grpc)
}

async fn send(exporter: OtlpExporter, mut sessions: mpsc::Receiver<Vec<SpanData>>, open: Arc<Open>) {
    while let Some(spans) = sessions.recv().await {
        let sent = tokio::time::timeout(EXPORT_MAX, exporter.export(spans)).await;
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer in {} s", EXPORT_MAX.as_secs())),
        };
        if let Some(error) = &failed {
            tracing::info!(%error, "the spans of a session are dropped");
        }
        open.gone(failed.is_some());
    }
}

/// With ids made of what the session is: sent twice, they are the same spans. The sessions of a
/// subtask are one trace.
fn data(about: &About, spans: Vec<Span>) -> Vec<SpanData> {
    let subtask = format!("{}\0{}", about.job, about.subtask);
    let trace = TraceId::from_bytes(first(&subtask));
    let began = spans.first().map_or(0, |span| span.began_ms);
    let id = |number: usize| {
        SpanId::from_bytes(first(&format!("{subtask}\0{}\0{}\0{began}\0{number}", about.attempt, about.agent)))
    };
    let scope = InstrumentationScope::builder("longhaul").with_version(env!("CARGO_PKG_VERSION")).build();
    let span = |(number, span): (usize, Span)| SpanData {
        span_context: SpanContext::new(trace, id(number), TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: if number == 0 { SpanId::INVALID } else { id(0) },
        parent_span_is_remote: false,
        span_kind: if span.is_client { SpanKind::Client } else { SpanKind::Internal },
        name: span.name.into(),
        start_time: at(span.began_ms),
        end_time: at(span.ended_ms),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    };
    spans.into_iter().enumerate().map(span).collect()
}

fn first<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..N]);
    bytes
}

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn attribute((key, value): (&'static str, SpanValue)) -> KeyValue {
    match value {
        SpanValue::Text(text) => KeyValue::new(key, text),
        SpanValue::Number(number) => KeyValue::new(key, number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_unless_the_variables_say_so() {
        let of = |pairs: &'static [(&'static str, &'static str)]| {
            Telemetry::of(move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(of(&[]).expect("right").is_none());
        assert!(
            of(&[("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x")]).expect("right").is_none()
        );
        assert!(
            of(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x")])
                .expect("right")
                .is_none()
        );
        let wrong = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(wrong.expect_err("refused").to_string().contains("OTEL_EXPORTER_OTLP_PROTOCOL is \"http/json\""));
    }

    #[test]
    fn ids_are_the_sessions_own_and_the_same_each_time() {
        let about =
            About { job: "j".into(), subtask: "s".into(), attempt: 1, agent: "a".into(), worker: String::new() };
        let lines = [serde_json::json!({"at_ms": 5, "event": "tool_started", "id": "t", "title": "x"})];
        let made = || data(&about, super::super::spans(&about, &lines));
        let (one, two) = (made(), made());
        let ids = |spans: &[SpanData]| spans.iter().map(|span| span.span_context.span_id()).collect::<Vec<_>>();
        assert_eq!(ids(&one), ids(&two));
        assert_eq!(one[1].parent_span_id, one[0].span_context.span_id());
        let again = data(&About { attempt: 2, ..about.clone() }, super::super::spans(&about, &lines));
        assert_eq!(again[0].span_context.trace_id(), one[0].span_context.trace_id());
        assert_ne!(ids(&again), ids(&one));
    }
}
