//! The live output of what runs for a subtask: from the worker beside, or a worker's own service, or, where
//! that cannot be reached, the last words that come over the bus.

use std::time::Duration;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use longhaul_common::bus::Subject;
use longhaul_proto as pb;
use longhaul_proto::{AttachWork, FromWorker, TraceLine, from_worker, report};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::JobsService;
use crate::clock::SystemClock;
use crate::coordinator::Running;
use crate::core::{Phase, State};
use crate::driver::Clock as _;
use crate::hub::{AccessError, JobAccess};
use crate::select::{self, SelectError};

/// Lines a reader may be behind.
const LINES_AHEAD: usize = 256;

/// How long a worker may take to answer before its words on the bus have to do.
const REACH_MAX: Duration = Duration::from_secs(5);

type Lines = ReceiverStream<Result<TraceLine, Status>>;

impl JobsService {
    pub(super) async fn attach_to(&self, request: pb::AttachRequest) -> Result<Lines, Status> {
        let JobAccess::Running(running) = self.access(&request.job).await? else {
            return Err(Status::failed_precondition("nobody works on the job at the moment"));
        };
        let wanted = request.subtask.clone();
        let found =
            running.handle.query(move |state, _| Ok::<_, SelectError>(live(state, select::one(state, &wanted)?)));
        let found = found.await.map_err(AccessError::from)?.map_err(AccessError::from)?;
        let Some((id, worker)) = found else {
            return Err(Status::failed_precondition(format!("nothing runs for {:?} at the moment", request.subtask)));
        };
        let (lines, stream) = mpsc::channel(LINES_AHEAD);
        let words = self.clone();
        tokio::spawn(async move {
            if let Err(why) = words.proxy(&running, id, &worker, &lines).await {
                let note = format!("{why}; these are its last words as they come over the bus");
                // The reader may be gone.
                if lines.send(Ok(line(id, "attach", note))).await.is_ok() {
                    words.relay(&running, (id, &worker), &lines).await;
                }
            }
        });
        Ok(ReceiverStream::new(stream))
    }

    /// What the worker itself says; an error says why there is none.
    async fn proxy(
        &self,
        running: &Running,
        id: u64,
        worker: &str,
        lines: &mpsc::Sender<Result<TraceLine, Status>>,
    ) -> Result<(), String> {
        if let Some(beside) = &self.hub.inner.beside {
            let output = beside(&running.id, id).ok_or("it does not run yet, or any longer")?;
            return forward(output.map(Ok), lines).await;
        }
        let seen = running.site.fleet.worker(worker).ok_or_else(|| format!("{worker} has not been heard yet"))?;
        let mut client = self.worker_client(&seen.presence).await?;
        let asked = client.attach(AttachWork { job: running.id.to_string(), id });
        let unreached = |why: String| format!("{worker} cannot be reached: {why}");
        let answer = tokio::time::timeout(REACH_MAX, asked).await.map_err(|_| unreached("no answer".to_owned()))?;
        let stream = answer.map_err(|status| unreached(status.message().to_owned()))?.into_inner();
        forward(stream.map_err(|status| unreached(status.message().to_owned())), lines).await
    }

    /// Progress until the assignment ends, as the worker that has it tells it: nobody else's words
    /// are taken for its.
    async fn relay(
        &self,
        running: &Running,
        (id, worker): (u64, &str),
        lines: &mpsc::Sender<Result<TraceLine, Status>>,
    ) {
        let mut reports = running.site.bus.subscribe(&Subject::reports(&running.id));
        let mut pulse = running.pulse.clone();
        let stop = self.hub.stopping();
        loop {
            let is_live = running.handle.query(move |state, _| state.live_worker(id).is_some());
            if !is_live.await.unwrap_or(false) {
                return;
            }
            tokio::select! {
                heard = reports.next() => {
                    let told = heard.filter(|incoming| incoming.subject.worker_name() == Some(worker));
                    let Some(words) = told.and_then(|incoming| progress(incoming.taken(), id)) else { continue };
                    if lines.send(Ok(line(id, &words.step, words.line))).await.is_err() {
                        return;
                    }
                }
                changed = pulse.changed() => if changed.is_err() {
                    return;
                },
                () = lines.closed() => return,
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Passes lines on until there are no more, or nobody reads them.
async fn forward(
    mut from: impl Stream<Item = Result<TraceLine, String>> + Unpin + Send,
    lines: &mpsc::Sender<Result<TraceLine, Status>>,
) -> Result<(), String> {
    loop {
        tokio::select! {
            next = from.next() => match next.transpose()? {
                Some(line) => if lines.send(Ok(line)).await.is_err() {
                    return Ok(());
                },
                None => return Ok(()),
            },
            () = lines.closed() => return Ok(()),
        }
    }
}

fn line(id: u64, step: &str, text: String) -> TraceLine {
    TraceLine { id, step: step.to_owned(), line: text, at_ms: SystemClock.now_ms() }
}

fn progress(payload: bytes::Bytes, id: u64) -> Option<pb::Progress> {
    match FromWorker::decode(payload).ok()?.message? {
        from_worker::Message::Report(pb::Report { id: of, body: Some(report::Body::Progress(words)), .. })
            if of == id =>
        {
            Some(words)
        }
        _ => None,
    }
}

/// The attempt of a subtask, or the gate over its batch.
fn live(state: &State, node: longhaul_common::NodeId) -> Option<(u64, String)> {
    let attempt = state.attempts().iter().find(|(_, live)| live.node == node);
    if let Some((id, live)) = attempt {
        return Some((id.0, live.worker.clone()));
    }
    let Phase::Landing { batch, .. } = state.subtask(node).phase() else { return None };
    let gate = state.landing.gates.iter().find(|(_, run)| run.batch == *batch);
    gate.map(|(id, run)| (id.0, run.worker.clone()))
}
