//! What is served where.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use longhaul_proto::DESCRIPTORS;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use super::backend::Backend;
use super::door::{Door, pass};
use super::git::{GitHttp, serve_git};
use super::results::ResultsService;
use super::spool::Spool;

/// How often the health service asks whether the jobs behind it are ready.
const READY_EVERY: Duration = Duration::from_secs(2);

/// Services whose health is told, with the server's own, which has no name.
const SERVICES: [&str; 3] = ["", "longhaul.v1.Jobs", "longhaul.v1.Results"];

/// Everything behind the door.
pub(super) fn router(
    backend: Arc<dyn Backend>,
    routes: Routes,
    spool: Spool,
    door: Door,
    stop: CancellationToken,
) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(tell_health(reporter, Arc::clone(&backend), stop.clone()));
    let descriptors =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let reflection = descriptors().build_v1().expect("the build wrote the descriptors");
    let older = descriptors().build_v1alpha().expect("the build wrote the descriptors");
    let grpc = routes
        .add_service(ResultsService::new(Arc::clone(&backend), spool).server())
        .add_service(health)
        .add_service(reflection)
        .add_service(older)
        .into_axum_router();
    let git = Arc::new(GitHttp::new(Arc::clone(&backend), stop));
    let plain = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state(backend))
        .route("/git/{*rest}", axum::routing::any(serve_git).with_state(git));
    grpc.merge(plain).fallback(nothing_here).layer(axum::middleware::from_fn_with_state(Arc::new(door), pass))
}

/// The probe's answer says no more than it must: anybody may ask.
async fn readyz(State(backend): State<Arc<dyn Backend>>) -> Response {
    match backend.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => {
            tracing::warn!(reason, "asked whether it is ready, it is not");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the server's log says why\n").into_response()
        }
    }
}

async fn nothing_here(request: axum::extract::Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    match kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        true => Status::unimplemented("this server has no such service").into_http(),
        false => (StatusCode::NOT_FOUND, "nothing is served here\n").into_response(),
    }
}

async fn tell_health(
    reporter: tonic_health::server::HealthReporter,
    backend: Arc<dyn Backend>,
    stop: CancellationToken,
) {
    let tell = async |status| {
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
    };
    while !stop.is_cancelled() {
        tell(match backend.ready() {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        })
        .await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(READY_EVERY) => {}
        }
    }
    tell(ServingStatus::NotServing).await;
}
