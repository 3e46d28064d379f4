//! The gRPC service of a worker: looking at what it executes, and ending it.
//!
//! Whoever gets in sees the output of builds and may cancel them, so everybody needs the token that
//! this process made and told its coordinator alone, on loopback too: others may work there. Beyond
//! loopback it is TLS always. Nothing here can start anything.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::JobId;
use longhaul_proto::worker_server::{Worker, WorkerServer};
use longhaul_proto::{
    AttachWork, CancelWork, DESCRIPTORS, DrainRequest, Introduction, ProbeReply, ProbeRequest, SteerWork, TraceLine,
    WorkReply,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::credential::Credential;
use crate::live::{self, Live, Told};
use crate::session::desk::Key;

/// Time between two keepalive pings to those who are attached.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// Streams of one connection at once.
const STREAMS_MAX: u32 = 64;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How the service listens.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What callers must show, and what this service is known by.
    pub credential: Credential,
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No address that a coordinator could go to.
    #[error(
        "cannot listen on {listen}: the server is told this address and has to reach it; \
         name one address of this machine, such as 10.0.0.5:{}, or 127.0.0.1:{} for a server beside it",
        listen.port(), listen.port()
    )]
    Nowhere {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The port cannot be had.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The certificate that was made cannot be used.
    #[error("cannot set up TLS: {0}")]
    Tls(tonic::transport::Error),
    /// Reflection cannot be built.
    #[error("cannot describe the service: {0}")]
    Descriptors(String),
}

/// A running service.
#[derive(Debug)]
pub struct Served {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Ends when it is stopped.
    pub task: JoinHandle<()>,
    credential: Credential,
}

/// Whether plain text to an address stays on this machine.
fn is_plain(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

impl Served {
    /// For [`crate::WorkerConfig::endpoint`].
    pub fn endpoint(&self) -> String {
        let scheme = if is_plain(self.addr) { "http" } else { "https" };
        format!("{scheme}://{}", self.addr)
    }

    /// What the coordinator has to know to come in, for the worker of this name.
    pub fn introduction(&self, worker: &str) -> Introduction {
        Introduction {
            worker: worker.to_owned(),
            endpoint: self.endpoint(),
            token: self.credential.token.clone(),
            certificate: if is_plain(self.addr) { String::new() } else { self.credential.certificate.clone() },
        }
    }
}

/// Serves what is shared in `live` until `stop`. The same `live` goes into the worker's settings.
pub async fn serve(config: ServiceConfig, live: Live, stop: CancellationToken) -> Result<Served, ServiceError> {
    let ServiceConfig { listen, credential } = config;
    if listen.ip().to_canonical().is_unspecified() {
        return Err(ServiceError::Nowhere { listen });
    }
    let failed = |source| ServiceError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()
        .map_err(|error| ServiceError::Descriptors(error.to_string()))?;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<WorkerServer<Door>>().await;
    let worker = WorkerServer::with_interceptor(Door { live }, Bearer(blake3::hash(credential.token.as_bytes())));
    let mut server = Server::builder();
    if !is_plain(addr) {
        let identity = Identity::from_pem(&credential.certificate, &credential.key);
        let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_MAX);
        server = server.tls_config(tls).map_err(ServiceError::Tls)?;
    }
    let router = server
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .concurrency_limit_per_connection(STREAMS_MAX as usize)
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(health)
        .add_service(reflection)
        .add_service(worker);
    let task = tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        // A stream that is attached does not hold the end up.
        let served = tokio::select! {
            served = router.serve_with_incoming(incoming) => served,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the worker's service ended");
        }
    });
    Ok(Served { addr, task, credential })
}

/// Lets in who knows the token. Hashes are compared, so the time it takes tells nothing.
#[derive(Clone)]
struct Bearer(blake3::Hash);

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(|token| blake3::hash(token.as_bytes()));
        if given.as_ref() == Some(&self.0) { Ok(request) } else { Err(Status::unauthenticated("a token is needed")) }
    }
}

struct Door {
    live: Live,
}

fn key_of(job: &str, id: u64) -> Result<Key, Status> {
    let job: JobId =
        job.parse().map_err(|error: longhaul_common::id::BadJobId| Status::invalid_argument(error.to_string()))?;
    Ok(Key { job, id })
}

#[tonic::async_trait]
impl Worker for Door {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<TraceLine, Status>> + Send>>;

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        Ok(Response::new(ProbeReply { presence: Some(self.live.presence()), running: self.live.running() }))
    }

    async fn attach(&self, request: Request<AttachWork>) -> Result<Response<Self::AttachStream>, Status> {
        let AttachWork { job, id } = request.into_inner();
        let key = key_of(&job, id)?;
        let output = self.live.output(&key.job, key.id);
        let output = output.ok_or_else(|| Status::not_found(format!("{job} {id} is not executed here now")))?;
        Ok(Response::new(output.map(Ok).boxed()))
    }

    async fn steer(&self, request: Request<SteerWork>) -> Result<Response<WorkReply>, Status> {
        let SteerWork { job, id, text } = request.into_inner();
        match self.live.tell(&key_of(&job, id)?, text) {
            Told::Taken => Ok(Response::new(WorkReply { note: format!("the agent of {job} {id} is told") })),
            Told::NotTaken => Err(Status::failed_precondition(
                "the agent takes no words while it runs; add a remark with retry instead",
            )),
            Told::Unknown => Err(Status::not_found(format!("{job} {id} is not executed here now"))),
        }
    }

    async fn cancel(&self, request: Request<CancelWork>) -> Result<Response<WorkReply>, Status> {
        let CancelWork { job, id, reason } = request.into_inner();
        self.ask(live::Request::Cancel(key_of(&job, id)?, reason))?;
        Ok(Response::new(WorkReply { note: format!("{job} {id} is being ended") }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<WorkReply>, Status> {
        self.ask(live::Request::Drain(request.into_inner().within_ms))?;
        Ok(Response::new(WorkReply { note: "the worker takes nothing new and leaves".to_owned() }))
    }
}

impl Door {
    fn ask(&self, request: live::Request) -> Result<(), Status> {
        let asked = self.live.ask(request);
        asked.then_some(()).ok_or_else(|| Status::unavailable("the worker is busy or ending; try again"))
    }
}
