//! Packs of submissions on their way in, and what those cut by the end of a process left behind.

use std::path::Path;

use tempfile::TempPath;
use tokio::sync::OwnedSemaphorePermit;

use crate::repos::BASE_QUARANTINE;

/// The whole pack of a submission, in a file that goes with the value.
#[derive(Debug)]
pub struct IncomingPack {
    pub(crate) path: TempPath,
    /// Its place among the packs that may be on the disk at the same time.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) place: OwnedSemaphorePermit,
}

/// Removes packs that came in for an earlier process, and histories it was unpacking: of one state
/// folder there is one server, so at its start nobody is at either.
pub(super) fn clear_incoming(incoming: &Path, repos: &Path) {
    for pack in entries(incoming) {
        report(&pack, std::fs::remove_file(&pack));
    }
    let stores = entries(repos).into_iter().map(|repo| repo.join("store.git"));
    for folder in stores.flat_map(|store| entries(&store.join("objects"))) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(BASE_QUARANTINE) {
            report(&folder, std::fs::remove_dir_all(&folder));
        }
    }
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn report(path: &Path, removed: std::io::Result<()>) {
    match removed {
        Ok(()) => tracing::info!(path = %path.display(), "what a cut submission left is removed"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "what a cut submission left cannot be removed"),
    }
}
