//! The hub itself: which jobs run in this process, how others are found, opened and ended.
//!
//! Every job that is not closed runs; a closed one is read from its files (a few are kept in
//! memory) and runs again when a request wakes it. A job another process has locked is only read
//! until that process lets it go. One job is opened, ended or given a plan at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use longhaul_common::JobId;
use longhaul_common::bus::{Bus, Link};
use longhaul_common::layout::Layout;
use longhaul_proto::JobBytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::held::Held;
use super::incoming::clear_incoming;
use super::job_access::{AccessError, FileJob, JobAccess, off_runtime};
use super::{HubSettings, JobCard, Output};
use crate::clock::SystemClock;
use crate::coordinator::{Coordinator, Job, OpenError, Running, Site};
use crate::core::{JobPhase, LEASE_MS_MIN};
use crate::driver::{Clock as _, Gone};
use crate::fleet::FleetTable;
use crate::introductions::Introductions;
use crate::room::Room;
use crate::upkeep::measure;

/// Age at which what a job takes on the disk is measured again: folders are walked for it.
const BYTES_AGE_MAX: Duration = Duration::from_secs(30);

/// Packs of submissions that come in at the same time: with [`super::PACK_BYTES_MAX`] the bound of
/// what they take on the disk.
pub(crate) const PACKS_MAX: usize = 8;

/// The jobs of one process; clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub site: Site,
    pub settings: HubSettings,
    /// How workers' own services are reached.
    pub introductions: Introductions,
    /// Set in a process that runs one job for a person: it takes no others.
    pub only: Option<JobId>,
    /// Of the worker in such a process, which serves nothing.
    pub beside: Option<Output>,
    jobs: Mutex<BTreeMap<JobId, Entry>>,
    closed: Mutex<Vec<Arc<FileJob>>>,
    /// Open jobs that another process has locked: they run here once it lets go.
    pub(super) held: Held,
    /// Jobs whose driver ended by itself, and why.
    failed: Mutex<BTreeMap<JobId, String>>,
    /// One permit for each pack of a submission that may come in at the same time.
    pub(crate) packs: Arc<tokio::sync::Semaphore>,
    /// What jobs take on the disk, and when that was measured.
    bytes: Mutex<BTreeMap<JobId, (Instant, JobBytes)>>,
    /// Held while a job is opened, ended or given a plan.
    pub opening: tokio::sync::Mutex<()>,
    pub stop: CancellationToken,
    tasks: TaskTracker,
    started_ms: i64,
    sends: AtomicU64,
}

struct Entry {
    running: Running,
    /// Not here where another part of the process owns it.
    coordinator: Option<Coordinator>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Opens every job of a state folder that is not closed. Must be called in a runtime; the workers
    /// are not called yet ([`Hub::call_workers`]). A job that cannot be opened does not keep the others from running.
    pub async fn open(layout: Layout, bus: Arc<dyn Bus>, settings: HubSettings) -> Result<Self, OpenError> {
        let jobs = layout.jobs();
        std::fs::create_dir_all(&jobs).map_err(|source| OpenError::Io {
            action: "make the folder",
            path: jobs.clone(),
            source,
        })?;
        let lease_ms = settings.lease_ms.max(LEASE_MS_MIN);
        let fleet = FleetTable::listen(Arc::clone(&bus), lease_ms);
        let room = Room::on(layout.root());
        let hub = Self::new(Site { layout, bus, fleet, remote: true, lease_ms, room }, settings, None);
        let (incoming, repos) = (hub.incoming(), hub.inner.site.layout.repos());
        off_runtime(move || {
            clear_incoming(&incoming, &repos);
            Ok(())
        })
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "what was left of cut submissions stays");
        });
        for card in JobCard::all(&hub.inner.site.layout) {
            let Ok(id) = card.job.parse::<JobId>() else { continue };
            match hub.open_if_unfinished(&id).await {
                Ok(()) => {}
                Err(AccessError::Open(OpenError::Locked { .. })) => {
                    tracing::warn!(job = %id, "another process runs the job; it is only read here until that ends");
                    hub.inner.held.add(id);
                }
                Err(error) => {
                    tracing::error!(job = %id, %error, "the job cannot be opened");
                    hub.note_failed(&id, &error);
                }
            }
        }
        let caller = hub.clone();
        hub.inner.tasks.spawn(async move { caller.watch_link().await });
        let keeper = hub.clone();
        hub.inner.tasks.spawn(async move { keeper.keep_up(keeper.inner.settings.upkeep).await });
        let waiter = hub.clone();
        hub.inner.tasks.spawn(async move { waiter.take_up_held().await });
        Ok(hub)
    }

    /// A hub of one job that somebody else runs and ends, for a process of one job.
    pub fn of_one(coordinator: &Coordinator, beside: Output, stop: CancellationToken) -> Self {
        let running = coordinator.running().clone();
        let id = running.id.clone();
        let mut hub = Self::new(running.site.clone(), HubSettings::default(), Some(id.clone()));
        let inner = Arc::get_mut(&mut hub.inner).expect("nobody else has it yet");
        (inner.stop, inner.beside) = (stop, Some(beside));
        lock(&inner.jobs).insert(id, Entry { running, coordinator: None });
        hub
    }

    fn new(site: Site, settings: HubSettings, only: Option<JobId>) -> Self {
        let inner = Inner {
            site,
            settings,
            introductions: Introductions::default(),
            only,
            beside: None,
            jobs: Mutex::default(),
            closed: Mutex::default(),
            held: Held::default(),
            packs: Arc::new(tokio::sync::Semaphore::new(PACKS_MAX)),
            failed: Mutex::default(),
            bytes: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            started_ms: SystemClock.now_ms(),
            sends: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) async fn open_if_unfinished(&self, id: &JobId) -> Result<(), AccessError> {
        let (layout, job) = (self.inner.site.layout.clone(), id.clone());
        let open = off_runtime(move || match FileJob::read(&layout, &job) {
            Ok(files) if files.is_closed() => Ok(None),
            // Named and never given a plan: a submission that was cut.
            Err(AccessError::Unknown(_)) => Ok(None),
            Ok(_) => Ok(Some(Job::open(&layout, &job)?)),
            Err(error) => Err(error),
        });
        match open.await? {
            Some(job) => self.run(job).await,
            None => Ok(()),
        }
    }

    /// Runs a job under lock from now on. The caller holds `opening`, or nobody else is there yet.
    pub(crate) fn run(&self, job: Job) -> BoxFuture<'static, Result<(), AccessError>> {
        let (hub, id) = (self.clone(), job.id().clone());
        let (site, runtime) = (self.inner.site.clone(), tokio::runtime::Handle::current());
        Box::pin(async move {
            let started = off_runtime(move || {
                let _in_runtime = runtime.enter();
                Ok(job.start_at(&site)?)
            });
            let coordinator = started.await.inspect_err(|error| hub.note_failed(&id, error))?;
            let running = coordinator.running().clone();
            hub.forget_files(&id);
            hub.inner.held.remove(&id);
            lock(&hub.inner.failed).remove(&id);
            lock(&hub.inner.jobs).insert(id, Entry { running: running.clone(), coordinator: Some(coordinator) });
            let over = hub.clone();
            hub.inner.tasks.spawn(async move { over.watch_over(running).await });
            Ok(())
        })
    }

    /// Ends the job's coordinator when it is closed, or takes note that it failed.
    async fn watch_over(&self, running: Running) {
        let mut pulse = running.pulse.clone();
        let id = running.id.clone();
        drop(running);
        loop {
            let closed = tokio::select! {
                seen = pulse.wait_for(|pulse| pulse.closed) => seen.is_ok(),
                () = self.inner.stop.cancelled() => return,
            };
            match self.retire(&id, closed).await {
                Ok(true) => return,
                // A request woke it in the meantime.
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(job = %id, %error, "the job's coordinator has ended");
                    self.note_failed(&id, &error);
                    return;
                }
            }
        }
    }

    /// Ends a closed (or failed) job's coordinator; `false` when it is not closed any more.
    async fn retire(&self, id: &JobId, closed: bool) -> Result<bool, AccessError> {
        let _turn = self.inner.opening.lock().await;
        let Some(running) = self.running(id) else { return Ok(true) };
        if closed && !running.pulse.borrow().closed {
            return Ok(false);
        }
        drop(running);
        let coordinator = lock(&self.inner.jobs).remove(id).and_then(|entry| entry.coordinator);
        let Some(coordinator) = coordinator else { return Ok(true) };
        let state = match coordinator.stop().await {
            Ok(state) => state,
            Err(error) => return Err(AccessError::Refused(error.to_string())),
        };
        if !matches!(state.job_phase(), JobPhase::Closed { .. }) {
            // A request came between the look and the end: it is under way again at once.
            let (layout, job) = (self.inner.site.layout.clone(), id.clone());
            let job = off_runtime(move || Ok(Job::open(&layout, &job)?)).await?;
            self.run(job).await?;
        }
        Ok(true)
    }

    /// The job, where it runs in this process.
    pub fn running(&self, id: &JobId) -> Option<Running> {
        lock(&self.inner.jobs).get(id).map(|entry| entry.running.clone())
    }

    /// Jobs that run in this process.
    pub fn running_jobs(&self) -> Vec<Running> {
        lock(&self.inner.jobs).values().map(|entry| entry.running.clone()).collect()
    }

    /// The job to read. Blocks on files where it does not run.
    pub fn find_blocking(&self, id: &JobId) -> Result<JobAccess, AccessError> {
        if let Some(running) = self.running(id) {
            return Ok(JobAccess::Running(running));
        }
        if self.inner.only.is_some() || !self.inner.site.layout.job(id).journal().is_dir() {
            return Err(AccessError::Unknown(id.to_string()));
        }
        let cached = lock(&self.inner.closed).iter().find(|files| files.state().job() == id.as_str()).cloned();
        if let Some(files) = cached.filter(|files| !files.is_outdated()) {
            return Ok(JobAccess::Files(files));
        }
        let files = Arc::new(FileJob::read(&self.inner.site.layout, id)?);
        let mut closed = lock(&self.inner.closed);
        closed.retain(|files| files.state().job() != id.as_str());
        closed.push(Arc::clone(&files));
        let over = closed.len().saturating_sub(self.inner.settings.closed_cached_max);
        closed.drain(..over);
        Ok(JobAccess::Files(files))
    }

    /// The job to read.
    pub async fn find(&self, id: &JobId) -> Result<JobAccess, AccessError> {
        if let Some(running) = self.running(id) {
            return Ok(JobAccess::Running(running));
        }
        self.inner.held.asked_for(id);
        let (hub, id) = (self.clone(), id.clone());
        off_runtime(move || hub.find_blocking(&id)).await
    }

    /// What a job takes on the disk, as lately measured.
    pub(crate) async fn bytes_of(&self, access: &JobAccess) -> Option<JobBytes> {
        let id = access.id().clone();
        let known = lock(&self.inner.bytes).get(&id).copied();
        if let Some((_, bytes)) = known.filter(|(at, _)| at.elapsed() < BYTES_AGE_MAX) {
            return Some(bytes);
        }
        let (layout, store) = (access.layout(), access.store());
        let bytes = off_runtime(move || Ok(measure(&layout, &store))).await.ok()?;
        lock(&self.inner.bytes).insert(id, (Instant::now(), bytes));
        Some(bytes)
    }

    /// Forgets what was read of a job's files, so that it can be opened.
    pub(crate) fn forget_files(&self, id: &JobId) {
        lock(&self.inner.closed).retain(|files| files.state().job() != id.as_str());
    }

    /// Takes note that a job does not run, and why.
    pub(super) fn note_failed(&self, id: &JobId, error: &AccessError) {
        lock(&self.inner.failed).insert(id.clone(), error.to_string());
    }

    /// Whether it serves: an error says what it waits for.
    pub fn ready(&self) -> Result<(), String> {
        if let Link::Down { cause } = self.inner.site.bus.link() {
            return Err(format!("the bus is down: {cause}"));
        }
        if self.inner.stop.is_cancelled() {
            return Err("it is ending".to_owned());
        }
        for running in self.running_jobs() {
            if let Some(trouble) = &running.pulse.borrow().trouble {
                return Err(format!("job {}: {trouble}", running.id));
            }
        }
        match lock(&self.inner.failed).first_key_value() {
            Some((id, cause)) => Err(format!("job {id} does not run: {cause}")),
            None => Ok(()),
        }
    }

    /// Ends every job with a snapshot; what runs on workers goes on and is taken up again by the
    /// next process.
    pub async fn stop(&self) {
        // Whoever waits for the turn behind this gets it, and sees that nothing is opened any more.
        let turn = self.inner.opening.lock().await;
        self.inner.stop.cancel();
        let entries = std::mem::take(&mut *lock(&self.inner.jobs));
        drop(turn);
        let ends = entries.into_iter().filter_map(|(id, entry)| Some((id, entry.coordinator?)));
        let ends = ends.map(|(id, coordinator)| async move {
            if let Err(error) = coordinator.stop().await {
                tracing::error!(job = %id, %error, "the job did not end well; its journal has everything");
            }
        });
        futures::future::join_all(ends).await;
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The turn to open a job or give it a plan; an error once the hub ends.
    pub(crate) async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, AccessError> {
        let turn = self.inner.opening.lock().await;
        if self.inner.stop.is_cancelled() { Err(Gone::Ended.into()) } else { Ok(turn) }
    }

    /// Does something to its end, whether or not whoever asked for it stays: a caller who leaves
    /// drops the answer, not the work.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, AccessError> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Gone::Ended.into()),
        }
    }

    /// Where submissions are kept until they are whole.
    pub(crate) fn incoming(&self) -> std::path::PathBuf {
        self.inner.site.layout.root().join("incoming")
    }

    /// Whether it is the hub of a process that runs one job for a person.
    pub fn runs_one_job(&self) -> bool {
        self.inner.only.is_some()
    }

    /// Cancelled when the hub ends.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// A part of a message id that no other message of any process has.
    pub(crate) fn next_send(&self) -> String {
        format!("{}.{}", self.inner.started_ms, self.inner.sends.fetch_add(1, Ordering::Relaxed))
    }
}
