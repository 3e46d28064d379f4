//! The files of a job's folder that commands name as `{job_dir}/…`, where that folder is on another
//! machine: the tree of a commit, checked out once and read-only at `<root>/jobs/<job>/<commit>/`.
//!
//! Names come from a tree that a coordinator sent: nothing of it may lead out of the folder, and a
//! symbolic link is refused. Older checkouts of a job go when a newer one is made and nobody uses
//! them; those of jobs not heard of for [`UNUSED_MAX`] go at the same time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longhaul_common::git::{EntryKind, Store};
use longhaul_common::{JobId, Oid};

use crate::workspace::remove_tree;

/// Bytes of one checkout: twice what a plan may carry.
const BYTES_MAX: u64 = 16 << 20;

/// Files and folders of one checkout.
const ENTRIES_MAX: usize = 10_000;

/// Checkouts of a job that nobody used for this long are removed.
const UNUSED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Why the files cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum JobFilesError {
    /// The tree cannot be read.
    #[error("the job's files cannot be read: {0}")]
    Store(#[from] longhaul_common::git::StoreError),
    /// The tree holds what no carried file may be.
    #[error("the job's files hold {path:?}, which is {what}")]
    Refused {
        /// Its path.
        path: String,
        /// Why it is refused.
        what: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write the job's file {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
}

/// All checkouts; clones are the same.
#[derive(Clone, Debug)]
pub struct JobFiles {
    root: PathBuf,
    uses: Arc<Mutex<BTreeMap<PathBuf, usize>>>,
}

/// A checkout that stays until this value is dropped.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    uses: Arc<Mutex<BTreeMap<PathBuf, usize>>>,
}

impl JobFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uses.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                uses.remove(&self.path);
            }
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> JobFilesError {
    move |source| JobFilesError::Io { path: path.to_owned(), source }
}

impl JobFiles {
    /// Below a folder, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root, uses: Arc::default() }
    }

    /// The folder with the tree of a commit, made if it is not there. Blocks.
    pub fn checkout(&self, job: &JobId, commit: Oid, store: &Store) -> Result<JobFolder, JobFilesError> {
        let of_job = self.root.join(job.as_str());
        let path = of_job.join(commit.to_string());
        // Held through the writing: two assignments of one job begin at once.
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.is_dir() {
            let new = of_job.join(format!(".new-{}", std::process::id()));
            remove_tree(&new).map_err(io(&new))?;
            fs::create_dir_all(&new).map_err(io(&new))?;
            let mut left = Left { bytes: BYTES_MAX, entries: ENTRIES_MAX };
            write_tree(store, store.tree_of(commit)?, &new, &mut left)?;
            fs::rename(&new, &path).map_err(io(&new))?;
            self.remove_old(&of_job, &path, &uses);
        }
        // The time of the job's folder is that of its last use.
        let _untouched = fs::File::open(&of_job).and_then(|folder| folder.set_modified(std::time::SystemTime::now()));
        *uses.entry(path.clone()).or_default() += 1;
        Ok(JobFolder { path, uses: Arc::clone(&self.uses) })
    }

    fn remove_old(&self, of_job: &Path, keep: &Path, uses: &BTreeMap<PathBuf, usize>) {
        let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut gone: Vec<PathBuf> = list(of_job).filter(|path| path != keep && !uses.contains_key(path)).collect();
        for job in list(&self.root).filter(|job| job != of_job) {
            let age = fs::metadata(&job).and_then(|found| found.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > UNUSED_MAX) && !uses.keys().any(|used| used.starts_with(&job)) {
                gone.push(job);
            }
        }
        for path in gone {
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(path = %path.display(), %error, "old files of a job cannot be removed");
            }
        }
    }
}

struct Left {
    bytes: u64,
    entries: usize,
}

fn write_tree(store: &Store, tree: Oid, into: &Path, left: &mut Left) -> Result<(), JobFilesError> {
    for entry in store.list(tree)? {
        let refuse = |what| Err(JobFilesError::Refused { path: entry.path.clone(), what });
        let Some(entries) = left.entries.checked_sub(1) else { return refuse("one file too many") };
        left.entries = entries;
        let parts: Vec<&str> = entry.path.split('/').collect();
        if parts
            .iter()
            .any(|part| part.is_empty() || *part == "." || *part == ".." || part.eq_ignore_ascii_case(".git"))
        {
            return refuse("no path inside the folder");
        }
        let executable = match entry.kind {
            EntryKind::File => false,
            EntryKind::Executable => true,
            EntryKind::Symlink => return refuse("a symbolic link"),
            EntryKind::Submodule => return refuse("another repository"),
        };
        let bytes = store.size(entry.oid)?;
        let Some(rest) = left.bytes.checked_sub(bytes) else { return refuse("over the limit of all files together") };
        left.bytes = rest;
        let path = into.join(&entry.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        let mode = if executable { 0o555 } else { 0o444 };
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
        file.write_all(&store.blob(entry.oid)?).map_err(io(&path))?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(io(&path))?;
    }
    Ok(())
}
