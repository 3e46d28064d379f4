//! Which mirrors there are, and which go when they are too large together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::mirrors::{MirrorError, Mirrors, io, is_plain};
use crate::workspace::{remove_tree, tree_bytes};

/// Prefix of a mirror on its way out.
const GONE: &str = ".gone-";

impl Mirrors {
    /// Removes what earlier processes were about to, where the folder has no other user. Blocks.
    pub fn remove_leftovers(&self) {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(GONE)) {
            if let Err(error) = remove_tree(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "an old mirror cannot be removed");
            }
        }
    }

    /// Keys of the mirrors there are.
    pub fn warm(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.all().into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys
    }

    fn all(&self) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let key = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".git").map(str::to_owned);
        entries.filter_map(|entry| Some((key(&entry.path()).filter(|key| is_plain(key))?, entry.path()))).collect()
    }

    /// Bytes on disk of all. Blocks.
    pub fn bytes(&self) -> u64 {
        tree_bytes(&self.root)
    }

    /// Removes idle mirrors, the least recently used first, while all are over the limit.
    pub(super) async fn evict(&self, keep: &str) {
        if self.bytes_max == 0 {
            return;
        }
        let (this, keep) = (self.clone(), keep.to_owned());
        let evicted = tokio::task::spawn_blocking(move || this.evict_now(&keep));
        if let Ok(Err(error)) = evicted.await {
            tracing::warn!(%error, "a mirror could not be removed to stay within the limit");
        }
    }

    fn evict_now(&self, keep: &str) -> Result<(), MirrorError> {
        let known: Vec<_> = self.all().into_iter().map(|(key, path)| (tree_bytes(&path), key, path)).collect();
        let bytes: u64 = known.iter().map(|(bytes, ..)| bytes).sum();
        let others = known.into_iter().filter(|(_, key, _)| key != keep).collect();
        self.remove_idle(others, bytes.saturating_sub(self.bytes_max)).map(|_| ())
    }

    /// Removes idle mirrors, the least recently used first, for so many bytes; how many it were.
    /// Nothing where other processes may use them. Blocks.
    pub fn reclaim(&self, wanted: u64) -> Result<u64, MirrorError> {
        if !self.exclusive {
            return Ok(0);
        }
        let mut idle = self.all();
        idle.retain(|(key, _)| !self.shared().uses.contains_key(key));
        self.remove_idle(idle.into_iter().map(|(key, path)| (tree_bytes(&path), key, path)).collect(), wanted)
    }

    fn remove_idle(&self, mut known: Vec<(u64, String, PathBuf)>, wanted: u64) -> Result<u64, MirrorError> {
        let mut freed = 0;
        known.sort_by_cached_key(|(_, _, path)| used(path));
        for (bytes, key, path) in known {
            if freed >= wanted {
                break;
            }
            // A name of its own: two may be removing at once.
            let gone = tempfile::Builder::new().prefix(GONE).tempdir_in(&self.root).map_err(io("use", &self.root))?;
            // Under the lock: nobody begins to use it between the look and the rename.
            let shared = self.shared();
            if shared.uses.contains_key(&key) {
                continue;
            }
            fs::rename(&path, gone.path().join("mirror")).map_err(io("rename", &path))?;
            drop(shared);
            tracing::info!(mirror = key, bytes, "idle mirror removed to make room");
            remove_tree(gone.path()).map_err(io("remove", gone.path()))?;
            freed += bytes;
        }
        Ok(freed)
    }
}

fn used(path: &Path) -> SystemTime {
    fs::metadata(path.join("used")).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
