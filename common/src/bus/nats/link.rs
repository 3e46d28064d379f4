//! Whether messages get through, from all that is known of it.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::super::Link;

/// What is known at one moment.
#[derive(Clone, Default, Debug)]
struct Known {
    /// Connections so far; 0 before the first.
    connections: u64,
    /// Why there is no connection; `None` when there is one.
    down: Option<String>,
    /// What does not work though connected, by what it concerns.
    troubles: BTreeMap<String, String>,
    /// What the server refused last, in its words.
    refused: Option<String>,
}

/// The state of one connection, told by its events and by those who use it.
#[derive(Debug)]
pub(super) struct LinkState {
    known: watch::Sender<Known>,
}

impl LinkState {
    /// Not connected yet.
    pub(super) fn new(server: &str) -> Self {
        let down = Some(format!("no connection to {server} yet"));
        Self { known: watch::Sender::new(Known { down, ..Known::default() }) }
    }

    /// A connection stands.
    pub(super) fn connected(&self) {
        self.known.send_modify(|known| {
            known.connections += 1;
            known.down = None;
            known.refused = None;
        });
    }

    /// There is no connection. A later cause replaces an earlier one.
    pub(super) fn disconnected(&self, cause: &str) {
        let changed = self.known.send_if_modified(|known| {
            let changed = known.down.as_deref() != Some(cause);
            known.down = Some(cause.to_owned());
            changed
        });
        if changed {
            tracing::warn!(cause, "no connection to NATS; trying again without end");
        }
    }

    /// The server refused something, in its words.
    pub(super) fn refused(&self, words: &str) {
        self.known.send_modify(|known| known.refused = Some(words.to_owned()));
    }

    /// Something does not work though connected.
    pub(super) fn trouble(&self, what: &str, cause: &str) {
        let mut said = None;
        self.known.send_if_modified(|known| {
            let cause = match &known.refused {
                Some(words) => format!("{cause} (the server said: {words})"),
                None => cause.to_owned(),
            };
            let changed = known.troubles.get(what) != Some(&cause);
            known.troubles.insert(what.to_owned(), cause.clone());
            said = changed.then_some(cause);
            changed
        });
        if let Some(cause) = said {
            tracing::warn!(what, cause, "NATS: this does not work at the moment; trying again without end");
        }
    }

    /// Something works, again or still.
    pub(super) fn works(&self, what: &str) {
        let mended = self.known.send_if_modified(|known| known.troubles.remove(what).is_some());
        if mended {
            tracing::info!(what, "NATS: this works again");
        }
    }

    /// For the bus's users.
    pub(super) fn link(&self) -> Link {
        let known = self.known.borrow();
        let cause =
            known.down.clone().or_else(|| known.troubles.iter().next().map(|(what, why)| format!("{what}: {why}")));
        cause.map_or(Link::Up, |cause| Link::Down { cause })
    }

    /// Returns once there is a connection; tells which.
    pub(super) async fn up(&self) -> u64 {
        let mut known = self.known.subscribe();
        // The sender is `self`, so the wait cannot fail.
        known.wait_for(|known| known.down.is_none()).await.map(|known| known.connections).unwrap_or_default()
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.known.borrow().down.is_none()
    }

    /// Returns once there was another connection than this one.
    pub(super) async fn replaced(&self, connection: u64) {
        let mut known = self.known.subscribe();
        let _cannot_fail = known.wait_for(|known| known.connections != connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_up_when_nothing_is_wrong() {
        let state = LinkState::new("nats://n:1");
        assert!(matches!(state.link(), Link::Down { cause } if cause.contains("nats://n:1")));
        state.connected();
        assert_eq!(state.link(), Link::Up);
        state.trouble("publish worker", "no stream");
        assert!(matches!(state.link(), Link::Down { cause } if cause == "publish worker: no stream"));
        state.refused("Permissions Violation");
        state.trouble("publish worker", "no answer");
        assert!(matches!(state.link(), Link::Down { cause } if cause.contains("Permissions Violation")));
        state.works("publish worker");
        assert_eq!(state.link(), Link::Up);
        state.disconnected("gone");
        assert!(!state.is_up());
    }
}
