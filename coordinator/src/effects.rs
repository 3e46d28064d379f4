//! Carrying out commands: git work on a thread of its own, records to whoever follows them.
//! What goes to workers is in `dispatch`.
//!
//! The git thread's queue has no bound of its own: the core has at most one merge, seal or landing
//! and one staging a land group under way, and issues nothing twice. The index's queue holds
//! [`INDEX_QUEUE`] groups; a slower index makes the driver wait, which makes everybody wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use longhaul_common::JobId;
use longhaul_common::bus::Bus;
use longhaul_common::git::{Identity, Store, StoreError, sync_objects};
use longhaul_common::layout::JobLayout;
use longhaul_common::room::free_bytes;
use longhaul_common::{BatchId, NodeId, Oid};
use longhaul_proto::Record;
use tokio::sync::{broadcast, watch};

use crate::capsules::Capsules;
use crate::checkpoint::{CheckpointError, Index};
use crate::coordinator::{FilesCommits, Running};
use crate::core::{Command, Input, JobPhase, Millis, MoveResult, Phase, State};
use crate::dispatch::Sent;
use crate::driver::{Effects, Handle};
use crate::fleet::FleetTable;
use crate::landing::{Member, MergeJob, Refs, merge_batch, receipt, seal, stage, write_receipt};
use crate::repos::{StoreLock, note};
use crate::sessions::Sessions;

/// Largest gate log committed with a receipt, in bytes.
const GATE_LOG_BYTES_MAX: u64 = 4 << 20;

/// How often git work is tried before the job is paused for a person.
const GIT_TRIES: u32 = 4;

/// Wait between two tries.
const GIT_RETRY: Duration = Duration::from_secs(1);

/// A disk with less room than this is full.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// Groups of records and capsules the index may be behind.
const INDEX_QUEUE: usize = 4_096;

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
    /// No snapshot can be written at the moment: why. Nothing waits for it, but the journal grows.
    pub no_snapshot: Option<String>,
}

/// Records as they become durable.
pub type Records = Arc<Vec<Record>>;

/// The product's effects.
pub(crate) struct Performer {
    pub job: JobId,
    pub bus: Arc<dyn Bus>,
    pub fleet: FleetTable,
    /// Workers are told names on the server, not paths.
    pub remote: bool,
    pub files: FilesCommits,
    pub layout: JobLayout,
    pub store: PathBuf,
    pub handle: Handle,
    pub sent: Sent,
    pub sessions: Sessions,
    git: Sender<GitWork>,
    pub index: Option<SyncSender<IndexWork>>,
    records: broadcast::Sender<Records>,
    pulse: watch::Sender<Pulse>,
    no_snapshot: Option<String>,
}

/// Work for the git thread; doing it again after it failed half way changes nothing.
pub(crate) type GitWork = Box<dyn Fn(&Store, &Handle) -> Result<(), StoreError> + Send>;

/// Work for the index thread.
pub(crate) enum IndexWork {
    /// Durable records.
    Records(Records),
    /// What an attempt was told.
    Capsule(u64, Box<longhaul_proto::Capsule>),
}

impl Performer {
    /// `epoch` differs for every process that runs the job.
    pub fn new(
        running: &Running,
        git: Sender<GitWork>,
        index: Option<SyncSender<IndexWork>>,
        pulse: watch::Sender<Pulse>,
        epoch: u64,
    ) -> Self {
        Self {
            job: running.id.clone(),
            bus: Arc::clone(&running.site.bus),
            fleet: running.site.fleet.clone(),
            remote: running.site.remote,
            files: Arc::clone(&running.files),
            layout: running.layout.clone(),
            store: running.store.clone(),
            handle: running.handle.clone(),
            sent: Sent::new(epoch),
            sessions: Sessions::of(&running.layout),
            git,
            index,
            records: running.records.clone(),
            pulse,
            no_snapshot: None,
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
            let _nothing_goes_away_meanwhile = hold(store)?;
            let (members, merge) = merge_batch(store, &work)?;
            note_made(store, merge.as_ref().map(|merge| merge.commit))?;
            durable(store)?;
            handle.input(Input::Merged { batch: id, members, merge });
            Ok(())
        }));
    }

    fn stage(&self, state: &State, node: NodeId) {
        let Some(member) = member(state, node) else { return };
        let generation = state.generation();
        let work = merge_job(state, state.staging_head(node), vec![member]);
        self.on_git(Box::new(move |store, handle| {
            let _nothing_goes_away_meanwhile = hold(store)?;
            let result = stage(store, &work)?;
            note_made(store, result.as_ref().ok().copied())?;
            durable(store)?;
            handle.input(Input::Staged { generation, node, result });
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
            let _nothing_goes_away_meanwhile = hold(store)?;
            let merge = seal(store, &work, merge, derived)?;
            note_made(store, Some(merge.commit))?;
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
            let _nothing_goes_away_meanwhile = hold(store)?;
            if let Some(receipt) = &receipt {
                write_receipt(store, &refs, receipt, log.clone().and_then(read_bounded), &identity)?;
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

/// While objects are added, none are taken away.
fn hold(store: &Store) -> Result<StoreLock, StoreError> {
    StoreLock::shared(store.path()).map_err(|error| unwritten(store, "objects under its lock", &error))
}

/// What was made may stand on objects that were there already, and no journal names it yet.
fn note_made(store: &Store, commit: Option<Oid>) -> Result<(), StoreError> {
    match commit {
        Some(commit) => note(store.path(), commit).map_err(|error| unwritten(store, "the list of imports", &error)),
        None => Ok(()),
    }
}

fn unwritten(store: &Store, what: &str, cause: &impl ToString) -> StoreError {
    StoreError::Write { path: store.path().to_owned(), what: what.to_owned(), cause: cause.to_string() }
}

fn read_bounded(path: PathBuf) -> Option<Vec<u8>> {
    let small = std::fs::metadata(&path).ok()?.len() <= GATE_LOG_BYTES_MAX;
    if small { std::fs::read(path).ok() } else { None }
}

fn durable(store: &Store) -> Result<(), StoreError> {
    sync_objects(&store.path().join("objects")).map_err(|error| unwritten(store, "objects durably", &error))
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
            Command::Tell(id, asked_ms) => self.tell(state, *id, *asked_ms),
            Command::Stop(id) => self.stop(state, *id),
            Command::Merge(id) => self.merge(state, *id),
            Command::Stage(node, _) => self.stage(state, *node),
            Command::Seal(id) => self.seal(state, *id),
            Command::Land(id) => self.land(state, *id),
        }
    }

    fn committed(&mut self, records: Vec<Record>, state: &State) {
        // What is live is known to the process before any of it is sent.
        self.fleet.note_shares(&self.job, state);
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

    fn snapshot_tried(&mut self, tried: Result<(), &CheckpointError>) {
        if let Err(error) = tried {
            tracing::error!(%error, "no snapshot can be written; the journal has everything, trying again later");
        }
        self.no_snapshot = tried.err().map(ToString::to_string);
    }

    fn turned(&mut self, state: &State, _now: Millis) {
        self.sent.keep_live(state);
        let closed = matches!(state.job_phase(), JobPhase::Closed { .. });
        let no_snapshot = self.no_snapshot.clone();
        let next = Pulse { seq: state.seq(), closed, stuck: !closed && state.is_stuck(), trouble: None, no_snapshot };
        self.pulse.send_if_modified(|pulse| {
            let changed = (pulse.seq, pulse.closed, pulse.stuck) != (next.seq, next.closed, next.stuck)
                || pulse.no_snapshot != next.no_snapshot;
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
            if let Err(cause) = persist(&store, &handle, &work) {
                let reason = format!("git work failed: {cause}. Mend it, then resume: nothing is lost");
                handle.input(Input::CommandFailed { reason });
            }
        }
    })?;
    Ok((sender, thread))
}

/// Does git work, again where that may help: a full disk is waited for without end, anything else
/// is tried [`GIT_TRIES`] times.
fn persist(store: &Store, handle: &Handle, work: &GitWork) -> Result<(), String> {
    let mut tries = 0;
    loop {
        let error = match catch_unwind(AssertUnwindSafe(|| work(store, handle))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err("a defect in reading or merging".to_owned()),
        };
        let full = is_full(store.path());
        tries += u32::from(!full);
        if tries >= GIT_TRIES || handle.is_stopping() {
            return Err(error.to_string());
        }
        tracing::error!(%error, full, "git work failed; nothing is lost, trying again");
        std::thread::sleep(GIT_RETRY);
    }
}

/// Whether a disk has no room for another object.
fn is_full(path: &Path) -> bool {
    free_bytes(path).is_some_and(|free| free < ROOM_BYTES_MIN)
}

/// The thread that keeps the index up: behind the journal, never before it.
pub(crate) fn index_thread(
    index: Index,
    mut capsules: Capsules,
) -> std::io::Result<(SyncSender<IndexWork>, std::thread::JoinHandle<()>)> {
    let (sender, work) = sync_channel(INDEX_QUEUE);
    let thread = std::thread::Builder::new().name("longhaul-index".to_owned()).spawn(move || {
        let mut behind = false;
        while let Ok(work) = work.recv() {
            let done = match &work {
                IndexWork::Capsule(attempt, capsule) => {
                    capsules.keep(*attempt, capsule);
                    Ok(())
                }
                _ if behind => Ok(()),
                IndexWork::Records(records) => index.apply(records),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "the index is left behind; it is rebuilt at the next start");
                behind = true;
            }
        }
    })?;
    Ok((sender, thread))
}
