//! Forgetting the attempts of jobs that closed long ago.
//!
//! Gone is what is reached from those attempts and from nothing that stays: no ref of any job
//! (receipts, integration, base), no commit the caller keeps, and nothing that came in lately.
//! Refs are not touched. What is decided while imports go on is looked at again when none does;
//! if a result came meanwhile that stands on what was to go, everything stays until next time.

use std::collections::BTreeSet;
use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::{Store, sync_objects};

use super::error::{RepoError, io};
use super::lock::StoreLock;
use super::packs::{self, Pack};
use super::recent;

/// What goes and what stays.
pub struct Prune<'a> {
    /// Commits of the attempts of closed jobs whose time is over.
    pub attempts: &'a [Oid],
    /// Commits that stay beside the refs: every live one of every open job, and the attempts of
    /// every closed job whose time is not over. Asked twice; the second time nothing comes in.
    pub keep: &'a dyn Fn() -> Vec<Oid>,
}

/// What a pruning did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PruneReport {
    /// Another maintenance was at work: nothing was done.
    pub busy: bool,
    /// Imports never paused, or one stands on what was to go: nothing was removed.
    pub gave_way: bool,
    /// Objects removed.
    pub objects: u64,
    /// Packs written anew without them.
    pub packs: usize,
}

/// Removes what only forgotten attempts need.
pub fn prune(store: &Path, what: &Prune<'_>) -> Result<PruneReport, RepoError> {
    let Some(_only_one) = StoreLock::maintenance(store)? else {
        return Ok(PruneReport { busy: true, ..PruneReport::default() });
    };
    let roots = roots(store, what)?;
    let gone = unneeded(store, what.attempts, &roots)?;
    if gone.is_empty() {
        return Ok(PruneReport::default());
    }
    let going = rewrite(store, &gone)?;
    let objects = store.join("objects");
    sync_objects(&objects).map_err(io("sync", &objects))?;
    let Some(alone) = StoreLock::exclusive(store)? else {
        return Ok(PruneReport { gave_way: true, ..PruneReport::default() });
    };
    let lately: Vec<Oid> = self::roots(store, what)?.into_iter().chain(recent::read(store)?).collect();
    let mut needed_again = false;
    packs::reached(store, &["--missing=allow-any"], &lately, &roots, |id| needed_again |= gone.contains(&id))?;
    let staying: Vec<Pack> = packs::list(store)?.into_iter().filter(|pack| !going.contains(pack)).collect();
    if needed_again || !packs::hold_all(&staying, &going, |id| !gone.contains(id))? {
        // The rewritten packs are doubles now, which the next consolidation joins.
        return Ok(PruneReport { gave_way: true, ..PruneReport::default() });
    }
    packs::retire(&alone, store, &staying, &going)?;
    // What a commit needs goes before it: cut short, the next pruning finds the rest by it.
    for id in gone.in_order.iter().rev() {
        let hex = id.to_string();
        packs::remove(&objects.join(&hex[..2]).join(&hex[2..]))?;
    }
    packs::clear_orphans(&alone, store)?;
    recent::clear(store)?;
    Ok(PruneReport { objects: gone.in_order.len() as u64, packs: going.len(), ..PruneReport::default() })
}

/// Everything that stays begins here.
fn roots(store: &Path, what: &Prune<'_>) -> Result<Vec<Oid>, RepoError> {
    let refs = Store::open_own(store)?.references("refs/")?;
    Ok(refs.into_iter().map(|(_, commit)| commit).chain((what.keep)()).collect())
}

/// Objects to remove, in the order git listed them: a commit before what it needs.
struct Gone {
    in_order: Vec<Oid>,
    set: BTreeSet<Oid>,
}

impl Gone {
    fn contains(&self, id: &Oid) -> bool {
        self.set.contains(id)
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

/// What the attempts reach and the roots do not. Memory goes with the attempts, not with the
/// history, which is streamed past them.
fn unneeded(store: &Path, attempts: &[Oid], roots: &[Oid]) -> Result<Gone, RepoError> {
    let (mut in_order, mut set) = (Vec::new(), BTreeSet::new());
    packs::reached(store, &["--missing=allow-any"], attempts, roots, |id| in_order.push(id))?;
    set.extend(in_order.iter().copied());
    if !set.is_empty() {
        // git's own subtraction stops at the nearest trees; this one does not. An object that
        // is missing from what stays ends the pruning with an error.
        packs::reached(store, &[], roots, &[], |id| {
            set.remove(&id);
        })?;
        packs::reached(store, &["--missing=allow-any"], &recent::read(store)?, roots, |id| {
            set.remove(&id);
        })?;
    }
    in_order.retain(|id| set.contains(id));
    Ok(Gone { in_order, set })
}

/// Writes every pack that holds something to remove anew, without it.
fn rewrite(store: &Path, gone: &Gone) -> Result<Vec<Pack>, RepoError> {
    let mut going = Vec::new();
    for pack in packs::list(store)? {
        if !pack.ids()?.any(|id| gone.contains(&id)) {
            continue;
        }
        let rest = pack.ids()?.filter(|id| !gone.contains(id)).map(|id| id.to_string());
        packs::write(store, &[], rest)?;
        going.push(pack);
    }
    Ok(going)
}
