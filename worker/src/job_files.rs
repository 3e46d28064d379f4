//! The files of a job's folder that commands name as `{job_dir}/…`, where that folder is on another
//! machine: the tree of a commit, checked out once and read-only at `<root>/jobs/<job>/<commit>/`,
//! and once more for gates at `<commit>-gate/`, which no agent is told of.
//!
//! An agent or a power cut may change what is there: each use compares every file with the tree and
//! makes the checkout anew where they differ, and a gate looks again right before it runs.
//!
//! Names come from a tree that a coordinator sent: nothing of it may lead out of the folder, and a
//! symbolic link is refused. Older checkouts of a job go when a newer one is made and nobody uses
//! them; those of jobs not heard of for [`UNUSED_MAX`] go at the same time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
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

/// Where a checkout is made, and where one that was changed goes; in the job's folder.
const NEW: &str = ".new";
const OLD: &str = ".old";

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

/// For whom a checkout is. Never exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilesFor {
    /// Agents and the checks of their work.
    Work,
    /// Gates.
    Gate,
}

/// What a file must be.
#[derive(PartialEq, Eq, Debug)]
struct Wanted {
    executable: bool,
    bytes: u64,
    blob: Oid,
    hash: blake3::Hash,
}

/// Every file of a checkout, by its path in it.
type Files = BTreeMap<PathBuf, Wanted>;

/// A checkout that stays until this value is dropped.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    files: Files,
    uses: Arc<Mutex<BTreeMap<PathBuf, usize>>>,
}

impl JobFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still holds exactly the files of its commit. Blocks.
    pub fn is_whole(&self) -> bool {
        holds(&self.path, &self.files)
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

    /// The folder with the tree of a commit, made if it is not there or no longer as it was made.
    /// Blocks.
    pub fn checkout(&self, job: &JobId, commit: Oid, of: FilesFor, store: &Store) -> Result<JobFolder, JobFilesError> {
        let of_job = self.root.join(job.as_str());
        let path = of_job.join(match of {
            FilesFor::Work => commit.to_string(),
            FilesFor::Gate => format!("{commit}-gate"),
        });
        let files = wanted(store, store.tree_of(commit)?)?;
        // Held through the writing: two assignments of one job begin at once.
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if !holds(&path, &files) {
            let (new, old) = (of_job.join(NEW), of_job.join(OLD));
            for left in [&new, &old] {
                remove_tree(left).map_err(io(left))?;
            }
            fs::create_dir_all(&new).map_err(io(&new))?;
            write(store, &files, &new)?;
            sync_folders(&new).map_err(io(&new))?;
            if fs::symlink_metadata(&path).is_ok() {
                tracing::warn!(path = %path.display(), "a job's files were changed; they are made anew");
                fs::rename(&path, &old).map_err(io(&path))?;
            }
            fs::rename(&new, &path).map_err(io(&new))?;
            fs::File::open(&of_job).and_then(|folder| folder.sync_all()).map_err(io(&of_job))?;
            remove_tree(&old).map_err(io(&old))?;
            self.remove_old(&of_job, commit, &uses);
        }
        // The time of the job's folder is that of its last use.
        let _untouched = fs::File::open(&of_job).and_then(|folder| folder.set_modified(std::time::SystemTime::now()));
        *uses.entry(path.clone()).or_default() += 1;
        Ok(JobFolder { path, files, uses: Arc::clone(&self.uses) })
    }

    fn remove_old(&self, of_job: &Path, keep: Oid, uses: &BTreeMap<PathBuf, usize>) {
        let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let keep = keep.to_string();
        let is_kept = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&keep));
        let mut gone: Vec<PathBuf> = list(of_job).filter(|path| !is_kept(path) && !uses.contains_key(path)).collect();
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

/// The files of a tree, if all of them may be had.
fn wanted(store: &Store, tree: Oid) -> Result<Files, JobFilesError> {
    let (mut files, mut bytes_left) = (Files::new(), BYTES_MAX);
    for entry in store.list(tree)? {
        let refuse = |what| Err(JobFilesError::Refused { path: entry.path.clone(), what });
        if files.len() == ENTRIES_MAX {
            return refuse("one file too many");
        }
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
        let Some(rest) = bytes_left.checked_sub(bytes) else { return refuse("over the limit of all files together") };
        bytes_left = rest;
        let hash = blake3::hash(&store.blob(entry.oid)?);
        files.insert(PathBuf::from(&entry.path), Wanted { executable, bytes, blob: entry.oid, hash });
    }
    Ok(files)
}

fn mode_of(wanted: &Wanted) -> u32 {
    if wanted.executable { 0o555 } else { 0o444 }
}

fn write(store: &Store, files: &Files, into: &Path) -> Result<(), JobFilesError> {
    for (name, wanted) in files {
        let path = into.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
        file.write_all(&store.blob(wanted.blob)?).map_err(io(&path))?;
        file.set_permissions(fs::Permissions::from_mode(mode_of(wanted))).map_err(io(&path))?;
        file.sync_all().map_err(io(&path))?;
    }
    Ok(())
}

fn sync_folders(root: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    fs::File::open(root)?.sync_all()
}

/// Whether a folder holds these files as they must be, and no others.
fn holds(root: &Path, files: &Files) -> bool {
    let (mut found, mut open) = (0, vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
            return false;
        }
        let Ok(entries) = fs::read_dir(&folder) else { return false };
        for entry in entries {
            let Ok(path) = entry.map(|entry| entry.path()) else { return false };
            let Ok(data) = fs::symlink_metadata(&path) else { return false };
            if data.is_dir() {
                open.push(path);
                continue;
            }
            let wanted = path.strip_prefix(root).ok().and_then(|name| files.get(name));
            if !wanted.is_some_and(|wanted| is_same(&path, &data, wanted)) {
                return false;
            }
            found += 1;
        }
    }
    found == files.len()
}

fn is_same(path: &Path, found: &fs::Metadata, wanted: &Wanted) -> bool {
    if !found.is_file() || found.len() != wanted.bytes || found.permissions().mode() & 0o777 != mode_of(wanted) {
        return false;
    }
    let mut content = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(wanted.bytes + 1).read_to_end(&mut content));
    read.is_ok() && blake3::hash(&content) == wanted.hash
}
