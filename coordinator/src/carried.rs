//! The files a plan carries for its commands (`{job_dir}/…`), as a commit that workers fetch.
//!
//! Author, date and message are fixed, so the same files give the same commit whoever writes it.

use std::fmt::Write as _;
use std::path::Path;

use longhaul_common::git::{Git, sync_objects};
use longhaul_common::{JobId, Oid};
use longhaul_proto::CarriedFile;

use crate::landing::Refs;
use crate::repos::RepoError;

/// All files of one plan together, in bytes.
pub const CARRIED_BYTES_MAX: usize = 8 << 20;

/// Whether a path can name a carried file: relative, plain, and not into a `.git`.
pub fn is_plain(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git");
    path.split('/').all(part) && !path.starts_with('"') && !path.contains(|c: char| c.is_control() || c == '\\')
}

/// Writes the files into the store durably, under the job's ref for them. `None` for no files.
pub fn write_carried(store: &Path, job: &JobId, files: &[CarriedFile]) -> Result<Option<Oid>, RepoError> {
    if files.is_empty() {
        return Ok(None);
    }
    let name = Refs::of(job.as_str()).files();
    let message = "Files of the job folder\n";
    let mut stream = Vec::new();
    let mut head = String::new();
    // Writing into a string cannot fail.
    let _ = write!(
        head,
        "commit {name}\ncommitter Longhaul <longhaul@localhost> 0 +0000\ndata {}\n{message}",
        message.len()
    );
    stream.extend_from_slice(head.as_bytes());
    for file in files.iter().filter(|file| is_plain(&file.path)) {
        let mode = if file.executable { "100755" } else { "100644" };
        let line = format!("M {mode} inline {}\ndata {}\n", file.path, file.content.len());
        stream.extend_from_slice(line.as_bytes());
        stream.extend_from_slice(&file.content);
        stream.push(b'\n');
    }
    let git = Git::at(store);
    // The files before are no history of the files now.
    git.run_with_input(["-c", "core.fsync=all", "fast-import", "--quiet", "--force"], &stream)?;
    let commit = git.oid(["rev-parse", "--verify", &name])?;
    sync_objects(&store.join("objects")).map_err(|source| RepoError::Io {
        action: "sync",
        path: store.to_owned(),
        source,
    })?;
    Ok(Some(commit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_the_same_commit_and_keep_their_bits() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store.git");
        Git::at(&store).run(["init", "-q", "--bare"]).expect("git");
        let job: JobId = "j".parse().expect("valid");
        let file = |path: &str, text: &str, executable| CarriedFile {
            path: path.into(),
            content: text.as_bytes().to_vec(),
            executable,
        };
        let files = [file("run.sh", "exit 0\n", true), file("rules/ä b.yml", "id: x\n", false)];
        let first = write_carried(&store, &job, &files).expect("written").expect("files");
        let other = write_carried(&store, &job, &[file("x", "y", false)]).expect("written").expect("files");
        assert_ne!(first, other);
        assert_eq!(write_carried(&store, &job, &files).expect("written"), Some(first));
        let list =
            Git::at(&store).line(["-c", "core.quotePath=false", "ls-tree", "-r", &first.to_string()]).expect("listed");
        assert!(list.contains("100755") && list.contains("rules/ä b.yml"), "{list}");
        assert_eq!(write_carried(&store, &job, &[]).expect("written"), None);
    }

    #[test]
    fn paths_cannot_leave_the_folder() {
        for bad in ["", "/etc/x", "../x", "a/../b", ".git/config", "a/.GIT/x", "a\nM 1", "\"a\"", "a//b", "a\\b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        assert!(is_plain("rules/a b.yml") && is_plain(".hidden"));
    }
}
