//! Results of workers on their way to their job, who may read which repository, and who speaks for
//! which worker.

use std::path::PathBuf;

use longhaul_common::JobId;
use longhaul_proto::{Ack, Introduction};

use super::job_access::{AccessError, JobAccess};
use super::{Hub, Identity, Role};
use crate::coordinator::Running;
use crate::core::Owner;
use crate::introductions::IntroductionError;
use crate::results::{DeliverError, Delivery};

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Neither the job nor the assignment is of this coordinator. The worker keeps the result.
    #[error("this coordinator did not assign it: look for the one that did")]
    UnknownJob,
    /// It was assigned to another worker.
    #[error("it was assigned to another worker")]
    NotYours,
    /// It may be taken later.
    #[error("it cannot be taken at the moment, try again: {0}")]
    Unavailable(String),
    /// It could not be stored. The worker keeps it and tries again.
    #[error("it cannot be stored: {0}")]
    NotKept(String),
}

/// Why an introduction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IntroduceError {
    /// It speaks of another worker.
    #[error("a worker introduces itself only")]
    NotYours,
    /// It is never used.
    #[error(transparent)]
    Refused(#[from] IntroductionError),
}

impl From<AccessError> for HubError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Unknown(_) => Self::UnknownJob,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl Hub {
    /// The bare store that the caller may read now: any job's for a reader, for a worker that of a
    /// job in which it has something live. Blocks on files where the job does not run here.
    pub fn store_for(&self, who: &Identity, job: &JobId) -> Option<PathBuf> {
        let works = || who.may(Role::Work) && self.inner.site.fleet.has_share(job, &who.name);
        if !who.may(Role::Read) && !works() {
            return None;
        }
        self.find_blocking(job).ok().map(|access| access.store())
    }

    /// Takes a worker's word for how its own service is reached.
    pub fn introduce(&self, who: &Identity, introduction: Introduction) -> Result<(), IntroduceError> {
        let local = *who == Identity::local();
        if !who.may(Role::Work) || (!local && introduction.worker != who.name) {
            return Err(IntroduceError::NotYours);
        }
        Ok(self.inner.introductions.note(introduction)?)
    }

    /// Takes a result in; returns when its record is durable. Only the worker it was assigned to
    /// may bring it, and only the job that assigned it answers for it.
    pub async fn deliver(&self, who: &Identity, delivery: Delivery) -> Result<Ack, HubError> {
        let report = &delivery.report;
        let local = *who == Identity::local();
        if !who.may(Role::Work) || (!local && report.worker != who.name) {
            return Err(HubError::NotYours);
        }
        let job: JobId = report.job.parse().map_err(|_| HubError::UnknownJob)?;
        let (id, worker) = (report.id, report.worker.clone());
        let running = self.running(&job);
        // The common case costs the driver nothing: what is live is known beside it.
        if let Some(running) = &running
            && self.inner.site.fleet.owner(&job, id).as_deref() == Some(&*worker)
        {
            return hand_over(running, delivery).await;
        }
        let access = match running {
            Some(running) => JobAccess::Running(running),
            None => self.find(&job).await?,
        };
        match access.ask(move |state, _| state.owner_of(id)).await? {
            Owner::Unknown => return Err(HubError::UnknownJob),
            // It changes nothing any more, whoever brings it: neither a log nor an object is taken.
            Owner::Past => return Ok(Ack { disposition: "closed".to_owned() }),
            Owner::Worker(owner) if owner != worker => return Err(HubError::NotYours),
            Owner::Worker(_) => {}
        }
        match access {
            JobAccess::Running(running) => hand_over(&running, delivery).await,
            // The job is over: what it assigned is not wanted any more.
            JobAccess::Files(files) if files.is_closed() => Ok(Ack { disposition: "closed".to_owned() }),
            JobAccess::Files(_) => Err(HubError::Unavailable("nobody runs the job here".to_owned())),
        }
    }
}

async fn hand_over(running: &Running, delivery: Delivery) -> Result<Ack, HubError> {
    running.results.deliver(delivery).await.map_err(|error| match error {
        DeliverError::Gone(gone) => HubError::Unavailable(gone.to_string()),
        DeliverError::Store(cause) => HubError::NotKept(cause),
    })
}
