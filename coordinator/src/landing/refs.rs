//! Names of the refs Longhaul writes, all in one place.

/// The refs of one job.
#[derive(Clone, Debug)]
pub struct Refs {
    job: String,
}

impl Refs {
    /// Of this job.
    pub fn of(job: &str) -> Self {
        Self { job: job.to_owned() }
    }

    /// The integration branch of a generation, in the coordinator's store.
    pub fn integration(&self, generation: u32) -> String {
        format!("refs/longhaul/{}/integration-{generation}", self.job)
    }

    /// Receipts and gate logs, one commit a landing.
    pub fn receipts(&self) -> String {
        format!("refs/longhaul/{}/receipts", self.job)
    }

    /// Keeps the pinned base reachable.
    pub fn base(&self) -> String {
        format!("refs/longhaul/{}/base", self.job)
    }

    /// Files the open plan carries for its commands, for workers to fetch.
    pub fn files(&self) -> String {
        format!("refs/longhaul/{}/files", self.job)
    }

    /// The result's branch in the user's repository. A later generation that had to start again
    /// from the base cannot fast-forward the first one's and gets a name of its own.
    pub fn branch(&self, restarts: u32) -> String {
        if restarts == 0 { format!("longhaul/{}", self.job) } else { format!("longhaul/{}-r{restarts}", self.job) }
    }
}
