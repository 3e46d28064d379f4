//! When upkeep is done: by a task of the hub, and once at the end of a process of one job.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use longhaul_common::layout::Layout;

use super::{LOGS_BYTES_MAX, Ledger, expire, trim};
use crate::checkpoint::recover_read_only;
use crate::clock::SystemClock;
use crate::coordinator::Running;
use crate::core::Millis;
use crate::driver::Clock as _;
use crate::hub::{Hub, JobCard, off_runtime};
use crate::job::store_of;
use crate::repos::maintain;
use crate::sessions::{Sessions, UNNAMED_AGE_MAX};

/// Attempts of a closed job are kept for this long unless something else is set.
pub const KEEP_ATTEMPTS_MS: Millis = 30 * 24 * 3_600_000;

/// How upkeep is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpkeepSettings {
    /// Attempts of a closed job are forgotten after this time; 0 is never.
    pub keep_attempts_ms: Millis,
    /// Logs of one job together, in bytes.
    pub logs_bytes_max: u64,
    /// How often the stores of running jobs are looked at; a store is consolidated when it has
    /// [`crate::repos::LOOSE_MIN`] loose objects or [`crate::repos::PACKS_MIN`] packs.
    pub stores_every: Duration,
    /// How often logs are looked at.
    pub logs_every: Duration,
    /// How often it is looked for attempts whose time is over.
    pub attempts_every: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self {
            keep_attempts_ms: KEEP_ATTEMPTS_MS,
            logs_bytes_max: LOGS_BYTES_MAX,
            stores_every: Duration::from_secs(60),
            logs_every: Duration::from_secs(300),
            attempts_every: Duration::from_secs(6 * 3_600),
        }
    }
}

/// Consolidates a store if that is due.
fn tend_store(store: &std::path::Path) {
    match maintain(store) {
        Ok(report) if report.joined > 0 || report.written > 0 => {
            tracing::info!(store = %store.display(), ?report, "the store is consolidated");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(store = %store.display(), %error, "the store is not consolidated"),
    }
}

/// Bounds a job's logs.
fn tend_logs(layout: &longhaul_common::layout::JobLayout, max: u64) {
    let tended = || {
        // Nothing has to be read while they are small.
        if super::bytes::folder(&layout.root().join("logs")) <= max {
            return Ok(0);
        }
        let state = recover_read_only(layout)?.state;
        let stay = Ledger::read(layout)?.logs_that_stay(&state);
        Ok::<u64, crate::checkpoint::CheckpointError>(trim(layout, &stay, max))
    };
    match tended() {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(bytes, folder = %layout.root().display(), "the oldest logs went"),
        Err(error) => tracing::warn!(%error, folder = %layout.root().display(), "logs are not bounded"),
    }
}

fn tend_attempts(layout: &Layout, keep_ms: Millis) {
    if keep_ms <= 0 {
        return;
    }
    if let Err(error) = expire(layout, SystemClock.now_ms(), keep_ms) {
        tracing::warn!(%error, "attempts of closed jobs are not forgotten");
    }
}

/// Everything once, for all jobs and stores of a state folder: at the end of a process of one job.
pub fn once(layout: &Layout, settings: &UpkeepSettings) {
    let mut stores = BTreeSet::new();
    for card in JobCard::all(layout) {
        let Ok(id) = card.job.parse() else { continue };
        let Ok(recovered) = recover_read_only(&layout.job(&id)) else { continue };
        tend_logs(&layout.job(&id), settings.logs_bytes_max);
        Sessions::of(&layout.job(&id)).retain(&recovered.state.sessions(), UNNAMED_AGE_MAX);
        stores.insert(store_of(layout, &recovered.state.plan().repo.clone().unwrap_or_default()));
    }
    stores.iter().filter(|store| store.join("HEAD").is_file()).for_each(|store| tend_store(store));
    tend_attempts(layout, settings.keep_attempts_ms);
}

/// The sessions of each running job, and which of them its saved work names.
async fn named_sessions(running: &[Running]) -> Vec<(Sessions, BTreeSet<Vec<u8>>)> {
    let mut all = Vec::new();
    for running in running {
        // A job that ends or cannot write its journal keeps what it has until the next time.
        if let Ok(named) = running.handle.query(|state, _| state.sessions()).await {
            all.push((Sessions::of(&running.layout), named));
        }
    }
    all
}

/// A thing done again and again.
struct Turn {
    every: Duration,
    last: Option<Instant>,
}

impl Turn {
    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

impl Hub {
    /// Does upkeep until the hub ends, one thing at a time.
    pub(crate) async fn keep_up(&self, settings: UpkeepSettings) {
        let turn = |every| Turn { every, last: None };
        let mut logs = turn(settings.logs_every);
        let mut attempts = turn(settings.attempts_every);
        loop {
            tokio::select! {
                () = tokio::time::sleep(settings.stores_every) => {}
                () = self.inner.stop.cancelled() => return,
            }
            let running = self.running_jobs();
            let (do_logs, do_attempts) = (logs.is_due(), attempts.is_due());
            let layout = self.inner.site.layout.clone();
            let sessions = if do_logs { named_sessions(&running).await } else { Vec::new() };
            // Dropping these handles before the work: a job may end meanwhile.
            let folders: Vec<_> = running.iter().map(|running| running.layout.clone()).collect();
            let stores: BTreeSet<PathBuf> = running.into_iter().map(|running| running.store).collect();
            let done = off_runtime(move || {
                stores.iter().for_each(|store| tend_store(store));
                if do_logs {
                    folders.iter().for_each(|folder| tend_logs(folder, settings.logs_bytes_max));
                    sessions.iter().for_each(|(kept, named)| kept.retain(named, UNNAMED_AGE_MAX));
                }
                if do_attempts {
                    tend_attempts(&layout, settings.keep_attempts_ms);
                }
                Ok(())
            });
            tokio::select! {
                done = done => if let Err(error) = done {
                    tracing::warn!(%error, "upkeep was cut short");
                },
                // Whatever it is at can be cut at any point.
                () = self.inner.stop.cancelled() => return,
            }
        }
    }
}
