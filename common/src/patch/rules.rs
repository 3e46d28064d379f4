//! Whether a difference may be a patch.

use std::path::{Component, Path};

use longhaul_proto::{Failure, FailureClass, Policy, Task};

use super::change::{FileChange, MODE_GITLINK, MODE_SYMLINK};
use super::paths::{BadGlob, PathSet};
use super::stand_in::{stand_ins, written_out};
use crate::git::{Store, StoreError};
use crate::sign::Sign;

/// Most paths named in one failure.
const PATHS_MAX: usize = 200;

/// Files above this many bytes are not searched for conflict markers.
const MARKER_BYTES_MAX: u64 = 4 << 20;

/// What a subtask said it would write, and what of it is kept from it all the same.
///
/// What is protected has to be named: written out, one of a map's files, or meant by a wildcard that
/// stands for nothing else (`tests/**`). What judges the change is not to be had by any wildcard of
/// `write`; a map that was pointed at it by its `files` is about nothing else, and is held for a yes.
#[derive(Clone, Debug)]
pub struct Declared {
    covered: PathSet,
    whole_repository: bool,
    protected: PathSet,
    judging: PathSet,
    /// Paths written out.
    named: PathSet,
    /// Wildcards all of whose paths are protected.
    meant: PathSet,
}

impl Declared {
    /// From the subtask and the policy.
    pub fn new(task: &Task, files: &[String], claims: &[String], policy: &Policy) -> Result<Self, BadGlob> {
        let protected = PathSet::new(&policy.protect)?;
        let (globs, literals): (Vec<&String>, Vec<&String>) =
            task.write.iter().partition(|pattern| written_out(pattern).is_none());
        let literals: Vec<String> = literals.into_iter().filter_map(|path| written_out(path)).collect();
        let is_meant = |glob: &&&String| {
            // One that adds tests writes wherever tests are, whatever else is protected.
            let all_protected = || stand_ins(glob).iter().all(|path| protected.contains(path));
            task.additive || policy.protect.contains(**glob) || all_protected()
        };
        Ok(Self {
            covered: PathSet::new(&task.write)?.with_names(files).with_names(claims),
            whole_repository: task.whole_repository,
            judging: PathSet::new(&policy.judging)?,
            named: PathSet::default().with_names(&literals).with_names(files),
            meant: PathSet::new(globs.iter().filter(is_meant))?,
            protected,
        })
    }

    /// Whether it may write a path.
    pub fn covers(&self, path: &str) -> bool {
        self.whole_repository || self.covered.contains(path)
    }

    /// Whether the gate or a check runs a path, or goes by it.
    pub fn judges(&self, path: &str) -> bool {
        self.judging.contains(path)
    }

    /// Whether a path or glob is protected, or a part of it, and the subtask does not name it.
    pub fn withholds(&self, pattern: &str) -> bool {
        stand_ins(pattern).iter().any(|path| self.withholds_path(path))
    }

    /// Whether nothing that a path or glob covers may be written.
    pub fn withholds_all(&self, pattern: &str) -> bool {
        stand_ins(pattern).iter().all(|path| self.withholds_path(path))
    }

    fn withholds_path(&self, path: &str) -> bool {
        self.is_protected(path) && !self.names(path)
    }

    fn is_protected(&self, path: &str) -> bool {
        self.protected.contains(path) || self.judges(path)
    }

    fn names(&self, path: &str) -> bool {
        self.named.contains(path) || self.meant.contains(path) && !self.judges(path)
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

fn refuse(class: FailureClass, sign: Sign, message: impl Into<String>, found: Vec<String>) -> Result<(), Box<Failure>> {
    if found.is_empty() {
        return Ok(());
    }
    let paths = found.into_iter().take(PATHS_MAX).collect();
    let sign = sign.as_str().to_owned();
    Err(Box::new(Failure { class: class.into(), message: message.into(), paths, sign, ..Failure::default() }))
}

fn shape(changes: &[FileChange], policy: &Policy) -> Result<(), Box<Failure>> {
    let class = FailureClass::Result;
    refuse(
        class,
        Sign::UnfitPath,
        "paths that are not UTF-8",
        paths(changes.iter().filter(|change| !change.is_utf8())),
    )?;
    let submodules = changes.iter().filter(|change| change.old_mode == MODE_GITLINK);
    refuse(class, Sign::UnfitPath, "submodules were changed", paths(submodules))?;
    let nested = changes.iter().filter(|change| change.new_mode == MODE_GITLINK);
    refuse(class, Sign::UnfitPath, "the workspace holds repositories inside the repository", paths(nested))?;
    if policy.max_files > 0 && changes.len() > policy.max_files as usize {
        let message = format!("{} files changed, the policy allows {}", changes.len(), policy.max_files);
        return refuse(class, Sign::Oversized, message, paths(changes.iter()));
    }
    Ok(())
}

/// A protected path counts as declared only when it is named: "the whole repository" names nothing.
fn allowed(changes: &[FileChange], declared: &Declared) -> Result<Vec<String>, Box<Failure>> {
    let (protected, plain): (Vec<_>, Vec<_>) = changes.iter().partition(|change| declared.is_protected(&change.path));
    let (touched, forbidden): (Vec<&FileChange>, Vec<&FileChange>) =
        protected.into_iter().partition(|change| declared.names(&change.path));
    refuse(
        FailureClass::Protected,
        Sign::TouchedProtected,
        "protected paths were touched that the subtask does not name (`write` has to spell out what judges it)",
        paths(forbidden.into_iter()),
    )?;
    let outside = plain.into_iter().filter(|change| !declared.covers(&change.path));
    refuse(
        FailureClass::Footprint,
        Sign::OutsideFootprint,
        "files outside the subtask's footprint were written",
        paths(outside),
    )?;
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
    refuse(class, Sign::Oversized, format!("files over the policy's {} bytes", policy.max_file_bytes), large)?;
    refuse(class, Sign::UnfitPath, "symbolic links that lead out of the repository", links)?;
    refuse(class, Sign::ConflictMarkers, "conflict markers were left in files", conflicts)
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
        let policy = Policy {
            protect: vec!["tests/**".into(), "**/*_test.go".into()],
            judging: vec!["Makefile".into(), "tests/run.sh".into()],
            ..Default::default()
        };
        Declared::new(&task, &["app/[id].ts".into()], &[], &policy).expect("valid globs")
    }

    #[test]
    fn protected_paths_must_be_named() {
        let all = [change("src/a.rs"), change("tests/t.rs")];
        assert_eq!(allowed(&all, &declared(&["src/**", "tests/t.rs"], false)), Ok(vec!["tests/t.rs".to_owned()]));
        let class = |result: Result<Vec<String>, Box<Failure>>| result.expect_err("refused").class();
        assert_eq!(class(allowed(&all, &declared(&[], true))), FailureClass::Protected);
        assert_eq!(class(allowed(&all, &declared(&["tests/*"], false))), FailureClass::Footprint);
        assert_eq!(class(allowed(&all, &declared(&["**"], false))), FailureClass::Protected);
        assert_eq!(class(allowed(&all, &declared(&["{src,tests}/**"], false))), FailureClass::Protected);
        assert_eq!(allowed(&[change("app/[id].ts")], &declared(&[], false)), Ok(vec![]));
    }
    #[test]
    fn a_wildcard_names_what_is_protected_only_where_it_stands_for_nothing_else() {
        let touched = |write: &[&str], path: &str| allowed(&[change(path)], &declared(write, false)).is_ok();
        for (write, path) in [
            ("tests/**", "tests/a/b.rs"),
            ("tests/*", "tests/t.rs"),
            ("src/*_test.go", "src/a_test.go"),
            ("**/*_test.go", "a_test.go"),
            ("tests/run.sh", "tests/run.sh"),
            ("src/{a,b}_test.go", "src/b_test.go"),
            ("tests/**/*.{test,spec}.ts", "tests/a/b.spec.ts"),
            ("{src/**/*_test.go,tests/**}", "tests/a.rs"),
            ("tests/[a-z]*.rs", "tests/t.rs"),
            (r"tests/\[id\].rs", "tests/[id].rs"),
            ("Makefile", "Makefile"),
        ] {
            assert!(touched(&[write], path), "{write} {path}");
        }
        for (write, path) in [
            ("**", "tests/a.rs"),
            ("**/*.go", "a_test.go"),
            ("src/**", "src/a_test.go"),
            ("*", "Makefile"),
            ("Make*", "Makefile"),
            ("tests/**", "tests/run.sh"),
            ("{src,tests}/**", "tests/a.rs"),
            ("{Makefile,src/a.rs}", "Makefile"),
            ("src/[a-z]*.go", "src/a_test.go"),
            (r"tests/\[id\].rs", "tests/i.rs"),
        ] {
            assert!(!touched(&[write], path), "{write} {path}");
        }
        let whole = declared(&["tests/t.rs"], true);
        assert!(whole.withholds("tests/**") && whole.withholds("tests/a.rs") && whole.withholds("Makefile"));
        assert!(!whole.withholds("tests/t.rs") && !whole.withholds("src/**") && !whole.withholds("**"));
    }

    #[test]
    fn a_pattern_is_withheld_whole_only_where_each_of_its_choices_is() {
        let none = declared(&[], false);
        for (pattern, some, all) in [
            ("{Makefile,tests/run.sh}", true, true),
            ("{Makefile,src/a.rs}", true, false),
            ("src/**", false, false),
            ("Makefile", true, true),
        ] {
            assert_eq!((none.withholds(pattern), none.withholds_all(pattern)), (some, all), "{pattern}");
        }
    }
}
