//! The hub and the bus: workers are called, and no lease runs while nobody can be heard.

use std::time::{Duration, Instant};

use bytes::Bytes;
use longhaul_common::bus::{BusError, Link, Message, Subject};
use longhaul_proto::{Askers, Hello, PROTOCOL, PROTOCOL_MIN, ToWorker, to_worker};
use prost::Message as _;

use super::Hub;
use crate::core::{Input, Millis, Outage};
use crate::engine::GAP_MS;

/// How often the bus is looked at: no lease runs while it is down, and workers are called when it
/// comes back.
const LINK_LOOK: Duration = Duration::from_millis(500);

/// How often workers are told how many of them ask models, though nothing changed: one that came since
/// has not heard it.
const ASKERS_AGAIN: Duration = Duration::from_secs(10);

impl Hub {
    /// Asks every worker to say that it is there. Called once they can be served: whoever comes back
    /// while the door is closed waits before the next try.
    pub fn call_workers(&self) {
        let hello =
            Hello { protocol_min: PROTOCOL_MIN, protocol_max: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
        if let Err(error) = self.tell_all("hello", to_worker::Message::Hello(hello)) {
            tracing::warn!(%error, "the workers were not called; they announce themselves in time");
        }
    }

    fn tell_all(&self, what: &str, message: to_worker::Message) -> Result<(), BusError> {
        let payload = Bytes::from(ToWorker { message: Some(message) }.encode_to_vec());
        let id = format!("{what}.{}", self.next_send());
        self.inner.site.bus.publish(Message { subject: Subject::everyone(), id, payload })
    }

    /// Tells the workers how many of them share the limits of providers, if that is another number or
    /// long ago. What is not heard is told again; until then a worker goes by the last word.
    fn divide_limits(&self, told: &mut (u32, Instant)) {
        let workers = self.inner.site.fleet.askers();
        let changed = workers != told.0;
        if changed || (workers > 1 && told.1.elapsed() >= ASKERS_AGAIN) {
            *told = (workers, Instant::now());
            if let Err(error) = self.tell_all("askers", to_worker::Message::Askers(Askers { workers })) {
                tracing::info!(%error, "the workers were not told how many share the limits of providers");
            }
        }
    }

    /// Forgives leases the time in which nobody could be heard, and calls the workers when the bus
    /// is back.
    pub(super) async fn watch_link(&self) {
        let (stop, mut was_up) = (self.stopping(), true);
        let (mut outage, mut last) = (Outage::default(), Instant::now());
        let mut told = (0, Instant::now());
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
            if up {
                self.divide_limits(&mut told);
            }
            was_up = up;
        }
    }
}
