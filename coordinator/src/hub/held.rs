//! Open jobs that another process of this machine runs: read here, and taken up once it lets go.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longhaul_common::JobId;
use tokio::sync::Notify;

use super::Hub;
use super::job_access::{AccessError, JobAccess, off_runtime};
use crate::coordinator::OpenError;

/// How often the lock of each held job is tried when nobody asks for it.
const LOCK_LOOK: Duration = Duration::from_secs(2);

/// The held jobs of a hub.
#[derive(Default)]
pub(crate) struct Held {
    jobs: Mutex<BTreeSet<JobId>>,
    /// Somebody asked for one.
    asked: Notify,
}

impl Held {
    fn jobs(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, id: JobId) {
        self.jobs().insert(id);
    }

    pub(super) fn remove(&self, id: &JobId) {
        self.jobs().remove(id);
    }

    /// Whether another process had the job when it was last looked at.
    pub(crate) fn contains(&self, id: &JobId) -> bool {
        self.jobs().contains(id)
    }

    /// Its lock is tried at once.
    pub(super) fn asked_for(&self, id: &JobId) {
        if self.contains(id) {
            self.asked.notify_one();
        }
    }
}

impl Hub {
    /// Whether a job that is read from its files is run by another process.
    pub(crate) fn is_held(&self, access: &JobAccess) -> bool {
        !access.is_running() && self.inner.held.contains(access.id())
    }

    /// Runs every held job as soon as its lock is free, until the hub ends.
    pub(super) async fn take_up_held(&self) {
        let stop = self.stopping();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOCK_LOOK) => {}
                () = self.inner.held.asked.notified() => {}
                () = stop.cancelled() => return,
            }
            let held: Vec<JobId> = self.inner.held.jobs().iter().cloned().collect();
            for id in held {
                self.take_up(&id).await;
            }
        }
    }

    async fn take_up(&self, id: &JobId) {
        let lock = self.inner.site.layout.job(id).lock();
        // The lock alone first: reading the files of a job that is being run costs more each time.
        let probe = off_runtime(move || Ok(File::open(lock).is_ok_and(|file| is_free(&file))));
        if !probe.await.unwrap_or(false) {
            return;
        }
        let Ok(_turn) = self.turn().await else { return };
        if !self.inner.held.contains(id) {
            return;
        }
        match self.open_if_unfinished(id).await {
            Ok(()) => {
                tracing::info!(job = %id, "the other process let the job go");
                self.inner.held.remove(id);
            }
            Err(AccessError::Open(OpenError::Locked { .. })) => {}
            Err(error) => {
                tracing::error!(job = %id, %error, "the job cannot be opened");
                self.inner.held.remove(id);
                self.note_failed(id, &error);
            }
        }
    }
}

/// Whether nobody holds the lock of a file.
fn is_free(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};
    flock(file, FlockOperation::NonBlockingLockShared).is_ok()
}
