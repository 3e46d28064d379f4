//! A running coordinator of one job, put together: engine, driver, threads, and who listens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt as _;
use longhaul_common::bus::{Bus, Message, Subject, Subscription};
use longhaul_common::git::Store as GitStore;
use longhaul_common::layout::{JobLayout, Layout};
use longhaul_common::{JobId, Oid};
use longhaul_proto::{FromWorker, from_worker, report};
use prost::Message as _;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::capsules::Capsules;
use crate::carried::write_carried;
use crate::checkpoint::Index;
use crate::clock::SystemClock;
use crate::core::{LEASE_MS, Millis, State};
use crate::driver::{Driver, DriverError, Gone, Handle};
use crate::effects::{IndexWork, Performer, Pulse, Records, git_thread, index_thread};
use crate::fleet::FleetTable;
use crate::job::repository;
pub use crate::job::{Job, OpenError, RecoverySummary, store_of};
use crate::results::Results;
use crate::room::Room;
use crate::sessions::Sessions;
use crate::view::{self, ProgressMap};

/// Records a slow watcher may fall behind before it has to read the journal.
const WATCH_QUEUE: usize = 4_096;

/// What the jobs of one process share.
#[derive(Clone)]
pub struct Site {
    /// Where state lives.
    pub layout: Layout,
    /// The dispatch plane.
    pub bus: Arc<dyn Bus>,
    /// Who is there.
    pub fleet: FleetTable,
    /// Workers are on other machines: they are given names on the server, not paths, and events
    /// are published for watchers on the bus.
    pub remote: bool,
    /// Silence after which a worker has lost its leases.
    pub lease_ms: Millis,
    /// Whether there is room for results.
    pub room: Room,
}

impl Site {
    /// A process that runs one job, with a worker beside it. Must be called in a runtime.
    pub fn one_process(layout: Layout, bus: Arc<dyn Bus>) -> Self {
        let (room, fleet) = (Room::on(layout.root()), FleetTable::listen(Arc::clone(&bus), LEASE_MS));
        Self { layout, fleet, bus, remote: false, lease_ms: LEASE_MS, room }
    }
}

/// Commits of the files that plans carry, by generation; kept up before a generation opens.
pub type FilesCommits = Arc<Mutex<BTreeMap<u32, Oid>>>;

/// What can be asked of a running job; clones ask the same one.
#[derive(Clone)]
pub struct Running {
    /// Its name.
    pub id: JobId,
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
    /// What the jobs of this process share.
    pub site: Site,
    /// Files that plans carry.
    pub files: FilesCommits,
    /// Cancelled when the last record was told.
    pub ended: CancellationToken,
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
    running: Running,
    driver: JoinHandle<Result<State, DriverError>>,
    listeners: Vec<tokio::task::JoinHandle<()>>,
    index_sender: Option<(SyncSender<IndexWork>, JoinHandle<()>)>,
    /// Held as long as the job runs.
    _stop: StopOnDrop,
}

impl Coordinator {
    pub(crate) fn start(job: Job, site: &Site, store: PathBuf) -> Result<Self, OpenError> {
        let thread_error =
            |source| OpenError::Io { action: "start a thread for", path: job.layout.root().to_owned(), source };
        let index =
            Index::open(&job.layout).inspect_err(|error| tracing::warn!(%error, "going on without the index")).ok();
        let state = job.engine.state();
        let files = FilesCommits::default();
        if site.remote
            && let Some(commit) = write_carried(&store, &job.id, &state.plan().files)?
        {
            files.lock().unwrap_or_else(PoisonError::into_inner).insert(state.generation(), commit);
        }
        let epoch = state.seq();
        let (sender, messages) = channel();
        let handle = Handle::new(sender);
        let (git, _git_thread) = git_thread(GitStore::open_own(&store)?, handle.clone()).map_err(thread_error)?;
        let index_sender = index
            .clone()
            .map(|index| index_thread(index, Capsules::new(job.layout.clone())))
            .transpose()
            .map_err(thread_error)?;
        let (records, heard) = broadcast::channel(WATCH_QUEUE);
        let (pulse_sender, pulse) = watch::channel(Pulse::default());
        // Nothing is on its way in yet: what no saved work names is left from before.
        Sessions::of(&job.layout).retain(&state.sessions(), Duration::ZERO);
        let name = job.id.to_string();
        let results = Results::start(handle.clone(), job.layout.clone(), store.clone(), name, site.room.clone())
            .map_err(thread_error)?;
        let repo = repository(&state.plan().repo.clone().unwrap_or_default());
        let running = Running {
            id: job.id.clone(),
            handle: handle.clone(),
            results,
            records,
            pulse,
            progress: Arc::default(),
            layout: job.layout.clone(),
            store,
            index,
            site: site.clone(),
            files,
            ended: CancellationToken::new(),
        };
        let listeners = running.listen(heard, repo);
        let index = index_sender.as_ref().map(|(sender, _)| sender.clone());
        let performer = Performer::new(&running, git, index, pulse_sender, epoch);
        let lock = job.lock;
        let driver = Driver::new(job.engine, performer, SystemClock, handle.signals());
        let driver = std::thread::Builder::new()
            .name("longhaul-driver".to_owned())
            .spawn(move || {
                // Whoever may write the journal holds the job's lock, however this value goes.
                let _held = lock;
                driver.run(&messages)
            })
            .map_err(thread_error)?;
        Ok(Self {
            handle: handle.clone(),
            results: running.results.clone(),
            records: running.records.clone(),
            pulse: running.pulse.clone(),
            progress: Arc::clone(&running.progress),
            running,
            driver,
            listeners,
            index_sender,
            _stop: StopOnDrop(handle),
        })
    }

    /// What can be asked of it.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Ends the driver after its turn, with a snapshot; gives the last state.
    pub async fn stop(self) -> Result<State, DriverError> {
        self.handle.stop();
        let driver = self.driver;
        let joined = tokio::task::spawn_blocking(move || driver.join()).await;
        self.running.site.fleet.leave(&self.running.id);
        self.listeners.iter().for_each(tokio::task::JoinHandle::abort);
        self.running.ended.cancel();
        let state = match joined {
            Ok(Ok(result)) => result?,
            _ => return Err(DriverError::Panicked),
        };
        if let Some((sender, thread)) = self.index_sender {
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

/// A coordinator that is let go without being stopped must not go on writing unseen.
struct StopOnDrop(Handle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Running {
    fn listen(&self, heard: broadcast::Receiver<Records>, repo: String) -> Vec<tokio::task::JoinHandle<()>> {
        let Site { bus, fleet, remote, .. } = &self.site;
        fleet.join(&self.id, repo, self.handle.clone(), Arc::clone(&self.progress));
        let reports = bus.subscribe(&Subject::reports(&self.id));
        let mut tasks = vec![tokio::spawn(hear_reports(reports, self.clone()))];
        if *remote {
            tasks.push(tokio::spawn(publish_events(heard, self.id.clone(), self.handle.clone(), Arc::clone(bus))));
        }
        tasks
    }
}

/// Progress stays outside the state; what agents ask is decided by the driver.
async fn hear_reports(mut reports: Subscription, running: Running) {
    while let Some(incoming) = reports.next().await {
        let from = incoming.subject.worker_name().unwrap_or_default().to_owned();
        let report = match FromWorker::decode(incoming.taken()) {
            Ok(FromWorker { message: Some(from_worker::Message::Report(report)) }) => report,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, from, "a message that is none was ignored");
                continue;
            }
        };
        if report.worker != from || report.job != running.id.as_str() {
            tracing::warn!(from, "a worker spoke in another's name and was ignored");
            continue;
        }
        match report.body {
            Some(report::Body::Progress(words)) => {
                let mut progress = running.progress.lock().unwrap_or_else(PoisonError::into_inner);
                // Words of what is not live any more go with the next presence of its worker.
                let key = (report.id, from);
                if progress.len() < PROGRESS_MAX || progress.contains_key(&key) {
                    progress.insert(key, words);
                }
            }
            Some(report::Body::Asking(asking)) => running.handle.asking(report.id, from, asking),
            _ => {}
        }
    }
}

/// Assignments of a job whose last words are kept at most.
const PROGRESS_MAX: usize = 16_384;

/// Durable events for watchers on the bus. It follows the driver and never holds it up: what it
/// is too slow for is in the journal.
async fn publish_events(mut records: broadcast::Receiver<Records>, job: JobId, handle: Handle, bus: Arc<dyn Bus>) {
    let subject = Subject::event(&job);
    loop {
        let batch = match records.recv().await {
            Ok(batch) => batch,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let describe = || {
            let batch = Arc::clone(&batch);
            handle.query(move |state, _| {
                batch.iter().filter_map(|record| view::watch_event(state, record)).collect::<Vec<_>>()
            })
        };
        let events = loop {
            match describe().await {
                Ok(events) => break events,
                Err(Gone::Unwritten { .. }) => handle.wait_writable().await,
                Err(Gone::Ended) => return,
            }
        };
        for event in events {
            let (id, payload) = (format!("{job}.{}", event.seq), event.encode_to_vec().into());
            if let Err(error) = bus.publish(Message { subject: subject.clone(), id, payload }) {
                tracing::debug!(%error, "an event was not published");
            }
        }
    }
}
