//! What things are called on a NATS server that several fleets may share.

use super::super::{Channel, Subject};

/// Names of one fleet's subjects and streams.
#[derive(Clone, Debug)]
pub(super) struct Address {
    fleet: String,
    prefix: String,
}

impl Address {
    /// For a fleet whose name is one plain token.
    pub(super) fn new(fleet: &str) -> Self {
        Self { fleet: fleet.to_owned(), prefix: format!("lh.{fleet}.") }
    }

    /// A subject as the server sees it.
    pub(super) fn of(&self, subject: &Subject) -> String {
        format!("{}{subject}", self.prefix)
    }

    /// A subject of ours from one the server named; `None` for anything else.
    pub(super) fn read(&self, text: &str) -> Option<Subject> {
        Subject::parse(text.strip_prefix(&self.prefix)?)
    }

    /// The stream that carries a channel; `None` for plain messages.
    pub(super) fn stream(&self, channel: Channel) -> Option<String> {
        Some(format!("LH_{}_{}", self.fleet, upper(channel)?))
    }

    /// The pattern of all subjects of a channel.
    pub(super) fn pattern(&self, channel: Channel) -> String {
        format!("{}{}.>", self.prefix, name(channel))
    }
}

/// A channel in words.
pub(super) fn name(channel: Channel) -> &'static str {
    match channel {
        Channel::Worker => "worker",
        Channel::Everyone => "everyone",
        Channel::Presence => "presence",
        Channel::Report => "report",
        Channel::Event => "event",
    }
}

fn upper(channel: Channel) -> Option<&'static str> {
    Some(match channel {
        Channel::Worker => "WORKER",
        Channel::Presence => "PRESENCE",
        Channel::Report => "REPORT",
        Channel::Event => "EVENT",
        Channel::Everyone => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_go_there_and_back_within_their_fleet_only() {
        let (ours, theirs) = (Address::new("a"), Address::new("b"));
        let subject = Subject::worker("w1");
        assert_eq!(ours.of(&subject), "lh.a.worker.w1");
        assert_eq!(ours.read("lh.a.worker.w1"), Some(subject));
        assert_eq!(theirs.read("lh.a.worker.w1"), None);
        assert_eq!(ours.stream(Channel::Worker).as_deref(), Some("LH_a_WORKER"));
        assert_eq!(ours.stream(Channel::Everyone), None);
    }
}
