//! What the tasks of one worker share, and what it announces.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use longhaul_common::bus::{Bus, Subject};
use longhaul_proto::{Holding, PROTOCOL, Presence, WorkerBytes, from_worker};
use rustix::fs::FlockOperation;
use tokio::sync::{OnceCell, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{ResultSink, Scope, WorkerConfig, WorkerError};
use crate::job_files::JobFiles;
use crate::mirror::Mirrors;
use crate::outbox::Outbox;
use crate::report::publish;
use crate::sandbox::{Enforcement, Found, OFF, probe};
use crate::session::desk::{Desk, Input, Key};
use crate::share::Share;
use crate::workspace::{Pool, PoolLimits};

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub config: Arc<WorkerConfig>,
    pub bus: Arc<dyn Bus>,
    pub sink: Arc<dyn ResultSink>,
    pub outbox: Outbox,
    pub pool: Pool,
    pub mirrors: Mirrors,
    pub job_files: JobFiles,
    pub share: Share,
    pub work: Arc<Semaphore>,
    pub gates: Arc<Semaphore>,
    /// Cancelled: everything ends at once.
    pub stop: CancellationToken,
    /// Cancelled: it is about to leave.
    pub drain: CancellationToken,
    /// Whether anything new may be started.
    pub room: watch::Sender<bool>,
    pub bytes: Mutex<WorkerBytes>,
    pub incarnation: u64,
    /// What its machine grants a sandbox, once something needed one.
    found: OnceCell<Arc<Found>>,
    /// Announcements so far.
    announced: AtomicU64,
    tell: mpsc::UnboundedSender<Input>,
    /// Held (flock) as long as the folder is used.
    _lock: File,
}

/// What connects a worker.
pub(crate) struct Links {
    pub bus: Arc<dyn Bus>,
    pub sink: Arc<dyn ResultSink>,
    /// Ends everything at once.
    pub stop: CancellationToken,
    /// Has it leave.
    pub drain: CancellationToken,
    /// To the loop.
    pub tell: mpsc::UnboundedSender<Input>,
}

impl Worker {
    /// Opens the folder.
    pub async fn open(config: WorkerConfig, scope: &Scope, links: Links) -> Result<Self, WorkerError> {
        let Links { bus, sink, stop, drain, tell } = links;
        let (root, of, name) = (config.root.clone(), scope.clone(), config.name.clone());
        let broken = |source| WorkerError::Root { path: config.root.clone(), source };
        let mirrors = Mirrors::new(&config, scope);
        let old = mirrors.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&root, &of)?;
            if of == Scope::All {
                old.remove_leftovers();
            }
            let outbox = Outbox::open(&root, &of, &name);
            outbox.map(|outbox| (lock, outbox)).map_err(|source| WorkerError::Root { path: root, source })
        });
        let (lock, outbox) = opened.await.map_err(|error| broken(std::io::Error::other(error)))??;
        let config = Arc::new(config);
        Ok(Self {
            pool: Pool::new(config.root.join("slots"), PoolLimits { slot_bytes_max: config.slot_bytes_max }),
            mirrors,
            job_files: JobFiles::new(config.root.join("jobs")),
            share: Share::new(config.weights.total),
            work: Arc::new(Semaphore::new(config.work_slots as usize)),
            gates: Arc::new(Semaphore::new(config.gate_slots as usize)),
            room: watch::Sender::new(true),
            bytes: Mutex::default(),
            incarnation: incarnation(),
            found: OnceCell::new(),
            announced: AtomicU64::new(0),
            config,
            bus,
            sink,
            outbox,
            stop,
            drain,
            tell,
            _lock: lock,
        })
    }

    /// What earlier processes left in the outbox.
    pub async fn sealed(&self, scope: &Scope) -> Result<Vec<Key>, WorkerError> {
        let (outbox, of) = (self.outbox.clone(), scope.clone());
        let sealed = tokio::task::spawn_blocking(move || outbox.sealed(&of)).await;
        let sealed = sealed.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        sealed.map_err(|source| WorkerError::Root { path: self.config.root.join("outbox"), source })
    }

    /// What its machine grants a sandbox; the first to ask waits a moment.
    pub async fn found(&self) -> Arc<Found> {
        let shim = &self.config.shim;
        Arc::clone(self.found.get_or_init(|| async { Arc::new(probe(shim).await) }).await)
    }

    /// What its programs are not kept from, in words; empty when all is enforced, or nothing ran yet.
    fn unenforced(&self) -> String {
        match self.config.sandbox.enforcement {
            Enforcement::Off => format!("everything: {OFF}"),
            _ => self.found.get().map(|found| found.not_enforced()).unwrap_or_default(),
        }
    }

    /// For whoever tells the loop later.
    pub fn teller(&self) -> mpsc::UnboundedSender<Input> {
        self.tell.clone()
    }

    /// Tells the loop; nobody listens any more once it ended.
    pub fn tell(&self, input: Input) {
        let _unheard = self.tell.send(input);
    }

    /// Publishes presence.
    pub fn announce(&self, desk: &Desk) {
        let holding = desk.holding().into_iter();
        let presence = Presence {
            worker: self.config.name.clone(),
            work_slots: self.config.work_slots,
            gate_slots: self.config.gate_slots,
            holding: holding.map(|(job, ids)| Holding { job: job.to_string(), ids }).collect(),
            labels: self.config.labels.clone(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: desk.is_draining(),
            disk_low: desk.full().unwrap_or_default().to_owned(),
            endpoint: self.config.endpoint.clone().unwrap_or_default(),
            warm: self.mirrors.warm(),
            bytes: Some(*self.bytes.lock().unwrap_or_else(PoisonError::into_inner)),
            incarnation: self.incarnation,
            unenforced: self.unenforced(),
            sequence: self.announced.fetch_add(1, Ordering::Relaxed) + 1,
        };
        self.config.live.announced(&presence);
        publish(&*self.bus, &Subject::presence(&self.config.name), from_worker::Message::Presence(presence));
    }
}

/// Locks the folder: for one job together with other such processes, for all jobs alone.
fn lock(root: &Path, scope: &Scope) -> Result<File, WorkerError> {
    let broken = |source| WorkerError::Root { path: root.to_owned(), source };
    std::fs::create_dir_all(root).map_err(broken)?;
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(root.join("lock")).map_err(broken)?;
    let how = match scope {
        Scope::All => FlockOperation::NonBlockingLockExclusive,
        Scope::Job(_) => FlockOperation::NonBlockingLockShared,
    };
    match rustix::fs::flock(&file, how) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _unknown = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "another worker" } else { holder };
            return Err(WorkerError::Locked { path: root.to_owned(), holder: holder.to_owned() });
        }
        Err(error) => return Err(broken(error.into())),
    }
    let text = match scope {
        Scope::All => format!("the worker with process id {}\n", std::process::id()),
        Scope::Job(job) => format!("the worker of job {job} with process id {}\n", std::process::id()),
    };
    // Only for the words of an error.
    let _untold = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    Ok(file)
}

/// Different for every start of a process on any machine.
fn incarnation() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&nanos.to_be_bytes());
    hasher.update(&std::process::id().to_be_bytes());
    let hash = hasher.finalize();
    u64::from_be_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes")).max(1)
}
