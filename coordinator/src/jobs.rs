//! The control plane of a running coordinator: the gRPC service `Jobs` over a unix socket.
//!
//! The socket is in a folder only its user can enter. Requests are decided like everything else
//! and answered when their events are durable.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use longhaul_common::layout::JobLayout;
use longhaul_proto as pb;
use longhaul_proto::jobs_server::{Jobs, JobsServer};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::checkpoint::Index;
use crate::control::{Control, ControlError, Prepared, prepare};
use crate::coordinator::Coordinator;
use crate::core::{Millis, State, explain};
use crate::driver::{Gone, Handle};
use crate::effects::Records;
use crate::select::{self, SelectError};
use crate::view::{self, ProgressMap};

/// Events a watcher may be behind before its reading of the journal waits for it.
const WATCH_BUFFER: usize = 256;

/// The service over one running job.
#[derive(Clone)]
pub struct JobsService {
    job: String,
    handle: Handle,
    progress: Arc<Mutex<ProgressMap>>,
    records: broadcast::Sender<Records>,
    layout: JobLayout,
    store: PathBuf,
    index: Option<Index>,
    /// Ends open streams: a server that shuts down waits for them.
    stop: CancellationToken,
}

/// Serves the control plane of a coordinator on a unix socket until `stop` is cancelled.
pub async fn serve(
    job: String,
    coordinator: &Coordinator,
    socket: PathBuf,
    stop: CancellationToken,
) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let service = JobsService {
        job,
        handle: coordinator.handle.clone(),
        progress: Arc::clone(&coordinator.progress),
        records: coordinator.records.clone(),
        layout: coordinator.layout.clone(),
        store: coordinator.store.clone(),
        index: coordinator.index.clone(),
        stop: stop.clone(),
    };
    let listener = listen(&socket)?;
    Ok(tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(JobsServer::new(service));
        if let Err(error) =
            server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned()).await
        {
            tracing::error!(%error, "the control plane ended");
        }
        drop(std::fs::remove_file(&socket));
    }))
}

/// A socket left by a killed process is replaced: the job's lock says that nobody serves it.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(socket)
}

fn gone(_: Gone) -> Status {
    Status::unavailable("the coordinator of this job is ending")
}

fn not_found(error: SelectError) -> Status {
    Status::not_found(error.to_string())
}

impl JobsService {
    async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State, Millis) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.query(question).await.map_err(gone)
    }

    fn words(&self) -> ProgressMap {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn right_job(&self, job: &str) -> Result<(), Status> {
        if job.is_empty() || job == self.job {
            Ok(())
        } else {
            Err(Status::not_found(format!("this coordinator runs {}, not {job}", self.job)))
        }
    }

    async fn control(&self, job: &str, control: Control) -> Result<Response<pb::ControlReply>, Status> {
        self.right_job(job)?;
        let store = self.store.clone();
        let prepared = self.query(move |state, _| prepare(state, &store, control)).await?;
        let Prepared { request, lines } = prepared.map_err(|error| match error {
            ControlError::Select(error) => Status::not_found(error.to_string()),
            ControlError::Store(error) => Status::internal(error.to_string()),
        })?;
        let events = self.handle.request(request).await.map_err(gone)?.map_err(Status::failed_precondition)?;
        let affected = u32::try_from(events).unwrap_or(u32::MAX);
        Ok(Response::new(pb::ControlReply { lines: if events == 0 { Vec::new() } else { lines }, affected }))
    }
}

/// Feeds one watcher: the journal first, then records as they become durable.
struct Watcher {
    seen: u64,
    live: broadcast::Receiver<Records>,
    handle: Handle,
    layout: JobLayout,
    events: mpsc::Sender<Result<pb::WatchEvent, Status>>,
}

impl Watcher {
    async fn run(mut self, stop: CancellationToken) {
        if self.read_journal().await.is_none() {
            return;
        }
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.live.recv() => batch,
                () = stop.cancelled() => break,
            };
            let forwarded = match batch {
                Ok(batch) => self.forward(batch).await,
                // Too slow for the queue: the journal has what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.read_journal().await,
                Err(broadcast::error::RecvError::Closed) => None,
            };
            if forwarded.is_none() {
                return;
            }
        }
        // What was durable before the end is told before it.
        while let Ok(batch) = self.live.try_recv() {
            if self.forward(batch).await.is_none() {
                return;
            }
        }
    }

    /// `None` when there is nobody to tell or nothing to ask any more.
    async fn read_journal(&mut self) -> Option<()> {
        let (layout, after) = (self.layout.clone(), self.seen);
        let read = tokio::task::spawn_blocking(move || crate::checkpoint::read_records(&layout, after)).await;
        match read {
            Ok(Ok(records)) => self.forward(Arc::new(records)).await,
            Ok(Err(error)) => self.events.send(Err(Status::data_loss(error.to_string()))).await.ok(),
            Err(_) => None,
        }
    }

    async fn forward(&mut self, batch: Records) -> Option<()> {
        let from = self.seen;
        self.seen = batch.last().map_or(from, |record| record.seq).max(from);
        let described = self.handle.query(move |state, _| {
            let fresh = batch.iter().filter(|record| record.seq > from);
            fresh.filter_map(|record| view::watch_event(state, record)).collect::<Vec<_>>()
        });
        for event in described.await.ok()? {
            self.events.send(Ok(event)).await.ok()?;
        }
        Some(())
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::JobStatus>, Status> {
        self.right_job(&request.get_ref().job)?;
        let words = self.words();
        self.query(move |state, now| view::job_status(state, now, &words, true)).await.map(Response::new)
    }

    async fn subtasks(&self, request: Request<pb::SubtasksRequest>) -> Result<Response<pb::SubtaskList>, Status> {
        self.right_job(&request.get_ref().job)?;
        let request = request.into_inner();
        self.query(move |state, _| view::subtask_list(state, &request)).await.map(Response::new)
    }

    async fn show(&self, request: Request<pb::ShowRequest>) -> Result<Response<pb::SubtaskDetail>, Status> {
        self.right_job(&request.get_ref().job)?;
        let wanted = request.into_inner().subtask;
        let (layout, index, store) = (self.layout.clone(), self.index.clone(), self.store.clone());
        let detail = self.query(move |state, _| {
            let node = select::one(state, &wanted)?;
            Ok(view::subtask_detail(state, node))
        });
        let mut detail = detail.await?.map_err(not_found)?;
        view::complete_detail(&mut detail, &self.job, &layout, &store, index.as_ref());
        Ok(Response::new(detail))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::Explanation>, Status> {
        self.right_job(&request.get_ref().job)?;
        let wanted = request.into_inner().subtask;
        let found = self.query(move |state, now| Ok(explain(state, select::one(state, &wanted)?, now)));
        found.await?.map(Response::new).map_err(not_found)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.right_job(&request.get_ref().job)?;
        let (events, stream) = mpsc::channel(WATCH_BUFFER);
        let watcher = Watcher {
            seen: request.get_ref().after_seq,
            // Subscribed before the journal is read, so that nothing falls between.
            live: self.records.subscribe(),
            handle: self.handle.clone(),
            layout: self.layout.clone(),
            events,
        };
        tokio::spawn(watcher.run(self.stop.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn pause(&self, request: Request<pb::PauseRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Pause(request)).await
    }

    async fn resume(&self, request: Request<pb::ResumeRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Resume(request)).await
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Cancel(request)).await
    }

    async fn retry(&self, request: Request<pb::RetryRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Retry(request)).await
    }

    async fn approve(&self, request: Request<pb::ApproveRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Approve(request)).await
    }

    async fn revert(&self, request: Request<pb::RevertRequest>) -> Result<Response<pb::ControlReply>, Status> {
        let request = request.into_inner();
        self.control(&request.job.clone(), Control::Revert(request)).await
    }

    async fn submit(&self, _: Request<tonic::Streaming<pb::SubmitPart>>) -> Result<Response<pb::SubmitReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn have(&self, _: Request<pb::HaveRequest>) -> Result<Response<pb::HaveReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn plan(&self, _: Request<pb::PlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn list(&self, _: Request<pb::ListRequest>) -> Result<Response<pb::JobList>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn answer(&self, _: Request<pb::AnswerRequest>) -> Result<Response<pb::ControlReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn steer(&self, _: Request<pb::SteerRequest>) -> Result<Response<pb::ControlReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn report(&self, _: Request<pb::ReportRequest>) -> Result<Response<pb::JobReport>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn verify(&self, _: Request<pb::VerifyRequest>) -> Result<Response<pb::VerifyReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn workers(&self, _: Request<pb::WorkersRequest>) -> Result<Response<pb::WorkerList>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn release(&self, _: Request<pb::ReleaseRequest>) -> Result<Response<pb::ControlReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    async fn drain_worker(&self, _: Request<pb::DrainWorkerRequest>) -> Result<Response<pb::ControlReply>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    type LogsStream = Pin<Box<dyn Stream<Item = Result<pb::LogChunk, Status>> + Send>>;

    async fn logs(&self, _: Request<pb::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    type DiffStream = Pin<Box<dyn Stream<Item = Result<pb::DiffChunk, Status>> + Send>>;

    async fn diff(&self, _: Request<pb::DiffRequest>) -> Result<Response<Self::DiffStream>, Status> {
        Err(Status::unimplemented("not served yet"))
    }

    type AttachStream = Pin<Box<dyn Stream<Item = Result<pb::TraceLine, Status>> + Send>>;

    async fn attach(&self, _: Request<pb::AttachRequest>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not served yet"))
    }
}
