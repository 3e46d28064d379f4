//! One process running one job, from start to its end, its standstill, or Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longhaul_common::bus::{Bus, MemoryBus};
use longhaul_common::layout::repo_key;
use longhaul_coordinator::control::{Control, prepare};
use longhaul_coordinator::coordinator::{Coordinator, Job};
use longhaul_coordinator::core::{JobPhase, State};
use longhaul_coordinator::landing::{Refs, export};
use longhaul_coordinator::upkeep::{self, UpkeepSettings};
use longhaul_coordinator::{hub, jobs, view};
use longhaul_proto::{ApproveRequest, JobOutcome, ResumeRequest, SubtasksRequest};
use longhaul_worker::{Scope, Shutdown, WorkerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::sink::LocalSink;
use crate::context::Context;
use crate::exit::Exit;
use crate::sandbox::sandbox_settings;

/// Redraws of the live view.
const FRAME: Duration = Duration::from_millis(200);

/// Bytes all slots of the local worker may take before idle ones are emptied.
const SLOT_BYTES_MAX: u64 = 64 << 30;

/// How long clients of the control plane may take to see that it ends.
const SERVER_END_MAX: Duration = Duration::from_secs(5);

/// How long the driver may take to answer for the screen: while the journal cannot be written it
/// does not, and Ctrl-C must work all the same.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// How long the worker of a closed job may take to deliver what came twice: after that it stays in
/// the outbox, where it does no harm.
const DELIVER_MAX: Duration = Duration::from_secs(2);

/// How long the worker may take to hand back what it has; then it is ended, and what its attempts used
/// is counted by the next run.
const HAND_BACK_MAX: Duration = Duration::from_secs(10);

/// Gates at once: they must not starve the work of a small machine.
const GATE_SLOTS: u32 = 1;

/// States whose subtasks the summary names.
const OPEN: [&str; 5] = ["parked", "failed", "skipped", "cancelled", "reverted"];

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Say yes to pilots.
    pub yes: bool,
    /// Replaces limits before going on.
    pub limits: Option<longhaul_proto::Budget>,
    /// Write the branch at the end.
    pub export: bool,
}

/// Runs the job and tells how it ended.
pub async fn run(context: &Context, mut job: Job, options: Options) -> anyhow::Result<Exit> {
    wake(&mut job, &options)?;
    let id = job.id().clone();
    let parallel = job.state().limits().parallel.max(1);
    let after = job.state().seq();
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut coordinator = job.start(&context.layout, Arc::clone(&bus))?;
    let (stop, drain) = (CancellationToken::new(), CancellationToken::new());
    let config = worker_config(context, parallel)?;
    let live = config.live.clone();
    let beside: hub::Output = Arc::new(move |job, id| live.output(job, id));
    let server = jobs::serve(&coordinator, beside, context.layout.socket(&id), stop.clone()).await?;
    let mut worker = tokio::spawn(longhaul_worker::run(
        config,
        Scope::Job(id.clone()),
        bus,
        Arc::new(LocalSink(coordinator.results.clone())),
        Shutdown { stop: stop.clone(), drain: drain.clone() },
    ));
    let mut output = Output::new(context, after);
    let (end, mut worker_end) = follow(&mut coordinator, &mut output, &mut worker).await?;
    output.pause();
    if end == End::Interrupted {
        output.say("Interrupted", "handing back what runs; everything finished is kept (Ctrl-C again ends at once)");
    }
    let leaves = match end {
        // A result that was sent twice, by this process and one that was killed, may still wait for
        // its second ack when the first one closes the job.
        End::Closed => Some(DELIVER_MAX),
        // What runs is handed back with its work in progress and what it used; what a deadline took back
        // still says what it used.
        End::Interrupted | End::Stuck => Some(HAND_BACK_MAX),
        End::DriverGone | End::WorkerGone => None,
    };
    if let Some(limit) = leaves {
        drain.cancel();
        worker_end = tokio::time::timeout(limit, &mut worker).await.ok().map(ended);
    }
    stop.cancel();
    let worker_end = match worker_end {
        Some(text) => text,
        None => ended(worker.await),
    };
    if !worker_end.is_empty() {
        output.say("Warning", &worker_end);
    }
    // A client that does not let go does not keep the job's lock.
    drop(tokio::time::timeout(SERVER_END_MAX, server).await);
    let state = coordinator.stop().await?;
    tend(context, end).await;
    finish(context, &state, &mut output, end, options.export)
}

/// Keeps the disk bounded, now that nothing runs. A person who interrupts does not wait for it.
async fn tend(context: &Context, end: End) {
    if end == End::Closed {
        let layout = context.layout.clone();
        // Whatever fails was logged, and is done by the next run.
        drop(tokio::task::spawn_blocking(move || upkeep::once(&layout, &UpkeepSettings::default())).await);
    }
}

/// Requests that come with the command line, before the driver runs.
fn wake(job: &mut Job, options: &Options) -> anyhow::Result<()> {
    let store = std::path::PathBuf::new();
    let resume = Control::Resume(ResumeRequest { limits: options.limits, ..ResumeRequest::default() });
    job.request(prepare(job.state(), &store, resume)?.request)?;
    if options.yes && !matches!(job.state().job_phase(), JobPhase::Closed { .. }) {
        approve_all(job)?;
    }
    Ok(())
}

fn approve_all(job: &mut Job) -> anyhow::Result<()> {
    let all = ApproveRequest { all: true, by: "--yes".to_owned(), ..ApproveRequest::default() };
    let prepared = prepare(job.state(), std::path::Path::new(""), Control::Approve(all))?;
    job.request(prepared.request)?;
    Ok(())
}

fn worker_config(context: &Context, parallel: u32) -> anyhow::Result<WorkerConfig> {
    let shim = crate::sandbox::shim()?;
    Ok(WorkerConfig {
        sandbox: sandbox_settings(context, &context.settings, parallel + GATE_SLOTS)?,
        work_slots: parallel,
        gate_slots: GATE_SLOTS,
        // Who ends it does not wait for what runs.
        drain_ms: 0,
        slot_bytes_max: SLOT_BYTES_MAX,
        recording: crate::context::recording(&context.settings)?,
        telemetry: crate::context::telemetry()?,
        ripgrep: crate::rg::stand_in(),
        ..WorkerConfig::new("local", context.layout.worker(), shim)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Stuck,
    Interrupted,
    DriverGone,
    WorkerGone,
}

type WorkerTask = tokio::task::JoinHandle<Result<(), longhaul_worker::WorkerError>>;

/// Why the worker ended, in words; empty when it was told to.
fn ended(end: Result<Result<(), longhaul_worker::WorkerError>, tokio::task::JoinError>) -> String {
    match end {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => format!("the worker ended: {error}"),
        Err(error) => format!("the worker ended: {error}"),
    }
}

/// Shows what happens until the job is over or the person interrupts.
async fn follow(
    coordinator: &mut Coordinator,
    output: &mut Output,
    worker: &mut WorkerTask,
) -> anyhow::Result<(End, Option<String>)> {
    let mut worker_end = None;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut records = coordinator.records.subscribe();
    let mut frame = tokio::time::interval(FRAME);
    frame.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut pulse = coordinator.pulse.clone();
    let end = loop {
        tokio::select! {
            _ = interrupt.recv() => break End::Interrupted,
            _ = terminate.recv() => break End::Interrupted,
            gone = &mut *worker => {
                worker_end = Some(ended(gone));
                break End::WorkerGone;
            }
            batch = records.recv() => match batch {
                Ok(batch) => show(coordinator, output, &batch).await,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                    output.say("Note", &format!("{missed} groups of events were too many to show; `longhaul watch --after 0` has them"));
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break End::DriverGone,
            },
            changed = pulse.changed() => {
                if changed.is_err() || coordinator.has_ended() {
                    break End::DriverGone;
                }
                let now = pulse.borrow_and_update().clone();
                output.trouble(now.trouble.as_deref());
                if now.closed {
                    break End::Closed;
                }
                if now.stuck {
                    break End::Stuck;
                }
            }
            _ = frame.tick(), if output.is_live() => draw(coordinator, output).await,
        }
    };
    if end == End::Interrupted {
        second_interrupt_ends(interrupt);
    }
    // What was recorded before the end is shown before it.
    while let Ok(batch) = records.try_recv() {
        show(coordinator, output, &batch).await;
    }
    Ok((end, worker_end))
}

/// Everything finished is in the outbox or the journal: ending at once loses nothing.
fn second_interrupt_ends(mut interrupt: tokio::signal::unix::Signal) {
    static ARMED: AtomicBool = AtomicBool::new(false);
    if ARMED.swap(true, Ordering::Relaxed) {
        return;
    }
    tokio::spawn(async move {
        interrupt.recv().await;
        std::process::exit(130);
    });
}

async fn show(coordinator: &Coordinator, output: &mut Output, batch: &Arc<Vec<longhaul_proto::Record>>) {
    let records = Arc::clone(batch);
    let described = coordinator.handle.query(move |state, _| {
        records.iter().filter_map(|record| view::watch_event(state, record)).collect::<Vec<_>>()
    });
    match tokio::time::timeout(ANSWER_MAX, described).await {
        Ok(Ok(events)) => events.iter().for_each(|event| output.event(event)),
        // It waits for a disk or has ended: what is shown must not hold up what is done.
        _ => {
            let before = batch.first().map_or(0, |record| record.seq.saturating_sub(1));
            let missed = batch.len();
            output.say(
                "Note",
                &format!("{missed} events could not be shown in time; `longhaul watch --after {before}` has them"),
            );
        }
    }
}

async fn draw(coordinator: &Coordinator, output: &mut Output) {
    let words = coordinator.progress.lock().map(|words| words.clone()).unwrap_or_default();
    let status = coordinator.handle.query(move |state, now| (view::job_status(state, now, &words, true), now));
    if let Ok(Ok((status, now))) = tokio::time::timeout(ANSWER_MAX, status).await {
        output.draw(&status, now);
    }
}

fn finish(context: &Context, state: &State, output: &mut Output, end: End, wants_export: bool) -> anyhow::Result<Exit> {
    let exported = if wants_export && state.landing.landings > 0 && end != End::Interrupted {
        Some(export_branch(context, state))
    } else {
        None
    };
    let mut status = view::job_status(state, state.now_ms(), &view::ProgressMap::new(), end != End::Interrupted);
    let branch = match &exported {
        Some(Ok(branch)) => branch.clone(),
        Some(Err(error)) => {
            status.warnings.push(error.to_string());
            String::new()
        }
        None => String::new(),
    };
    let exit = exit_of(state, end);
    let open = SubtasksRequest { states: OPEN.map(str::to_owned).to_vec(), ..SubtasksRequest::default() };
    let rows = view::subtask_list(state, &open).rows;
    output.summary(&status, &rows, &branch, exit);
    Ok(exit)
}

/// Writes the job's branch into the user's repository.
pub fn export_branch(context: &Context, state: &State) -> anyhow::Result<String> {
    let refs = Refs::of(state.job());
    let repo = std::path::PathBuf::from(state.plan().repo.clone().unwrap_or_default().path);
    let store = context.layout.store(&repo_key(&repo));
    let branch = refs.branch(state.restarts());
    let exported = export(&store, &repo, &branch, state.landing.tip, &refs.receipts())?;
    Ok(exported.branch)
}

/// The exit code a state stands for.
fn exit_of(state: &State, end: End) -> Exit {
    match (end, state.job_phase()) {
        (End::Interrupted, _) => Exit::Interrupted,
        (End::DriverGone | End::WorkerGone, _) => Exit::Infrastructure,
        (_, JobPhase::Closed { outcome, .. }) => match JobOutcome::try_from(*outcome) {
            Ok(JobOutcome::Done) => Exit::Done,
            Ok(JobOutcome::Partial) => Exit::Partial,
            _ => Exit::Failed,
        },
        (_, JobPhase::Paused { by_budget: true, .. }) => Exit::Budget,
        (_, JobPhase::Paused { .. }) => Exit::Interrupted,
        _ => Exit::Partial,
    }
}
