//! Writing commits and trees. Nothing here is durable by itself: see [`super`].

use gix::object::tree::EntryKind as GixKind;

use super::{Identity, Store, StoreError};
use crate::Oid;

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

impl Store {
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
}
