//! Forgetting the attempts of jobs that closed long ago: their commits in the store, their logs and
//! capsules. Receipts, branches, journals and snapshots stay.
//!
//! A job that is woken later still has what it needs to go on: its open subtasks' results, spares
//! and saved work stay, and a next generation does again what it cannot carry over. Other jobs of
//! the same store keep all of theirs; where one of them has retired records (so that nobody can say
//! any more what is its own), the store waits until that job's time is over as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use longhaul_common::layout::{JobLayout, Layout};
use longhaul_common::{JobId, Oid};

use super::Ledger;
use crate::capsules::forget_capsules;
use crate::checkpoint::{CheckpointError, recover_read_only};
use crate::core::{JobPhase, Millis, Phase, State};
use crate::hub::JobCard;
use crate::job::store_of;
use crate::repos::{Prune, RepoError, prune};

/// What was forgotten of one store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expired {
    /// The jobs whose attempts are gone.
    pub jobs: Vec<String>,
    /// Objects removed from the store.
    pub objects: u64,
}

/// Why nothing was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// A journal could not be read: nobody knows what it still needs.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The store could not be worked on.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

struct Known {
    layout: JobLayout,
    state: State,
}

impl Known {
    fn closed_ms(&self) -> Option<Millis> {
        matches!(self.state.job_phase(), JobPhase::Closed { .. }).then(|| self.state.closed_ms())
    }

    /// Closed longer ago than `keep_ms`.
    fn is_over(&self, now: Millis, keep_ms: Millis) -> bool {
        self.closed_ms().is_some_and(|closed| now - closed > keep_ms)
    }

    /// What it needs to go on once it is woken: all but what has landed, which its branch holds.
    fn needs_to_wake(&self) -> Vec<Oid> {
        let landed: BTreeSet<Oid> = self
            .state
            .nodes()
            .filter_map(|node| match self.state.subtask(node).phase() {
                Phase::Landed(landed) => Oid::from_bytes(&landed.candidate.patch.commit).ok(),
                _ => None,
            })
            .collect();
        self.state.live_commits().into_iter().filter(|commit| !landed.contains(commit)).collect()
    }

    /// Forgotten since it closed the last time.
    fn is_forgotten(&self) -> bool {
        let text = std::fs::read_to_string(marker(&self.layout)).unwrap_or_default();
        text.trim().parse().ok() == self.closed_ms()
    }
}

/// Holds when the job closed whose attempts are forgotten.
fn marker(layout: &JobLayout) -> PathBuf {
    layout.root().join("forgotten")
}

/// The jobs of a state folder, by store.
fn by_store(layout: &Layout) -> Result<BTreeMap<PathBuf, Vec<Known>>, CheckpointError> {
    let mut stores: BTreeMap<PathBuf, Vec<Known>> = BTreeMap::new();
    for card in JobCard::all(layout) {
        let Ok(id) = card.job.parse::<JobId>() else { continue };
        let recovered = recover_read_only(&layout.job(&id))?;
        if recovered.state.seq() == 0 && (recovered.torn_bytes > 0 || !recovered.damaged_snapshots.is_empty()) {
            // All of it is torn: nobody knows which store it needed what of.
            let cause = "not one record of it can be read".to_owned();
            return Err(CheckpointError::Damaged { path: layout.job(&id).journal(), offset: 0, cause });
        }
        let known = Known { layout: layout.job(&id), state: recovered.state };
        if known.state.seq() > 0 {
            let store = store_of(layout, &known.state.plan().repo.clone().unwrap_or_default());
            stores.entry(store).or_default().push(known);
        }
    }
    Ok(stores)
}

/// What every job of a store needs; `None` where that cannot be said.
fn kept(layout: &Layout, store: &Path, now: Millis, keep_ms: Millis) -> Option<Vec<Oid>> {
    let mut kept = Vec::new();
    for known in by_store(layout).ok()?.remove(store).unwrap_or_default() {
        if known.is_over(now, keep_ms) {
            kept.extend(known.needs_to_wake());
            continue;
        }
        kept.extend(known.state.live_commits());
        if known.closed_ms().is_some() {
            let ledger = Ledger::read(&known.layout).ok().filter(|ledger| ledger.is_whole)?;
            kept.extend(ledger.commits);
        }
    }
    Some(kept)
}

/// Forgets the attempts of every job that closed more than `keep_ms` before `now`.
pub fn expire(layout: &Layout, now: Millis, keep_ms: Millis) -> Result<Vec<Expired>, ExpireError> {
    let mut all = Vec::new();
    for (store, jobs) in by_store(layout)? {
        let due: Vec<&Known> =
            jobs.iter().filter(|known| known.is_over(now, keep_ms) && !known.is_forgotten()).collect();
        if due.is_empty() || !store.join("HEAD").is_file() {
            continue;
        }
        let ledgers =
            due.iter().map(|known| Ledger::read(&known.layout)).collect::<Result<Vec<Ledger>, CheckpointError>>()?;
        let attempts: Vec<Oid> = ledgers.iter().flat_map(|ledger| ledger.commits.iter().copied()).collect();
        // Where it cannot be said what others need, everything is needed.
        let keep = || kept(layout, &store, now, keep_ms).unwrap_or_else(|| attempts.clone());
        if kept(layout, &store, now, keep_ms).is_none() {
            tracing::info!(store = %store.display(), "attempts stay: a job within its time has retired records");
            continue;
        }
        let report = prune(&store, &Prune { attempts: &attempts, keep: &keep })?;
        if report.busy || report.gave_way {
            continue;
        }
        for (known, ledger) in due.iter().zip(&ledgers) {
            forget_files(&known.layout, ledger, known.closed_ms().unwrap_or(0));
        }
        let jobs: Vec<String> = due.iter().map(|known| known.state.job().to_owned()).collect();
        tracing::info!(?jobs, objects = report.objects, store = %store.display(), "attempts of closed jobs are forgotten");
        all.push(Expired { jobs, objects: report.objects });
    }
    Ok(all)
}

/// Removes logs and capsules of what the journal names; what a woken job makes has other ids.
fn forget_files(layout: &JobLayout, ledger: &Ledger, closed_ms: Millis) {
    let absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let mut failed = None;
    for &id in &ledger.ids {
        let logs = std::fs::remove_dir_all(layout.logs(id));
        failed = logs.err().filter(|error| !absent(error)).or(failed);
    }
    let last = ledger.ids.iter().max();
    failed = last.and_then(|&last| forget_capsules(layout, last).err()).or(failed);
    match failed {
        None => drop(std::fs::write(marker(layout), closed_ms.to_string())),
        Some(error) => tracing::warn!(%error, folder = %layout.root().display(), "it is tried again"),
    }
}
