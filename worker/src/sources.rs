//! Where an assignment's objects and files are: on this machine, or fetched from the coordinator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longhaul_common::Oid;
use longhaul_common::git::Store;
use longhaul_common::layout::repo_key;
use longhaul_proto::{Assignment, Failure, FailureClass, Finished, assignment, finished};
use tokio_util::sync::CancellationToken;

use crate::execution::cancelled;
use crate::failure::{failure, infrastructure};
use crate::job_files::{FilesFor, JobFilesError, JobFolder};
use crate::mirror::{MirrorError, MirrorUse, Need};
use crate::session::desk::Key;
use crate::worker::Worker;

/// What an assignment reads from. It stays as long as this value.
pub(crate) struct Sources {
    /// The assignment.
    pub key: Key,
    /// The bare repository with its objects.
    pub store: PathBuf,
    mirror: Option<MirrorUse>,
    /// The job's own files, where they were brought here.
    pub files: Option<Arc<JobFolder>>,
}

impl Sources {
    /// Looks whether an outcome may come from a damaged mirror; then that is made anew.
    pub fn judge(&self, finished: &Finished) {
        let broken = matches!(&finished.outcome, Some(finished::Outcome::Failure(failure)) if failure.class() == FailureClass::Infrastructure)
            || matches!(&finished.outcome, Some(finished::Outcome::Gate(gate)) if gate.reason.starts_with(FailureClass::Infrastructure.as_str_name()));
        if let Some(mirror) = self.mirror.as_ref().filter(|_| broken) {
            mirror.suspect();
        }
    }
}

/// The name of an assignment's repository, for its mirror and its slots.
pub(crate) fn repository(assignment: &Assignment) -> String {
    let repo = assignment.repo.as_ref();
    let key = repo.map_or("", |repo| repo.key.as_str());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    // A key that could lead out of a folder is as good as none.
    if !key.is_empty() && key.len() <= 100 && key.bytes().all(plain) {
        return key.to_owned();
    }
    repo_key(Path::new(repo.map_or("", |repo| repo.path.as_str())))
}

/// Brings objects and files to this machine. `{job_dir}` is a folder of this machine afterwards.
pub(crate) async fn prepare(
    worker: &Worker,
    assignment: &mut Assignment,
    cancel: &CancellationToken,
) -> Result<Sources, Box<Failure>> {
    let bad =
        |error: &dyn std::fmt::Display| Box::new(infrastructure(format!("the assignment cannot be read: {error}")));
    let key = Key { job: assignment.job.parse().map_err(|error| bad(&error))?, id: assignment.id };
    let files = match assignment.files_commit.as_slice() {
        [] => None,
        bytes => Some(Oid::from_bytes(bytes).map_err(|error| bad(&error))?),
    };
    let (store, mirror) = if Path::new(&assignment.store).is_absolute() {
        (PathBuf::from(&assignment.store), None)
    } else {
        let mut commits = vec![Oid::from_bytes(&assignment.base).map_err(|error| bad(&error))?];
        if let Some(assignment::Kind::Work(work)) = &assignment.kind
            && let Some(wip) = &work.wip
        {
            commits.push(Oid::from_bytes(&wip.commit).map_err(|error| bad(&error))?);
        }
        commits.extend(files);
        commits.sort();
        commits.dedup();
        let need =
            Need { key: repository(assignment), store: assignment.store.clone(), job: assignment.job.clone(), commits };
        let mirror = worker.mirrors.ensure(&need, cancel).await.map_err(of_mirror)?;
        (mirror.path(), Some(mirror))
    };
    let mut folder = None;
    if let Some(commit) = files {
        let (job_files, job, from) = (worker.job_files.clone(), key.job.clone(), store.clone());
        let of = match assignment.kind {
            Some(assignment::Kind::Gate(_)) => FilesFor::Gate,
            _ => FilesFor::Work,
        };
        let made = tokio::task::spawn_blocking(move || job_files.checkout(&job, commit, of, &Store::open_own(&from)?));
        let made = made.await.map_err(|_| Box::new(infrastructure("the worker is shutting down")))?;
        let made = made.map_err(|error| Box::new(of_files(&error)))?;
        assignment.job_dir = made.path().display().to_string();
        folder = Some(Arc::new(made));
    }
    Ok(Sources { key, store, mirror, files: folder })
}

fn of_mirror(error: MirrorError) -> Box<Failure> {
    match error {
        MirrorError::Cancelled => cancelled(),
        MirrorError::DiskFull { .. } => Box::new(failure(FailureClass::DiskFull, error.to_string())),
        error => Box::new(infrastructure(error.to_string())),
    }
}

fn of_files(error: &JobFilesError) -> Failure {
    match error {
        JobFilesError::Io { source, .. } if longhaul_common::room::is_out_of_room(source) => {
            failure(FailureClass::DiskFull, error.to_string())
        }
        error => infrastructure(error.to_string()),
    }
}
