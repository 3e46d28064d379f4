//! The hub and the bus: workers are called, and no lease runs while nobody can be heard.

use std::time::{Duration, Instant};

use bytes::Bytes;
use longhaul_common::bus::{Link, Message, Subject};
use longhaul_proto::{Hello, PROTOCOL, PROTOCOL_MIN, ToWorker, to_worker};
use prost::Message as _;

use super::Hub;
use crate::core::{Input, Millis, Outage};
use crate::engine::GAP_MS;

/// How often the bus is looked at: no lease runs while it is down, and workers are called when it
/// comes back.
const LINK_LOOK: Duration = Duration::from_millis(500);

impl Hub {
    /// Asks every worker to say that it is there. Called once they can be served: whoever comes back
    /// while the door is closed waits before the next try.
    pub fn call_workers(&self) {
        let hello =
            Hello { protocol_min: PROTOCOL_MIN, protocol_max: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
        let payload = Bytes::from(ToWorker { message: Some(to_worker::Message::Hello(hello)) }.encode_to_vec());
        let message = Message { subject: Subject::everyone(), id: format!("hello.{}", self.next_send()), payload };
        if let Err(error) = self.inner.site.bus.publish(message) {
            tracing::warn!(%error, "the workers were not called; they announce themselves in time");
        }
    }

    /// Forgives leases the time in which nobody could be heard, and calls the workers when the bus
    /// is back.
    pub(super) async fn watch_link(&self) {
        let (stop, mut was_up) = (self.stopping(), true);
        let (mut outage, mut last) = (Outage::default(), Instant::now());
        let mut look = tokio::time::interval(LINK_LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            let up = self.inner.site.bus.link() == Link::Up;
            let passed = Millis::try_from(std::mem::replace(&mut last, Instant::now()).elapsed().as_millis());
            // A longer time is one in which this process did not run: the engine sees that itself.
            let passed = passed.ok().filter(|&ms| ms < GAP_MS).unwrap_or(0);
            match u64::try_from(outage.pass(passed, up)) {
                Ok(ms) if ms > 0 => {
                    self.running_jobs().iter().for_each(|running| running.handle.input(Input::Deaf { ms }));
                }
                _ => {}
            }
            if up && !was_up {
                self.call_workers();
            }
            was_up = up;
        }
    }
}
