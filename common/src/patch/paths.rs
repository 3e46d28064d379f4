//! Sets of repository paths: globs, as footprints, protected and derived paths are written.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("bad path pattern: {0}")]
pub struct BadGlob(#[from] globset::Error);

/// Paths from the repository root, by glob and by name. The rules of globs are the job file's: `*`
/// stays within a folder, `**` crosses folders, a pattern without wildcards is one path.
#[derive(Clone, Debug, Default)]
pub struct PathSet {
    globs: GlobSet,
    names: BTreeSet<String>,
}

impl PathSet {
    /// Compiles globs.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, BadGlob> {
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            globs.add(
                GlobBuilder::new(pattern.as_ref())
                    .literal_separator(true)
                    .backslash_escape(true)
                    .empty_alternates(true)
                    .build()?,
            );
        }
        Ok(Self { globs: globs.build()?, names: BTreeSet::new() })
    }

    /// With paths that stand for themselves, whatever characters they hold (`app/[id].tsx`).
    pub fn with_names<'a>(mut self, names: impl IntoIterator<Item = &'a String>) -> Self {
        self.names.extend(names.into_iter().cloned());
        self
    }

    /// Whether a path is in the set.
    pub fn contains(&self, path: &str) -> bool {
        self.names.contains(path) || self.globs.is_match(path)
    }
}

/// Whether `path` is `folder` or lies below it.
pub fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_folder() {
        let names = ["app/[id].tsx".to_owned()];
        let set = PathSet::new(["src/*.rs", "**/Cargo.toml", "docs/**", "Cargo.lock", "[ab].txt", "Rakefile{,.rb}"])
            .expect("valid")
            .with_names(&names);
        for inside in [
            "src/a.rs",
            "Cargo.toml",
            "x/y/Cargo.toml",
            "docs/a/b.md",
            "Cargo.lock",
            "a.txt",
            "app/[id].tsx",
            "Rakefile",
        ] {
            assert!(set.contains(inside), "{inside}");
        }
        for outside in ["src/a/b.rs", "docsx/a", "x/Cargo.lock", "Cargo.lock2", "c.txt", "app/i.tsx"] {
            assert!(!set.contains(outside), "{outside}");
        }
        assert!(PathSet::new(["a[".to_owned()]).is_err());
        assert!(is_at_or_below("a/b", "a") && !is_at_or_below("ab", "a"));
    }
}
