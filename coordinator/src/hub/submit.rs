//! Taking in a plan: a new job, or the next generation of one that runs, is closed, or is neither.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;

use longhaul_common::git::Store;
use longhaul_common::{JobId, Oid};
use longhaul_proto as pb;
use longhaul_proto::{Audited, Plan};

use super::base::{BaseError, TakenBase, take_base};
use super::incoming::IncomingPack;
use super::job_access::{AccessError, JobAccess, base_of, off_runtime};
use super::opening::{Opening, note, open_plan, opening};
use super::{AdmitError, Hub, JobCard, admit};
use crate::carried::write_carried;
use crate::clock::SystemClock;
use crate::coordinator::{Job, OpenError, Running};
use crate::core::{Phase, Request, State};
use crate::driver::Clock as _;
use crate::engine::FeedError;
use crate::landing::Refs;

/// Commits of a store that [`Hub::have`] names by itself.
const TIPS_MAX: usize = 64;

/// Commits that can be asked for at once.
const HAVE_MAX: usize = 4_096;

/// What is submitted.
#[derive(Debug)]
pub struct Submission {
    /// The plan; it names the job, and the repository's key.
    pub plan: Plan,
    /// A pack with what the store lacks of the base's history.
    pub pack: Option<IncomingPack>,
    /// A job of that name must not exist yet.
    pub new_job: bool,
    /// Who submits it, for the journal.
    pub asked: Audited,
}

/// Why a submission was not taken. Nothing of the job was changed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The plan cannot be used.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The repository's history is not there.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A job of that name exists.
    #[error("a job called {0} exists: take another name, or submit without --new for its next generation")]
    Exists(JobId),
    /// The job is of another repository.
    #[error("the job {job} works on the repository {has}, the plan on {wants}: take another name")]
    OtherRepository {
        /// Which.
        job: JobId,
        /// Its repository's key.
        has: String,
        /// The plan's.
        wants: String,
    },
    /// This process takes no jobs.
    #[error("this process runs one job; `longhaul serve` takes submissions")]
    NotServed,
    /// The job could not be opened or asked.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl From<OpenError> for SubmitError {
    fn from(error: OpenError) -> Self {
        Self::Access(error.into())
    }
}

impl Hub {
    /// Opens the plan's job, or its next generation; durable when it returns, with a line for
    /// people. The pack's objects are durable before the plan is journaled. Once begun it is done
    /// whole, also when the caller leaves; a submission that is refused moves no ref.
    pub async fn submit(&self, submission: Submission) -> Result<(JobId, String), SubmitError> {
        if self.inner.only.is_some() {
            return Err(SubmitError::NotServed);
        }
        let hub = self.clone();
        self.to_its_end(async move { hub.take(submission).await }).await?
    }

    async fn take(&self, submission: Submission) -> Result<(JobId, String), SubmitError> {
        let Submission { plan, pack, new_job, asked } = submission;
        let (job, base) = admit(&plan)?;
        let key = plan.repo.as_ref().map(|repo| repo.key.clone()).unwrap_or_default();
        // Looked at before its history is taken in, and again when nobody else opens anything.
        self.wanted(&job, &key, new_job).await?;
        let store = self.inner.site.layout.store(&key);
        // Imports of several submissions may run side by side; git's own names keep them apart.
        let taken = blocking(move || {
            let path = pack.as_ref().map(|pack| &*pack.path);
            Ok(take_base(&store, path, base)?)
        });
        let taken = taken.await?;
        let _turn = self.turn().await?;
        let note = match self.wanted(&job, &key, new_job).await? {
            Some(JobAccess::Running(running)) => next_generation(&running, plan, asked, taken).await?,
            _ => self.open_and_run(&job, plan, asked, taken).await?,
        };
        Ok((job, note))
    }

    /// The job a plan is for, where there is one and the plan may be its next.
    async fn wanted(&self, job: &JobId, key: &str, new_job: bool) -> Result<Option<JobAccess>, SubmitError> {
        let access = match self.find(job).await {
            Ok(access) => access,
            Err(AccessError::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if new_job {
            return Err(SubmitError::Exists(job.clone()));
        }
        let has = access.ask(|state, _| state.plan().repo.clone().unwrap_or_default().key).await?;
        if has != key {
            return Err(SubmitError::OtherRepository { job: job.clone(), has, wants: key.to_owned() });
        }
        Ok(Some(access))
    }

    /// A job that does not run: its plan is opened in its files, then it runs.
    async fn open_and_run(
        &self,
        id: &JobId,
        plan: Plan,
        asked: Audited,
        taken: TakenBase,
    ) -> Result<String, SubmitError> {
        self.forget_files(id);
        let (layout, id) = (self.inner.site.layout.clone(), id.clone());
        let opened = blocking(move || {
            // Its lock first: a job that another process runs is left as it is.
            let mut job = Job::open(&layout, &id)?;
            let kept = taken.keep_as(&Refs::of(id.as_str()).base())?;
            let source_path = PathBuf::from(&plan.source_path);
            let note = match open_plan(&mut job, plan, Some(&asked)) {
                Err(OpenError::Feed(refused @ FeedError::Refused(_))) => {
                    taken.put_back(&kept)?;
                    return Err(OpenError::Feed(refused).into());
                }
                opened => opened?,
            };
            // After the journal: what has a card has a plan.
            let card = JobCard { job: id.to_string(), source_path, created_ms: SystemClock.now_ms() };
            let path = layout.job(&id).root().join("job.json");
            if !path.is_file() {
                card.keep(&layout).map_err(|source| OpenError::Io { action: "write", path, source })?;
            }
            Ok((job, note))
        });
        let (job, note) = opened.await?;
        self.run(job).await?;
        Ok(note)
    }

    /// What the store of a repository has of these commits, and a few that it has anyway.
    pub async fn have(&self, key: String, commits: Vec<Vec<u8>>) -> Result<pb::HaveReply, SubmitError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let store = self.inner.site.layout.store(&key);
        if key.is_empty() || !key.chars().all(plain) || !store.join("HEAD").is_file() {
            return Ok(pb::HaveReply::default());
        }
        blocking(move || {
            let store = Store::open_own(&store).map_err(BaseError::from)?;
            let has = |commit: &Vec<u8>| Oid::from_bytes(commit).is_ok_and(|oid| store.has(oid));
            let commits = commits.into_iter().take(HAVE_MAX).filter(has).collect();
            let refs = store.references("refs/longhaul/").map_err(BaseError::from)?;
            let whole = |name: &str| name.contains("/integration-") || name.ends_with("/base");
            let branches = refs.into_iter().filter(|(name, _)| whole(name));
            let mut tips: Vec<Vec<u8>> = branches.map(|(_, oid)| oid.to_vec()).collect();
            tips.sort_unstable();
            tips.dedup();
            tips.truncate(TIPS_MAX);
            Ok(pb::HaveReply { commits, tips })
        })
        .await
    }

    /// What opening a plan would do; changes nothing. Of a plan without subtasks only what it can
    /// build on: the job's base and remarks.
    pub async fn preview(&self, plan: Plan) -> Result<pb::PlanReply, SubmitError> {
        let job: JobId = plan.job.parse().map_err(AdmitError::from)?;
        if !plan.nodes.is_empty() {
            admit(&plan)?;
        }
        match self.find(&job).await {
            Ok(access) => Ok(access.ask(move |state, _| over(state, plan)).await?),
            Err(AccessError::Unknown(_)) => Ok(pb::PlanReply {
                total: u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX),
                fresh: plan.nodes.into_iter().map(|node| node.id).collect(),
                generation: 1,
                ..pb::PlanReply::default()
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A running job's: decided on the driver's thread like every request.
async fn next_generation(
    running: &Running,
    plan: Plan,
    asked: Audited,
    taken: TakenBase,
) -> Result<String, SubmitError> {
    let compared = plan.clone();
    let found = running.handle.query(move |state, _| (opening(state, &compared), state.generation()));
    let (opening, generation) = found.await.map_err(AccessError::from)?;
    let led = match &opening {
        Opening::First | Opening::Next => {
            let (store, id, files) = (running.store.clone(), running.id.clone(), plan.files.clone());
            let commit = blocking(move || Ok(write_carried(&store, &id, &files).map_err(OpenError::from)?)).await?;
            if let Some(commit) = commit {
                let mut commits = running.files.lock().unwrap_or_else(PoisonError::into_inner);
                commits.insert(generation + 1, commit);
            }
            let name = Refs::of(running.id.as_str()).base();
            let (taken, kept) = blocking(move || {
                let kept = taken.keep_as(&name)?;
                Ok((taken, kept))
            })
            .await?;
            let led = running.handle.open_plan(asked, Box::new(plan)).await;
            if let Ok(Err(_)) = &led {
                blocking(move || Ok(taken.put_back(&kept)?)).await?;
            }
            led
        }
        Opening::Standing { limits: Some(limits) } => {
            running.handle.request_by(asked, Request::Resume { limits: Some(*limits), write_off: String::new() }).await
        }
        Opening::Standing { limits: None } => Ok(Ok(0)),
    };
    led.map_err(AccessError::from)?.map_err(AccessError::Refused)?;
    let note = running.handle.query(move |state, _| note(state, &opening)).await;
    Ok(note.map_err(AccessError::from)?)
}

/// A plan over what a job has done.
fn over(state: &State, mut plan: Plan) -> pb::PlanReply {
    if plan.files.is_empty() {
        // What is carried is not sent for a look.
        plan.files.clone_from(&state.plan().files);
    }
    let mut done: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for node in state.nodes() {
        let phase = state.subtask(node).phase();
        if matches!(phase, Phase::Landed(_) | Phase::Unchanged) || phase.candidate().is_some() {
            done.insert(&state.node(node).id, &state.node(node).key);
        }
    }
    let keeps = |node: &&pb::Node| done.get(node.id.as_str()) == Some(&node.key.as_slice());
    let names = |kept: bool| {
        let wanted = plan.nodes.iter().filter(|node| keeps(node) == kept);
        wanted.map(|node| node.id.clone()).collect()
    };
    let with_remarks = state.nodes().filter(|&node| !state.subtask(node).remarks.is_empty());
    let remarks = with_remarks
        .map(|node| (state.node(node).id.clone(), pb::Remarks { texts: state.subtask(node).remarks.clone() }));
    let next = u32::from(opening(state, &plan) != Opening::Standing { limits: None });
    pb::PlanReply {
        total: u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX),
        kept: names(true),
        fresh: names(false),
        generation: state.generation() + next,
        base: base_of(state).to_vec(),
        remarks: remarks.collect(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SubmitError> + Send + 'static,
) -> Result<T, SubmitError> {
    off_runtime(move || Ok(work())).await?
}
