//! Whether there is room for anything new: free space, and what waits in the outbox.
//!
//! On a disk that gets full idle slots and mirrors go, which are only caches. Where that is not
//! enough new work is parked; what runs is never touched. What is measured is announced. Free
//! space is looked at every few seconds; walking folders is slower and done more rarely.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use longhaul_proto::WorkerBytes;

use crate::config::DiskLimits;
use crate::session::desk::Input;
use crate::worker::Worker;

/// Time between two looks at the free space and the number of results that wait.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Time between two measurements of what the worker keeps.
const MEASURE_EVERY: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    free_bytes: u64,
    outbox_bytes: u64,
    outbox_entries: usize,
}

/// Decides with hysteresis, so that a worker at the brink does not flicker.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    low: bool,
}

impl Gauge {
    /// Bytes to make free before anything is refused.
    fn missing(self, limits: &DiskLimits, free_bytes: u64) -> u64 {
        let wanted = limits.free_min_bytes.saturating_add(limits.free_min_bytes / 10);
        match self.low || free_bytes < limits.free_min_bytes {
            true => wanted.saturating_sub(free_bytes),
            false => 0,
        }
    }

    /// Why nothing new is taken, in words, if so.
    fn read(&mut self, limits: &DiskLimits, found: Found) -> Option<String> {
        let free_min = limits.free_min_bytes;
        let wanted = if self.low { free_min.saturating_add(free_min / 10) } else { free_min };
        self.low = found.free_bytes < wanted;
        if self.low {
            return Some(format!(
                "{} MB free on the disk of the worker's folder, {} MB are needed",
                found.free_bytes >> 20,
                wanted >> 20
            ));
        }
        let (bytes_max, entries_max) = (limits.outbox_bytes_max, limits.outbox_entries_max);
        if bytes_max > 0 && found.outbox_bytes >= bytes_max {
            return Some(format!(
                "{} MB of results wait to be delivered, the limit is {} MB",
                found.outbox_bytes >> 20,
                bytes_max >> 20
            ));
        }
        (entries_max > 0 && found.outbox_entries >= entries_max)
            .then(|| format!("{} results wait to be delivered, the limit is {entries_max}", found.outbox_entries))
    }
}

/// Watches until the worker ends.
pub(crate) async fn watch(worker: Arc<Worker>) {
    let mut gauge = Gauge::default();
    let mut measured: Option<Instant> = None;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = worker.stop.cancelled() => return,
        }
        let full = measured.is_none_or(|last| last.elapsed() >= MEASURE_EVERY);
        let looking = Arc::clone(&worker);
        let looked = tokio::task::spawn_blocking(move || {
            let mut found = look(&looking, full);
            match gauge.missing(&looking.config.disk, found.free_bytes) {
                0 => {}
                missing => {
                    reclaim(&looking, missing);
                    found.free_bytes = free_bytes(&looking.config.root);
                }
            }
            found
        });
        let Ok(found) = looked.await else { return };
        if full {
            measured = Some(Instant::now());
        }
        let why = gauge.read(&worker.config.disk, found);
        worker.room.send_replace(why.is_none());
        worker.tell(Input::Room(why));
    }
}

/// Makes room from caches that nobody uses: slots, then mirrors.
fn reclaim(worker: &Worker, missing: u64) {
    let slots = worker.pool.reclaim(missing).unwrap_or_else(|error| {
        tracing::warn!(%error, "an idle slot could not be emptied to make room");
        0
    });
    if slots < missing
        && let Err(error) = worker.mirrors.reclaim(missing - slots)
    {
        tracing::warn!(%error, "an idle mirror could not be removed to make room");
    }
}

fn look(worker: &Worker, full: bool) -> Found {
    let config = &worker.config;
    let free_bytes = free_bytes(&config.root);
    let outbox_entries = worker.outbox.entries();
    let mut bytes = *worker.bytes.lock().unwrap_or_else(PoisonError::into_inner);
    bytes.free = free_bytes;
    if full || outbox_entries == 0 {
        bytes.outbox = worker.outbox.bytes();
    }
    if full {
        bytes = WorkerBytes {
            slots: worker.pool.bytes(),
            slots_max: config.slot_bytes_max,
            mirrors: worker.mirrors.bytes(),
            mirrors_max: config.disk.mirrors_bytes_max,
            free_min: config.disk.free_min_bytes,
            ..bytes
        };
    }
    *worker.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    Found { free_bytes, outbox_bytes: bytes.outbox, outbox_entries }
}

/// Bytes a process without privileges may still write; none known is "enough".
fn free_bytes(root: &Path) -> u64 {
    longhaul_common::room::free_bytes(root).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_space_stops_at_the_limit_and_ends_a_tenth_above_it() {
        let limits = DiskLimits { free_min_bytes: 100 << 20, ..DiskLimits::default() };
        let mut gauge = Gauge::default();
        let mut read = |mib: u64| gauge.read(&limits, Found { free_bytes: mib << 20, ..Found::default() });
        assert_eq!(read(100), None);
        let why = read(99).expect("low");
        assert!(why.contains("99 MB free") && why.contains("100 MB are needed"), "{why}");
        assert!(read(109).is_some(), "not yet enough");
        assert_eq!(read(110), None);
        assert_eq!(read(100), None);
    }

    #[test]
    fn a_full_outbox_takes_nothing_new() {
        let limits = DiskLimits { outbox_bytes_max: 10 << 20, outbox_entries_max: 3, ..DiskLimits::default() };
        let read = |outbox_bytes, outbox_entries| {
            Gauge::default().read(&limits, Found { free_bytes: u64::MAX, outbox_bytes, outbox_entries })
        };
        assert_eq!(read(1, 2), None);
        assert!(read(10 << 20, 1).is_some_and(|why| why.contains("10 MB of results")));
        assert!(read(1, 3).is_some_and(|why| why.starts_with("3 results")));
    }
}
