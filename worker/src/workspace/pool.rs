//! The slots of a worker: bounded in number by its permits, in bytes by its limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{At as _, WorkspaceError};
use super::slot::Slot;
use super::tree::tree_bytes;

/// Slots of one kind and repository at most, over all processes of this machine that share a root.
const SLOTS_MAX: u32 = 64;

/// A slot's size is measured again when this much time has passed: walking a build folder of
/// 100,000 files takes a second.
const MEASURE_EVERY_MS: u64 = 120_000;

/// What a slot is for. Never exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// Subtasks.
    Work,
    /// Gates.
    Gate,
}

impl SlotKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Gate => "gate",
        }
    }
}

/// What the pool may hold.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Bytes of all slots together; 0 means no limit.
    pub slot_bytes_max: u64,
}

/// All slots below one folder. Every method blocks.
#[derive(Clone, Debug)]
pub struct Pool {
    root: PathBuf,
    limits: PoolLimits,
}

impl Pool {
    /// The pool at a folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>, limits: PoolLimits) -> Self {
        Self { root: root.into(), limits }
    }

    /// Takes an idle slot, the lowest number first: low slots are the warm ones.
    pub fn acquire(&self, kind: SlotKind, repository: &str) -> Result<Slot, WorkspaceError> {
        for number in 0..SLOTS_MAX {
            let root = self.root.join(repository).join(format!("{}-{number}", kind.prefix()));
            if let Some(slot) = Slot::try_open(&root)? {
                return Ok(slot);
            }
        }
        Err(WorkspaceError::Busy { repository: repository.to_owned(), slots: SLOTS_MAX })
    }

    /// Gives a slot back: notes its use, measures it if that is due, and empties the least
    /// recently used idle slots while all together are over the limit.
    pub fn release(&self, slot: Slot) -> Result<(), WorkspaceError> {
        let now = now_ms();
        let mut record = slot.record();
        record.used_ms = now;
        if record.measured_ms == 0 || now.saturating_sub(record.measured_ms) > MEASURE_EVERY_MS {
            record.bytes = tree_bytes(slot.root());
            record.measured_ms = now;
        }
        slot.write_record(&record)?;
        drop(slot);
        self.shrink()
    }

    /// Bytes of all slots as last measured.
    pub fn bytes(&self) -> u64 {
        self.slots().iter().map(|path| super::SlotRecord::read(&path.join("slot.json")).bytes).sum()
    }

    fn shrink(&self) -> Result<(), WorkspaceError> {
        match self.limits.slot_bytes_max {
            0 => Ok(()),
            max => self.reclaim(self.bytes().saturating_sub(max)).map(|_| ()),
        }
    }

    /// Empties idle slots, the least recently used first, for so many bytes; how many it were.
    pub fn reclaim(&self, wanted: u64) -> Result<u64, WorkspaceError> {
        let mut known: Vec<_> =
            self.slots().into_iter().map(|path| (super::SlotRecord::read(&path.join("slot.json")), path)).collect();
        known.sort_by_key(|(record, _)| record.used_ms);
        let mut freed = 0;
        for (record, path) in known {
            if freed >= wanted {
                break;
            }
            // A killed process leaves one unmeasured; an emptied one has nothing but its lock.
            let bytes = if record.bytes == 0 { tree_bytes(&path) } else { record.bytes };
            if bytes == 0 {
                continue;
            }
            if let Some(slot) = Slot::try_open(&path)? {
                tracing::info!(slot = %path.display(), bytes, "idle slot emptied to make room");
                slot.empty()?;
                freed += bytes;
            }
        }
        Ok(freed)
    }

    fn slots(&self) -> Vec<PathBuf> {
        let folders = |path: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect()
        };
        let mut slots: Vec<PathBuf> = folders(&self.root).iter().flat_map(|repository| folders(repository)).collect();
        slots.sort();
        slots
    }

    /// Makes the pool's folder.
    pub fn create(&self) -> Result<(), WorkspaceError> {
        fs::create_dir_all(&self.root).at("create", &self.root)
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
