//! The gates of a job once more: by the real worker, in workspaces of its own that no job uses.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use longhaul_common::bus::{Bus, MemoryBus, Message, Subject};
use longhaul_common::git::Store;
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::coordinator::store_of;
use longhaul_coordinator::core::State;
use longhaul_coordinator::landing::Refs;
use longhaul_proto::{
    Ack, Assignment, Gate, GateResult, Receipt, ToWorker, Verdict, assignment, finished, report, to_worker,
};
use longhaul_worker::{Delivery, ResultSink, Scope, Shutdown, SinkError, WorkerConfig};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::exit::{Exit, Stop};

/// The worker's name on its own bus.
const WORKER: &str = "verify";

struct Verdicts(mpsc::UnboundedSender<GateResult>);

impl ResultSink for Verdicts {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<Ack, SinkError>> {
        let result = match delivery.report.body {
            Some(report::Body::Finished(finished)) => match finished.outcome {
                Some(finished::Outcome::Gate(result)) => result,
                Some(finished::Outcome::Failure(failure)) => {
                    GateResult { reason: failure.message, ..GateResult::default() }
                }
                _ => GateResult::default(),
            },
            _ => GateResult::default(),
        };
        // Nobody waits any more after an interrupt.
        drop(self.0.send(result));
        Box::pin(std::future::ready(Ok(Ack { disposition: "closed".to_owned() })))
    }
}

/// Runs the gate on every merge, oldest first, and says each verdict on stdout.
pub async fn rerun(context: &Context, state: &State, merges: &[Oid], receipts: &[Receipt]) -> anyhow::Result<Exit> {
    let job: JobId = state.job().parse()?;
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let (sender, mut verdicts) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let shim = crate::sandbox::shim()?;
    let sandbox = crate::sandbox::sandbox_settings(context, &context.settings, 1)?;
    let config = WorkerConfig {
        slot_bytes_max: 0,
        sandbox,
        ..WorkerConfig::new(WORKER, context.layout.root().join("verify"), shim)
    };
    let heard = bus.subscribe(&Subject::presences());
    let shutdown = Shutdown { stop: stop.clone(), ..Shutdown::default() };
    let sink = Arc::new(Verdicts(sender));
    let worker = tokio::spawn(longhaul_worker::run(config, Scope::Job(job), Arc::clone(&bus), sink, shutdown));
    // Its first word: it listens from now on.
    let mut heard = heard;
    futures::StreamExt::next(&mut heard).await;
    let store = store_of(&context.layout, &state.plan().repo.clone().unwrap_or_default());
    let files = files_of(state, &store)?;
    let mut red = 0;
    for (at, merge) in merges.iter().enumerate() {
        let receipt = receipts.iter().find(|receipt| receipt.merge == merge.to_string());
        let assignment = Assignment {
            files_commit: files.map(Oid::to_vec).unwrap_or_default(),
            ..assignment_of(state, &store, at as u64 + 1, *merge, receipt)
        };
        let message = ToWorker { message: Some(to_worker::Message::Assign(assignment)) };
        bus.publish(Message {
            subject: Subject::worker(WORKER),
            id: String::new(),
            payload: message.encode_to_vec().into(),
        })?;
        let result = tokio::select! {
            result = verdicts.recv() => result.unwrap_or_default(),
            _ = tokio::signal::ctrl_c() => {
                stop.cancel();
                drop(worker.await);
                return Ok(Exit::Interrupted);
            }
        };
        let word = match result.verdict() {
            Verdict::Green => "green".to_owned(),
            Verdict::Red => format!("RED (exit {})\n{}", result.exit_code, result.log_tail),
            _ => format!("INCONCLUSIVE: {}\n{}", result.reason, result.log_tail),
        };
        println!("{merge} {word}");
        red += usize::from(result.verdict() != Verdict::Green);
    }
    stop.cancel();
    drop(worker.await);
    if red == 0 { Ok(Exit::Done) } else { Err(Stop::failed(format!("{red} merges are not green when gated again"))) }
}

/// The commit with the files of the job folder that its gate names; none where it names none.
fn files_of(state: &State, store: &Path) -> anyhow::Result<Option<Oid>> {
    if state.plan().files.is_empty() {
        return Ok(None);
    }
    let name = Refs::of(state.job()).files();
    let found = Store::open_own(store)?.reference(&name)?;
    found.map(Some).ok_or_else(|| Stop::failed(format!("the files of the job are not in {}: {name}", store.display())))
}

fn assignment_of(state: &State, store: &Path, id: u64, merge: Oid, receipt: Option<&Receipt>) -> Assignment {
    let plan = state.plan();
    let spec = plan.gate.clone().unwrap_or_default();
    let members = receipt.map(|receipt| receipt.members.as_slice()).unwrap_or_default();
    let mut changed_files: Vec<String> = members.iter().flat_map(|member| member.files.clone()).collect();
    changed_files.sort();
    changed_files.dedup();
    Assignment {
        files_commit: Vec::new(),
        job: state.job().to_owned(),
        id,
        worker: WORKER.to_owned(),
        base: merge.to_vec(),
        repo: plan.repo.clone(),
        policy: plan.policy.clone(),
        job_dir: plan.job_dir.clone(),
        store: store.display().to_string(),
        kind: Some(assignment::Kind::Gate(Gate {
            idle_timeout_ms: 0,
            run: spec.run,
            timeout_ms: spec.timeout_ms,
            regenerate: false,
            changed_files,
            compare_base: receipt.map(|receipt| receipt.tip_before.clone()).unwrap_or_default(),
            author_name: plan.author_name.clone(),
            author_email: plan.author_email.clone(),
            // What a landing proved was measured when it landed.
            coverage: None,
        })),
    }
}
