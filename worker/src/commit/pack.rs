//! The commit of a result and the thin pack that carries it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use longhaul_common::Oid;
use longhaul_common::git::{GitError, Identity, NewCommit};

use crate::workspace::{Slot, WorkspaceError};

/// Who a commit is by when the user has no git identity.
const NOBODY: (&str, &str) = ("Longhaul", "longhaul@localhost");

/// A commit to make.
#[derive(Clone, Debug)]
pub struct NewResult<'a> {
    /// Its tree.
    pub tree: Oid,
    /// Its one parent.
    pub parent: Oid,
    /// Name and address of author and committer.
    pub author: (&'a str, &'a str),
    /// The whole message.
    pub message: &'a str,
}

/// Writes the commit into the slot's own objects. Blocks.
pub fn commit(slot: &Slot, new: &NewResult<'_>) -> Result<Oid, WorkspaceError> {
    let clean = |text: &str, or: &str| {
        let text: String = text.chars().filter(|c| !c.is_control() && *c != '<' && *c != '>').collect();
        if text.trim().is_empty() { or.to_owned() } else { text.trim().to_owned() }
    };
    let author = Identity { name: clean(new.author.0, NOBODY.0), email: clean(new.author.1, NOBODY.1) };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let commit = NewCommit {
        tree: new.tree,
        parents: &[new.parent],
        author: &author,
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        message: new.message,
    };
    Ok(slot.objects()?.write_commit(&commit)?)
}

/// Writes what `commit` has and `base` lacks as a thin pack. Blocks.
pub fn write_pack(slot: &Slot, commit: Oid, base: Oid, to: &Path) -> Result<(), WorkspaceError> {
    let io = |action| move |source| WorkspaceError::Io { action, path: to.to_owned(), source };
    let file = File::create(to).map_err(io("create"))?;
    let args = ["pack-objects", "--revs", "--thin", "--delta-base-offset", "--threads=1", "-q", "--stdout"];
    let mut child = slot
        .git()
        .command(args)
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| GitError::Start { source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that stops reading says why by its exit status.
        let _ended_early = write!(stdin, "{commit}\n^{base}\n");
    }
    let output = child.wait_with_output().map_err(|source| GitError::Start { source })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GitError::Failed { args: args.join(" "), status: output.status, stderr }.into())
}
