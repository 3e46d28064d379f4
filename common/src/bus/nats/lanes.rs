//! What waits to be published: one bounded lane a channel, so that nothing waits behind another
//! channel's trouble.
//!
//! Assignments and events are refused when their lane is full; of presence and progress the oldest
//! make room, and a worker's newer presence replaces its older one. A message keeps its number, so
//! what failed goes back to where it was.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::super::{BusError, Channel, Message};
use super::backoff;

/// Messages that wait in a lane of assignments or events before more are refused.
const FIRM_MAX: usize = 16_384;

/// Bytes that wait in one lane before more are refused, or the oldest dropped.
const LANE_BYTES_MAX: usize = 64 << 20;

/// Messages that wait in a lane of presence or progress before the oldest are dropped.
const VOLATILE_MAX: usize = 4_096;

/// Messages of one lane sent and not yet acknowledged.
const IN_FLIGHT_MAX: usize = 256;

/// Longest wait of a lane after failures.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Lanes in the order in which they are served.
const ORDER: [Channel; 5] = [Channel::Worker, Channel::Everyone, Channel::Presence, Channel::Event, Channel::Report];

/// A message in its place.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    /// Its number over all lanes.
    pub number: u64,
    /// Its lane.
    pub channel: Channel,
    /// What is to be sent.
    pub message: Message,
}

#[derive(Default)]
struct Lane {
    waiting: BTreeMap<u64, Message>,
    bytes: usize,
    in_flight: BTreeMap<u64, Message>,
    failures: u32,
    not_before: Option<Instant>,
}

#[derive(Default)]
struct Lanes {
    lanes: BTreeMap<Channel, Lane>,
    numbered: u64,
}

/// The lanes, shared between those who publish and the task that sends.
pub(super) struct Waiting {
    lanes: Mutex<Lanes>,
    changed: Notify,
    empty: watch::Sender<bool>,
}

fn is_volatile(channel: Channel) -> bool {
    matches!(channel, Channel::Presence | Channel::Report)
}

impl Lane {
    fn full(&self) -> bool {
        self.waiting.len() >= FIRM_MAX || self.bytes >= LANE_BYTES_MAX
    }

    fn put(&mut self, number: u64, message: Message) {
        self.bytes += message.payload.len();
        self.waiting.insert(number, message);
    }

    fn take(&mut self) -> Option<(u64, Message)> {
        let (number, message) = self.waiting.pop_first()?;
        self.bytes -= message.payload.len();
        Some((number, message))
    }

    /// Makes room in a lane whose oldest may go.
    fn shed(&mut self) {
        while self.waiting.len() > VOLATILE_MAX || self.bytes > LANE_BYTES_MAX {
            let _oldest = self.take();
        }
    }

    fn drop_older(&mut self, newer: &Message) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|_, older| {
            let keep = older.subject != newer.subject;
            if !keep {
                *bytes -= older.payload.len();
            }
            keep
        });
    }
}

impl Lanes {
    fn next(&mut self, now: Instant) -> Result<Queued, Option<Instant>> {
        let mut soonest: Option<Instant> = None;
        for channel in ORDER {
            let Some(lane) = self.lanes.get_mut(&channel) else { continue };
            if lane.waiting.is_empty() || lane.in_flight.len() >= IN_FLIGHT_MAX {
                continue;
            }
            if let Some(at) = lane.not_before.filter(|at| *at > now) {
                soonest = Some(soonest.map_or(at, |other| other.min(at)));
                continue;
            }
            if let Some((number, message)) = lane.take() {
                lane.in_flight.insert(number, message.clone());
                return Ok(Queued { number, channel, message });
            }
        }
        Err(soonest)
    }

    fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.waiting.is_empty() && lane.in_flight.is_empty())
    }
}

impl Waiting {
    /// Nothing waits.
    pub(super) fn new() -> Self {
        Self { lanes: Mutex::default(), changed: Notify::new(), empty: watch::Sender::new(true) }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, empty: bool) {
        self.empty.send_if_modified(|was| std::mem::replace(was, empty) != empty);
        self.changed.notify_one();
    }

    /// Queues a message.
    pub(super) fn put(&self, channel: Channel, message: Message) -> Result<(), BusError> {
        let mut lanes = self.lock();
        let number = lanes.numbered;
        let lane = lanes.lanes.entry(channel).or_default();
        if !is_volatile(channel) && lane.full() {
            return Err(BusError::Congested { subject: message.subject });
        }
        if channel == Channel::Presence {
            lane.drop_older(&message);
        }
        lane.put(number, message);
        if is_volatile(channel) {
            lane.shed();
        }
        lanes.numbered += 1;
        self.told(false);
        Ok(())
    }

    /// The next message that may be sent now; or the moment from which there may be one.
    pub(super) fn look(&self) -> Result<Queued, Option<Instant>> {
        self.lock().next(Instant::now())
    }

    /// Returns when it is worth while to look again.
    pub(super) async fn changed(&self, from: Option<Instant>) {
        match from {
            // Either ends the wait; which one is seen by looking again.
            Some(at) => _ = tokio::time::timeout_at(at, self.changed.notified()).await,
            None => self.changed.notified().await,
        }
    }

    /// A message was sent for good, or given up.
    pub(super) fn settled(&self, channel: Channel, number: u64) {
        let mut lanes = self.lock();
        let lane = lanes.lanes.entry(channel).or_default();
        lane.in_flight.remove(&number);
        lane.failures = 0;
        let empty = lanes.is_empty();
        self.told(empty);
    }

    /// A message failed: it goes back to its place, and its lane waits a little.
    pub(super) fn failed(&self, channel: Channel, number: u64) {
        let mut lanes = self.lock();
        let lane = lanes.lanes.entry(channel).or_default();
        let now = Instant::now();
        if lane.not_before.is_none_or(|at| at <= now) {
            lane.failures = lane.failures.saturating_add(1);
            lane.not_before = Some(now + backoff::delay(lane.failures, PAUSE_MAX));
        }
        if let Some(message) = lane.in_flight.remove(&number) {
            lane.put(number, message);
        }
        self.told(false);
    }

    /// Everything that was in flight on a connection that is gone goes back to its place.
    pub(super) fn all_failed(&self) {
        let mut lanes = self.lock();
        for lane in lanes.lanes.values_mut() {
            for (number, message) in std::mem::take(&mut lane.in_flight) {
                lane.put(number, message);
            }
            lane.not_before = None;
            lane.failures = 0;
        }
        let empty = lanes.is_empty();
        self.told(empty);
    }

    /// Returns once nothing waits and nothing is in flight.
    pub(super) async fn emptied(&self) {
        let mut empty = self.empty.subscribe();
        let _cannot_fail = empty.wait_for(|empty| *empty).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::Subject;
    use super::*;

    fn message(subject: Subject, payload: &str) -> Message {
        Message { subject, id: String::new(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
    }

    async fn next(waiting: &Waiting) -> Queued {
        loop {
            match waiting.look() {
                Ok(queued) => return queued,
                Err(from) => waiting.changed(from).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn presence_gives_way_and_assignments_are_refused() {
        let waiting = Waiting::new();
        waiting.put(Channel::Presence, message(Subject::presence("a"), "old")).expect("room");
        waiting.put(Channel::Presence, message(Subject::presence("a"), "new")).expect("room");
        let job = "j".parse().expect("valid");
        for _ in 0..VOLATILE_MAX + 10 {
            waiting.put(Channel::Report, message(Subject::report(&job, "a"), "x")).expect("the oldest go");
        }
        for _ in 0..FIRM_MAX {
            waiting.put(Channel::Worker, message(Subject::worker("a"), "x")).expect("room");
        }
        let refused = waiting.put(Channel::Worker, message(Subject::worker("a"), "x"));
        assert!(matches!(refused, Err(BusError::Congested { .. })));
        // Full of assignments that get no answer, it still sends presence.
        for _ in 0..IN_FLIGHT_MAX {
            assert_eq!(next(&waiting).await.channel, Channel::Worker);
        }
        let presence = next(&waiting).await;
        assert_eq!((presence.channel, &presence.message.payload[..]), (Channel::Presence, &b"new"[..]));
        assert_eq!(waiting.lock().lanes[&Channel::Report].waiting.len(), VOLATILE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_keeps_its_place() {
        let waiting = Waiting::new();
        for text in ["1", "2", "3"] {
            waiting.put(Channel::Worker, message(Subject::worker("a"), text)).expect("room");
        }
        let (first, second) = (next(&waiting).await, next(&waiting).await);
        waiting.failed(Channel::Worker, second.number);
        waiting.failed(Channel::Worker, first.number);
        let began = Instant::now();
        for text in ["1", "2", "3"] {
            let queued = next(&waiting).await;
            assert_eq!(queued.message.payload, text);
            waiting.settled(Channel::Worker, queued.number);
        }
        assert!(Instant::now() > began, "a lane waits after a failure");
        waiting.emptied().await;
    }
}
