//! Git's smart HTTP, read-only: `GET /git/<job>.git/info/refs` and `POST …/git-upload-pack`.
//!
//! Whoever may read a job's store may fetch any commit of it by its id. Only that job's own refs
//! are shown, so that 100,000 attempts of others cost a fetch nothing. There is no way to push:
//! only the coordinator writes refs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use longhaul_common::JobId;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::seats::Seats;
use super::upload_pack::{Encoding, Question, UploadPack};
use crate::hub::Identity;

/// Fetches served at once.
pub const SERVED_MAX: usize = 32;
/// Fetches served at once to one caller.
pub const SERVED_TO_ONE_MAX: usize = 8;

/// How long a fetch waits for its turn before it is told to come again.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Longest `Git-Protocol` header in bytes.
const PROTOCOL_BYTES_MAX: usize = 64;

/// The repositories of the jobs behind a server.
pub(super) struct GitHttp {
    backend: Arc<dyn Backend>,
    seats: Seats,
    stop: CancellationToken,
}

/// What is asked of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Refs,
    Pack,
}

/// Why a request is not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NotServed {
    /// Nothing there, or nothing the caller may see: the two look alike.
    Nowhere,
    /// It would write, or uses a protocol that is not served.
    ReadOnly,
    Method,
    Body,
    Busy,
    Broken,
}

impl GitHttp {
    pub(super) fn new(backend: Arc<dyn Backend>, stop: CancellationToken) -> Self {
        Self { backend, seats: Seats::new(SERVED_MAX, SERVED_TO_ONE_MAX, TURN_WAIT), stop }
    }

    /// Files may have to be read for it.
    async fn store_for(&self, who: &Identity, job: &JobId) -> Option<PathBuf> {
        let (backend, who, job) = (Arc::clone(&self.backend), who.clone(), job.clone());
        tokio::task::spawn_blocking(move || backend.store_for(&who, &job)).await.ok()?
    }

    async fn serve(&self, request: Request) -> Result<Response, NotServed> {
        let who = request.extensions().get::<Identity>().cloned().ok_or(NotServed::Nowhere)?;
        let (job, wanted) = wanted(request.method(), request.uri().path(), request.uri().query())?;
        let store = self.store_for(&who, &job).await.ok_or(NotServed::Nowhere)?;
        let encoding = encoding(request.headers(), wanted)?;
        let protocol = protocol(request.headers());
        let seat = self.seats.take(&who.name).await.ok_or(NotServed::Busy)?;
        let question = Question { store: PathBuf::from(&store), job, protocol, encoding };
        let program = UploadPack { question, stop: self.stop.clone(), seat };
        let (kind, body) = match wanted {
            Wanted::Refs => ("application/x-git-upload-pack-advertisement", program.refs()),
            Wanted::Pack => ("application/x-git-upload-pack-result", program.pack(request.into_body())),
        };
        let body: Body = body.map_err(|error| {
            tracing::error!(%error, store = %store.display(), "git could not be started to serve a fetch");
            NotServed::Broken
        })?;
        Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response())
    }
}

/// Serves one request for something under `/git/`.
pub(super) async fn serve_git(State(git): State<Arc<GitHttp>>, request: Request) -> Response {
    git.serve(request).await.unwrap_or_else(|error| {
        let (status, words) = match error {
            NotServed::Nowhere => (StatusCode::NOT_FOUND, "no such repository\n"),
            NotServed::ReadOnly => (StatusCode::FORBIDDEN, "only git's upload-pack is served: nothing can be pushed\n"),
            NotServed::Method => (StatusCode::METHOD_NOT_ALLOWED, "the method does not fit\n"),
            NotServed::Body => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is of another kind\n"),
            NotServed::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many fetches at once: try again\n"),
            NotServed::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "git could not be started\n"),
        };
        (status, words).into_response()
    })
}

/// Which job's repository, and what of it. Nothing is decoded: a job's name needs no escapes.
fn wanted(method: &Method, path: &str, query: Option<&str>) -> Result<(JobId, Wanted), NotServed> {
    let rest = path.strip_prefix("/git/").ok_or(NotServed::Nowhere)?;
    let (repository, rest) = rest.split_once('/').ok_or(NotServed::Nowhere)?;
    let job = repository.strip_suffix(".git").ok_or(NotServed::Nowhere)?;
    let job = job.parse::<JobId>().map_err(|_| NotServed::Nowhere)?;
    match (rest, query) {
        ("git-receive-pack", _) | ("info/refs", Some("service=git-receive-pack")) => Err(NotServed::ReadOnly),
        ("info/refs", Some("service=git-upload-pack")) => match *method {
            Method::GET => Ok((job, Wanted::Refs)),
            _ => Err(NotServed::Method),
        },
        // The old protocol reads files; this one runs a program that checks.
        ("info/refs", _) => Err(NotServed::ReadOnly),
        ("git-upload-pack", None) => match *method {
            Method::POST => Ok((job, Wanted::Pack)),
            _ => Err(NotServed::Method),
        },
        _ => Err(NotServed::Nowhere),
    }
}

fn encoding(headers: &HeaderMap, wanted: Wanted) -> Result<Encoding, NotServed> {
    if wanted == Wanted::Refs {
        return Ok(Encoding::Plain);
    }
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if kind != Some(b"application/x-git-upload-pack-request") {
        return Err(NotServed::Body);
    }
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => Ok(Encoding::Plain),
        Some(b"gzip" | b"x-gzip") => Ok(Encoding::Gzip),
        Some(_) => Err(NotServed::Body),
    }
}

/// What the client says of its protocol, where it is harmless in an environment variable.
fn protocol(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("git-protocol")?.to_str().ok()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '=' | ':' | '-');
    (text.len() <= PROTOCOL_BYTES_MAX && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_a_job_by_its_plain_name_is_served() {
        let refs = Some("service=git-upload-pack");
        let (job, what) = wanted(&Method::GET, "/git/fix-1.git/info/refs", refs).expect("served");
        assert_eq!((job.as_str(), what), ("fix-1", Wanted::Refs));
        assert_eq!(wanted(&Method::POST, "/git/a.git/git-upload-pack", None).expect("served").1, Wanted::Pack);
        for (method, path, query, answer) in [
            (Method::GET, "/git/a.git/info/refs", Some("service=git-receive-pack"), NotServed::ReadOnly),
            (Method::POST, "/git/a.git/git-receive-pack", None, NotServed::ReadOnly),
            (Method::GET, "/git/a.git/info/refs", None, NotServed::ReadOnly),
            (Method::GET, "/git/a.git/git-upload-pack", None, NotServed::Method),
            (Method::GET, "/git/a.git/objects/info/packs", None, NotServed::Nowhere),
            (Method::GET, "/git/a.git/HEAD", None, NotServed::Nowhere),
            (Method::GET, "/git/../secret.git/info/refs", refs, NotServed::Nowhere),
            (Method::GET, "/git/...git/info/refs", refs, NotServed::Nowhere),
            (Method::GET, "/git/%2e%2e.git/info/refs", refs, NotServed::Nowhere),
            (Method::GET, "/git/a/b.git/info/refs", refs, NotServed::Nowhere),
            (Method::GET, "/git//etc.git/info/refs", refs, NotServed::Nowhere),
            (Method::GET, "/git/.git/info/refs", refs, NotServed::Nowhere),
        ] {
            assert_eq!(wanted(&method, path, query).expect_err("refused"), answer, "{method} {path}");
        }
    }

    #[test]
    fn a_protocol_header_that_is_more_than_that_is_ignored() {
        let of = |text: &str| {
            protocol(&HeaderMap::from_iter([(
                header::HeaderName::from_static("git-protocol"),
                text.parse().expect("ascii"),
            )]))
        };
        assert_eq!(of("version=2").as_deref(), Some("version=2"));
        assert_eq!(of("version=2; rm"), None);
        assert_eq!(of(&"a".repeat(100)), None);
    }
}
