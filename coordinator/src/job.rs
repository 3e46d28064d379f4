//! One job under this process's lock: recovered, asked, opened anew; not running yet.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longhaul_common::bus::Bus;
use longhaul_common::git::{Store as GitStore, StoreError};
use longhaul_common::layout::{JobLayout, Layout};
use longhaul_common::room::{is_out_of_room, says_out_of_room};
use longhaul_common::{JobId, Oid};
use longhaul_proto::{Audited, Plan, Repo};
use rustix::fs::{FlockOperation, flock};

use crate::checkpoint::{CheckpointError, FileStore, Recovered, recover};
use crate::clock::SystemClock;
use crate::coordinator::{Coordinator, Site};
use crate::core::{Request, State};
use crate::driver::Clock as _;
use crate::engine::{Engine, FeedError};
use crate::repos::{RepoError, clear_leftovers, prepare_store};

/// Why a job could not be opened or run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process runs the job.
    #[error("the job {job} is being run by another process: `longhaul watch {job}` shows it")]
    Locked {
        /// Which.
        job: JobId,
    },
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Truth could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The repository could not be brought in.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A request or event was refused.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A plan without a base.
    #[error(transparent)]
    Oid(#[from] longhaul_common::id::BadOid),
}

impl OpenError {
    /// Whether the disk is full, which more space mends.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_out_of_room(source),
            Self::Checkpoint(error) => error.is_disk_full(),
            Self::Repo(error) => error.is_disk_full(),
            Self::Store(error) => says_out_of_room(&error.to_string()),
            _ => false,
        }
    }
}

impl From<crate::core::ApplyError> for OpenError {
    fn from(error: crate::core::ApplyError) -> Self {
        Self::Feed(error.into())
    }
}

/// A job under this process's lock, recovered and not yet running.
pub struct Job {
    pub(crate) id: JobId,
    pub(crate) layout: JobLayout,
    pub(crate) engine: Engine<FileStore>,
    recovered: RecoverySummary,
    pub(crate) lock: File,
}

/// What recovery found, for people.
#[derive(Clone, Debug, Default)]
pub struct RecoverySummary {
    /// The snapshot it began from; 0 for none.
    pub snapshot_seq: u64,
    /// Records applied behind it.
    pub replayed: u64,
    /// Bytes of a torn tail.
    pub torn_bytes: u64,
    /// Damaged snapshots passed over.
    pub damaged_snapshots: Vec<PathBuf>,
}

impl From<&Recovered> for RecoverySummary {
    fn from(recovered: &Recovered) -> Self {
        Self {
            snapshot_seq: recovered.snapshot_seq,
            replayed: recovered.replayed,
            torn_bytes: recovered.torn_bytes,
            damaged_snapshots: recovered.damaged_snapshots.clone(),
        }
    }
}

impl Job {
    /// Locks a job (made where it does not exist) and recovers it.
    pub fn open(layout: &Layout, id: &JobId) -> Result<Self, OpenError> {
        let job = layout.job(id);
        let io = |action, path: PathBuf| move |source| OpenError::Io { action, path, source };
        for folder in [job.root().to_owned(), job.root().join("capsules"), job.root().join("logs")] {
            std::fs::create_dir_all(&folder).map_err(io("make the folder", folder.clone()))?;
        }
        let lock = File::create(job.lock()).map_err(io("open", job.lock()))?;
        // The kernel drops this lock with the process: it is never stale.
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Locked { job: id.clone() })?;
        let (recovered, store) = recover(&job)?;
        let summary = RecoverySummary::from(&recovered);
        let mut engine = Engine::new(recovered.state, store);
        let root = layout.clone();
        let repo = engine.state().plan().repo.clone().unwrap_or_default();
        engine.set_lacks(Box::new(move |commit| {
            // A store that cannot be read is no reason to do everything again.
            GitStore::open_own(&store_of(&root, &repo)).is_ok_and(|store| !store.has(commit))
        }));
        let now = SystemClock.now_ms();
        let downtime = u64::try_from(now - engine.state().now_ms()).unwrap_or(0);
        engine.tell_time(now)?;
        if engine.state().seq() > 0 {
            engine.begin_recovered(downtime)?;
        }
        Ok(Self { id: id.clone(), layout: job, engine, recovered: summary, lock })
    }

    /// Its name.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Its state.
    pub fn state(&self) -> &State {
        self.engine.state()
    }

    /// What recovery found.
    pub fn recovery(&self) -> &RecoverySummary {
        &self.recovered
    }

    /// Opens a plan: the first one, or the next generation. Durable when it returns.
    pub fn open_plan(&mut self, plan: Plan) -> Result<(), OpenError> {
        self.open_plan_by(plan, None)
    }

    /// As [`Job::open_plan`]; who asked is in the journal before it.
    pub fn open_plan_by(&mut self, plan: Plan, asked: Option<&Audited>) -> Result<(), OpenError> {
        let plan = Plan { job: self.id.to_string(), ..plan };
        self.engine.open_plan(plan, asked)?;
        self.engine.commit()?;
        Ok(())
    }

    /// Carries out a request while no coordinator runs. Durable when it returns; gives the number
    /// of events it led to.
    pub fn request(&mut self, request: Request) -> Result<usize, OpenError> {
        self.request_by(request, None)
    }

    /// As [`Job::request`]; who asked is in the journal before what it led to.
    pub fn request_by(&mut self, request: Request, asked: Option<&Audited>) -> Result<usize, OpenError> {
        let events = self.engine.request(&request, asked)?;
        self.engine.commit()?;
        self.engine.snapshot(true)?;
        Ok(events)
    }

    /// Runs the job in a process of its own, until it is told to stop.
    pub fn start(self, layout: &Layout, bus: Arc<dyn Bus>) -> Result<Coordinator, OpenError> {
        self.start_at(&Site::one_process(layout.clone(), bus))
    }

    /// Runs the job beside others.
    pub fn start_at(mut self, site: &Site) -> Result<Coordinator, OpenError> {
        self.engine.set_lease(site.lease_ms);
        let plan = Arc::clone(self.engine.state().plan());
        let repo = plan.repo.clone().unwrap_or_default();
        let store = store_of(&site.layout, &repo);
        prepare_store(&store, Path::new(&repo.path), Oid::from_bytes(&repo.base)?)?;
        clear_leftovers(&store, self.id.as_str())?;
        Coordinator::start(self, site, store)
    }
}

/// The coordinator's bare store of a plan's repository.
pub fn store_of(layout: &Layout, repo: &Repo) -> PathBuf {
    layout.store(&repository(repo))
}

/// The name of a plan's repository: the same for all its jobs, and for the mirrors of workers.
pub(crate) fn repository(repo: &Repo) -> String {
    let by_path = || longhaul_common::layout::repo_key(Path::new(&repo.path));
    if repo.key.is_empty() { by_path() } else { repo.key.clone() }
}
