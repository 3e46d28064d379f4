//! What a job takes on the coordinator's disk, with the bounds of it.

use std::path::Path;

use longhaul_common::layout::JobLayout;
use longhaul_proto::JobBytes;

use super::LOGS_BYTES_MAX;
use crate::checkpoint::JournalLimits;

/// Walks the job's folders and its store. What cannot be read counts as nothing.
pub fn measure(layout: &JobLayout, store: &Path) -> JobBytes {
    let limits = JournalLimits::default();
    let free = longhaul_common::room::free_bytes(layout.root()).unwrap_or(0);
    JobBytes {
        journal: folder(&layout.journal()),
        // What came since the last snapshot, and the segment that two of them cover only in part, come
        // on top.
        journal_max: limits.journal_bytes + limits.snapshot_bytes + limits.segment_bytes,
        snapshots: folder(&layout.snapshots()),
        logs: folder(&layout.root().join("logs")),
        logs_max: LOGS_BYTES_MAX,
        capsules: folder(&layout.root().join("capsules")),
        index: folder(&layout.index()),
        sessions: folder(&layout.sessions()),
        store: folder(store),
        free,
    }
}

/// Bytes of all files below a folder; links are not followed.
pub(super) fn folder(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => folder(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
