//! The coordinator's own bare store of a user repository, and what comes into it.
//!
//! The store has no alternates (the user's `git gc` must not be able to break it) and never
//! collects garbage by itself. Results arrive as thin packs and are unpacked in quarantine; only
//! what names its base as parent and is complete gets in.

use std::path::{Path, PathBuf};

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Store, StoreError, sync_objects};

/// Largest result pack in bytes.
pub const PACK_BYTES_MAX: u64 = 512 << 20;

/// Why objects did not come in.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pack is over [`PACK_BYTES_MAX`].
    #[error("the result's pack of {bytes} bytes is over the limit of {PACK_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The commit is not what the report says.
    #[error("the result {commit} {problem}")]
    Foreign {
        /// Which.
        commit: Oid,
        /// What is wrong.
        problem: String,
    },
}

impl RepoError {
    /// Whether the result itself is at fault. Everything else (disk, a killed or missing git) may
    /// be better next time, and the result must be kept for then.
    pub fn blames_result(&self) -> bool {
        match self {
            Self::Foreign { .. } | Self::TooLarge { .. } => true,
            Self::Git(GitError::Failed { status, stderr, .. }) => {
                let full = stderr.contains("No space left") || stderr.contains("quota exceeded");
                status.code().is_some() && !full
            }
            Self::Io { .. } | Self::Git(_) | Self::Store(_) => false,
        }
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RepoError {
    let path = path.to_owned();
    move |source| RepoError::Io { action, path, source }
}

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
    let making = parent.join(format!("making-{}.git", std::process::id()));
    if making.exists() {
        std::fs::remove_dir_all(&making).map_err(io("remove", &making))?;
    }
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

/// '=' is in no job's name, so no job's quarantine looks like another's.
fn quarantine_name(job: &str, id: &str) -> String {
    format!("incoming-{job}={id}")
}

/// A result as its worker reports it.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The job it belongs to.
    pub job: &'a str,
    /// The attempt or gate it is the result of.
    pub id: u64,
    /// The thin pack.
    pub pack: &'a Path,
    /// What it must contain.
    pub commit: Oid,
    /// The tree of `commit`.
    pub tree: Oid,
    /// The first parent of `commit`, which the store has.
    pub base: Oid,
}

/// Unpacks a result in quarantine, checks it, and moves its objects in. Not durable yet: the
/// caller syncs once for many.
pub fn import(store: &Path, incoming: &Incoming<'_>) -> Result<(), RepoError> {
    let bytes = std::fs::metadata(incoming.pack).map_err(io("read", incoming.pack))?.len();
    if bytes > PACK_BYTES_MAX {
        return Err(RepoError::TooLarge { bytes });
    }
    let objects = store.join("objects");
    let quarantine = objects.join(quarantine_name(incoming.job, &incoming.id.to_string()));
    if quarantine.exists() {
        std::fs::remove_dir_all(&quarantine).map_err(io("remove", &quarantine))?;
    }
    std::fs::create_dir_all(&quarantine).map_err(io("make the folder", &quarantine))?;
    let result = import_in(store, &quarantine, incoming);
    let cleaned = std::fs::remove_dir_all(&quarantine).map_err(io("remove", &quarantine));
    result.and(cleaned)
}

fn import_in(store: &Path, quarantine: &Path, incoming: &Incoming<'_>) -> Result<(), RepoError> {
    let objects = store.join("objects");
    let git = Git::at(store)
        .with_env("GIT_OBJECT_DIRECTORY", quarantine)
        .with_env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects);
    let pack = std::fs::read(incoming.pack).map_err(io("read", incoming.pack))?;
    git.run_with_input(["unpack-objects", "-q", "--strict"], &pack)?;
    let (commit, base) = (incoming.commit, incoming.base);
    // Complete down to the base, and nothing but one commit on it.
    let line = git.line(["rev-list", "--parents", "--objects", "--no-walk", &commit.to_string()])?;
    let parents = line.lines().next().unwrap_or_default();
    if parents != format!("{commit} {base}") {
        return Err(RepoError::Foreign { commit, problem: format!("is not one commit on its base {base}") });
    }
    git.run(["rev-list", "--objects", "--quiet", &commit.to_string(), &format!("^{base}")])?;
    move_objects(quarantine, &objects)?;
    let found = Store::open_own(store)?.tree_of(commit)?;
    if found != incoming.tree {
        return Err(RepoError::Foreign { commit, problem: format!("has the tree {found}, not {}", incoming.tree) });
    }
    Ok(())
}

fn move_objects(from: &Path, to: &Path) -> Result<(), RepoError> {
    for fan in std::fs::read_dir(from).map_err(io("read the folder", from))? {
        let fan = fan.map_err(io("read the folder", from))?.path();
        let Some(name) = fan.file_name().filter(|name| name.len() == 2) else { continue };
        let target = to.join(name);
        std::fs::create_dir_all(&target).map_err(io("make the folder", &target))?;
        for object in std::fs::read_dir(&fan).map_err(io("read the folder", &fan))? {
            let object = object.map_err(io("read the folder", &fan))?.path();
            let Some(name) = object.file_name() else { continue };
            std::fs::rename(&object, target.join(name)).map_err(io("move in", &object))?;
        }
    }
    Ok(())
}
