//! Reading many objects at once.

use longhaul_common::git::{Store, StoreError};
use regex::bytes::Regex;

use super::base::Base;

/// Below so many objects one thread is faster than starting more.
const ALONE_MAX: usize = 256;
/// Most threads that read objects.
const THREADS_MAX: usize = 8;
/// A NUL among so many first bytes makes a file binary, as in git.
const BINARY_LOOK: usize = 8_000;

/// Asks the store one question for each item, in order, on several threads when there are many.
pub(super) fn each<T: Sync, R: Send>(
    store: &Store,
    items: &[T],
    ask: impl Fn(&Store, &T) -> Result<R, StoreError> + Sync,
) -> Result<Vec<R>, StoreError> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = if items.len() <= ALONE_MAX { 1 } else { cores.min(THREADS_MAX) };
    if threads == 1 {
        return items.iter().map(|item| ask(store, item)).collect();
    }
    let share = items.len().div_ceil(threads);
    let parts: Vec<Result<Vec<R>, StoreError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(share)
            .map(|part| {
                let (store, ask) = (store.clone(), &ask);
                scope.spawn(move || part.iter().map(|item| ask(&store, item)).collect())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a reader does not panic")).collect()
    });
    let mut all = Vec::with_capacity(items.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// Those of the entries whose text matches; binary files never do.
pub(super) fn containing(base: &Base, at: &[usize], regex: &Regex) -> Result<Vec<usize>, StoreError> {
    // The store itself is not shared between threads, the list of entries is.
    let entries = &base.entries;
    let found = each(&base.store, at, |store, &at| {
        let text = store.blob(entries[at].oid)?;
        let binary = text[..text.len().min(BINARY_LOOK)].contains(&0);
        Ok(!binary && regex.is_match(&text))
    })?;
    Ok(at.iter().zip(found).filter(|(_, found)| *found).map(|(&at, _)| at).collect())
}
