//! Whether results are turned away because the coordinator's disk is full.
//!
//! The journal may still be writable then, so nothing else shows it: workers keep their results and
//! try again, and the job seems to stand still. It is over by itself: when a result is taken again,
//! or when so much space came back that the next one will be.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_common::room::free_bytes;

/// Space beyond what there was at the last refusal with which it is held to be over.
const BACK_BYTES: u64 = 64 << 20;

const MB: u64 = 1 << 20;

/// The room for results on a coordinator's disk; clones are the same.
#[derive(Clone, Debug)]
pub struct Room {
    folder: Arc<PathBuf>,
    /// Free bytes when a result was last turned away; `None` while they are taken.
    refused: Arc<Mutex<Option<u64>>>,
}

impl Room {
    /// On the disk of a folder.
    pub fn on(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Arc::new(folder.into()), refused: Arc::default() }
    }

    fn free(&self) -> u64 {
        free_bytes(&self.folder).unwrap_or(0)
    }

    /// A result was turned away for want of room.
    pub fn refused(&self) {
        let free = self.free();
        let before = self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(free);
        if before.is_none() {
            tracing::error!(free, folder = %self.folder.display(), "the disk is full: results wait at the workers");
        }
    }

    /// A result was taken.
    pub fn taken(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What people are told, while results wait.
    pub fn warning(&self) -> Option<String> {
        self.warning_at(self.free())
    }

    fn warning_at(&self, free: u64) -> Option<String> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_some_and(|at_refusal| free >= at_refusal.saturating_add(BACK_BYTES)) {
            *refused = None;
        }
        refused.map(|_| {
            format!(
                "the coordinator's disk has {} MB free: results wait at the workers. Make room in {}: it goes on by itself",
                free / MB,
                self.folder.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_until_a_result_is_taken_or_space_came_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room::on(folder.path());
        assert_eq!(room.warning(), None);
        room.refused();
        let said = room.warning().expect("said");
        assert!(said.contains("MB free: results wait at the workers"), "{said}");
        room.taken();
        assert_eq!(room.warning(), None);

        *room.refused.lock().expect("whole") = Some(3 * MB);
        assert!(room.warning_at(3 * MB + BACK_BYTES - 1).expect("said").contains("has 66 MB free"));
        assert_eq!(room.warning_at(3 * MB + BACK_BYTES), None);
        assert_eq!(room.warning_at(0), None, "and it stays over until the next refusal");
    }
}
