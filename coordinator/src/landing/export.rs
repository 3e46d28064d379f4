//! The result as a branch in the user's repository: written fast-forward only, nothing else there
//! is touched.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Store, StoreError};

/// Only what is asked for: a submodule may be anybody's, and the user's settings ask for it.
const FETCH: [&str; 6] =
    ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Branch name.
    pub branch: String,
    /// Where it is now.
    pub commit: Oid,
    /// Whether it had to be moved.
    pub moved: bool,
}

/// Why the branch was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The branch has commits the job does not know.
    #[error(
        "the branch {branch} in {repo} is at {found}, which is no ancestor of the result {commit}: it was left alone. Rename it, then run `longhaul export`"
    )]
    NotFastForward {
        /// Its name.
        branch: String,
        /// The user's repository.
        repo: String,
        /// Where it is.
        found: String,
        /// The result.
        commit: Oid,
    },
    /// The branch is checked out, and moving it would surprise its worktree.
    #[error(
        "the branch {branch} is checked out at {worktree}: switch it to another branch, then run `longhaul export`"
    )]
    CheckedOut {
        /// Its name.
        branch: String,
        /// Where.
        worktree: String,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a result is fetched from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Path of a store, or the URL of one.
    pub place: &'a OsStr,
    /// Variables git needs to reach it.
    pub env: &'a [(OsString, OsString)],
}

/// Brings `commit` and its receipts from `store` into the user's repository as `branch`.
pub fn export(
    store: &Path,
    user_repo: &Path,
    branch: &str,
    commit: Oid,
    receipts: &str,
) -> Result<Exported, ExportError> {
    export_from(&Origin { place: store.as_os_str(), env: &[] }, user_repo, branch, commit, receipts)
}

/// As [`export`], from anywhere git can fetch from.
pub fn export_from(
    origin: &Origin<'_>,
    user_repo: &Path,
    branch: &str,
    commit: Oid,
    receipts: &str,
) -> Result<Exported, ExportError> {
    let user = Store::open(user_repo)?;
    let git = origin.env.iter().fold(Git::at(user.common_dir()), |git, (key, value)| git.with_env(key, value));
    let name = format!("refs/heads/{branch}");
    let exported = |moved| Exported { branch: branch.to_owned(), commit, moved };
    let before = user.reference(&name)?;
    if before == Some(commit) {
        fetch_receipts(&git, origin, receipts);
        return Ok(exported(false));
    }
    if let Some(worktree) = checked_out_at(&git, &name)? {
        return Err(ExportError::CheckedOut { branch: branch.to_owned(), worktree });
    }
    let mut fetch: Vec<&OsStr> = FETCH.iter().map(OsStr::new).collect();
    let hex = commit.to_string();
    fetch.extend([origin.place, hex.as_ref()]);
    git.run(&fetch)?;
    let old = before.unwrap_or(Oid::ZERO);
    if let Some(found) = before
        && git.run(["merge-base", "--is-ancestor", &found.to_string(), &hex]).is_err()
    {
        let repo = user_repo.display().to_string();
        return Err(ExportError::NotFastForward { branch: branch.to_owned(), repo, found: found.short(), commit });
    }
    git.run(["update-ref", "-m", "longhaul: export", &name, &hex, &old.to_string()])?;
    fetch_receipts(&git, origin, receipts);
    Ok(exported(true))
}

/// Receipts travel along where there are any; the branch stands without them.
fn fetch_receipts(git: &Git, origin: &Origin<'_>, receipts: &str) {
    let spec = format!("+{receipts}:{receipts}");
    let mut args: Vec<&OsStr> = FETCH.iter().map(OsStr::new).collect();
    args.extend([origin.place, spec.as_ref()]);
    if let Err(error) = git.run(&args) {
        tracing::warn!(%error, "the receipts were not copied into the repository");
    }
}

fn checked_out_at(git: &Git, name: &str) -> Result<Option<String>, GitError> {
    let list = git.line(["worktree", "list", "--porcelain"])?;
    let mut path = "";
    for line in list.lines() {
        if let Some(found) = line.strip_prefix("worktree ") {
            path = found;
        } else if line.strip_prefix("branch ") == Some(name) {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}
