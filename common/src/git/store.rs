//! Objects and refs of one repository, read, merged and written in process through gix.
//!
//! Writing here does not make anything durable: gix's object and ref code contains no sync call
//! (measured). Whoever names an object in the journal calls [`super::sync_objects`] first.

mod diff;
mod error;
mod merge;
mod refs;
mod write;

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice as _;
use gix::object::tree::EntryKind as GixKind;
use gix::objs::tree::EntryMode;

pub use diff::Change;
pub use error::StoreError;
pub use write::NewCommit;

use crate::Oid;

/// Cache for decoded objects of one handle, in bytes: the trees of a 100,000-file repository fit.
const OBJECT_CACHE_BYTES: usize = 32 << 20;

/// What a tree entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A file with the executable bit.
    Executable,
    /// A symbolic link; its blob is the target.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

/// One leaf of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From the root, with '/' separators.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its blob (or commit, for a submodule).
    pub oid: Oid,
}

/// A path on which two sides cannot be merged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conflict {
    /// Our path of it.
    pub path: String,
}

/// The result of a tree merge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MergeOutcome {
    /// The merged tree, written.
    Clean(Oid),
    /// What stands in the way, sorted, without repeats; nothing useful was written.
    Conflicts(Vec<Conflict>),
}

/// A person in a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Display name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// An opened repository. Cheap to clone; every clone has caches of its own.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    repo: gix::Repository,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.path).finish()
    }
}

impl Store {
    /// Opens any repository of the user (bare or not) with the user's own configuration.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, gix::open::Options::default())
    }

    /// Opens one of our own bare stores, without anybody's configuration.
    pub fn open_own(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, gix::open::Options::isolated())
    }

    fn open_with(path: &Path, options: gix::open::Options) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { path: path.to_owned(), cause };
        let mut repo = gix::open_opts(path, options).map_err(|error| failed(error.to_string()))?;
        if repo.object_hash() != gix::hash::Kind::Sha1 {
            return Err(failed(format!("it uses {} object ids; only SHA-1 is supported", repo.object_hash())));
        }
        repo.object_cache_size(OBJECT_CACHE_BYTES);
        Ok(Self { path: path.to_owned(), repo })
    }

    /// The path it was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of objects and refs, shared by linked worktrees.
    pub fn common_dir(&self) -> PathBuf {
        self.repo.common_dir().to_owned()
    }

    fn read_error(&self, what: impl ToString, cause: impl ToString) -> StoreError {
        StoreError::Read { path: self.path.clone(), what: what.to_string(), cause: cause.to_string() }
    }

    fn write_error(&self, what: impl ToString, cause: impl ToString) -> StoreError {
        StoreError::Write { path: self.path.clone(), what: what.to_string(), cause: cause.to_string() }
    }

    /// The commit a revision names; tags are peeled.
    pub fn resolve(&self, rev: &str) -> Result<Oid, StoreError> {
        let unknown = || StoreError::Unknown { path: self.path.clone(), rev: rev.to_owned() };
        let id = self.repo.rev_parse_single(rev).map_err(|_| unknown())?;
        let object = id.object().map_err(|_| unknown())?;
        let commit = object.peel_to_commit().map_err(|_| unknown())?;
        Ok(commit.id.into())
    }

    /// Whether the object is there.
    pub fn has(&self, oid: Oid) -> bool {
        self.repo.has_object(gix::ObjectId::from(oid))
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: Oid) -> Result<Oid, StoreError> {
        let found = self.commit(commit)?;
        found.tree_id().map(|id| id.detach().into()).map_err(|error| self.read_error(commit, error))
    }

    /// The parents of a commit, first parent first.
    pub fn parents_of(&self, commit: Oid) -> Result<Vec<Oid>, StoreError> {
        Ok(self.commit(commit)?.parent_ids().map(|id| id.detach().into()).collect())
    }

    /// The message of a commit.
    pub fn message_of(&self, commit: Oid) -> Result<String, StoreError> {
        Ok(self.commit(commit)?.message_raw_sloppy().to_str_lossy().into_owned())
    }

    fn commit(&self, oid: Oid) -> Result<gix::Commit<'_>, StoreError> {
        self.repo.find_commit(gix::ObjectId::from(oid)).map_err(|error| self.read_error(format!("commit {oid}"), error))
    }

    fn tree(&self, oid: Oid) -> Result<gix::Tree<'_>, StoreError> {
        self.repo.find_tree(gix::ObjectId::from(oid)).map_err(|error| self.read_error(format!("tree {oid}"), error))
    }

    /// All leaves of a tree, sorted by path (bytewise).
    pub fn list(&self, tree: Oid) -> Result<Vec<Entry>, StoreError> {
        let tree = self.tree(tree)?;
        let files = tree.traverse().breadthfirst.files().map_err(|error| self.read_error("a tree", error))?;
        let mut entries = Vec::with_capacity(files.len());
        for file in files {
            let Some(kind) = leaf_kind(file.mode) else { continue };
            entries.push(Entry { path: utf8(file.filepath.as_ref())?, kind, oid: file.oid.into() });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The leaf at a path of a tree.
    pub fn entry(&self, tree: Oid, path: &str) -> Result<Option<Entry>, StoreError> {
        let found = self.tree(tree)?.lookup_entry_by_path(path).map_err(|error| self.read_error(path, error))?;
        Ok(found.and_then(|entry| {
            let kind = leaf_kind(entry.mode())?;
            Some(Entry { path: path.to_owned(), kind, oid: entry.object_id().into() })
        }))
    }

    /// The object at a path of a tree, a leaf or a folder: what `git rev-parse COMMIT:path` says.
    pub fn object_at(&self, tree: Oid, path: &str) -> Result<Option<Oid>, StoreError> {
        let found = self.tree(tree)?.lookup_entry_by_path(path).map_err(|error| self.read_error(path, error))?;
        Ok(found.map(|entry| entry.object_id().into()))
    }

    /// The content of a blob.
    pub fn blob(&self, oid: Oid) -> Result<Vec<u8>, StoreError> {
        let mut blob = self
            .repo
            .find_blob(gix::ObjectId::from(oid))
            .map_err(|error| self.read_error(format!("blob {oid}"), error))?;
        Ok(blob.take_data())
    }

    /// The size of an object in bytes, without reading it.
    pub fn size(&self, oid: Oid) -> Result<u64, StoreError> {
        let header = self
            .repo
            .find_header(gix::ObjectId::from(oid))
            .map_err(|error| self.read_error(format!("object {oid}"), error))?;
        Ok(header.size())
    }

    /// The git identity configured for this repository or its user.
    pub fn identity(&self) -> Option<Identity> {
        let author = self.repo.author()?.ok()?;
        Some(Identity {
            name: author.name.to_str_lossy().into_owned(),
            email: author.email.to_str_lossy().into_owned(),
        })
    }
}

fn leaf_kind(mode: EntryMode) -> Option<EntryKind> {
    match mode.kind() {
        GixKind::Blob => Some(EntryKind::File),
        GixKind::BlobExecutable => Some(EntryKind::Executable),
        GixKind::Link => Some(EntryKind::Symlink),
        GixKind::Commit => Some(EntryKind::Submodule),
        GixKind::Tree => None,
    }
}

fn utf8(path: &gix::bstr::BStr) -> Result<String, StoreError> {
    path.to_str().map(str::to_owned).map_err(|_| StoreError::PathEncoding { path: path.to_str_lossy().into_owned() })
}
