//! The calls a gateway made, for the record of the session.

use std::sync::{Arc, Mutex, PoisonError};

use super::record::Entry;

/// Most calls that are remembered; the totals have all.
const CALLS_MAX: usize = 10_000;

/// Calls in the order in which they ended, without what was said in them.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<Entry>>>);

impl Calls {
    pub(super) fn push(&self, entry: &Entry) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < CALLS_MAX {
            calls.push(Entry { request: None, response: None, ..entry.clone() });
        }
    }

    /// What there is so far; it is handed out once.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
