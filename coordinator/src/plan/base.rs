//! The pinned base: the files of one commit of the user's repository.

use std::path::PathBuf;

use globset::GlobSet;
use longhaul_common::Oid;
use longhaul_common::git::{Entry, EntryKind, Store, StoreError};
use longhaul_common::spec::{At, JobFile, Problem, Problems, RepoTable, path_globs};

use super::attributes::LargeFiles;
use super::scan;

/// Size of an entry nobody asked for yet.
const UNKNOWN: u64 = u64::MAX;
/// Paths shown when several are wrong for the same reason.
const PATHS_SHOWN: usize = 3;

/// The repository at the base commit.
pub(super) struct Base {
    /// The user's repository.
    pub store: Store,
    /// Its absolute path.
    pub path: PathBuf,
    /// Folder of the job file, absolute.
    pub job_dir: PathBuf,
    /// Name of the repository.
    pub name: String,
    /// What the user called the base.
    pub base_name: String,
    /// The pinned commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
    /// All leaves, sorted by path bytewise.
    pub entries: Vec<Entry>,
    sizes: Vec<u64>,
    large: LargeFiles,
    derived: GlobSet,
}

impl Base {
    /// Opens the repository a job file names and pins its base: `pinned`, or what the file says.
    pub fn open(file: &JobFile, pinned: Option<Oid>) -> Result<Self, Problems> {
        let [repo] = &file.repo[..] else {
            let help = "one repository for now";
            return Err(file.source.problem(0..0, format!("{} repositories", file.repo.len()), help).into());
        };
        let job_file = std::path::absolute(file.source.path()).unwrap_or_else(|_| file.source.path().to_owned());
        let job_dir = job_file.parent().map_or_else(PathBuf::new, |folder| folder.to_owned());
        let job_dir = job_dir.canonicalize().unwrap_or(job_dir);
        let written = repo.path.as_ref().map_or(".", |path| path.value.as_str());
        let path = job_dir.join(written);
        let path_span = repo.path.as_ref().map_or(repo.span(), At::span);
        let path = path.canonicalize().map_err(|error| {
            let help = "`path` is relative to the job file's folder";
            file.source.problem(path_span.clone(), format!("no repository at {}: {error}", path.display()), help)
        })?;
        let store = Store::open(&path).map_err(|error| {
            let help = "name the root of a git repository; `git init` makes one";
            file.source.problem(path_span, error.to_string(), help)
        })?;
        let (commit, base_name) = pin(file, repo, &store, pinned)?;
        let found = read(&store, commit);
        let (tree, entries, large) = found.map_err(|error| unreadable(file, repo, &error))?;
        let name = repo.name.as_ref().map(|name| name.value.clone());
        let name = name.or_else(|| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let derived = repo.derived.iter().flat_map(|derived| derived.paths.iter().map(|path| path.value.as_str()));
        Ok(Self {
            path,
            job_dir,
            name: name.unwrap_or_else(|| "repository".to_owned()),
            base_name,
            commit,
            tree,
            sizes: vec![UNKNOWN; entries.len()],
            entries,
            large,
            derived: path_globs(derived),
            store,
        })
    }

    /// Positions of the entries a set of globs covers and another does not, in path order; derived
    /// files never.
    pub fn matching(&self, globs: &GlobSet, exclude: &GlobSet) -> Vec<usize> {
        let wanted = |path: &str| globs.is_match(path) && !exclude.is_match(path) && !self.derived.is_match(path);
        (0..self.entries.len()).filter(|&at| wanted(&self.entries[at].path)).collect()
    }

    /// The path of an entry.
    pub fn path_of(&self, at: usize) -> &str {
        &self.entries[at].path
    }

    /// Whether the base has this file.
    pub fn has(&self, path: &str) -> bool {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).is_ok()
    }

    /// Bytes of the entries, in their order; links and submodules count nothing.
    pub fn sizes_of(&mut self, at: &[usize]) -> Result<Vec<u64>, StoreError> {
        let missing: Vec<usize> = at.iter().copied().filter(|&at| self.sizes[at] == UNKNOWN).collect();
        let (entries, store) = (&self.entries, &self.store);
        let found = scan::each(store, &missing, |store, &at| match entries[at].kind {
            EntryKind::File | EntryKind::Executable => store.size(entries[at].oid),
            EntryKind::Symlink | EntryKind::Submodule => Ok(0),
        })?;
        for (at, size) in missing.into_iter().zip(found) {
            self.sizes[at] = size;
        }
        Ok(at.iter().map(|&at| self.sizes[at]).collect())
    }

    /// What of a footprint cannot be worked on, as the end of a sentence with its next step.
    pub fn unfit(&self, at: &[usize]) -> Option<String> {
        let submodule = |at: usize| self.entries[at].kind == EntryKind::Submodule;
        let found: Vec<usize> = at.iter().copied().filter(|&at| submodule(at)).collect();
        if !found.is_empty() {
            return Some(self.refusal(&found, if found.len() > 1 { "submodules" } else { "a submodule" }));
        }
        let large: Vec<usize> = at.iter().copied().filter(|&at| self.large.covers(self.path_of(at))).collect();
        (!large.is_empty()).then(|| self.refusal(&large, "kept in Git LFS"))
    }

    fn refusal(&self, at: &[usize], what: &str) -> String {
        let shown: Vec<&str> = at.iter().take(PATHS_SHOWN).map(|&at| self.path_of(at)).collect();
        let more = if at.len() > PATHS_SHOWN { format!(" and {} more", at.len() - PATHS_SHOWN) } else { String::new() };
        format!("{}{more} ({what}), which no patch can hold", shown.join(", "))
    }
}

/// A problem of the repository itself.
pub(super) fn unreadable(file: &JobFile, repo: &At<RepoTable>, error: &StoreError) -> Problem {
    let help = match error {
        StoreError::PathEncoding { .. } => "rename the file in the repository",
        _ => "check the repository with `git fsck`; a partial clone needs `git fetch --refetch` first",
    };
    file.source.problem(repo.span(), error.to_string(), help)
}

fn pin(file: &JobFile, repo: &At<RepoTable>, store: &Store, pinned: Option<Oid>) -> Result<(Oid, String), Problem> {
    let span = repo.base.as_ref().map_or(repo.span(), At::span);
    let base_name = repo.base.as_ref().map_or("HEAD", |base| base.value.as_str());
    let (rev, help) = match pinned {
        Some(oid) => (oid.to_string(), "the commit this job started from is gone: fetch it, or start a new job"),
        None => (base_name.to_owned(), "name a branch, a tag or a commit; `git branch -a` lists branches"),
    };
    match store.resolve(&rev) {
        Ok(commit) => Ok((commit, base_name.to_owned())),
        Err(StoreError::Unknown { .. }) => {
            let message = format!("no base: {rev:?} names no commit in {}", store.path().display());
            let help = if rev == "HEAD" { "commit something first" } else { help };
            Err(file.source.problem(span, message, help))
        }
        Err(error) => Err(unreadable(file, repo, &error)),
    }
}

fn read(store: &Store, commit: Oid) -> Result<(Oid, Vec<Entry>, LargeFiles), StoreError> {
    let tree = store.tree_of(commit)?;
    let entries = store.list(tree)?;
    let large = LargeFiles::read(store, &entries)?;
    Ok((tree, entries, large))
}
