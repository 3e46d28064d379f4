//! Making a store, and clearing what a killed process left in it.

use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::{Git, Store, sync_objects};

use super::error::{RepoError, io};
use super::import::quarantine_name;

/// Makes sure the store exists and holds `base` with its history, durably.
pub fn prepare_store(store: &Path, user_repo: &Path, base: Oid) -> Result<(), RepoError> {
    ensure_store(store)?;
    let git = Git::at(store);
    let opened = Store::open_own(store)?;
    if !opened.has(base) {
        let user = Store::open(user_repo)?.common_dir();
        let quiet = ["-c", "core.fsync=all", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        let mut args: Vec<&std::ffi::OsStr> = quiet.iter().map(std::ffi::OsStr::new).collect();
        let hex = base.to_string();
        args.extend([user.as_os_str(), hex.as_ref()]);
        git.run(&args)?;
    }
    sync_objects(&store.join("objects")).map_err(io("sync", store))
}

/// Makes sure the store exists; it may be empty.
pub fn ensure_store(store: &Path) -> Result<(), RepoError> {
    if store.join("HEAD").is_file() { Ok(()) } else { create(store) }
}

/// Made under another name and renamed, so that a half-made store is never used.
fn create(store: &Path) -> Result<(), RepoError> {
    let parent = store.parent().unwrap_or(store);
    std::fs::create_dir_all(parent).map_err(io("make the folder", parent))?;
    // A name of its own: several jobs of one process may want the same store at once.
    let making = tempfile::Builder::new().prefix("making-").suffix(".git").tempdir_in(parent);
    let making = making.map_err(io("make a folder in", parent))?.keep();
    Git::at(&making).run(["init", "--quiet", "--bare", "--template="])?;
    let git = Git::at(&making);
    for (key, value) in [
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("core.logAllRefUpdates", "false"),
        ("uploadpack.allowAnySHA1InWant", "true"),
    ] {
        git.run(["config", key, value])?;
    }
    match std::fs::rename(&making, store) {
        Ok(()) => Ok(()),
        // Another job of the same repository was quicker.
        Err(_) if store.join("HEAD").is_file() => std::fs::remove_dir_all(&making).map_err(io("remove", &making)),
        Err(source) => Err(RepoError::Io { action: "rename into place", path: store.to_owned(), source }),
    }
}

/// Clears what a killed process of this job left behind: locks of its refs and half-done imports.
/// Only for the holder of the job's lock, who alone writes either.
pub fn clear_leftovers(store: &Path, job: &str) -> Result<(), RepoError> {
    let refs = store.join("refs/longhaul").join(job);
    for entry in std::fs::read_dir(&refs).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "lock") {
            std::fs::remove_file(&path).map_err(io("remove the stale lock", &path))?;
        }
    }
    let objects = store.join("objects");
    let ours = quarantine_name(job, "");
    for entry in std::fs::read_dir(&objects).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            std::fs::remove_dir_all(entry.path()).map_err(io("remove", &entry.path()))?;
        }
    }
    Ok(())
}
