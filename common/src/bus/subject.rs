//! Every subject of the bus.

use std::fmt;

use crate::JobId;

/// What a subject is for; each has its own stream on an engine that has streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Channel {
    /// Coordinator to one worker ([`longhaul_proto::ToWorker`]): `worker.<name>`.
    Worker,
    /// Coordinator to every worker ([`longhaul_proto::ToWorker`]): `everyone`.
    Everyone,
    /// Who is there ([`longhaul_proto::FromWorker`]): `presence.<worker>`.
    Presence,
    /// Progress of assignments ([`longhaul_proto::FromWorker`]): `report.<job>.<worker>`.
    Report,
    /// Durable events for watchers ([`longhaul_proto::WatchEvent`]): `event.<job>`.
    Event,
}

/// A subject or a pattern of subjects: dot-separated tokens; `*` stands for any one token.
///
/// An engine shared by several fleets puts its own prefix before it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject(String);

impl Subject {
    /// Messages of a coordinator to one worker.
    pub fn worker(worker: &str) -> Self {
        Self(format!("worker.{}", token(worker)))
    }

    /// Messages of a coordinator to all workers.
    pub fn everyone() -> Self {
        Self("everyone".to_owned())
    }

    /// Presence of one worker.
    pub fn presence(worker: &str) -> Self {
        Self(format!("presence.{}", token(worker)))
    }

    /// Presence of every worker: a pattern.
    pub fn presences() -> Self {
        Self("presence.*".to_owned())
    }

    /// Progress that one worker reports of a job.
    pub fn report(job: &JobId, worker: &str) -> Self {
        Self(format!("report.{job}.{}", token(worker)))
    }

    /// Progress of a job from every worker: a pattern.
    pub fn reports(job: &JobId) -> Self {
        Self(format!("report.{job}.*"))
    }

    /// Durable events of a job.
    pub fn event(job: &JobId) -> Self {
        Self(format!("event.{job}"))
    }

    /// From text that came over an engine; `None` for what is no subject of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let subject = Self(text.to_owned());
        let fits = |token: &str| !token.is_empty() && token.bytes().all(is_plain);
        (subject.channel().is_some() && text.split('.').all(fits)).then_some(subject)
    }

    /// What it is for.
    pub fn channel(&self) -> Option<Channel> {
        Some(match self.0.split('.').next()? {
            "worker" => Channel::Worker,
            "everyone" => Channel::Everyone,
            "presence" => Channel::Presence,
            "report" => Channel::Report,
            "event" => Channel::Event,
            _ => return None,
        })
    }

    /// The worker it is from or to, as the engine enforced it.
    pub fn worker_name(&self) -> Option<&str> {
        let mut tokens = self.0.split('.');
        match self.channel()? {
            Channel::Worker | Channel::Presence => tokens.nth(1),
            Channel::Report => tokens.nth(2),
            Channel::Everyone | Channel::Event => None,
        }
    }

    /// Whether it is a pattern.
    pub fn is_pattern(&self) -> bool {
        self.0.split('.').any(|token| token == "*")
    }

    /// Whether a subject is this one or matches this pattern.
    pub fn matches(&self, subject: &Self) -> bool {
        let (mut own, mut theirs) = (self.0.split('.'), subject.0.split('.'));
        loop {
            match (own.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == "*" || a == b => {}
                _ => return false,
            }
        }
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// A name as one token: whatever would split or match is replaced.
fn token(name: &str) -> String {
    name.chars().map(|c| if u8::try_from(c).is_ok_and(is_plain) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_widen_a_subject() {
        assert_eq!(Subject::worker("a.b >*").as_str(), "worker.a_b___");
        for bad in ["", "worker.", "worker.*", "other.x", "presence.>", "worker.a b"] {
            assert_eq!(Subject::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_whole_tokens() {
        let job: JobId = "j".parse().expect("valid");
        assert!(Subject::reports(&job).matches(&Subject::report(&job, "w1")));
        assert!(!Subject::reports(&job).matches(&Subject::report(&"k".parse().expect("valid"), "w1")));
        assert!(!Subject::presences().matches(&Subject::worker("w1")));
        assert_eq!(Subject::report(&job, "w1").worker_name(), Some("w1"));
        assert!(Subject::presences().is_pattern() && !Subject::everyone().is_pattern());
    }
}
