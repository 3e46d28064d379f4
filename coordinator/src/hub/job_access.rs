//! Reading one job, whether it runs in this process or only its files are there: one set of
//! answers for the service, for closed jobs, and for a command line without a coordinator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use longhaul_common::JobId;
use longhaul_common::bus::Link;
use longhaul_common::git::{Store as GitStore, StoreError};
use longhaul_common::layout::{JobLayout, Layout};
use longhaul_proto as pb;

use crate::checkpoint::{CheckpointError, Index, recover_read_only};
use crate::control::{Control, ControlError, prepare};
use crate::coordinator::{Job, OpenError, Running, store_of};
use crate::core::{JobPhase, Millis, State, explain};
use crate::driver::Gone;
use crate::hub::Identity;
use crate::jobs::audited;
use crate::landing::{Refs, read_receipts, verify};
use crate::select::{self, SelectError};
use crate::view::{self, ProgressMap};

/// Why a job could not be read or asked.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No such job here.
    #[error("no job is called {0:?} here; `longhaul list --jobs` shows them")]
    Unknown(String),
    /// It ended while it was asked.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Its journal cannot be written, so nothing new may be told.
    #[error(
        "the journal of job {job} cannot be written: {trouble}. Nothing is lost; it goes on by itself when this is mended"
    )]
    Stalled {
        /// Its name.
        job: JobId,
        /// What is in the way, such as a full disk.
        trouble: String,
    },
    /// It names nothing there is.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The request means nothing, or cannot be met as the job stands.
    #[error("{0}")]
    Refused(String),
    /// Its files could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its repository could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ControlError> for AccessError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Select(error) => Self::Select(error),
            ControlError::Store(error) => Self::Store(error),
        }
    }
}

impl AccessError {
    /// Whether the disk is full, which more space mends: asking again may help.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Checkpoint(error) => error.is_disk_full(),
            Self::Open(error) => error.is_disk_full(),
            Self::Store(error) => longhaul_common::room::says_out_of_room(&error.to_string()),
            _ => false,
        }
    }
}

/// A job that this process does not run, as its files were when it was read.
pub struct FileJob {
    id: JobId,
    layout: Layout,
    state: State,
    /// Bytes of the journal when it was read.
    journal_bytes: u64,
    index: OnceLock<Option<Index>>,
}

/// How long an answer may take while the journal cannot be written: above the wait between two
/// tries, so that trouble which has passed is not told.
const STALLED_MAX: Duration = Duration::from_secs(2);

/// Ends once the journal could not be written for [`STALLED_MAX`]; with why.
async fn stalled(running: &Running) -> AccessError {
    let mut pulse = running.pulse.clone();
    loop {
        if pulse.wait_for(|pulse| pulse.trouble.is_some()).await.is_err() {
            // The driver has ended: whoever waits for its answer is told so.
            return std::future::pending().await;
        }
        let mended = tokio::time::timeout(STALLED_MAX, pulse.wait_for(|pulse| pulse.trouble.is_none())).await.is_ok();
        let trouble = pulse.borrow().trouble.clone();
        if let (false, Some(trouble)) = (mended, trouble) {
            return AccessError::Stalled { job: running.id.clone(), trouble };
        }
    }
}

fn journal_bytes(layout: &JobLayout) -> u64 {
    let files = std::fs::read_dir(layout.journal()).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

impl FileJob {
    /// Reads it; changes nothing.
    pub fn read(layout: &Layout, id: &JobId) -> Result<Self, AccessError> {
        let journal_bytes = journal_bytes(&layout.job(id));
        let state = recover_read_only(&layout.job(id))?.state;
        if state.seq() == 0 {
            return Err(AccessError::Unknown(id.to_string()));
        }
        Ok(Self { id: id.clone(), layout: layout.clone(), state, journal_bytes, index: OnceLock::new() })
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state.job_phase(), JobPhase::Closed { .. })
    }

    /// Whether another process went on with it since it was read.
    pub(crate) fn is_outdated(&self) -> bool {
        journal_bytes(&self.layout.job(&self.id)) != self.journal_bytes
    }

    fn index(&self) -> Option<&Index> {
        self.index.get_or_init(|| Index::open(&self.layout.job(&self.id)).ok()).as_ref()
    }
}

/// A job to read.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "few are held at once, each for one request")]
pub enum JobAccess {
    /// It runs in this process.
    Running(Running),
    /// Its files.
    Files(Arc<FileJob>),
}

impl JobAccess {
    /// Over the files of a job.
    pub fn files(layout: &Layout, id: &JobId) -> Result<Self, AccessError> {
        Ok(Self::Files(Arc::new(FileJob::read(layout, id)?)))
    }

    /// Its name.
    pub fn id(&self) -> &JobId {
        match self {
            Self::Running(running) => &running.id,
            Self::Files(files) => &files.id,
        }
    }

    /// Its folder.
    pub fn layout(&self) -> JobLayout {
        match self {
            Self::Running(running) => running.layout.clone(),
            Self::Files(files) => files.layout.job(&files.id),
        }
    }

    /// The coordinator's bare store of its repository.
    pub fn store(&self) -> PathBuf {
        match self {
            Self::Running(running) => running.store.clone(),
            Self::Files(files) => store_of(&files.layout, &files.state.plan().repo.clone().unwrap_or_default()),
        }
    }

    /// Whether a coordinator of this process runs it.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    fn index(&self) -> Option<&Index> {
        match self {
            Self::Running(running) => running.index.as_ref(),
            Self::Files(files) => files.index(),
        }
    }

    /// Asks the state something.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State, Millis) -> T + Send + 'static,
    ) -> Result<T, AccessError> {
        match self {
            Self::Running(running) => tokio::select! {
                biased;
                answer = running.handle.query(question) => Ok(answer?),
                error = stalled(running) => Err(error),
            },
            Self::Files(files) => Ok(question(&files.state, files.state.now_ms())),
        }
    }

    /// Where it stands. While the journal cannot be written, that is what it says so far.
    pub async fn status(&self) -> Result<pb::JobStatus, AccessError> {
        let words = match self {
            Self::Running(running) => running.progress.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::Files(_) => ProgressMap::new(),
        };
        let (live, told) = (self.is_running(), words.clone());
        let asked = self.ask(move |state, now| view::job_status(state, now, &told, live)).await;
        let mut status = match (asked, self) {
            (Err(AccessError::Gone(trouble @ Gone::Unwritten { .. })), Self::Running(running)) => {
                let (layout, id) = (running.site.layout.clone(), running.id.clone());
                let durable = off_runtime(move || FileJob::read(&layout, &id)).await?.state;
                let mut status = view::job_status(&durable, durable.now_ms(), &words, live);
                status.warnings.insert(0, format!("{trouble}. Make room: it goes on by itself"));
                status
            }
            (asked, _) => asked?,
        };
        if let Self::Running(running) = self {
            if let Link::Down { cause } = running.site.bus.link() {
                let text = format!("NATS does not answer ({cause}): nothing is handed out until it does");
                status.warnings.insert(0, text);
            }
            status.warnings.extend(running.site.room.warning());
            status.warnings.extend(running.pulse.borrow().no_snapshot.as_ref().map(|cause| {
                format!(
                    "no snapshot can be written ({cause}): the journal grows meanwhile. It is tried again by itself"
                )
            }));
        }
        Ok(status)
    }

    /// Subtasks that match.
    pub async fn subtasks(&self, request: pb::SubtasksRequest) -> Result<pb::SubtaskList, AccessError> {
        self.ask(move |state, _| view::subtask_list(state, &request)).await
    }

    /// One subtask in full.
    pub async fn show(&self, subtask: &str) -> Result<pb::SubtaskDetail, AccessError> {
        let wanted = subtask.to_owned();
        let found = self.ask(move |state, _| {
            let node = select::one(state, &wanted)?;
            Ok::<_, SelectError>(view::subtask_detail(state, node))
        });
        let mut detail = found.await??;
        let access = self.clone();
        off_runtime(move || {
            let (layout, store) = (access.layout(), access.store());
            view::complete_detail(&mut detail, access.id().as_str(), &layout, &store, access.index());
            Ok(detail)
        })
        .await
    }

    /// Why a subtask is not running.
    pub async fn explain(&self, subtask: &str) -> Result<pb::Explanation, AccessError> {
        let (wanted, running, job) = (subtask.to_owned(), self.is_running(), self.id().clone());
        let found = self.ask(move |state, now| {
            let mut found = explain(state, select::one(state, &wanted)?, now);
            if !running && !matches!(state.job_phase(), JobPhase::Closed { .. }) {
                found.causes.push("nobody runs the job at the moment".to_owned());
                found.next.push(format!("longhaul resume {job}"));
            }
            Ok::<_, SelectError>(found)
        });
        Ok(found.await??)
    }

    /// Every receipt, oldest first; none where nothing was ever run.
    pub async fn receipts(&self) -> Result<Vec<pb::Receipt>, AccessError> {
        let (path, refs) = (self.store(), Refs::of(self.id().as_str()));
        off_runtime(move || match GitStore::open_own(&path) {
            Ok(store) => Ok(read_receipts(&store, &refs)?),
            Err(_) => Ok(Vec::new()),
        })
        .await
    }

    /// Everything the report is made of, but the workers.
    pub async fn report(&self) -> Result<pb::JobReport, AccessError> {
        let status = self.status().await?;
        let receipts = self.receipts().await?;
        let described =
            self.ask(|state, _| state.nodes().map(|node| view::subtask_detail(state, node)).collect::<Vec<_>>());
        let mut subtasks = described.await?;
        let access = self.clone();
        let complete = move || {
            let layout = access.layout();
            subtasks.iter_mut().for_each(|detail| view::add_attempts(detail, &layout, access.index()));
            let by_merge: BTreeMap<&str, &pb::Receipt> =
                receipts.iter().map(|receipt| (receipt.merge.as_str(), receipt)).collect();
            for row in subtasks.iter_mut().filter_map(|detail| detail.receipt.as_mut()) {
                if let Some(receipt) = by_merge.get(row.merge.as_str()) {
                    view::prove(row, receipt);
                }
            }
            Ok(pb::JobReport { status: Some(status), subtasks, receipts, workers: Vec::new() })
        };
        off_runtime(complete).await
    }

    /// Proves receipts, trees and chain consistent, from git.
    pub async fn verify(&self) -> Result<pb::VerifyReply, AccessError> {
        let (base, tip) = self.ask(|state, _| (base_of(state), state.landing.tip)).await?;
        let receipts = self.receipts().await?;
        let path = self.store();
        off_runtime(move || {
            let found = verify(&GitStore::open_own(&path)?, base, tip, &receipts)?;
            let problem = |finding: crate::landing::Finding| format!("{}: {}", finding.what, finding.problem);
            Ok(pb::VerifyReply {
                receipts,
                problems: found.findings.into_iter().map(problem).collect(),
                tip: tip.to_string(),
                merges: found.merges.into_iter().map(longhaul_common::Oid::to_vec).collect(),
            })
        })
        .await
    }
}

/// The commit the open plan is pinned to.
pub(crate) fn base_of(state: &State) -> longhaul_common::Oid {
    let base = state.plan().repo.as_ref().map(|repo| repo.base.clone()).unwrap_or_default();
    longhaul_common::Oid::from_bytes(&base).unwrap_or_default()
}

/// Files and git are read where they hold up nobody.
pub(crate) async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AccessError> + Send + 'static,
) -> Result<T, AccessError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(AccessError::Gone(Gone::Ended)),
    }
}

/// Carries out a request of this machine's user in the files of a job, under its lock: nobody runs
/// it. Durable when it returns.
pub fn control_files(layout: &Layout, id: &JobId, control: Control) -> Result<pb::ControlReply, AccessError> {
    let asked = audited(&Identity::local(), control.role(), control.name(), control.detail());
    control_job(&mut Job::open(layout, id)?, layout, control, Some(&asked))
}

/// The same in a job under lock.
pub(crate) fn control_job(
    job: &mut Job,
    layout: &Layout,
    control: Control,
    asked: Option<&pb::Audited>,
) -> Result<pb::ControlReply, AccessError> {
    let store = store_of(layout, &job.state().plan().repo.clone().unwrap_or_default());
    let prepared = prepare(job.state(), &store, control)?;
    let events = match job.request_by(prepared.request, asked) {
        Ok(events) => events,
        Err(OpenError::Feed(crate::engine::FeedError::Refused(refusal))) => {
            return Err(AccessError::Refused(refusal.0));
        }
        Err(error) => return Err(error.into()),
    };
    let lines = if events == 0 { Vec::new() } else { prepared.lines };
    Ok(pb::ControlReply { lines, affected: u32::try_from(events).unwrap_or(u32::MAX) })
}
