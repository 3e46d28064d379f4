//! What differs between two trees.

use gix::object::tree::diff::ChangeDetached;

use super::{Store, StoreError, utf8};
use crate::Oid;
use crate::patch::FileChange;

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

impl Store {
    /// Leaves that differ between two trees, sorted by path; a rename is a deletion and an addition.
    pub fn diff(&self, before: Oid, after: Oid) -> Result<Vec<Change>, StoreError> {
        if before == after {
            return Ok(Vec::new());
        }
        let found = self.difference(before, after)?;
        let mut changes = Vec::with_capacity(found.len());
        for change in found {
            let (path, before, after, mode) = match change {
                ChangeDetached::Addition { location, id, entry_mode, .. } => (location, None, Some(id), entry_mode),
                ChangeDetached::Deletion { location, id, entry_mode, .. } => (location, Some(id), None, entry_mode),
                ChangeDetached::Modification { location, previous_id, id, entry_mode, .. } => {
                    (location, Some(previous_id), Some(id), entry_mode)
                }
                ChangeDetached::Rewrite { location, id, entry_mode, .. } => (location, None, Some(id), entry_mode),
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
        let found = self.difference(before, after)?;
        let zero = gix::ObjectId::null(gix::hash::Kind::Sha1);
        let mut changes = Vec::with_capacity(found.len());
        for change in found {
            let (path, old, new) = match change {
                ChangeDetached::Addition { location, id, entry_mode, .. } => {
                    (location, (0, zero), (entry_mode.value(), id))
                }
                ChangeDetached::Deletion { location, id, entry_mode, .. } => {
                    (location, (entry_mode.value(), id), (0, zero))
                }
                ChangeDetached::Modification { location, previous_id, previous_entry_mode, id, entry_mode } => {
                    (location, (previous_entry_mode.value(), previous_id), (entry_mode.value(), id))
                }
                ChangeDetached::Rewrite { location, id, entry_mode, .. } => {
                    (location, (0, zero), (entry_mode.value(), id))
                }
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

    /// A rename is a deletion and an addition.
    fn difference(&self, before: Oid, after: Oid) -> Result<Vec<ChangeDetached>, StoreError> {
        let (old, new) = (self.tree(before)?, self.tree(after)?);
        let options = gix::diff::Options::default().with_rewrites(None);
        let found = self.repo.diff_tree_to_tree(&old, &new, Some(options));
        found.map_err(|error| self.read_error("a tree difference", error))
    }
}
