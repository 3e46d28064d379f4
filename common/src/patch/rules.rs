//! Whether a difference may be a patch.

use std::path::{Component, Path};

use longhaul_proto::{Failure, FailureClass, Policy, Task};

use super::change::{FileChange, MODE_GITLINK, MODE_SYMLINK};
use super::paths::{BadGlob, PathSet};
use crate::git::{Store, StoreError};

/// Most paths named in one failure.
const PATHS_MAX: usize = 200;

/// Files above this many bytes are not searched for conflict markers.
const MARKER_BYTES_MAX: u64 = 4 << 20;

/// What a subtask said it would write.
#[derive(Clone, Debug)]
pub struct Declared {
    named: PathSet,
    whole_repository: bool,
    protected: PathSet,
}

impl Declared {
    /// From the subtask and the policy.
    pub fn new(task: &Task, files: &[String], claims: &[String], policy: &Policy) -> Result<Self, BadGlob> {
        let named = PathSet::new(&task.write)?.with_names(files).with_names(claims);
        Ok(Self { named, whole_repository: task.whole_repository, protected: PathSet::new(&policy.protect)? })
    }

    /// Whether it may write a path.
    pub fn covers(&self, path: &str) -> bool {
        self.whole_repository || self.named.contains(path)
    }
}

/// Checks a difference; gives the protected paths it touches as declared. Blocks on objects.
pub fn validate(
    changes: &[FileChange],
    declared: &Declared,
    policy: &Policy,
    objects: &Store,
) -> Result<Vec<String>, Box<Failure>> {
    shape(changes, policy)?;
    let touched = allowed(changes, declared)?;
    content(changes, policy, objects)?;
    Ok(touched)
}

fn paths<'a>(changes: impl Iterator<Item = &'a FileChange>) -> Vec<String> {
    changes.map(|change| change.path.clone()).collect()
}

fn refuse(class: FailureClass, message: impl Into<String>, found: Vec<String>) -> Result<(), Box<Failure>> {
    if found.is_empty() {
        return Ok(());
    }
    let paths = found.into_iter().take(PATHS_MAX).collect();
    Err(Box::new(Failure { class: class.into(), message: message.into(), paths, ..Failure::default() }))
}

fn shape(changes: &[FileChange], policy: &Policy) -> Result<(), Box<Failure>> {
    let class = FailureClass::Result;
    refuse(class, "paths that are not UTF-8", paths(changes.iter().filter(|change| !change.is_utf8())))?;
    let submodules = changes.iter().filter(|change| change.old_mode == MODE_GITLINK);
    refuse(class, "submodules were changed", paths(submodules))?;
    let nested = changes.iter().filter(|change| change.new_mode == MODE_GITLINK);
    refuse(class, "the workspace holds repositories inside the repository", paths(nested))?;
    if policy.max_files > 0 && changes.len() > policy.max_files as usize {
        let message = format!("{} files changed, the policy allows {}", changes.len(), policy.max_files);
        return refuse(class, message, paths(changes.iter()));
    }
    Ok(())
}

/// A protected path counts as declared only when it is named: "the whole repository" names nothing.
fn allowed(changes: &[FileChange], declared: &Declared) -> Result<Vec<String>, Box<Failure>> {
    let (protected, plain): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| declared.protected.contains(&change.path));
    let (touched, forbidden): (Vec<&FileChange>, Vec<&FileChange>) =
        protected.into_iter().partition(|change| declared.named.contains(&change.path));
    refuse(
        FailureClass::Protected,
        "protected paths were touched that the subtask does not name",
        paths(forbidden.into_iter()),
    )?;
    let outside = plain.into_iter().filter(|change| !declared.covers(&change.path));
    refuse(FailureClass::Footprint, "files outside the subtask's footprint were written", paths(outside))?;
    Ok(paths(touched.into_iter()))
}

fn content(changes: &[FileChange], policy: &Policy, objects: &Store) -> Result<(), Box<Failure>> {
    let (mut large, mut links, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
    let broken = |error: StoreError| {
        let class = FailureClass::Infrastructure.into();
        Box::new(Failure { class, message: error.to_string(), ..Failure::default() })
    };
    for change in changes.iter().filter(|change| !change.is_deletion()) {
        let bytes = objects.size(change.new).map_err(broken)?;
        if policy.max_file_bytes > 0 && bytes > policy.max_file_bytes {
            large.push(change.path.clone());
        } else if change.new_mode == MODE_SYMLINK {
            let target = objects.blob(change.new).map_err(broken)?;
            if escapes(&change.path, &String::from_utf8_lossy(&target)) {
                links.push(change.path.clone());
            }
        } else if bytes <= MARKER_BYTES_MAX {
            let after = conflict_pairs(&objects.blob(change.new).map_err(broken)?);
            // Files about merging may hold markers already.
            let before = if after == 0 || change.old.is_zero() {
                0
            } else {
                conflict_pairs(&objects.blob(change.old).map_err(broken)?)
            };
            if after > before {
                conflicts.push(change.path.clone());
            }
        }
    }
    let class = FailureClass::Result;
    refuse(class, format!("files over the policy's {} bytes", policy.max_file_bytes), large)?;
    refuse(class, "symbolic links that lead out of the repository", links)?;
    refuse(class, "conflict markers were left in files", conflicts)
}

/// Whether a link at `path` leads out of the repository, or into its git folder.
fn escapes(path: &str, target: &str) -> bool {
    let mut depth: usize = Path::new(path).components().count().saturating_sub(1);
    for component in Path::new(target).components() {
        match component {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            Component::Normal(name) if name.eq_ignore_ascii_case(".git") => return true,
            Component::Normal(_) => depth += 1,
        }
    }
    false
}

/// Number of `<<<<<<< ` lines that are followed by a `>>>>>>> ` line.
fn conflict_pairs(content: &[u8]) -> usize {
    let (mut open, mut pairs) = (false, 0);
    for line in content.split(|&b| b == b'\n') {
        if line.starts_with(b"<<<<<<< ") {
            open = true;
        } else if open && line.starts_with(b">>>>>>> ") {
            open = false;
            pairs += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_may_not_leave() {
        for inside in [("a/b", "../c"), ("a/b", "c/./d"), ("a", "b/../c"), ("a/b/c", "../../d")] {
            assert!(!escapes(inside.0, inside.1), "{inside:?}");
        }
        for outside in [
            ("a", "/etc/passwd"),
            ("a", "../x"),
            ("a/b", "../../x"),
            ("a/b", "c/../../../x"),
            ("a", ".git/config"),
            ("a/b", "../.GIT"),
        ] {
            assert!(escapes(outside.0, outside.1), "{outside:?}");
        }
    }

    #[test]
    fn conflict_markers_count_in_pairs() {
        assert_eq!(conflict_pairs(b"a\n<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n"), 1);
        assert_eq!(conflict_pairs(b">>>>>>> quoted\n<<<<<<< only one\n"), 0);
        assert_eq!(conflict_pairs(b" <<<<<<< indented\n >>>>>>> indented\n"), 0);
    }

    fn change(path: &str) -> FileChange {
        let one = crate::Oid([1; 20]);
        FileChange {
            path: path.into(),
            raw: path.into(),
            old_mode: 0o100_644,
            new_mode: 0o100_644,
            old: one,
            new: one,
            lines: (1, 1),
        }
    }

    fn declared(write: &[&str], whole_repository: bool) -> Declared {
        let write = write.iter().map(|&glob| glob.to_owned()).collect();
        let task = Task { write, whole_repository, ..Default::default() };
        let policy = Policy { protect: vec!["tests/**".into()], ..Default::default() };
        Declared::new(&task, &["app/[id].ts".into()], &[], &policy).expect("valid globs")
    }

    #[test]
    fn protected_paths_must_be_named() {
        let all = [change("src/a.rs"), change("tests/t.rs")];
        assert_eq!(allowed(&all, &declared(&["src/**", "tests/t.rs"], false)), Ok(vec!["tests/t.rs".to_owned()]));
        let class = |result: Result<Vec<String>, Box<Failure>>| result.expect_err("refused").class();
        assert_eq!(class(allowed(&all, &declared(&[], true))), FailureClass::Protected);
        assert_eq!(class(allowed(&all, &declared(&["tests/*"], false))), FailureClass::Footprint);
        assert_eq!(allowed(&[change("app/[id].ts")], &declared(&[], false)), Ok(vec![]));
    }
}
