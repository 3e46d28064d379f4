//! A running coordinator of one job, put together: lock, recovery, engine, driver, threads.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::StreamExt as _;
use longhaul_common::bus::{Bus, Subject, Subscription};
use longhaul_common::git::{Store as GitStore, StoreError};
use longhaul_common::layout::{JobLayout, Layout};
use longhaul_common::{JobId, Oid};
use longhaul_proto::{FromWorker, JobOpened, Plan, from_worker, report};
use prost::Message as _;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{broadcast, watch};

use crate::checkpoint::{CheckpointError, FileStore, Index, Recovered, recover};
use crate::clock::SystemClock;
use crate::core::{Event, Input, Request, State, WorkerView, open_generation};
use crate::driver::{Clock as _, Driver, DriverError, Handle};
use crate::effects::{IndexWork, Performer, Pulse, Records, git_thread, index_thread};
use crate::engine::{Engine, FeedError};
use crate::repos::{RepoError, clear_leftovers, prepare_store};
use crate::results::Results;
use crate::view::ProgressMap;

/// Records a slow watcher may fall behind before it has to read the journal.
const WATCH_QUEUE: usize = 4_096;

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

impl From<crate::core::ApplyError> for OpenError {
    fn from(error: crate::core::ApplyError) -> Self {
        Self::Feed(error.into())
    }
}

/// A job under this process's lock, recovered and not yet running.
pub struct Job {
    id: JobId,
    layout: JobLayout,
    engine: Engine<FileStore>,
    recovered: RecoverySummary,
    lock: File,
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
        let now = SystemClock.now_ms();
        let downtime = u64::try_from(now - engine.state().now_ms()).unwrap_or(0);
        engine.set_now(now);
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
        if self.engine.state().seq() == 0 {
            self.engine.record(Event::JobOpened(JobOpened { job: self.id.to_string() }))?;
        }
        let opened = open_generation(self.engine.state(), plan)?;
        self.engine.record(Event::PlanOpened(opened))?;
        self.engine.commit()?;
        Ok(())
    }

    /// Carries out a request while no coordinator runs. Durable when it returns; gives the number
    /// of events it led to.
    pub fn request(&mut self, request: Request) -> Result<usize, OpenError> {
        let before = self.engine.state().seq();
        self.engine.feed(&Input::Request(request))?;
        let events = usize::try_from(self.engine.state().seq() - before).unwrap_or(usize::MAX);
        self.engine.commit()?;
        self.engine.snapshot(true)?;
        Ok(events)
    }

    /// Runs the job until it is told to stop.
    pub fn start(self, layout: &Layout, bus: Arc<dyn Bus>) -> Result<Coordinator, OpenError> {
        let plan = Arc::clone(self.engine.state().plan());
        let repo = plan.repo.clone().unwrap_or_default();
        let user_repo = PathBuf::from(&repo.path);
        let store = layout.store(&longhaul_common::layout::repo_key(&user_repo));
        prepare_store(&store, &user_repo, Oid::from_bytes(&repo.base)?)?;
        clear_leftovers(&store, self.id.as_str())?;
        Coordinator::start(self, bus, store)
    }
}

/// A running job.
pub struct Coordinator {
    /// To talk to the driver.
    pub handle: Handle,
    /// The data plane upward.
    pub results: Results,
    /// Durable records as they come.
    pub records: broadcast::Sender<Records>,
    /// Changes with every turn.
    pub pulse: watch::Receiver<Pulse>,
    /// Last words of what is running.
    pub progress: Arc<Mutex<ProgressMap>>,
    /// The job's folder.
    pub layout: JobLayout,
    /// The coordinator's bare store.
    pub store: PathBuf,
    /// The index, where it could be opened.
    pub index: Option<Index>,
    driver: JoinHandle<Result<State, DriverError>>,
    listener: tokio::task::JoinHandle<()>,
    index_sender: Option<(std::sync::mpsc::Sender<IndexWork>, JoinHandle<()>)>,
    /// Held as long as the job runs.
    _lock: File,
}

impl Coordinator {
    fn start(job: Job, bus: Arc<dyn Bus>, store: PathBuf) -> Result<Self, OpenError> {
        let thread_error =
            |source| OpenError::Io { action: "start a thread for", path: job.layout.root().to_owned(), source };
        let index = match Index::open(&job.layout) {
            Ok(index) => Some(index),
            Err(error) => {
                tracing::warn!(%error, "going on without the index");
                None
            }
        };
        let (sender, messages) = channel();
        let handle = Handle::new(sender);
        let (git, _git_thread) = git_thread(GitStore::open_own(&store)?, handle.clone()).map_err(thread_error)?;
        let index_sender = index.clone().map(index_thread).transpose().map_err(thread_error)?;
        let (records, _) = broadcast::channel(WATCH_QUEUE);
        let (pulse_sender, pulse) = watch::channel(Pulse::default());
        let results = Results::start(handle.clone(), job.layout.clone(), store.clone(), job.id.to_string())
            .map_err(thread_error)?;
        let progress = Arc::new(Mutex::new(ProgressMap::new()));
        let listener =
            tokio::spawn(listen(listened(&*bus, &job.id), job.id.clone(), handle.clone(), Arc::clone(&progress)));
        let performer = Performer {
            bus,
            layout: job.layout.clone(),
            store: store.clone(),
            handle: handle.clone(),
            git,
            index: index_sender.as_ref().map(|(sender, _)| sender.clone()),
            records: records.clone(),
            pulse: pulse_sender,
        };
        let driver = Driver::new(job.engine, performer, SystemClock, handle.stop_flag());
        let driver = std::thread::Builder::new()
            .name("longhaul-driver".to_owned())
            .spawn(move || driver.run(&messages))
            .map_err(thread_error)?;
        Ok(Self {
            handle,
            results,
            records,
            pulse,
            progress,
            layout: job.layout,
            store,
            index,
            driver,
            listener,
            index_sender,
            _lock: job.lock,
        })
    }

    /// Ends the driver after its turn, with a snapshot; gives the last state.
    pub async fn stop(self) -> Result<State, DriverError> {
        self.handle.stop();
        let driver = self.driver;
        let joined = tokio::task::spawn_blocking(move || driver.join()).await;
        self.listener.abort();
        let state = match joined {
            Ok(Ok(result)) => result?,
            _ => std::panic::resume_unwind(Box::new("the driver's thread panicked")),
        };
        if let Some((sender, thread)) = self.index_sender {
            drop(sender.send(IndexWork::Snapshot(Box::new(state.clone()))));
            drop(sender);
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
        Ok(state)
    }

    /// Whether the driver's thread has ended by itself: a defect or a lost disk.
    pub fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }
}

/// What a coordinator listens to: every presence, and the reports of its job.
fn listened(bus: &dyn Bus, job: &JobId) -> Subscription {
    Box::pin(futures::stream::select(bus.subscribe(&Subject::presences()), bus.subscribe(&Subject::reports(job))))
}

/// Turns what workers say into inputs; progress stays outside the state.
async fn listen(mut messages: Subscription, job: JobId, handle: Handle, progress: Arc<Mutex<ProgressMap>>) {
    while let Some(incoming) = messages.next().await {
        let from = incoming.subject.worker_name().unwrap_or_default().to_owned();
        let message = match FromWorker::decode(incoming.taken()) {
            Ok(FromWorker { message: Some(message) }) => message,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, from, "a message that is none was ignored");
                continue;
            }
        };
        match message {
            // The subject is what the engine lets a worker publish on; what it says of itself is not.
            from_worker::Message::Presence(presence) if presence.worker == from => {
                let view = view_of(&presence, &job);
                progress.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| view.holding.contains(id));
                handle.input(Input::Presence { worker: presence.worker, view });
            }
            from_worker::Message::Report(report) if report.worker == from && report.job == job.as_str() => {
                if let Some(report::Body::Progress(words)) = report.body {
                    progress.lock().unwrap_or_else(PoisonError::into_inner).insert(report.id, words);
                }
            }
            _ => tracing::warn!(from, "a worker spoke in another's name and was ignored"),
        }
    }
}

/// A presence as one job sees it.
fn view_of(presence: &longhaul_proto::Presence, job: &JobId) -> WorkerView {
    let (mut holding, mut busy_elsewhere) = (BTreeSet::new(), 0);
    for held in &presence.holding {
        if held.job == job.as_str() {
            holding.extend(held.ids.iter().copied());
        } else {
            busy_elsewhere += u32::try_from(held.ids.len()).unwrap_or(u32::MAX);
        }
    }
    WorkerView {
        work_slots: presence.work_slots.saturating_sub(busy_elsewhere),
        gate_slots: presence.gate_slots,
        holding,
        labels: presence.labels.iter().cloned().collect(),
        unavailable: if presence.draining { "it is draining".to_owned() } else { presence.disk_low.clone() },
        incarnation: presence.incarnation,
        ..WorkerView::default()
    }
}
