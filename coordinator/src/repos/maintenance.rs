//! Keeping a store small: loose objects and small packs become one pack.
//!
//! Every object stays, reached by a ref or not. The new pack is written beside imports, which it
//! cannot disturb, as it only adds; what it replaces goes in a moment without imports, and when
//! there is none within [`super::GIVE_WAY_MAX`], at the next maintenance. Packs are joined in a
//! geometric row (each at least twice the smaller ones together), so that an object is written
//! again only a logarithmic number of times.

use std::path::Path;

use longhaul_common::git::{Git, sync_objects};

use super::error::{RepoError, io};
use super::lock::StoreLock;
use super::packs::{self, Pack};

/// Loose objects that are worth a pack.
pub const LOOSE_MIN: u64 = 1_000;

/// Packs that are worth joining.
pub const PACKS_MIN: usize = 20;

/// What a maintenance did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MaintenanceReport {
    /// Another maintenance was at work: nothing was done.
    pub busy: bool,
    /// Imports never paused: what was replaced goes next time.
    pub gave_way: bool,
    /// Loose objects before.
    pub loose: u64,
    /// Packs before.
    pub packs: usize,
    /// Packs that were joined into the new one.
    pub joined: usize,
    /// Objects of the new pack; 0 for none.
    pub written: u64,
}

/// Consolidates a store.
pub fn maintain(store: &Path) -> Result<MaintenanceReport, RepoError> {
    let Some(_only_one) = StoreLock::maintenance(store)? else {
        return Ok(MaintenanceReport { busy: true, ..MaintenanceReport::default() });
    };
    let (loose, all) = (packs::loose(store)?, packs::list(store)?);
    let mut report = MaintenanceReport { loose, packs: all.len(), ..MaintenanceReport::default() };
    if loose < LOOSE_MIN && all.len() < PACKS_MIN {
        return Ok(report);
    }
    let (small, large) = all.split_at(split(loose, &all));
    if loose == 0 && small.len() < 2 {
        return Ok(report);
    }
    let lines =
        small.iter().map(|pack| pack.name("pack")).chain(large.iter().map(|pack| format!("^{}", pack.name("pack"))));
    let new = packs::write(store, &["--stdin-packs", "--unpacked"], lines)?;
    let Some(new) = new else { return Ok(report) };
    report.written = new.objects;
    let objects = store.join("objects");
    sync_objects(&objects).map_err(io("sync", &objects))?;
    let Some(alone) = StoreLock::exclusive(store)? else {
        report.gave_way = true;
        return Ok(report);
    };
    // Looked at again: imports may have brought packs meanwhile.
    let going: Vec<Pack> = small.iter().filter(|pack| **pack != new).cloned().collect();
    let staying: Vec<Pack> = packs::list(store)?.into_iter().filter(|pack| !going.contains(pack)).collect();
    if !packs::hold_all(&staying, &going, |_| true)? {
        tracing::error!(store = %store.display(), "the new pack lacks objects: the old ones stay");
        return Ok(report);
    }
    packs::retire(&alone, store, &staying, &going)?;
    Git::at(store).run(["prune-packed", "--quiet"])?;
    packs::clear_orphans(&alone, store)?;
    report.joined = going.len();
    Ok(report)
}

/// How many of the packs, smallest first, are joined: as git's own geometric repacking has it.
fn split(loose: u64, packs: &[Pack]) -> usize {
    // From the largest down, as long as each is at least twice the next.
    let broken = (1..packs.len()).rev().find(|&at| packs[at].objects < 2 * packs[at - 1].objects);
    let first = broken.map_or(0, |at| at + 1);
    let mut sum = loose + packs[..first].iter().map(|pack| pack.objects).sum::<u64>();
    let more = packs[first..].iter().take_while(|pack| {
        let joins = pack.objects < 2 * sum;
        sum += pack.objects;
        joins
    });
    first + more.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_packs_join_and_large_ones_are_left() {
        let packs = |sizes: &[u64]| -> Vec<Pack> {
            sizes.iter().map(|&objects| Pack { objects, stem: format!("pack-{objects}").into() }).collect()
        };
        for (loose, sizes, joined) in [
            (0, vec![], 0),
            (0, vec![10], 0),
            (0, vec![10, 10_000], 0),
            (0, vec![400, 3_000, 3_000, 3_000], 4),
            (0, vec![10, 10, 10, 30, 1_000], 4),
            (100, vec![50, 1_000], 1),
            (1_000, vec![1, 2, 500, 100_000], 3),
            (60_000, vec![1, 100_000], 2),
        ] {
            assert_eq!(split(loose, &packs(&sizes)), joined, "{loose} {sizes:?}");
        }
    }
}
