//! "All but this" for Landlock, which knows only "this and everything below".
//!
//! What may be read is the largest folders that hold nothing hidden. Links are passed over: whoever
//! follows one is judged by where it leads. What appears later beside a hidden file is not readable
//! until the next command.

use std::path::{Path, PathBuf};

/// Entries looked at in one folder: one that holds more beside a secret is closed as a whole.
const ENTRIES_MAX: usize = 20_000;

/// The paths to allow so that all below `root` may be read except `hidden` and what is below it.
pub fn around(root: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let mut allowed = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        if hidden.contains(&path) {
            continue;
        }
        if !hidden.iter().any(|secret| secret.starts_with(&path)) {
            allowed.push(path);
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
        let below: Vec<PathBuf> = entries.map(|entry| entry.path()).take(ENTRIES_MAX + 1).collect();
        if below.len() <= ENTRIES_MAX {
            open.extend(below);
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_what_is_hidden_and_no_way_around_by_a_link() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("home/.ssh")).expect("made");
        std::fs::create_dir_all(at("home/work/deep")).expect("made");
        for file in ["home/.ssh/id", "home/.netrc", "home/notes", "etc"] {
            std::fs::write(at(file), "x").expect("written");
        }
        std::os::unix::fs::symlink(at("home/.ssh"), at("home/keys")).expect("linked");
        let mut found = around(dir.path(), &[at("home/.ssh"), at("home/.netrc"), at("home/.absent")]);
        found.sort();
        assert_eq!(found, [at("etc"), at("home/notes"), at("home/work")]);
        assert_eq!(around(dir.path(), &[]), [dir.path()]);
        assert_eq!(around(dir.path(), &[dir.path().to_owned()]), Vec::<PathBuf>::new());
    }
}
