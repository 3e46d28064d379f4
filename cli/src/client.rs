//! Talking to a job: to its running coordinator over gRPC, or to its files when nobody runs it.

use std::path::PathBuf;

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use longhaul_common::JobId;
use longhaul_common::layout::{JobLayout, repo_key};
use longhaul_coordinator::checkpoint::{Index, recover_read_only};
use longhaul_coordinator::control::{Control, prepare};
use longhaul_coordinator::coordinator::Job;
use longhaul_coordinator::core::{State, explain};
use longhaul_coordinator::{select, view};
use longhaul_proto as pb;
use longhaul_proto::jobs_client::JobsClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::context::Context;
use crate::exit::Stop;

/// A job to ask and to steer.
pub struct Client {
    job: JobId,
    context: Context,
    access: Access,
}

enum Access {
    Live(JobsClient<Channel>),
    Files(Box<State>),
}

/// Largest answer: the rows of 100,000 subtasks.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Client {
    /// Reaches the job's coordinator, or reads its files.
    pub async fn open(context: &Context, job: &JobId) -> anyhow::Result<Self> {
        let access = match connect(context.layout.socket(job)).await {
            Some(client) => Access::Live(client),
            None => {
                let recovered = recover_read_only(&context.layout.job(job))
                    .with_context(|| format!("cannot read the job {job}"))?;
                Access::Files(Box::new(recovered.state))
            }
        };
        Ok(Self { job: job.clone(), context: context.clone(), access })
    }

    /// The job a verb's argument means, opened.
    pub async fn find(context: &Context, wanted: Option<&str>) -> anyhow::Result<Self> {
        Self::open(context, &context.find_job(wanted)?).await
    }

    /// Its name.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Its folder.
    pub fn layout(&self) -> JobLayout {
        self.context.layout.job(&self.job)
    }

    /// The running coordinator's client, where there is one.
    pub fn live(&self) -> Option<JobsClient<Channel>> {
        match &self.access {
            Access::Live(client) => Some(client.clone()),
            Access::Files(_) => None,
        }
    }

    /// Where it stands.
    pub async fn status(&self) -> anyhow::Result<pb::JobStatus> {
        match &self.access {
            Access::Live(client) => {
                let request = pb::GetRequest { job: self.job.to_string() };
                Ok(client.clone().get(request).await.map_err(said)?.into_inner())
            }
            Access::Files(state) => Ok(view::job_status(state, state.now_ms(), &view::ProgressMap::new(), false)),
        }
    }

    /// Subtasks that match.
    pub async fn subtasks(&self, request: pb::SubtasksRequest) -> anyhow::Result<pb::SubtaskList> {
        match &self.access {
            Access::Live(client) => Ok(client.clone().subtasks(request).await.map_err(said)?.into_inner()),
            Access::Files(state) => Ok(view::subtask_list(state, &request)),
        }
    }

    /// One subtask in full.
    pub async fn show(&self, subtask: &str) -> anyhow::Result<pb::SubtaskDetail> {
        match &self.access {
            Access::Live(client) => {
                let request = pb::ShowRequest { job: self.job.to_string(), subtask: subtask.to_owned() };
                Ok(client.clone().show(request).await.map_err(said)?.into_inner())
            }
            Access::Files(state) => {
                let node = select::one(state, subtask).map_err(Stop::usage)?;
                let mut detail = view::subtask_detail(state, node);
                let index = Index::open(&self.layout()).ok();
                view::complete_detail(
                    &mut detail,
                    self.job.as_str(),
                    &self.layout(),
                    &self.store_of(state),
                    index.as_ref(),
                );
                Ok(detail)
            }
        }
    }

    /// Why a subtask is not running.
    pub async fn explain(&self, subtask: &str) -> anyhow::Result<pb::Explanation> {
        match &self.access {
            Access::Live(client) => {
                let request = pb::ExplainRequest { job: self.job.to_string(), subtask: subtask.to_owned() };
                Ok(client.clone().explain(request).await.map_err(said)?.into_inner())
            }
            Access::Files(state) => {
                let node = select::one(state, subtask).map_err(Stop::usage)?;
                let mut found = explain(state, node, state.now_ms());
                if !matches!(state.job_phase(), longhaul_coordinator::core::JobPhase::Closed { .. }) {
                    found.causes.push("nobody runs the job at the moment".to_owned());
                    found.next.push(format!("longhaul resume {}", self.job));
                }
                Ok(found)
            }
        }
    }

    /// Carries out a request: by the coordinator, or in the files under the job's lock.
    pub async fn control(&self, control: Control) -> anyhow::Result<pb::ControlReply> {
        let Access::Live(client) = &self.access else { return self.control_files(control) };
        let mut client = client.clone();
        let reply = match control {
            Control::Pause(request) => client.pause(request).await,
            Control::Resume(request) => client.resume(request).await,
            Control::Cancel(request) => client.cancel(request).await,
            Control::Retry(request) => client.retry(request).await,
            Control::Approve(request) => client.approve(request).await,
            Control::Revert(request) => client.revert(request).await,
        };
        Ok(reply.map_err(said)?.into_inner())
    }

    fn control_files(&self, control: Control) -> anyhow::Result<pb::ControlReply> {
        let mut job = Job::open(&self.context.layout, &self.job)?;
        let store = self.store_of(job.state());
        let prepared = prepare(job.state(), &store, control).map_err(Stop::usage)?;
        let events = job.request(prepared.request)?;
        let lines = if events == 0 { Vec::new() } else { prepared.lines };
        Ok(pb::ControlReply { lines, affected: u32::try_from(events).unwrap_or(u32::MAX) })
    }

    /// The coordinator's bare store of the job's repository.
    pub async fn store(&self) -> anyhow::Result<PathBuf> {
        let status = self.status().await?;
        Ok(self.context.layout.store(&repo_key(status.repo_path.as_ref())))
    }

    fn store_of(&self, state: &State) -> PathBuf {
        let path = state.plan().repo.clone().unwrap_or_default().path;
        self.context.layout.store(&repo_key(path.as_ref()))
    }
}

/// What the service said, as the person should read it.
fn said(status: tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::NotFound | tonic::Code::FailedPrecondition => Stop::usage(status.message()),
        _ => anyhow::anyhow!("{}", status.message()),
    }
}

async fn connect(socket: PathBuf) -> Option<JobsClient<Channel>> {
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
    Some(JobsClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}
