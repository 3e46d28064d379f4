//! The service: each call checks who asks, finds the job, and answers from where that is done.

use std::pin::Pin;

use futures::Stream;
use longhaul_proto as pb;
use longhaul_proto::jobs_server::{Jobs, JobsServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::guard::{allow, job_id};
use super::watch::{WATCH_BUFFER, Watcher};
use crate::control::Control;
use crate::hub::{Hub, JobAccess, Role};

/// Largest message: the plan, or the rows, of 100,000 subtasks.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Said of a job that the server cannot run.
const HELD: &str =
    "another process on the server's machine runs the job; the server takes it up by itself when that process ends";

type Reply<T> = Result<Response<T>, Status>;
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// `Jobs` over all jobs of a hub.
#[derive(Clone)]
pub struct JobsService {
    pub(super) hub: Hub,
}

impl JobsService {
    /// The caller's [`crate::hub::Identity`] is taken from the request's extensions; without one it
    /// is the user of this machine.
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// As a tonic service, with room for large plans and answers.
    pub fn server(self) -> JobsServer<Self> {
        self.server_taking(MESSAGE_BYTES_MAX)
    }

    /// As [`JobsService::server`], for callers who may send so many bytes in one request.
    pub fn server_taking(self, request_bytes_max: usize) -> JobsServer<Self> {
        JobsServer::new(self).max_decoding_message_size(request_bytes_max).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The job a request names; a process of one job may be asked without a name.
    pub(super) async fn access(&self, job: &str) -> Result<JobAccess, Status> {
        let id = match &self.hub.inner.only {
            Some(only) if job.is_empty() => only.clone(),
            Some(only) if only.as_str() != job => {
                return Err(Status::not_found(format!("this coordinator runs {only}, not {job}")));
            }
            _ => job_id(job)?,
        };
        Ok(self.hub.find(&id).await?)
    }

    async fn controlled<T>(
        &self,
        request: Request<T>,
        control: impl FnOnce(T) -> (String, Control),
    ) -> Reply<pb::ControlReply> {
        let (_, extensions, message) = request.into_parts();
        let (job, control) = control(message);
        let who = allow(&extensions, control.role())?;
        self.control(&who, &job, control).await.map(Response::new)
    }
}

fn sent<T: Send + 'static>(from: mpsc::Receiver<Result<T, Status>>) -> Response<Sent<T>> {
    Response::new(Box::pin(ReceiverStream::new(from)))
}

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn submit(&self, request: Request<Streaming<pb::SubmitPart>>) -> Reply<pb::SubmitReply> {
        let who = allow(request.extensions(), Role::Submit)?;
        self.take_submission(&who, request.into_inner()).await.map(Response::new)
    }

    async fn have(&self, request: Request<pb::HaveRequest>) -> Reply<pb::HaveReply> {
        allow(request.extensions(), Role::Submit)?;
        let pb::HaveRequest { repo_key, commits } = request.into_inner();
        Ok(Response::new(self.hub.have(repo_key, commits).await?))
    }

    async fn plan(&self, request: Request<pb::PlanRequest>) -> Reply<pb::PlanReply> {
        allow(request.extensions(), Role::Read)?;
        let plan = request.into_inner().plan.ok_or_else(|| Status::invalid_argument("a plan is expected"))?;
        Ok(Response::new(self.hub.preview(plan).await?))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::JobList> {
        allow(request.extensions(), Role::Read)?;
        Ok(Response::new(self.list_jobs().await?))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Reply<pb::JobStatus> {
        allow(request.extensions(), Role::Read)?;
        let access = self.access(&request.get_ref().job).await?;
        let bytes = self.hub.bytes_of(&access).await;
        let mut status = access.status().await?;
        if self.hub.is_held(&access) {
            status.warnings.insert(0, HELD.to_owned());
        }
        Ok(Response::new(pb::JobStatus { bytes, ..status }))
    }

    async fn subtasks(&self, request: Request<pb::SubtasksRequest>) -> Reply<pb::SubtaskList> {
        allow(request.extensions(), Role::Read)?;
        let request = request.into_inner();
        Ok(Response::new(self.access(&request.job).await?.subtasks(request).await?))
    }

    async fn show(&self, request: Request<pb::ShowRequest>) -> Reply<pb::SubtaskDetail> {
        allow(request.extensions(), Role::Read)?;
        let request = request.into_inner();
        Ok(Response::new(self.access(&request.job).await?.show(&request.subtask).await?))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Reply<pb::Explanation> {
        allow(request.extensions(), Role::Read)?;
        let request = request.into_inner();
        Ok(Response::new(self.access(&request.job).await?.explain(&request.subtask).await?))
    }

    async fn report(&self, request: Request<pb::ReportRequest>) -> Reply<pb::JobReport> {
        allow(request.extensions(), Role::Read)?;
        let report = self.access(&request.get_ref().job).await?.report().await?;
        Ok(Response::new(pb::JobReport { workers: self.worker_rows().await, ..report }))
    }

    async fn verify(&self, request: Request<pb::VerifyRequest>) -> Reply<pb::VerifyReply> {
        allow(request.extensions(), Role::Read)?;
        Ok(Response::new(self.access(&request.get_ref().job).await?.verify().await?))
    }

    async fn workers(&self, request: Request<pb::WorkersRequest>) -> Reply<pb::WorkerList> {
        allow(request.extensions(), Role::Read)?;
        Ok(Response::new(pb::WorkerList { workers: self.worker_rows().await }))
    }

    type WatchStream = Sent<pb::WatchEvent>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        allow(request.extensions(), Role::Read)?;
        let request = request.into_inner();
        let job = self.access(&request.job).await?.id().clone();
        let (events, stream) = mpsc::channel(WATCH_BUFFER);
        tokio::spawn(Watcher { hub: self.hub.clone(), job, seen: request.after_seq, events }.run());
        Ok(sent(stream))
    }

    type LogsStream = Sent<pb::LogChunk>;

    async fn logs(&self, request: Request<pb::LogsRequest>) -> Reply<Self::LogsStream> {
        allow(request.extensions(), Role::Read)?;
        Ok(sent(self.read_logs(request.into_inner()).await?))
    }

    type DiffStream = Sent<pb::DiffChunk>;

    async fn diff(&self, request: Request<pb::DiffRequest>) -> Reply<Self::DiffStream> {
        allow(request.extensions(), Role::Read)?;
        Ok(sent(self.read_diff(request.into_inner()).await?))
    }

    type AttachStream = Sent<pb::TraceLine>;

    async fn attach(&self, request: Request<pb::AttachRequest>) -> Reply<Self::AttachStream> {
        allow(request.extensions(), Role::Read)?;
        Ok(Response::new(Box::pin(self.attach_to(request.into_inner()).await?)))
    }

    async fn steer(&self, request: Request<pb::SteerRequest>) -> Reply<pb::ControlReply> {
        let who = allow(request.extensions(), Role::Submit)?;
        self.steer_agent(&who, request.into_inner()).await.map(Response::new)
    }

    async fn drain_worker(&self, request: Request<pb::DrainWorkerRequest>) -> Reply<pb::ControlReply> {
        let who = allow(request.extensions(), Role::Submit)?;
        tracing::info!(who = who.name, worker = request.get_ref().worker, "a worker is asked to drain");
        self.drain(&request.get_ref().worker).map(Response::new)
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Reply<pb::ControlReply> {
        let who = allow(request.extensions(), Role::Submit)?;
        self.release_worker(&who, request.into_inner()).await.map(Response::new)
    }

    async fn pause(&self, request: Request<pb::PauseRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Pause(request))).await
    }

    async fn resume(&self, request: Request<pb::ResumeRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Resume(request))).await
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Cancel(request))).await
    }

    async fn retry(&self, request: Request<pb::RetryRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Retry(request))).await
    }

    async fn approve(&self, request: Request<pb::ApproveRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Approve(request))).await
    }

    async fn revert(&self, request: Request<pb::RevertRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Revert(request))).await
    }

    async fn answer(&self, request: Request<pb::AnswerRequest>) -> Reply<pb::ControlReply> {
        self.controlled(request, |request| (request.job.clone(), Control::Answer(request, String::new()))).await
    }
}
