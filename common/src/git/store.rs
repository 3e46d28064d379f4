//! Objects and refs of one repository, read, merged and written in process through gix.
//!
//! Writing here does not make anything durable: gix's object and ref code contains no sync call
//! (measured). Whoever names an object in the journal calls [`super::sync_objects`] first.

mod merge;

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice as _;
use gix::object::tree::EntryKind as GixKind;
use gix::objs::tree::EntryMode;

use crate::Oid;
use crate::patch::FileChange;

/// Cache for decoded objects of one handle, in bytes: the trees of a 100,000-file repository fit.
const OBJECT_CACHE_BYTES: usize = 32 << 20;

/// Why a repository could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No repository there, or one this build cannot read.
    #[error("cannot open the repository {}: {cause}", path.display())]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// gix's word.
        cause: String,
    },
    /// A name that stands for no commit.
    #[error("{rev:?} names no commit in {}", path.display())]
    Unknown {
        /// The repository.
        path: PathBuf,
        /// What was asked for.
        rev: String,
    },
    /// An object is missing, damaged or of another kind.
    #[error("cannot read {what} in {}: {cause}", path.display())]
    Read {
        /// The repository.
        path: PathBuf,
        /// What was asked for.
        what: String,
        /// gix's word.
        cause: String,
    },
    /// An object or ref could not be written.
    #[error("cannot write {what} in {}: {cause}", path.display())]
    Write {
        /// The repository.
        path: PathBuf,
        /// What was to be written.
        what: String,
        /// gix's word.
        cause: String,
    },
    /// A path in a tree that is not UTF-8.
    #[error("the path {path:?} is not UTF-8, which Longhaul needs")]
    PathEncoding {
        /// The path with replacement characters.
        path: String,
    },
    /// A ref is neither at the old nor at the new value.
    #[error("{name} is at {found}, expected {expected}")]
    RefMoved {
        /// The ref.
        name: String,
        /// Where it is; all zeros when it does not exist.
        found: Oid,
        /// Where it was expected.
        expected: Oid,
    },
}

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

/// A leaf that differs between two trees.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// From the root, with '/' separators.
    pub path: String,
    /// Blob before; `None` for an addition.
    pub before: Option<Oid>,
    /// Blob after; `None` for a deletion.
    pub after: Option<Oid>,
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

/// A commit to write. The same fields give the same id.
#[derive(Clone, Debug)]
pub struct NewCommit<'a> {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, first parent first.
    pub parents: &'a [Oid],
    /// Author and committer.
    pub author: &'a Identity,
    /// Seconds since the epoch, in UTC.
    pub seconds: i64,
    /// The message.
    pub message: &'a str,
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

    /// Leaves that differ between two trees, sorted by path; a rename is a deletion and an addition.
    pub fn diff(&self, before: Oid, after: Oid) -> Result<Vec<Change>, StoreError> {
        use gix::object::tree::diff::ChangeDetached as D;
        if before == after {
            return Ok(Vec::new());
        }
        let (old, new) = (self.tree(before)?, self.tree(after)?);
        let options = gix::diff::Options::default().with_rewrites(None);
        let found = self
            .repo
            .diff_tree_to_tree(&old, &new, Some(options))
            .map_err(|error| self.read_error("a tree difference", error))?;
        let mut changes = Vec::with_capacity(found.len());
        for change in found {
            let (path, before, after, mode) = match change {
                D::Addition { location, id, entry_mode, .. } => (location, None, Some(id), entry_mode),
                D::Deletion { location, id, entry_mode, .. } => (location, Some(id), None, entry_mode),
                D::Modification { location, previous_id, id, entry_mode, .. } => {
                    (location, Some(previous_id), Some(id), entry_mode)
                }
                D::Rewrite { location, id, entry_mode, .. } => (location, None, Some(id), entry_mode),
            };
            if !mode.is_tree() {
                changes.push(Change {
                    path: utf8(path.as_ref())?,
                    before: before.map(Oid::from),
                    after: after.map(Oid::from),
                });
            }
        }
        changes.sort();
        Ok(changes)
    }

    /// As [`Store::diff`], with modes, for the rules of patches; lines are not counted.
    pub fn file_changes(&self, before: Oid, after: Oid) -> Result<Vec<FileChange>, StoreError> {
        use gix::object::tree::diff::ChangeDetached as D;
        let (old, new) = (self.tree(before)?, self.tree(after)?);
        let options = gix::diff::Options::default().with_rewrites(None);
        let found = self
            .repo
            .diff_tree_to_tree(&old, &new, Some(options))
            .map_err(|error| self.read_error("a tree difference", error))?;
        let zero = gix::ObjectId::null(gix::hash::Kind::Sha1);
        let mut changes = Vec::with_capacity(found.len());
        for change in found {
            let (path, old, new) = match change {
                D::Addition { location, id, entry_mode, .. } => (location, (0, zero), (entry_mode.value(), id)),
                D::Deletion { location, id, entry_mode, .. } => (location, (entry_mode.value(), id), (0, zero)),
                D::Modification { location, previous_id, previous_entry_mode, id, entry_mode } => {
                    (location, (previous_entry_mode.value(), previous_id), (entry_mode.value(), id))
                }
                D::Rewrite { location, id, entry_mode, .. } => (location, (0, zero), (entry_mode.value(), id)),
            };
            let is_tree = |mode: u16| mode & 0o170_000 == 0o040_000;
            if is_tree(old.0) || is_tree(new.0) {
                continue;
            }
            let raw: Vec<u8> = path.into();
            changes.push(FileChange {
                path: String::from_utf8_lossy(&raw).into_owned(),
                raw,
                old_mode: u32::from(old.0),
                new_mode: u32::from(new.0),
                old: old.1.into(),
                new: new.1.into(),
                lines: (0, 0),
            });
        }
        changes.sort_by(|a, b| a.raw.cmp(&b.raw));
        Ok(changes)
    }

    /// Writes a commit; the same fields give the same id, so a repeat is harmless.
    pub fn write_commit(&self, commit: &NewCommit<'_>) -> Result<Oid, StoreError> {
        let signature = gix::actor::Signature {
            name: commit.author.name.as_str().into(),
            email: commit.author.email.as_str().into(),
            time: gix::date::Time { seconds: commit.seconds, offset: 0 },
        };
        let object = gix::objs::Commit {
            tree: commit.tree.into(),
            parents: commit.parents.iter().map(|&id| id.into()).collect(),
            author: signature.clone(),
            committer: signature,
            encoding: None,
            message: commit.message.into(),
            extra_headers: Vec::new(),
        };
        let id = self.repo.write_object(&object).map_err(|error| self.write_error("a commit", error))?;
        Ok(id.detach().into())
    }

    /// Writes blobs at paths into a tree (`None` starts from the empty one) and gives the new tree.
    pub fn write_files(&self, tree: Option<Oid>, files: &[(String, Vec<u8>)]) -> Result<Oid, StoreError> {
        let start = match tree {
            Some(oid) => self.tree(oid)?,
            None => self.repo.empty_tree(),
        };
        let mut editor = start.edit().map_err(|error| self.write_error("a tree", error))?;
        for (path, content) in files {
            let blob = self.repo.write_blob(content).map_err(|error| self.write_error(path, error))?;
            editor
                .upsert(path.as_str(), GixKind::Blob, blob.detach())
                .map_err(|error| self.write_error(path, error))?;
        }
        let id = editor.write().map_err(|error| self.write_error("a tree", error))?;
        Ok(id.detach().into())
    }

    /// Where a ref is, if it exists.
    pub fn reference(&self, name: &str) -> Result<Option<Oid>, StoreError> {
        let found = self.repo.try_find_reference(name).map_err(|error| self.read_error(name, error))?;
        match found {
            None => Ok(None),
            Some(mut reference) => {
                let id = reference.peel_to_id().map_err(|error| self.read_error(name, error))?;
                Ok(Some(id.detach().into()))
            }
        }
    }

    /// All refs below a prefix such as `refs/longhaul/`, sorted by name.
    pub fn references(&self, prefix: &str) -> Result<Vec<(String, Oid)>, StoreError> {
        let platform = self.repo.references().map_err(|error| self.read_error("refs", error))?;
        let found = platform.prefixed(prefix).map_err(|error| self.read_error(prefix, error))?;
        let mut refs = Vec::new();
        for reference in found.flatten() {
            if let Some(id) = reference.try_id() {
                refs.push((reference.name().as_bstr().to_str_lossy().into_owned(), id.detach().into()));
            }
        }
        refs.sort();
        Ok(refs)
    }

    /// Moves a ref from `old` (zeros: it must not exist) to `new`. Repeating a move that was made
    /// is a success; anything else than `old` or `new` is [`StoreError::RefMoved`].
    pub fn move_reference(&self, name: &str, old: Oid, new: Oid) -> Result<(), StoreError> {
        use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit};
        let found = self.reference(name)?.unwrap_or(Oid::ZERO);
        if found == new {
            return Ok(());
        }
        if found != old {
            return Err(StoreError::RefMoved { name: name.to_owned(), found, expected: old });
        }
        let expected = if old.is_zero() {
            PreviousValue::MustNotExist
        } else {
            PreviousValue::MustExistAndMatch(gix::refs::Target::Object(old.into()))
        };
        let full_name = name.try_into().map_err(|error| self.write_error(name, error_text(error)))?;
        let edit = RefEdit {
            change: Change::Update { log: LogChange::default(), expected, new: gix::refs::Target::Object(new.into()) },
            name: full_name,
            deref: false,
        };
        self.repo.edit_reference(edit).map_err(|error| self.write_error(name, error))?;
        Ok(())
    }
}

fn error_text(error: impl std::fmt::Display) -> String {
    error.to_string()
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
