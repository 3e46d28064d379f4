//! Which files `.gitattributes` hands to Git LFS.
//!
//! Only `filter=lfs` is looked at. As in git, the last line that matches wins and a file deeper in
//! the tree overrides one above it. Macros are not expanded.

use globset::{GlobBuilder, GlobMatcher};
use longhaul_common::git::{Entry, EntryKind, Store, StoreError};

/// The lines that say something about `filter`, from the root downwards.
#[derive(Debug, Default)]
pub(super) struct LargeFiles {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The folder of the attributes file with its `/`, or empty.
    folder: String,
    pattern: GlobMatcher,
    large: bool,
}

impl LargeFiles {
    /// Reads every `.gitattributes` of a tree.
    pub fn read(store: &Store, entries: &[Entry]) -> Result<Self, StoreError> {
        let mut files: Vec<&Entry> = entries
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable))
            .filter(|entry| entry.path.rsplit('/').next() == Some(".gitattributes"))
            .collect();
        files.sort_by_key(|entry| entry.path.matches('/').count());
        let mut lines = Vec::new();
        for entry in files {
            let folder = entry.path.trim_end_matches(".gitattributes");
            let text = store.blob(entry.oid)?;
            lines.extend(String::from_utf8_lossy(&text).lines().filter_map(|line| parse(folder, line)));
        }
        Ok(Self { lines })
    }

    /// Whether a path's content is kept in Git LFS.
    pub fn covers(&self, path: &str) -> bool {
        let says = |line: &&Line| path.strip_prefix(&line.folder).is_some_and(|rest| line.pattern.is_match(rest));
        self.lines.iter().rev().find(says).is_some_and(|line| line.large)
    }
}

fn parse(folder: &str, line: &str) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || line.starts_with("[attr]") {
        return None;
    }
    let (pattern, attributes) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => line.split_once([' ', '\t'])?,
    };
    let large = attributes.split_whitespace().filter_map(|attribute| match attribute {
        "filter=lfs" => Some(true),
        "-filter" | "!filter" => Some(false),
        _ => attribute.starts_with("filter=").then_some(false),
    });
    let large = large.fold(None, |_, large| Some(large))?;
    // Without a slash a pattern is about names at any depth.
    let pattern = match pattern.strip_prefix('/') {
        Some(rooted) => rooted.to_owned(),
        None if pattern.contains('/') => pattern.to_owned(),
        None => format!("**/{pattern}"),
    };
    let pattern = GlobBuilder::new(&pattern).literal_separator(true).build().ok()?.compile_matcher();
    Some(Line { folder: folder.to_owned(), pattern, large })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_and_deepest_line_wins() {
        let files = [
            ("", "*.bin filter=lfs diff=lfs\n# x\n/top.dat filter=lfs\nsub/** filter=lfs\n"),
            ("a/", "keep.bin -filter\n"),
        ];
        let lines =
            files.iter().flat_map(|(folder, text)| text.lines().filter_map(|line| parse(folder, line))).collect();
        let large = LargeFiles { lines };
        for (path, expected) in [
            ("x.bin", true),
            ("a/b/x.bin", true),
            ("a/keep.bin", false),
            ("b/keep.bin", true),
            ("top.dat", true),
            ("a/top.dat", false),
            ("sub/x/y", true),
            ("x.rs", false),
        ] {
            assert_eq!(large.covers(path), expected, "{path}");
        }
    }
}
