//! What a worker is given from outside: its settings, and where results go.

use std::ffi::OsString;
use std::path::PathBuf;

use futures::future::BoxFuture;

/// Settings of one worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its name on the bus.
    pub name: String,
    /// Its folder: slots and outbox. Several processes may share it; slots are locked.
    pub root: PathBuf,
    /// Subtasks executed at once.
    pub work_slots: u32,
    /// Gates executed at once.
    pub gate_slots: u32,
    /// Bytes of all slots together, as last measured; beyond it the least recently used idle ones
    /// are emptied. 0 means no limit.
    pub slot_bytes_max: u64,
    /// The argv prefix that re-executes this binary as the process shim, for example
    /// `[current_exe, "__shim"]`; it must end in [`crate::shim_main`].
    pub shim: Vec<OsString>,
}

/// A result on its way up.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its body is `Finished`.
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
    /// The bus ended the subscription.
    #[error("the subscription on {subject} ended")]
    BusEnded {
        /// The subject.
        subject: String,
    },
}
