//! Reaching a server over TCP, or the coordinator of one job over its unix socket.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use longhaul_common::server::{Bearer, Connection, ServerAccess};
use longhaul_proto::jobs_client::JobsClient;
use longhaul_proto::{JobRow, ListRequest};
use tokio::net::UnixStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

use super::words::said;
use crate::context::JobCard;
use crate::exit::Stop;

/// Largest answer: the rows of 100,000 subtasks.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A client of the service `Jobs`, wherever it is served.
pub type Jobs = JobsClient<Connection>;

/// A client of a server; nothing is sent before its first request.
pub fn remote(server: &ServerAccess) -> anyhow::Result<Jobs> {
    let connection = server.connect().map_err(Stop::usage)?;
    Ok(JobsClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// A client of the coordinator behind a socket, where one answers.
pub async fn local(socket: PathBuf) -> Option<Jobs> {
    if !socket.exists() {
        return None;
    }
    // The address is not used: the connector goes to the socket.
    let endpoint = Endpoint::from_static("http://longhaul.invalid");
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector(connector).await.ok()?;
    let connection = InterceptedService::new(channel, Bearer::none());
    Some(JobsClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// Every job of a server, oldest first.
pub async fn remote_jobs(jobs: &mut Jobs, url: &str) -> anyhow::Result<Vec<JobRow>> {
    let mut rows = jobs.list(ListRequest {}).await.map_err(|status| said(url, status))?.into_inner().jobs;
    rows.sort_by(|a, b| a.started_ms.cmp(&b.started_ms).then_with(|| a.job.cmp(&b.job)));
    Ok(rows)
}

/// What names the jobs of a server, as for those of this machine.
pub fn cards_of(rows: &[JobRow]) -> Vec<JobCard> {
    let card = |row: &JobRow| JobCard {
        job: row.job.clone(),
        source_path: PathBuf::from(&row.source_path),
        created_ms: row.started_ms,
    };
    rows.iter().map(card).collect()
}

/// A job file as the plan of a submitted job names it: with the machine it lies on.
pub fn here_on(file: &Path) -> Option<PathBuf> {
    let file = std::fs::canonicalize(file).ok()?;
    Some(PathBuf::from(format!("{}:{}", host_name(), file.display())))
}

/// Name of this machine; it need not be unique in the world, only among those who share a server.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
