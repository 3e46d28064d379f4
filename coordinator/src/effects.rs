//! Carrying out commands: messages to workers, and git work on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use longhaul_common::bus::{Bus, BusError, Message, Subject};
use longhaul_common::git::{Identity, Store, StoreError, sync_objects};
use longhaul_common::layout::JobLayout;
use longhaul_common::{AttemptId, BatchId, GateId, NodeId, Oid};
use longhaul_proto::{
    Assignment, CancelWork, Failure, FailureClass, Finished, Gate, GatePurpose, Record, ToWorker, Work, assignment,
    finished, to_worker,
};
use prost::Message as _;
use tokio::sync::{broadcast, watch};

use crate::capsule::{capsule, instructions};
use crate::checkpoint::{CheckpointError, Index};
use crate::core::{Command, Input, JobPhase, Millis, MoveResult, Phase, State};
use crate::driver::{Effects, Handle};
use crate::landing::{Member, MergeJob, Refs, merge_batch, receipt, seal, stage, write_receipt};

/// Largest gate log committed with a receipt, in bytes.
const GATE_LOG_BYTES_MAX: u64 = 4 << 20;

/// What a watcher of the driver sees after every turn.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// Last durable record.
    pub seq: u64,
    /// The job is over.
    pub closed: bool,
    /// Nothing can happen without a person.
    pub stuck: bool,
    /// Truth cannot be written at the moment: why.
    pub trouble: Option<String>,
}

/// Records as they become durable.
pub type Records = Arc<Vec<Record>>;

/// The product's effects.
pub(crate) struct Performer {
    pub bus: Arc<dyn Bus>,
    pub layout: JobLayout,
    pub store: PathBuf,
    pub handle: Handle,
    pub git: Sender<GitWork>,
    pub index: Option<Sender<IndexWork>>,
    pub records: broadcast::Sender<Records>,
    pub pulse: watch::Sender<Pulse>,
}

/// Work for the git thread.
pub(crate) type GitWork = Box<dyn FnOnce(&Store, &Handle) -> Result<(), StoreError> + Send>;

/// Work for the index thread.
pub(crate) enum IndexWork {
    /// Durable records.
    Records(Records),
    /// A snapshot was made of this state.
    Snapshot(Box<State>),
    /// What an attempt was told, to keep at a path.
    Capsule(PathBuf, Box<longhaul_proto::Capsule>),
}

fn write_capsule(path: &Path, capsule: &longhaul_proto::Capsule) {
    let text = serde_json::to_vec(capsule).unwrap_or_default();
    if let Err(error) = std::fs::write(path, text) {
        tracing::warn!(%error, path = %path.display(), "the capsule was not kept");
    }
}

impl Performer {
    fn send(&self, worker: &str, message: to_worker::Message, id: String) -> Result<(), BusError> {
        let payload = Bytes::from(ToWorker { message: Some(message) }.encode_to_vec());
        self.bus.publish(Message { subject: Subject::worker(worker), id, payload })
    }

    /// An assignment that cannot be sent has failed: a subtask too large for a message is parked
    /// with that reason, a gate is inconclusive.
    fn send_assignment(&self, assignment: Assignment) {
        let (id, worker) = (assignment.id, assignment.worker.clone());
        let error = match self.send(&worker, to_worker::Message::Assign(assignment), String::new()) {
            Err(error @ BusError::TooLarge { .. }) => error,
            // Whoever is not heard of is told again.
            Err(BusError::Congested { .. }) | Ok(()) => return,
        };
        let failure = Failure {
            class: FailureClass::Result.into(),
            message: format!("its assignment cannot be sent: {error}; put fewer files into one subtask or batch"),
            ..Failure::default()
        };
        let finished = Finished { outcome: Some(finished::Outcome::Failure(failure)), ..Finished::default() };
        self.handle.input(Input::Finished { id, finished: Box::new(finished) });
    }

    fn assignment(&self, state: &State, id: u64, worker: &str, base: Oid) -> Assignment {
        let plan = state.plan();
        Assignment {
            job: state.job().to_owned(),
            id,
            worker: worker.to_owned(),
            base: base.to_vec(),
            repo: plan.repo.clone(),
            policy: plan.policy.clone(),
            job_dir: plan.job_dir.clone(),
            files_commit: Vec::new(),
            store: self.store.display().to_string(),
            kind: None,
        }
    }

    fn assign(&self, state: &State, id: AttemptId) {
        let Some(live) = state.attempts().get(&id) else { return };
        let node = live.node;
        let plan = state.plan();
        let task = state.task(node);
        let capsule = capsule(state, node);
        self.keep_capsule(id, &capsule);
        let ladder = task.ladder.iter().map(|&agent| plan.agents[agent as usize].clone()).collect();
        let mut assignment = self.assignment(state, id.0, &live.worker, live.base);
        assignment.kind = Some(assignment::Kind::Work(Work {
            subtask: state.node(node).id.clone(),
            task: Some(task.clone()),
            ladder,
            files: state.node(node).files.clone(),
            claims: state.node(node).claims.clone(),
            capsule: Some(capsule),
            attempt_number: state.subtask(node).attempts,
            author_name: plan.author_name.clone(),
            author_email: plan.author_email.clone(),
            title: instructions(state, node).lines().next().unwrap_or_default().to_owned(),
            wip: state
                .subtask(node)
                .wip
                .as_ref()
                .filter(|saved| saved.base == live.base)
                .map(|saved| saved.wip.clone()),
        }));
        self.send_assignment(assignment);
    }

    /// For the record, so off the driver's thread where there is another.
    fn keep_capsule(&self, id: AttemptId, capsule: &longhaul_proto::Capsule) {
        let (path, capsule) = (self.layout.capsule(id.0), Box::new(capsule.clone()));
        match &self.index {
            Some(index) => drop(index.send(IndexWork::Capsule(path, capsule))),
            None => write_capsule(&path, &capsule),
        }
    }

    fn gate(&self, state: &State, id: GateId) {
        let Some(run) = state.landing.gates.get(&id) else { return };
        let plan = state.plan();
        let spec = plan.gate.clone().unwrap_or_default();
        let last = run.purpose == i32::from(GatePurpose::Final);
        let batch = run.purpose == i32::from(GatePurpose::Batch);
        let members = state.landing.batch.iter().filter(|_| batch).flat_map(|batch| &batch.members);
        let mut changed: Vec<String> = members
            .filter_map(|&node| state.subtask(node).phase().candidate())
            .flat_map(|candidate| candidate.patch.files.iter().cloned())
            .collect();
        changed.sort();
        changed.dedup();
        let compare = state.landing.batch.as_ref().map_or(run.commit, |batch| batch.tip);
        let mut assignment = self.assignment(state, id.0, &run.worker, run.commit);
        assignment.kind = Some(assignment::Kind::Gate(Gate {
            run: if last { spec.r#final.or(spec.run) } else { spec.run },
            timeout_ms: spec.timeout_ms,
            regenerate: batch,
            changed_files: changed,
            compare_base: compare.to_string(),
            author_name: plan.author_name.clone(),
            author_email: plan.author_email.clone(),
            idle_timeout_ms: spec.idle_timeout_ms,
        }));
        self.send_assignment(assignment);
    }

    fn stop(&self, state: &State, id: u64, worker: &str) {
        let cancel = CancelWork { job: state.job().to_owned(), id, reason: "no longer wanted".to_owned() };
        if let Err(error) = self.send(worker, to_worker::Message::Cancel(cancel), String::new()) {
            tracing::warn!(%error, worker, "a cancellation was not sent");
        }
    }

    fn on_git(&self, work: GitWork) {
        if self.git.send(work).is_err() {
            tracing::error!("the git thread is gone");
        }
    }

    fn merge(&self, state: &State, id: BatchId) {
        let Some(batch) = state.landing.batch.as_ref() else { return };
        let members = batch.members.iter().filter_map(|&node| member(state, node)).collect();
        let work = merge_job(state, batch.tip, members);
        self.on_git(Box::new(move |store, handle| {
            let (members, merge) = merge_batch(store, &work)?;
            durable(store)?;
            handle.input(Input::Merged { batch: id, members, merge });
            Ok(())
        }));
    }

    fn stage(&self, state: &State, node: NodeId) {
        let Some(member) = member(state, node) else { return };
        let work = merge_job(state, state.staging_head(node), vec![member]);
        self.on_git(Box::new(move |store, handle| {
            let result = stage(store, &work)?;
            durable(store)?;
            handle.input(Input::Staged { node, result });
            Ok(())
        }));
    }

    fn seal(&self, state: &State, id: BatchId) {
        let Some(batch) = state.landing.batch.as_ref() else { return };
        let Some(green) = &batch.green else { return };
        let Ok(derived) = Oid::from_bytes(&green.result.derived_commit) else { return };
        let merge = batch.merge.commit;
        let work = merge_job(state, batch.tip, Vec::new());
        self.on_git(Box::new(move |store, handle| {
            let merge = seal(store, &work, merge, derived)?;
            durable(store)?;
            handle.input(Input::Sealed { batch: id, merge });
            Ok(())
        }));
    }

    fn land(&self, state: &State, id: BatchId) {
        let Some(batch) = state.landing.batch.as_ref() else { return };
        let (old, new) = (batch.tip, batch.merge.commit);
        let refs = Refs::of(state.job());
        let name = refs.integration(state.generation());
        let identity = identity(state);
        let receipt = receipt(state, id);
        let log = receipt.as_ref().and_then(|receipt| self.layout.gate_log(receipt.gate));
        self.on_git(Box::new(move |store, handle| {
            if let Some(receipt) = &receipt {
                write_receipt(store, &refs, receipt, log.and_then(read_bounded), &identity)?;
            }
            durable(store)?;
            // A missing ref is made anew: the journal says where the branch was.
            let from = if store.reference(&name)?.is_none() { Oid::ZERO } else { old };
            let result = match store.move_reference(&name, from, new) {
                Ok(()) => MoveResult::Moved,
                Err(StoreError::RefMoved { found, .. }) => MoveResult::Foreign { found },
                Err(error) => return Err(error),
            };
            durable(store)?;
            handle.input(Input::RefMoved { batch: id, result });
            Ok(())
        }));
    }
}

fn read_bounded(path: PathBuf) -> Option<Vec<u8>> {
    let small = std::fs::metadata(&path).ok()?.len() <= GATE_LOG_BYTES_MAX;
    if small { std::fs::read(path).ok() } else { None }
}

fn durable(store: &Store) -> Result<(), StoreError> {
    sync_objects(&store.path().join("objects")).map_err(|error| StoreError::Write {
        path: store.path().to_owned(),
        what: "objects durably".to_owned(),
        cause: error.to_string(),
    })
}

/// The user's identity, as the plan has it.
pub(crate) fn identity(state: &State) -> Identity {
    Identity { name: state.plan().author_name.clone(), email: state.plan().author_email.clone() }
}

fn merge_job(state: &State, tip: Oid, members: Vec<Member>) -> MergeJob {
    MergeJob { job: state.job().to_owned(), identity: identity(state), seconds: state.now_ms() / 1000, tip, members }
}

fn member(state: &State, node: NodeId) -> Option<Member> {
    let candidate = match state.subtask(node).phase() {
        Phase::Delivered { candidate, .. } | Phase::Landing { candidate, .. } => candidate,
        _ => return None,
    };
    let id = state.node(node).id.clone();
    let message = candidate.reverts.as_ref().map(|landed| {
        format!("Revert {id}\n\nThis takes back {}.\n\nJob-Id: {}\nSubtask-Id: {id}\n", landed.commit, state.job())
    });
    Some(Member {
        node,
        id,
        base: Oid::from_bytes(&candidate.patch.base).ok()?,
        commit: Oid::from_bytes(&candidate.patch.commit).ok()?,
        message,
    })
}

impl Effects for Performer {
    fn perform(&mut self, command: &Command, state: &State) {
        match command {
            Command::Assign(id) => self.assign(state, *id),
            Command::Gate(id) => self.gate(state, *id),
            // Whoever does not know it ignores it.
            Command::Stop(id) => state.fleet.names().for_each(|worker| self.stop(state, *id, worker)),
            Command::Merge(id) => self.merge(state, *id),
            Command::Stage(node, _) => self.stage(state, *node),
            Command::Seal(id) => self.seal(state, *id),
            Command::Land(id) => self.land(state, *id),
        }
    }

    fn committed(&mut self, records: Vec<Record>, _state: &State) {
        let records = Arc::new(records);
        if let Some(index) = &self.index {
            drop(index.send(IndexWork::Records(Arc::clone(&records))));
        }
        // Without watchers nobody listens.
        drop(self.records.send(records));
    }

    fn cannot_commit(&mut self, error: &CheckpointError) {
        tracing::error!(%error, "the journal cannot be written; nothing is lost, trying again");
        self.pulse.send_modify(|pulse| pulse.trouble = Some(error.to_string()));
    }

    fn turned(&mut self, state: &State, _now: Millis) {
        let closed = matches!(state.job_phase(), JobPhase::Closed { .. });
        let next = Pulse { seq: state.seq(), closed, stuck: !closed && state.is_stuck(), trouble: None };
        self.pulse.send_if_modified(|pulse| {
            let changed = (pulse.seq, pulse.closed, pulse.stuck) != (next.seq, next.closed, next.stuck);
            *pulse = next;
            changed
        });
    }
}

/// The thread on which git work is done, in order.
pub(crate) fn git_thread(
    store: Store,
    handle: Handle,
) -> std::io::Result<(Sender<GitWork>, std::thread::JoinHandle<()>)> {
    let (sender, work) = channel::<GitWork>();
    let thread = std::thread::Builder::new().name("longhaul-git".to_owned()).spawn(move || {
        while let Ok(work) = work.recv() {
            let cause = match catch_unwind(AssertUnwindSafe(|| work(&store, &handle))) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a defect in reading or merging".to_owned(),
            };
            let reason = format!("git work failed: {cause}. Mend it, then resume: nothing is lost");
            handle.input(Input::CommandFailed { reason });
        }
    })?;
    Ok((sender, thread))
}

/// The thread that keeps the index up: behind the journal, never before it.
pub(crate) fn index_thread(index: Index) -> std::io::Result<(Sender<IndexWork>, std::thread::JoinHandle<()>)> {
    let (sender, work) = channel();
    let thread = std::thread::Builder::new().name("longhaul-index".to_owned()).spawn(move || {
        let mut behind = false;
        while let Ok(work) = work.recv() {
            let done = match &work {
                IndexWork::Capsule(path, capsule) => {
                    write_capsule(path, capsule);
                    Ok(())
                }
                _ if behind => Ok(()),
                IndexWork::Records(records) => index.apply(records),
                IndexWork::Snapshot(state) => index.note_snapshot(state),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "the index is left behind; it is rebuilt at the next start");
                behind = true;
            }
        }
    })?;
    Ok((sender, thread))
}
