//! One assignment from its permit to its durable ack.

mod delivery;

use std::sync::Arc;
use std::time::Duration;

use longhaul_common::room::is_out_of_room;
use longhaul_proto::{
    Assignment, Failure, FailureClass, Finished, Report, Sandbox, Verdict, assignment, finished, report,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::books::Books;
use crate::execution::{Execution, ExecutionParts, cancelled, limit_of};
use crate::failure::{failure, infrastructure};
use crate::inbox::Carried;
use crate::outbox::Staging;
use crate::process::Secrets;
use crate::report::Reporter;
use crate::sandbox::{Boundary, Enforcement};
use crate::session::desk::{Input, Key};
use crate::share::Portion;
use crate::sources;
use crate::worker::Worker;
use crate::workspace::{Slot, SlotKind, WorkspaceError};

/// First pause after a failed delivery or a failed write to the outbox; doubled up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Tries on a full disk after which a result's logs are given up: a few seconds.
const FULL_TRIES_MAX: u32 = 7;

/// Largest report of a result: what a coordinator takes as one piece.
const REPORT_BYTES_MAX: usize = 1 << 20;

/// Pause after a coordinator said that it will not take a result from this worker.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// Carries an assignment through and tells the loop what becomes of it. What is not finished when the
/// worker ends at once is abandoned; what is sealed waits for the next process.
pub(crate) async fn carry(worker: Arc<Worker>, assignment: Assignment, key: Key, carried: Carried) {
    let is_gate = matches!(assignment.kind, Some(assignment::Kind::Gate(_)));
    let mut unsealed = Unsealed::new(worker.teller(), worker.stop.clone(), key.clone());
    // A cancelled assignment needs no slot to say so.
    let begun = tokio::select! {
        begun = begin(&worker, is_gate) => begun,
        () = carried.cancel.cancelled() => None,
    };
    if worker.stop.is_cancelled() {
        return;
    }
    worker.tell(Input::Started(key.clone()));
    let Some(staging) = stage(&worker, &key).await else { return };
    let (finished, slot) = finish(&worker, assignment, &carried, &staging).await;
    // Ended by the shutdown: that is no result of the assignment.
    if worker.stop.is_cancelled() || !seal(&worker, staging, &key, finished).await {
        return;
    }
    unsealed.sealed();
    // The slot is held until the ack; the machine is free for the next.
    let permit = begun.map(|begun| begun.permit);
    worker.tell(Input::Executed(key.clone()));
    if worker.deliver(&key, &carried).await {
        if let Some(slot) = slot {
            release(&worker, slot).await;
        }
        drop(permit);
        worker.tell(Input::Acknowledged(key));
    }
}

/// Gives an assignment back when whoever carried it ends with nothing sealed, by a panic for example: it
/// would be held for ever.
struct Unsealed(Option<(mpsc::UnboundedSender<Input>, CancellationToken, Key)>);

impl Unsealed {
    fn new(tell: mpsc::UnboundedSender<Input>, stop: CancellationToken, key: Key) -> Self {
        Self(Some((tell, stop, key)))
    }

    /// From now on there is a result to deliver.
    fn sealed(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        // A worker that ends holds nothing any more.
        if let Some((tell, stop, key)) = self.0.take()
            && !stop.is_cancelled()
        {
            tracing::error!(job = %key.job, id = key.id, "an assignment ended without a result; it is given back");
            let _unheard = tell.send(Input::HandedBack(key));
        }
    }
}

/// What an assignment holds while it is executed.
struct Begun {
    permit: OwnedSemaphorePermit,
    _portion: Portion,
}

/// Waits for a slot, for room on the disk, and for its part of the machine.
async fn begin(worker: &Worker, is_gate: bool) -> Option<Begun> {
    let (slots, weight) =
        if is_gate { (&worker.gates, worker.config.weights.gate) } else { (&worker.work, worker.config.weights.work) };
    let permit = Arc::clone(slots).acquire_owned().await.ok()?;
    worker.room.subscribe().wait_for(|room| *room).await.ok()?;
    Some(Begun { permit, _portion: worker.share.take(weight).await })
}

fn failed(failure: Failure) -> Finished {
    Finished { outcome: Some(finished::Outcome::Failure(failure)), ..Finished::default() }
}

async fn finish(
    worker: &Arc<Worker>,
    assignment: Assignment,
    carried: &Carried,
    staging: &Staging,
) -> (Finished, Option<Arc<Slot>>) {
    let (mut finished, slot) = attempt(worker, assignment, carried, staging).await;
    if carried.leave.is_cancelled() && was_ended(&finished) {
        let message = "the worker leaves; the work is handed back unfinished and goes on elsewhere";
        finished.outcome = Some(finished::Outcome::Failure(failure(FailureClass::HandedBack, message)));
    }
    (finished, slot)
}

/// Whether an outcome is that of a cancellation.
fn was_ended(finished: &Finished) -> bool {
    match &finished.outcome {
        Some(finished::Outcome::Failure(failure)) => failure.class() == FailureClass::Cancelled,
        Some(finished::Outcome::Gate(gate)) => gate.verdict() == Verdict::Inconclusive,
        _ => false,
    }
}

async fn attempt(
    worker: &Arc<Worker>,
    mut assignment: Assignment,
    carried: &Carried,
    staging: &Staging,
) -> (Finished, Option<Arc<Slot>>) {
    if carried.cancel.is_cancelled() {
        return (failed(*cancelled()), None);
    }
    let sources = match sources::prepare(worker, &mut assignment, &carried.cancel).await {
        Ok(sources) => sources,
        Err(failure) => return (failed(*failure), None),
    };
    let slot = match acquire(worker, &assignment).await {
        Ok(slot) => Arc::new(slot),
        Err(error) => return (failed(error.into()), None),
    };
    let boundary = match boundary(worker, &assignment).await {
        Ok(boundary) => boundary,
        Err(why) => return (failed(infrastructure(why)), Some(slot)),
    };
    let unenforced = boundary.unenforced();
    let subtask = match &assignment.kind {
        Some(assignment::Kind::Work(work)) => work.subtask.clone(),
        _ => String::new(),
    };
    let shown = worker.config.live.begin(&sources.key, &subtask);
    let reporter = Reporter::new(Arc::clone(&worker.bus), sources.key.clone(), &worker.config.name, shown);
    let repo_env = assignment.repo.as_ref().and_then(|repo| repo.env.clone()).unwrap_or_default();
    let secrets = Secrets::of(&repo_env, worker.config.held_secrets());
    let parts = ExecutionParts {
        assignment,
        slot: Arc::clone(&slot),
        logs_dir: staging.logs(),
        entry: staging.folder().to_owned(),
        cancel: carried.cancel.clone(),
        leave: carried.leave.clone(),
        leaving: worker.drain.clone(),
        reporter,
        sink: Arc::clone(&worker.sink),
        store: sources.store.clone(),
        files: sources.files.clone(),
        config: Arc::clone(&worker.config),
        boundary,
    };
    let pack = staging.pack();
    // A task of its own: should it panic, the assignment still has an outcome.
    let finished = tokio::spawn(execute(parts, pack)).await;
    let finished = finished.unwrap_or_else(|error| {
        let usage = Books::read(staging.folder());
        Finished { usage, ..failed(infrastructure(format!("the worker failed: {error}"))) }
    });
    let finished = without_secrets(Finished { unenforced, ..finished }, &secrets);
    sources.judge(&finished);
    (finished, Some(slot))
}

/// A result's own words without secrets: output is redacted as it streams, but a path or a message
/// of an error may hold one as well. Ids and hashes stay as they are.
fn without_secrets(mut finished: Finished, secrets: &Secrets) -> Finished {
    let clean = |text: &mut String| *text = secrets.redact_text(text);
    clean(&mut finished.unenforced);
    match &mut finished.outcome {
        Some(finished::Outcome::Failure(failure)) => {
            [&mut failure.message, &mut failure.detail].into_iter().chain(&mut failure.paths).for_each(clean);
        }
        Some(finished::Outcome::Gate(gate)) => {
            [&mut gate.reason, &mut gate.log_tail].into_iter().for_each(clean);
        }
        Some(finished::Outcome::Patch(_) | finished::Outcome::Unchanged(_)) | None => {}
    }
    finished
}

/// What the programs of an assignment may do here; says aloud what is not enforced.
async fn boundary(worker: &Worker, assignment: &Assignment) -> Result<Boundary, String> {
    let policy = assignment.policy.clone().unwrap_or_default();
    let is_drawn =
        worker.config.sandbox.enforcement != Enforcement::Off && policy.sandbox() != Sandbox::DangerFullAccess;
    let found = if is_drawn { worker.found().await } else { Arc::default() };
    let boundary = Boundary::new(found, &worker.config, &policy)?;
    let (held, open) = boundary.sentence();
    if !open.is_empty() {
        tracing::warn!(job = assignment.job, id = assignment.id, held, "not enforced: {open}");
    }
    Ok(boundary)
}

async fn execute(parts: ExecutionParts, pack: std::path::PathBuf) -> Finished {
    let mut execution = match Execution::new(parts) {
        Ok(execution) => execution,
        Err(failure) => return failed(*failure),
    };
    let kind = execution.assignment.kind.clone();
    if let Some(assignment::Kind::Work(work)) = &kind {
        execution.limit(work.task.as_ref().and_then(|task| limit_of(task.timeout_ms)));
    }
    let execution = Arc::new(execution);
    let mut finished = match kind {
        Some(assignment::Kind::Work(work)) => crate::execute::execute(Arc::clone(&execution), work, pack).await,
        Some(assignment::Kind::Gate(gate)) => crate::gate::gate(Arc::clone(&execution), gate, pack).await,
        None => failed(infrastructure("an assignment of a kind this worker does not know")),
    };
    finished.logs.extend(execution.record_boundary().await);
    finished
}

async fn acquire(worker: &Worker, assignment: &Assignment) -> Result<Slot, WorkspaceError> {
    let kind = match assignment.kind {
        Some(assignment::Kind::Gate(_)) => SlotKind::Gate,
        _ => SlotKind::Work,
    };
    let repository = sources::repository(assignment);
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
async fn stage(worker: &Worker, key: &Key) -> Option<Staging> {
    let id = key.id;
    let mut pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    loop {
        let (outbox, job) = (worker.outbox.clone(), key.job.to_string());
        match tokio::task::spawn_blocking(move || outbox.stage(&job, id)).await.ok()? {
            Ok(staging) => return Some(staging),
            Err(error) => tracing::error!(id, %error, "no outbox entry can be made; trying again"),
        }
        if !worker.wait(&mut pause).await {
            return None;
        }
    }
}

/// Makes a result durable, however long the disk takes: it was work. On a disk that stays full its
/// logs go, its pack never. False when the worker ends first.
async fn seal(worker: &Worker, mut staging: Staging, key: &Key, finished: Finished) -> bool {
    let id = key.id;
    let mut whole = Report {
        job: key.job.to_string(),
        id,
        worker: worker.config.name.clone(),
        body: Some(report::Body::Finished(finished)),
    };
    if let Some(fitting) = fitting(&whole) {
        whole.body = Some(report::Body::Finished(fitting));
    }
    let mut pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    let mut full_tries = 0;
    loop {
        let tried = tokio::task::spawn_blocking(move || {
            let sealed = staging.seal(&whole);
            (staging, whole, sealed)
        });
        let Ok((kept, report, sealed)) = tried.await else { return false };
        (staging, whole) = (kept, report);
        match sealed {
            Ok(()) => return true,
            Err(error) => {
                tracing::error!(id, %error, "a result could not be kept; trying again");
                full_tries += u32::from(is_out_of_room(&error));
            }
        }
        if full_tries == FULL_TRIES_MAX
            && let Some(report::Body::Finished(finished)) = &mut whole.body
            && !finished.logs.is_empty()
        {
            finished.logs.clear();
            match staging.drop_logs() {
                Ok(()) => tracing::error!(id, "the disk stays full: the logs of a result are given up"),
                Err(error) => tracing::error!(id, %error, "the logs of a result could not be given up"),
            }
        }
        if !worker.wait(&mut pause).await {
            return false;
        }
    }
}

/// What takes the place of a result that no coordinator would take, for it is too large.
fn fitting(whole: &Report) -> Option<Finished> {
    let bytes = whole.encoded_len();
    let Some(report::Body::Finished(finished)) = whole.body.as_ref().filter(|_| bytes > REPORT_BYTES_MAX) else {
        return None;
    };
    let files = match &finished.outcome {
        Some(finished::Outcome::Patch(patch)) => patch.files.len(),
        Some(finished::Outcome::Gate(gate)) => gate.derived_files.len(),
        _ => 0,
    };
    let message = format!(
        "the result is too large to report: {bytes} bytes with the names of {files} files, \
         at most {REPORT_BYTES_MAX} are possible"
    );
    let outcome = Some(finished::Outcome::Failure(failure(FailureClass::Result, message)));
    Some(Finished { outcome, ..finished.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_ends_with_nothing_sealed_gives_it_back() {
        let key = Key { job: "j-0123456789ab".parse().expect("an id"), id: 7 };
        let (tell, mut told) = mpsc::unbounded_channel();
        let new = |stop: &CancellationToken| Unsealed::new(tell.clone(), stop.clone(), key.clone());
        let stop = CancellationToken::new();
        let carried = new(&stop);
        let ended = tokio::spawn(async move {
            let _carried = carried;
            panic!("on purpose");
        });
        assert!(ended.await.is_err());
        assert_eq!(told.try_recv(), Ok(Input::HandedBack(key.clone())));
        new(&stop).sealed();
        stop.cancel();
        drop(new(&stop));
        assert!(told.try_recv().is_err(), "neither what is sealed nor what a worker leaves at its end");
    }

    #[test]
    fn a_result_too_large_to_report_fails_and_says_so() {
        let report = |files: usize| {
            let files = (0..files).map(|n| format!("{n:0>100}")).collect();
            let patch = longhaul_proto::Patch { files, ..Default::default() };
            let finished = Finished { outcome: Some(finished::Outcome::Patch(patch)), ..Finished::default() };
            Report { body: Some(report::Body::Finished(finished)), ..Report::default() }
        };
        assert_eq!(fitting(&report(5_000)), None);
        match fitting(&report(20_000)).and_then(|finished| finished.outcome) {
            Some(finished::Outcome::Failure(failure)) => {
                assert_eq!(failure.class(), FailureClass::Result);
                assert!(failure.message.contains("20000 files"), "{}", failure.message);
            }
            other => panic!("{other:?}"),
        }
    }
}
