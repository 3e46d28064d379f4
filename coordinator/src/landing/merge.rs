//! Chains of subtask commits and the one merge over them, by trees.
//!
//! Each member's change (its base's tree to its own) is merged into the tree of the one before;
//! text is never applied. A member in conflict is left out and reported; the rest goes on.

use longhaul_common::git::{Identity, MergeOutcome, NewCommit, Store, StoreError};
use longhaul_common::{NodeId, Oid};

use crate::core::{MemberMerge, Merge};

/// One result to put on the chain.
#[derive(Clone, Debug)]
pub struct Member {
    /// Whose.
    pub node: NodeId,
    /// Its name.
    pub id: String,
    /// What its change is relative to.
    pub base: Oid,
    /// The change's end.
    pub commit: Oid,
    /// Set for a revert: the message of its commit.
    pub message: Option<String>,
}

/// What to merge.
#[derive(Clone, Debug)]
pub struct MergeJob {
    /// The job's name, for trailers.
    pub job: String,
    /// Author and committer.
    pub identity: Identity,
    /// Commit time, seconds since the epoch.
    pub seconds: i64,
    /// Where the branch is.
    pub tip: Oid,
    /// In landing order.
    pub members: Vec<Member>,
}

/// Builds the chain and the merge over it. No merge when every member conflicts.
pub fn merge_batch(store: &Store, work: &MergeJob) -> Result<(Vec<MemberMerge>, Option<Merge>), StoreError> {
    let mut head = work.tip;
    let mut tree = store.tree_of(work.tip)?;
    let mut results = Vec::with_capacity(work.members.len());
    let mut landed: Vec<&str> = Vec::new();
    for member in &work.members {
        let result = match put_on(store, work, member, head, tree)? {
            Ok((commit, merged)) => {
                (head, tree) = (commit, merged);
                landed.push(&member.id);
                Ok(commit)
            }
            Err(paths) => Err(paths),
        };
        results.push(MemberMerge { node: member.node, result });
    }
    if landed.is_empty() {
        return Ok((results, None));
    }
    let message = merge_message(&work.job, &landed);
    let commit = store.write_commit(&NewCommit {
        tree,
        parents: &[work.tip, head],
        author: &work.identity,
        seconds: work.seconds,
        message: &message,
    })?;
    Ok((results, Some(Merge { commit, tree })))
}

type Put = Result<(Oid, Oid), Vec<String>>;

fn put_on(store: &Store, work: &MergeJob, member: &Member, head: Oid, tree: Oid) -> Result<Put, StoreError> {
    let (ancestor, theirs) = (store.tree_of(member.base)?, store.tree_of(member.commit)?);
    let merged = match store.merge_trees(ancestor, tree, theirs)? {
        MergeOutcome::Clean(merged) => merged,
        MergeOutcome::Conflicts(conflicts) => {
            return Ok(Err(conflicts.into_iter().map(|conflict| conflict.path).collect()));
        }
    };
    let message = match &member.message {
        Some(message) => message.clone(),
        None => store.message_of(member.commit)?,
    };
    let commit = store.write_commit(&NewCommit {
        tree: merged,
        parents: &[head],
        author: &work.identity,
        seconds: work.seconds,
        message: &message,
    })?;
    Ok(Ok((commit, merged)))
}

fn merge_message(job: &str, landed: &[&str]) -> String {
    let title = match landed {
        [one] => format!("Land {one}"),
        many => format!("Land {} subtasks", many.len()),
    };
    let list: String = landed.iter().map(|id| format!("- {id}\n")).collect();
    format!("{title}\n\n{list}\nJob-Id: {job}\n")
}

/// Merges one group member onto its group's staging head: the commit later members build on.
pub fn stage(store: &Store, work: &MergeJob) -> Result<Result<Oid, Vec<String>>, StoreError> {
    let tree = store.tree_of(work.tip)?;
    let Some(member) = work.members.first() else { return Ok(Ok(work.tip)) };
    Ok(put_on(store, work, member, work.tip, tree)?.map(|(commit, _)| commit))
}

/// Makes the merge anew with the derived files the gate's worker regenerated: `derived` is its
/// commit on top of `merge`. That it touches nothing else was seen to before (`vet`).
pub fn seal(store: &Store, work: &MergeJob, merge: Oid, derived: Oid) -> Result<Merge, StoreError> {
    let tree = store.tree_of(derived)?;
    let parents = store.parents_of(merge)?;
    let chain_end = parents.get(1).copied().unwrap_or(work.tip);
    let message = format!("Regenerate derived files\n\nJob-Id: {}\n", work.job);
    let on_chain = store.write_commit(&NewCommit {
        tree,
        parents: &[chain_end],
        author: &work.identity,
        seconds: work.seconds,
        message: &message,
    })?;
    let commit = store.write_commit(&NewCommit {
        tree,
        parents: &[work.tip, on_chain],
        author: &work.identity,
        seconds: work.seconds,
        message: &store.message_of(merge)?,
    })?;
    Ok(Merge { commit, tree })
}
