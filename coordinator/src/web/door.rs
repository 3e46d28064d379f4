//! The one door: every request learns here who asks, or goes no further.
//!
//! Probes need no name; gRPC health and reflection need none on loopback and a reader elsewhere.
//! A server that is open on loopback answers only to loopback names, because a web page that a
//! person looks at can have its own name resolve to 127.0.0.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use longhaul_common::server::is_loopback;
use tonic::Status;

use super::access::{Access, Credentials};
use super::failures::Failures;
use crate::hub::Role;

/// Who is at the other end of a connection; put on every request by the listener.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Common name of the client certificate, verified.
    pub(super) certificate: Option<String>,
}

/// Marks an answer that was given without letting the request in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// What the door knows.
pub(super) struct Door {
    access: Access,
    failures: Failures,
    loopback: bool,
}

impl Door {
    pub(super) fn new(access: Access, loopback: bool) -> Self {
        Self { access, failures: Failures::default(), loopback }
    }

    fn refusal(&self, request: &mut Request) -> Option<Refusal> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else { return Some(Refusal::Unknown) };
        if self.access.is_open() && !asks_for_loopback(request) {
            return Some(Refusal::ForeignHost);
        }
        if self.access.is_open() && request.headers().keys().any(|name| is_of_a_page(name.as_str())) {
            return Some(Refusal::Page);
        }
        let path = request.uri().path();
        let grpc = path.starts_with("/longhaul.") || path.starts_with("/grpc.");
        if grpc && !says_grpc(request) {
            return Some(Refusal::NoGrpc);
        }
        if matches!(path, "/healthz" | "/readyz") {
            return None;
        }
        let probe = path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.");
        let now = Instant::now();
        if let Some(wait) = self.failures.wait(peer.address.ip(), now) {
            return Some(Refusal::TooMany { wait_s: wait.as_secs() + 1 });
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let shown = Credentials {
            // What is not text is shown as something that is no token.
            authorization: authorization.map(|value| value.to_str().unwrap_or_default().to_owned()),
            certificate: peer.certificate,
        };
        match self.access.identify(&shown) {
            Some(who) if probe && !self.loopback && !who.may(Role::Read) => Some(Refusal::NoReader),
            Some(who) => {
                request.headers_mut().remove(header::AUTHORIZATION);
                request.extensions_mut().insert(who);
                None
            }
            None if probe && self.loopback => None,
            None => {
                self.failures.note(peer.address.ip(), now);
                tracing::warn!(address = %peer.address, path, "a caller without a valid credential was refused");
                Some(Refusal::Unknown)
            }
        }
    }
}

/// Lets a request through, or answers it.
pub(super) async fn pass(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    match door.refusal(&mut request) {
        None => next.run(request).await,
        Some(refusal) => {
            let grpc = says_grpc(&request);
            let mut response = refusal.answer(grpc);
            response.extensions_mut().insert(Refused);
            response
        }
    }
}

enum Refusal {
    Unknown,
    NoReader,
    TooMany { wait_s: u64 },
    ForeignHost,
    Page,
    NoGrpc,
}

impl Refusal {
    fn answer(&self, grpc: bool) -> Response {
        let words = self.to_string();
        if grpc {
            return match self {
                Self::Unknown => Status::unauthenticated(words),
                Self::NoReader | Self::ForeignHost | Self::Page => Status::permission_denied(words),
                Self::NoGrpc => Status::invalid_argument(words),
                Self::TooMany { .. } => Status::resource_exhausted(words),
            }
            .into_http::<Body>();
        }
        let words = format!("{words}\n");
        match self {
            Self::Unknown => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], words).into_response(),
            Self::NoReader | Self::ForeignHost | Self::Page => (StatusCode::FORBIDDEN, words).into_response(),
            Self::NoGrpc => (StatusCode::UNSUPPORTED_MEDIA_TYPE, words).into_response(),
            Self::TooMany { wait_s } => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, wait_s.to_string())], words).into_response()
            }
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("a valid token or client certificate is needed (--token-file, or --cert and --key)")
            }
            Self::NoReader => f.write_str("the caller's roles do not include read"),
            Self::TooMany { wait_s } => {
                write!(f, "too many failed attempts from this address: try again in {wait_s} s")
            }
            Self::Page => f.write_str("this server takes no requests of web pages"),
            Self::NoGrpc => f.write_str("gRPC is spoken here (content-type application/grpc)"),
            Self::ForeignHost => f.write_str("this server answers to 127.0.0.1, [::1] and localhost only"),
        }
    }
}

/// Headers only a browser sets, and sets whatever a page asks for: an open server would do what any
/// page says, with this user's rights.
fn is_of_a_page(header: &str) -> bool {
    header == "origin" || header.starts_with("sec-fetch-")
}

fn says_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Whether the name the caller used for this server is a loopback one. None at all is no browser.
fn asks_for_loopback(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?").to_owned());
    let names = [request.uri().authority().map(ToString::to_string), host];
    names.into_iter().flatten().all(|name| is_loopback_name(&name))
}

fn is_loopback_name(authority: &str) -> bool {
    let Ok(uri) = format!("http://{authority}/").parse::<Uri>() else { return false };
    uri.host().is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for name in ["localhost", "localhost:7117", "127.0.0.1:80", "127.9.9.9", "[::1]:7117", "LOCALHOST:1"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in
            ["evil.example", "127.0.0.1.evil.example:7117", "10.0.0.1", "[::2]:1", "?", "localhost@evil.example"]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
