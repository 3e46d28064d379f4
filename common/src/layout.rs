//! Where files live on a machine: one table, so that no path is built twice.
//!
//! Everything is under one state folder (`$XDG_STATE_HOME/longhaul` by default). Nothing is ever
//! written to the user's checkout.

use std::path::{Path, PathBuf};

use crate::JobId;

/// The state folder of one user on one machine.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Roots the table at an absolute folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The state folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds one folder a job.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// Everything of one job.
    pub fn job(&self, job: &JobId) -> JobLayout {
        JobLayout { root: self.jobs().join(job.as_str()) }
    }

    /// The coordinator's own bare store of a user repository, shared by its jobs.
    /// `key` is [`repo_key`] of the user's repository.
    pub fn store(&self, key: &str) -> PathBuf {
        self.repos().join(key).join("store.git")
    }

    /// Repositories, each in a folder of its key.
    pub fn repos(&self) -> PathBuf {
        self.root.join("repos")
    }

    /// The local worker's folder: slots and outbox.
    pub fn worker(&self) -> PathBuf {
        self.root.join("worker")
    }

    /// Folder of the unix sockets of running coordinators.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The socket on which the coordinator of a job serves its control plane.
    pub fn socket(&self, job: &JobId) -> PathBuf {
        self.run().join(format!("{job}.sock"))
    }
}

/// The folder of one job.
#[derive(Clone, Debug)]
pub struct JobLayout {
    root: PathBuf,
}

impl JobLayout {
    /// The job's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Locked (flock) by the process that runs the job.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Segments of the journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Snapshot files.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The sled catalogue and indexes; deleting it is always safe.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.sled")
    }

    /// Logs of one attempt or gate.
    pub fn logs(&self, id: u64) -> PathBuf {
        self.root.join("logs").join(id.to_string())
    }

    /// The log of a gate's own command, once it was delivered. Logs are numbered by step, so its
    /// whole name depends on what ran before it.
    pub fn gate_log(&self, gate: u64) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.logs(gate)).ok()?.flatten().map(|entry| entry.path());
        files.filter(|file| file.to_string_lossy().ends_with("gate.log")).max()
    }

    /// Attempts whose capsules share a file.
    pub const CAPSULES_SEGMENT: u64 = 1_000;

    /// The file with the capsule handed to one attempt, a line of JSON each.
    pub fn capsules(&self, attempt: u64) -> PathBuf {
        self.root.join("capsules").join(format!("{:06}.jsonl", attempt / Self::CAPSULES_SEGMENT))
    }

    /// Sessions of agents saved with work in progress, by their hash.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// The tracing log of the processes that ran the job.
    pub fn trace(&self) -> PathBuf {
        self.root.join("longhaul.log")
    }
}

/// A stable folder name for a repository: its last path component and a hash of the whole path.
pub fn repo_key(path: &Path) -> String {
    let name: String = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .take(32)
        .collect();
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
    format!("{name}-{}", &hash.to_hex()[..12])
}
