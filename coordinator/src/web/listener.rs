//! The listening socket and its connections: HTTP/1.1 and HTTP/2, plain or TLS, on one port.
//!
//! A connection over the limit waits in the kernel's queue. One that says nothing is cut. When
//! the server stops, what is under way has [`DRAIN_MAX`] to end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::access::Access;
use super::backend::Backend;
use super::config::{WebConfig, WebError};
use super::door::{Door, Peer, Refused};
use super::pulse::Pulse;
use super::router::router;
use super::spool::Spool;
use super::tls;
use crate::hub::Hub;
use crate::jobs::JobsService;

/// Connections at once: a fleet of 1,000 workers has three each.
pub const CONNECTIONS_MAX: usize = 4_096;

/// How long a TLS handshake, or the headers of a request, may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long requests under way have when the server stops.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Time between two pings on a quiet HTTP/2 connection, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// Requests at once on one connection.
const STREAMS_MAX: u32 = 256;

/// Headers of one request in bytes.
const HEADER_BYTES_MAX: u32 = 32 << 10;

/// What a client may send ahead on one stream, and on one connection, in bytes: the bound of what
/// an upload holds in memory.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Largest request over the network: the plan of 100,000 subtasks with the files it carries.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Wait after the system refused to accept (too many open files), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that runs.
#[derive(Debug)]
pub struct Web {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Ends after the stop, when all connections have.
    pub task: JoinHandle<()>,
}

/// Serves a hub until `stop` is cancelled.
pub async fn start(config: WebConfig, hub: Hub, stop: CancellationToken) -> Result<Web, WebError> {
    let jobs = JobsService::new(hub.clone()).server_taking(REQUEST_BYTES_MAX);
    start_with(config, Arc::new(hub), Routes::new(jobs), stop).await
}

/// Serves any backend, with these gRPC services beside the server's own.
pub async fn start_with(
    config: WebConfig,
    backend: Arc<dyn Backend>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<Web, WebError> {
    config.check()?;
    let access = Access::open(config.access.clone())?;
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let spool = Spool::open(&config.spool, config.limits.clone())
        .map_err(|error| WebError::File { path: config.spool.clone(), cause: error.to_string() })?;
    let failed = |source| WebError::Listen { listen: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let door = Door::new(access, addr.ip().to_canonical().is_loopback());
    let router = router(backend, routes, spool, door, stop.clone());
    let server = Server { router, tls, stop };
    Ok(Web { addr, task: tokio::spawn(server.accept_all(listener)) })
}

#[derive(Clone)]
struct Server {
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
}

impl Server {
    async fn accept_all(self, listener: TcpListener) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let seat = Arc::clone(&seats).acquire_owned().await.expect("the semaphore is never closed");
                (seat, listener.accept().await)
            };
            let (seat, accepted) = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = accepted => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    let server = self.clone();
                    connections.spawn(async move {
                        server.connection(stream, address).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        // Each ends by itself within the same time; the margin is for a machine under load.
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX + HANDSHAKE_MAX, all).await.is_err() {
            connections.shutdown().await;
        }
    }

    async fn connection(self, stream: TcpStream, address: SocketAddr) {
        let _small_messages_may_wait = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.requests(stream, Peer { address, certificate: None }).await;
        };
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            done = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)) => done,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.and_then(tls::common_name);
                self.requests(stream, Peer { address, certificate }).await;
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
        }
    }

    async fn requests<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = Pulse::new();
        let (router, beat, address) = (self.router, pulse.clone(), peer.address);
        let service =
            service_fn(move |request: Request<Incoming>| answer(router.clone(), beat.clone(), peer.clone(), request));
        let builder = http();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let (quiet, stop) = (pulse.quiet(), self.stop.cancelled_owned());
        tokio::pin!(connection, quiet, stop);
        tokio::select! {
            ended = connection.as_mut() => return note(address, ended),
            () = &mut quiet => {}
            () = &mut stop => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(DRAIN_MAX, connection).await {
            note(address, ended);
        }
    }
}

fn note(address: SocketAddr, ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%address, error, "a connection broke");
    }
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_MAX)
        .max_buf_size(HEADER_BYTES_MAX as usize * 2)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

async fn answer(
    router: Router,
    pulse: Pulse,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let open = pulse.open();
    request.extensions_mut().insert(peer);
    let response = router.oneshot(request.map(Body::new)).await?;
    if response.extensions().get::<Refused>().is_none() {
        pulse.let_in();
    }
    // Under way until the last byte, which may be hours after the first.
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _until_the_body_is_dropped = &open;
            frame
        }))
    }))
}
