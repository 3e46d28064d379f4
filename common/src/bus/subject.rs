//! Every subject of the bus.

use std::fmt;

use crate::JobId;

/// A subject: dot-separated tokens without spaces or wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject(String);

impl Subject {
    /// Messages of a coordinator to one worker ([`longhaul_proto::ToWorker`]).
    pub fn to_worker(worker: &str) -> Self {
        Self(format!("lh.worker.{}", token(worker)))
    }

    /// Presence and progress of all workers of a job ([`longhaul_proto::FromWorker`]).
    pub fn from_workers(job: &JobId) -> Self {
        Self(format!("lh.job.{job}.from"))
    }

    /// The subject as the engine takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name as one token: whatever would split or match is replaced.
fn token(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_widen_a_subject() {
        assert_eq!(Subject::to_worker("a.b >*").as_str(), "lh.worker.a_b___");
    }
}
