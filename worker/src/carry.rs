//! One assignment from its permit to its durable ack.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul_common::bus::Subject;
use longhaul_common::layout::repo_key;
use longhaul_proto::{Assignment, Failure, FailureClass, Finished, Report, assignment, finished, report};

use crate::execution::{Execution, ExecutionParts, cancelled, limit_of};
use crate::failure::{failure, infrastructure};
use crate::inbox::{Carried, Worker};
use crate::outbox::Staging;
use crate::report::Reporter;
use crate::workspace::{Slot, SlotKind, WorkspaceError, is_full};

/// First pause after a failed delivery or a failed write to the outbox; doubled up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Carries an assignment through; true when it is acknowledged. False leaves it to the next process:
/// abandoned (it was not finished when this one ended) or waiting in the outbox.
pub(crate) async fn carry(worker: &Arc<Worker>, assignment: Assignment, holding: &Carried) -> bool {
    let (job, id) = (assignment.job.clone(), assignment.id);
    let permits = worker.permits(assignment.kind.as_ref());
    // A cancelled assignment needs no slot to say so.
    let _permit = tokio::select! {
        permit = permits.acquire_owned() => permit.ok(),
        () = holding.cancel.cancelled() => None,
    };
    if worker.shutdown.is_cancelled() {
        return false;
    }
    let Some(staging) = stage(worker, &job, id).await else { return false };
    let (finished, slot) = finish(worker, assignment, holding, &staging).await;
    // Ended by the shutdown: that is no result of the assignment.
    if worker.shutdown.is_cancelled() {
        return false;
    }
    if !seal(worker, staging, &job, id, finished).await {
        return false;
    }
    let acknowledged = worker.deliver(&job, id, holding).await;
    if acknowledged && let Some(slot) = slot {
        release(worker, slot).await;
    }
    acknowledged
}

async fn finish(
    worker: &Arc<Worker>,
    assignment: Assignment,
    holding: &Carried,
    staging: &Staging,
) -> (Finished, Option<Arc<Slot>>) {
    let failed =
        |failure: Failure| Finished { outcome: Some(finished::Outcome::Failure(failure)), ..Finished::default() };
    if holding.cancel.is_cancelled() {
        return (failed(*cancelled()), None);
    }
    let slot = match acquire(worker, &assignment).await {
        Ok(slot) => Arc::new(slot),
        Err(error) => return (failed(error.into()), None),
    };
    let reporter = Reporter::new(
        Arc::clone(&worker.bus),
        Subject::report(&worker.job, &worker.config.name),
        &assignment.job,
        assignment.id,
        &worker.config.name,
    );
    let parts = ExecutionParts {
        assignment,
        slot: Arc::clone(&slot),
        logs_dir: staging.logs(),
        cancel: holding.cancel.clone(),
        reporter,
        config: Arc::clone(&worker.config),
    };
    let pack = staging.pack();
    // A task of its own: should it panic, the assignment still has an outcome.
    let running = tokio::spawn(async move {
        let mut execution = match Execution::new(parts) {
            Ok(execution) => execution,
            Err(failure) => return failed(*failure),
        };
        match execution.assignment.kind.clone() {
            Some(assignment::Kind::Work(work)) => {
                execution.limit(work.task.as_ref().and_then(|task| limit_of(task.timeout_ms)));
                crate::execute::execute(Arc::new(execution), work, pack).await
            }
            Some(assignment::Kind::Gate(gate)) => crate::gate::gate(Arc::new(execution), gate, pack).await,
            None => failed(infrastructure("an assignment of a kind this worker does not know")),
        }
    });
    let finished = running.await.unwrap_or_else(|error| failed(infrastructure(format!("the worker failed: {error}"))));
    (finished, Some(slot))
}

async fn acquire(worker: &Worker, assignment: &Assignment) -> Result<Slot, WorkspaceError> {
    let kind = match assignment.kind {
        Some(assignment::Kind::Gate(_)) => SlotKind::Gate,
        _ => SlotKind::Work,
    };
    let repository = repo_key(Path::new(assignment.repo.as_ref().map_or("", |repo| repo.path.as_str())));
    let pool = worker.pool.clone();
    tokio::task::spawn_blocking(move || pool.acquire(kind, &repository)).await.map_err(|_| WorkspaceError::Ended)?
}

async fn release(worker: &Worker, slot: Arc<Slot>) {
    let pool = worker.pool.clone();
    let released = tokio::task::spawn_blocking(move || match Arc::into_inner(slot) {
        Some(slot) => pool.release(slot),
        None => Ok(()),
    });
    if let Ok(Err(error)) = released.await {
        tracing::warn!(%error, "a slot could not be put in order; the next assignment will");
    }
}

/// Opens an outbox entry, however long the disk takes; `None` when the worker ends first.
async fn stage(worker: &Worker, job: &str, id: u64) -> Option<Staging> {
    let mut pause = PAUSE_FIRST;
    loop {
        let (outbox, job) = (worker.outbox.clone(), job.to_owned());
        match tokio::task::spawn_blocking(move || outbox.stage(&job, id)).await.ok()? {
            Ok(staging) => return Some(staging),
            Err(error) => tracing::error!(id, %error, "no outbox entry can be made; trying again"),
        }
        if !worker.wait(&mut pause).await {
            return None;
        }
    }
}

/// Makes a result durable. When its logs and pack do not fit on the disk, a failure that says so
/// takes its place; false when the worker ends first.
async fn seal(worker: &Worker, staging: Staging, job: &str, id: u64, finished: Finished) -> bool {
    let report = |finished| Report {
        job: job.to_owned(),
        id,
        worker: worker.config.name.clone(),
        body: Some(report::Body::Finished(finished)),
    };
    let mut next = Some((staging, report(finished)));
    let mut pause = PAUSE_FIRST;
    loop {
        let (staging, whole) = match next.take() {
            Some(first) => first,
            None => {
                let Some(staging) = stage(worker, job, id).await else { return false };
                let full = failure(FailureClass::DiskFull, "the result could not be kept: the disk is full");
                (staging, report(Finished { outcome: Some(finished::Outcome::Failure(full)), ..Finished::default() }))
            }
        };
        match tokio::task::spawn_blocking(move || staging.seal(&whole)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                tracing::error!(id, %error, full = is_full(&error), "a result could not be kept; trying again without its files");
            }
            Err(_) => return false,
        }
        if !worker.wait(&mut pause).await {
            return false;
        }
    }
}

impl Worker {
    /// Waits a growing pause; false when the worker ends first.
    async fn wait(&self, pause: &mut Duration) -> bool {
        let now = *pause;
        *pause = (now * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(now) => true,
            () = self.shutdown.cancelled() => false,
        }
    }

    /// Delivers an entry until it is acknowledged; false when the worker ends first.
    pub async fn deliver(&self, job: &str, id: u64, holding: &Carried) -> bool {
        let mut pause = PAUSE_FIRST;
        loop {
            let done = tokio::select! {
                done = self.deliver_once(job, id) => done,
                () = self.shutdown.cancelled() => return false,
            };
            if done {
                return true;
            }
            let again = tokio::select! {
                again = self.wait(&mut pause) => again,
                () = holding.again.notified() => true,
            };
            if !again {
                return false;
            }
        }
    }

    /// Delivers an entry once; true when it is acknowledged, and then it is gone.
    pub async fn deliver_once(&self, job: &str, id: u64) -> bool {
        let (outbox, of) = (self.outbox.clone(), job.to_owned());
        let read = tokio::task::spawn_blocking(move || outbox.read(&of, id)).await;
        let delivery = match read {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(error)) => {
                tracing::error!(id, %error, "an outbox entry cannot be read");
                return false;
            }
            Err(_) => return false,
        };
        match self.sink.deliver(delivery).await {
            Ok(ack) => tracing::debug!(id, disposition = ack.disposition, "result acknowledged"),
            Err(error) => {
                tracing::warn!(id, %error, "result not delivered; trying again");
                return false;
            }
        }
        let (outbox, of) = (self.outbox.clone(), job.to_owned());
        let removed = tokio::task::spawn_blocking(move || outbox.remove(&of, id)).await;
        if let Ok(Err(error)) = removed {
            // It will be delivered once more, which changes nothing.
            tracing::warn!(id, %error, "an acknowledged entry cannot be removed");
        }
        true
    }
}
