//! `longhaul init`: a commented job file for the repository it stands in.
//!
//! What builds and tests the repository is guessed from its tracked manifests. A guess is only a
//! start: every line says what it is for, and a repository nobody recognises gets a gate that
//! fails, so that nothing is spent before a person has named the real one.

mod cargo;
mod go;
mod make;
mod node;
mod python;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

/// Largest manifest that is looked into, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A job file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitFile {
    /// Its text; it parses.
    pub text: String,
    /// What was recognised, e.g. `cargo workspace`, for telling the user.
    pub recognised: Vec<String>,
}

/// What one build system contributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Toolchain {
    /// For the user.
    name: String,
    /// Folder it lives in, relative, empty for the root.
    folder: String,
    /// Fetches dependencies.
    setup: Option<String>,
    /// Folders worth keeping between attempts, relative to `folder`.
    cache: Vec<String>,
    /// Formats changed files.
    fix: Option<String>,
    /// Lockfile and what makes it again.
    derived: Option<(String, String)>,
    /// A quick check of one result.
    check: Option<String>,
    /// Proves an integrated change good.
    gate: Option<String>,
    /// Glob of its sources, relative to `folder`.
    sources: String,
}

/// The tracked files of a repository and a look into them.
struct Checkout<'a> {
    root: &'a Path,
    listing: &'a [String],
}

impl Checkout<'_> {
    fn has(&self, path: &str) -> bool {
        self.listing.iter().any(|tracked| tracked == path)
    }

    /// Whether any tracked file lies below a folder.
    fn has_below(&self, folder: &str) -> bool {
        self.listing.iter().any(|tracked| tracked.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The folder of the manifest nearest to the root, with the first of these names found there.
    fn nearest(&self, names: &[&str]) -> Option<String> {
        let named = |path: &&String| names.contains(&path.rsplit('/').next().unwrap_or(path));
        let folder = |path: &String| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let vendored =
            |path: &&String| !path.split('/').any(|part| matches!(part, "vendor" | "node_modules" | "third_party"));
        let found = self.listing.iter().filter(named).filter(vendored);
        found.map(folder).min_by_key(|folder| (depth(folder), folder.clone()))
    }

    /// The text of a tracked file, or nothing when it is missing, too large or no text.
    fn text(&self, path: &str) -> String {
        let full = self.root.join(path);
        let fits = self.has(path) && std::fs::metadata(&full).is_ok_and(|found| found.len() <= MANIFEST_BYTES_MAX);
        if fits { std::fs::read_to_string(full).unwrap_or_default() } else { String::new() }
    }
}

fn depth(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { folder.matches('/').count() + 1 }
}

/// A path below a folder that may be the root.
fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// Writes the job file for a repository with these tracked paths.
pub fn init(repo_root: &Path, listing: &[String]) -> InitFile {
    let checkout = Checkout { root: repo_root, listing };
    let mut found: Vec<Toolchain> = [cargo::recognise, node::recognise, python::recognise, go::recognise]
        .iter()
        .filter_map(|recognise| recognise(&checkout))
        .collect();
    // A Makefile mostly calls the others: its targets count when they are the only gate.
    let gated = found.iter().any(|toolchain| toolchain.gate.is_some());
    if let Some(mut make) = make::recognise(&checkout) {
        if gated {
            (make.gate, make.check) = (None, None);
        }
        found.push(make);
    }
    let recognised = found.iter().map(|toolchain| toolchain.name.clone()).collect();
    InitFile { text: write::job_file(&found), recognised }
}
