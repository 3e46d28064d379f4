//! Merging by trees, with merge-ort semantics: never by applying text.
//!
//! Cheapest first: most landings change what nobody else touched, and need no search for renames.
//! The rest goes through gix, whose verdicts agree with git's but for files that meet folders;
//! those are refused before (`common/tests/merge.rs` compares with git itself).

use gix::bstr::ByteSlice as _;

use super::{Change, Conflict, GixKind, MergeOutcome, Store, StoreError};
use crate::Oid;

/// Changed paths up to which a merge is first tried without looking for renames.
const DISJOINT_MAX: usize = 2_000;

impl Store {
    /// Merges the change `ancestor → theirs` into `ours` with merge-ort semantics, writing objects.
    pub fn merge_trees(&self, ancestor: Oid, ours: Oid, theirs: Oid) -> Result<MergeOutcome, StoreError> {
        if ancestor == ours || ours == theirs {
            return Ok(MergeOutcome::Clean(theirs));
        }
        if ancestor == theirs {
            return Ok(MergeOutcome::Clean(ours));
        }
        if let Some(tree) = self.merge_disjoint(ancestor, ours, theirs)? {
            return Ok(MergeOutcome::Clean(tree));
        }
        let clashes = self.file_and_folder(ancestor, ours, theirs)?;
        if !clashes.is_empty() {
            return Ok(MergeOutcome::Conflicts(clashes));
        }
        let failed =
            |error: &dyn std::fmt::Display| self.read_error(format!("the trees {ancestor}, {ours}, {theirs}"), error);
        let options = self.repo.tree_merge_options().map_err(|error| failed(&error))?;
        let labels = gix::merge::blob::builtin_driver::text::Labels {
            ancestor: Some("base".into()),
            current: Some("landed".into()),
            other: Some("subtask".into()),
        };
        let ids = [ancestor, ours, theirs].map(gix::ObjectId::from);
        let mut outcome =
            self.repo.merge_trees(ids[0], ids[1], ids[2], labels, options).map_err(|error| failed(&error))?;
        let how = gix::merge::tree::TreatAsUnresolved::git();
        if outcome.has_unresolved_conflicts(how) {
            let mut paths: Vec<_> = outcome
                .conflicts
                .iter()
                .filter(|conflict| conflict.is_unresolved(how))
                .map(|conflict| Conflict { path: conflict.ours.location().to_str_lossy().into_owned() })
                .collect();
            paths.sort();
            paths.dedup();
            return Ok(MergeOutcome::Conflicts(paths));
        }
        let tree = outcome.tree.write().map_err(|error| self.write_error("a merged tree", error))?;
        Ok(MergeOutcome::Clean(tree.detach().into()))
    }

    /// The merge where `theirs` changed only what `ours` left alone: most landings, and many times
    /// faster than a full merge, which looks for renames. `None` where more has to be looked at.
    fn merge_disjoint(&self, ancestor: Oid, ours: Oid, theirs: Oid) -> Result<Option<Oid>, StoreError> {
        let changes = self.diff(ancestor, theirs)?;
        if changes.len() > DISJOINT_MAX {
            return Ok(None);
        }
        let (old, tip, new) = (self.tree(ancestor)?, self.tree(ours)?, self.tree(theirs)?);
        let mut editor = tip.edit().map_err(|error| self.write_error("a merged tree", error))?;
        for Change { path, .. } in &changes {
            let before = self.leaf(&old, path)?;
            if self.leaf(&tip, path)? != before {
                return Ok(None);
            }
            match self.leaf(&new, path)? {
                Some((kind, oid)) => {
                    if before.is_none() && self.below_a_file(&tip, path)? {
                        return Ok(None);
                    }
                    editor.upsert(path.as_str(), kind, oid).map_err(|error| self.write_error(path, error))?;
                }
                None => {
                    editor.remove(path.as_str()).map_err(|error| self.write_error(path, error))?;
                }
            }
        }
        let tree = editor.write().map_err(|error| self.write_error("a merged tree", error))?;
        Ok(Some(tree.detach().into()))
    }

    /// Paths that one side made a file and the other, newly, a folder. gix 0.90 merges some of these
    /// cleanly where git reports a conflict (found by the merge test).
    fn file_and_folder(&self, ancestor: Oid, ours: Oid, theirs: Oid) -> Result<Vec<Conflict>, StoreError> {
        let mut found = Vec::new();
        let old = self.tree(ancestor)?;
        for (side, other) in [(theirs, ours), (ours, theirs)] {
            let other = self.tree(other)?;
            for change in self.diff(ancestor, side)?.into_iter().filter(|change| change.after.is_some()) {
                let ends = change.path.match_indices('/').map(|(at, _)| at);
                let mut clash = false;
                for at in ends {
                    let parent = &change.path[..at];
                    let there = self.leaf(&other, parent)?;
                    let is_file = there.is_some_and(|(kind, _)| kind != GixKind::Tree);
                    clash |= is_file && there != self.leaf(&old, parent)?;
                }
                let there = self.leaf(&other, &change.path)?;
                let is_folder = there.is_some_and(|(kind, _)| kind == GixKind::Tree);
                clash |= is_folder && there != self.leaf(&old, &change.path)?;
                if clash {
                    found.push(Conflict { path: change.path });
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn leaf(&self, tree: &gix::Tree<'_>, path: &str) -> Result<Option<(GixKind, gix::ObjectId)>, StoreError> {
        let entry = tree.lookup_entry_by_path(path).map_err(|error| self.read_error(path, error))?;
        Ok(entry.map(|entry| (entry.mode().kind(), entry.object_id())))
    }

    /// Whether some folder of a new path is a file in the tree.
    fn below_a_file(&self, tree: &gix::Tree<'_>, path: &str) -> Result<bool, StoreError> {
        for (at, _) in path.match_indices('/') {
            match self.leaf(tree, &path[..at])? {
                None => return Ok(false),
                Some((GixKind::Tree, _)) => {}
                Some(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}
