//! What a worker is given from outside: its settings, and where results go.

use std::ffi::OsString;
use std::path::PathBuf;

use futures::future::BoxFuture;
use longhaul_common::JobId;
use longhaul_common::server::ServerAccess;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Rates, Recording};
use crate::live::Live;
use crate::otel::Telemetry;
use crate::sandbox::SandboxSettings;
use crate::share::Weights;

/// What a worker serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One job, beside the coordinator that runs it; several processes may share a folder.
    Job(JobId),
    /// Every job that assigns something to it; the folder is its own.
    All,
}

impl Scope {
    /// The one job, if it is one.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Self::Job(job) => Some(job),
            Self::All => None,
        }
    }
}

/// How a worker is told to end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Finish or hand back what runs, deliver it, take nothing new, and end.
    pub drain: CancellationToken,
    /// End at once. What is in the outbox stays there for the next process.
    pub stop: CancellationToken,
}

/// Bounds of what a worker keeps on its disk, in bytes; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// Below this much free space nothing new is started, until there is a tenth more than it.
    pub free_min_bytes: u64,
    /// All mirrors together; beyond it the least recently used idle ones are removed.
    pub mirrors_bytes_max: u64,
    /// Results that wait for their ack, together; beyond it nothing new is taken.
    pub outbox_bytes_max: u64,
    /// Their number, in the same way.
    pub outbox_entries_max: usize,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self {
            free_min_bytes: 256 << 20,
            mirrors_bytes_max: 20 << 30,
            outbox_bytes_max: 8 << 30,
            outbox_entries_max: 2_048,
        }
    }
}

/// How long running assignments may go on after a drain began, unless it is set otherwise.
pub const DRAIN_MS_DEFAULT: u64 = 10 * 60 * 1_000;

/// How long handing back and delivering may take after that, unless it is set otherwise.
pub const HAND_BACK_MS_DEFAULT: u64 = 60 * 1_000;

/// Bytes of slots, unless it is set otherwise.
const SLOT_BYTES_DEFAULT: u64 = 64 << 30;

/// Settings of one worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its name on the bus.
    pub name: String,
    /// Its folder: slots, mirrors and outbox. Several processes may share it while each serves one
    /// job: slots are locked. One that serves all jobs has it for itself.
    pub root: PathBuf,
    /// Subtasks executed at once.
    pub work_slots: u32,
    /// Gates executed at once.
    pub gate_slots: u32,
    /// How the programs of jobs are kept in.
    pub sandbox: SandboxSettings,
    /// What of the machine each kind takes; within it the slots bound the count.
    pub weights: Weights,
    /// What it can do ("rust", "gpu", "gate" …).
    pub labels: Vec<String>,
    /// How long running assignments may go on after a drain began, in milliseconds.
    pub drain_ms: u64,
    /// How long handing them back then, and delivering what is sealed, may take, in milliseconds.
    /// What is left after that stays in the outbox.
    pub hand_back_ms: u64,
    /// Bytes of all slots together, as last measured; beyond it the least recently used idle ones
    /// are emptied. 0 means no limit.
    pub slot_bytes_max: u64,
    /// Further bounds on its disk.
    pub disk: DiskLimits,
    /// The server to fetch repositories from; `None` where every store is a folder.
    pub server: Option<ServerAccess>,
    /// Secret values of its own beside the server's token (seeds and keys it shows to others): they
    /// are replaced in all output, and no result may carry one.
    pub secrets: Held,
    /// Where its gRPC service listens, for the presence; see [`crate::service`].
    pub endpoint: Option<String>,
    /// Shared with the gRPC service: what is executed, and its live output.
    pub live: Live,
    /// Limits of providers of models, shared by all attempts.
    pub rates: Rates,
    /// What becomes of the exchanges with models, in a folder for each attempt below the one named.
    pub recording: Recording,
    /// Where sessions of agents go as spans, if anywhere.
    pub telemetry: Option<Telemetry>,
    /// The argv prefix that re-executes this binary as the process shim, for example
    /// `[current_exe, "__shim"]`; it must end in [`crate::shim_main`].
    pub shim: Vec<OsString>,
    /// A program that stands in for ripgrep where agents find none, started as [`crate::RIPGREP`].
    pub ripgrep: Option<PathBuf>,
}

impl WorkerConfig {
    /// One slot of each kind, defaults for everything else.
    pub fn new(name: impl Into<String>, root: impl Into<PathBuf>, shim: Vec<OsString>) -> Self {
        Self {
            name: name.into(),
            root: root.into(),
            work_slots: 1,
            gate_slots: 1,
            sandbox: SandboxSettings::default(),
            weights: Weights::default(),
            labels: Vec::new(),
            drain_ms: DRAIN_MS_DEFAULT,
            hand_back_ms: HAND_BACK_MS_DEFAULT,
            slot_bytes_max: SLOT_BYTES_DEFAULT,
            disk: DiskLimits::default(),
            server: None,
            secrets: Held::default(),
            endpoint: None,
            live: Live::default(),
            rates: Rates::default(),
            recording: Recording::Off,
            telemetry: None,
            shim,
            ripgrep: None,
        }
    }

    /// Every secret value this worker itself has.
    pub fn held_secrets(&self) -> Vec<String> {
        let token = self.server.as_ref().and_then(|server| server.token.clone());
        self.secrets.0.iter().cloned().chain(token).collect()
    }
}

/// Secret values that no debug print shows.
#[derive(Clone, Default)]
pub struct Held(pub Vec<String>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.0.len())
    }
}

/// A result on its way up.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its body is `Finished`, or `Wip` for work in progress.
    pub report: longhaul_proto::Report,
    /// A thin pack with the objects of the result's commit that its base lacks.
    pub pack: Option<PathBuf>,
    /// Name and file of each log.
    pub logs: Vec<(String, PathBuf)>,
}

/// Why a result could not be handed over for now; it stays in the outbox and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The coordinator cannot be reached, or is ending.
    #[error("the coordinator is unavailable: {0}")]
    Unavailable(String),
    /// The coordinator could not make the result durable.
    #[error("the coordinator could not keep the result: {0}")]
    NotKept(String),
    /// The coordinator does not take it from this worker: a wrong token, or another's assignment.
    #[error("the coordinator refuses the result: {0}; check this worker's name, token and certificate")]
    Refused(String),
}

/// The data plane upward. In one process the coordinator implements it directly.
pub trait ResultSink: Send + Sync + 'static {
    /// Returns `Ok` only when the result is durable at the coordinator, or refused for good.
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<longhaul_proto::Ack, SinkError>>;
}

/// Why a worker ended other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its folder cannot be used.
    #[error("cannot use the worker folder {}: {source}", path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Another worker has the folder.
    #[error("the worker folder {} is in use by {holder}; give each worker a root of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who has it, as far as can be told.
        holder: String,
    },
    /// The coordinator refused this worker.
    #[error("the coordinator refused this worker: {reason}")]
    Refused {
        /// Why, in the coordinator's words.
        reason: String,
    },
    /// It drained, but the coordinator did not take all results in time.
    #[error("not everything was delivered: results wait in {} for the next start ({results})", outbox.display())]
    Undelivered {
        /// How many.
        results: usize,
        /// Where they are.
        outbox: PathBuf,
    },
    /// The bus ended the subscription.
    #[error("the subscription on {subject} ended")]
    BusEnded {
        /// The subject.
        subject: String,
    },
}
