//! A collector: the services of the OpenTelemetry protocol, over gRPC and over HTTP, that keep what
//! they get.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

/// One that runs until it is dropped.
pub struct Collector {
    /// Where it is.
    pub url: String,
    kept: Kept,
    serving: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Kept {
    fn push(&self, request: ExportTraceServiceRequest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn traces(State(kept): State<Kept>, body: Bytes) -> Result<Vec<u8>, axum::http::StatusCode> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| axum::http::StatusCode::BAD_REQUEST)?;
    kept.push(request);
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

impl Collector {
    /// Over gRPC.
    pub async fn grpc() -> Self {
        let (listener, url) = listen().await;
        let kept = Kept::default();
        let service = TraceServiceServer::new(kept.clone());
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Self { url, kept, serving }
    }

    /// Over HTTP.
    pub async fn http() -> Self {
        let (listener, url) = listen().await;
        let kept = Kept::default();
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(traces)).with_state(kept.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, kept, serving }
    }

    /// Attributes of the resources that sent something, as text.
    pub fn services(&self) -> Vec<String> {
        let kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = kept.iter().flat_map(|request| &request.resource_spans);
        let attributes = resources.filter_map(|one| one.resource.as_ref()).flat_map(|resource| &resource.attributes);
        attributes.filter(|one| one.key == "service.name").map(|one| text(one.value.as_ref())).collect()
    }

    /// The spans so far, in the order in which they came.
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = kept.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|one| &one.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// An attribute of a span as text; empty where there is none.
pub fn attribute(span: &Span, key: &str) -> String {
    text(span.attributes.iter().find(|one| one.key == key).and_then(|one| one.value.as_ref()))
}

fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}
