//! What is known about a slot between assignments: `slot.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{At as _, WorkspaceError};

/// Facts about a slot. All of it is a hint: a lost or garbled record costs time, nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotRecord {
    /// Milliseconds since the epoch of the last use.
    pub used_ms: u64,
    /// Bytes on disk when last measured.
    pub bytes: u64,
    /// When that was.
    pub measured_ms: u64,
    /// Digest of the set-up that last succeeded here; empty for none.
    pub setup_digest: String,
    /// Cache folders that existed after that set-up.
    pub setup_caches: Vec<String>,
}

impl SlotRecord {
    /// Reads a record; anything unreadable is the empty one.
    pub fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Replaces the record.
    pub fn write(&self, path: &Path) -> Result<(), WorkspaceError> {
        let json = serde_json::to_vec(self).expect("numbers and strings serialise");
        let new = path.with_extension("new");
        fs::write(&new, json).at("write", &new)?;
        fs::rename(&new, path).at("rename", &new)
    }
}
