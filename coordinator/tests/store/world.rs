//! A store with a base, and attempts on it as workers would send them.

use std::path::{Path, PathBuf};

use longhaul_common::Oid;
use longhaul_common::git::{Git, Store};
use longhaul_coordinator::repos::{Incoming, RepoError, import, prepare_store};
use tempfile::TempDir;

/// A store and a worker's repository beside it.
pub struct World {
    pub folder: TempDir,
    pub store: PathBuf,
    pub worker: Git,
    pub base: Oid,
}

/// One attempt: its commit and its pack.
pub struct Attempt {
    pub commit: Oid,
    pub tree: Oid,
    pub pack: PathBuf,
}

impl World {
    /// With a base commit of these files.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, user) = (folder.path().join("repos/r/store.git"), folder.path().join("user.git"));
        let worker = Git::at(&user);
        worker.run(["init", "--quiet", "--bare", "--template="]).expect("init");
        let base = commit(&worker, None, files, 0);
        prepare_store(&store, &user, base).expect("a store");
        Git::at(&store).run(["update-ref", "refs/longhaul/one/base", &base.to_string()]).expect("a ref");
        Self { folder, store, worker, base }
    }

    /// An attempt on the base that adds these files.
    pub fn attempt(&self, number: u64, files: &[(&str, &[u8])]) -> Attempt {
        let commit = commit(&self.worker, Some(self.base), files, number);
        self.packed(commit, number)
    }

    /// A commit of the worker's repository as the thin pack of an attempt.
    pub fn packed(&self, commit: Oid, number: u64) -> Attempt {
        let tree = self.worker.oid(["rev-parse", &format!("{commit}^{{tree}}")]).expect("a tree");
        let revs = format!("{commit}\n^{}\n", self.base);
        let args = ["pack-objects", "--quiet", "--revs", "--thin", "--stdout", "--delta-base-offset"];
        let bytes = self.worker.run_with_input(args, revs.as_bytes()).expect("a pack");
        let pack = self.folder.path().join(format!("{number}.pack"));
        std::fs::write(&pack, bytes).expect("written");
        Attempt { commit, tree, pack }
    }

    pub fn import(&self, number: u64, attempt: &Attempt) -> Result<(), RepoError> {
        let Attempt { commit, tree, pack } = attempt;
        let (commit, tree, base) = (*commit, *tree, self.base);
        import(&self.store, &Incoming { job: "one", id: number, pack, commit, tree, base })
    }

    /// Whether every object of a commit is there.
    pub fn whole(&self, commit: Oid) -> bool {
        self.all_whole(&[commit])
    }

    /// Whether every object of every one of these commits is there.
    pub fn all_whole(&self, commits: &[Oid]) -> bool {
        let lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let args = ["rev-list", "--objects", "--quiet", "--stdin"];
        Git::at(&self.store).run_with_input(args, lines.as_bytes()).is_ok()
    }

    pub fn has(&self, oid: Oid) -> bool {
        Store::open_own(&self.store).expect("a store").has(oid)
    }

    pub fn fsck(&self) {
        let args = ["fsck", "--full", "--no-dangling", "--strict", "--connectivity-only"];
        Git::at(&self.store).run(args).expect("the store is sound");
    }

    /// Makes everything that came in look as if it came long ago.
    pub fn forget_recent(&self) {
        for name in names(&self.store).into_iter().filter(|name| name.starts_with("imports-")) {
            std::fs::remove_file(self.store.join(name)).expect("removed");
        }
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Writes a commit with fast-import.
fn commit(git: &Git, base: Option<Oid>, files: &[(&str, &[u8])], number: u64) -> Oid {
    let mut input =
        format!("commit refs/attempts/{number}\ncommitter A <a@b.c> {number} +0000\ndata 1\nm\n").into_bytes();
    input.extend(base.iter().flat_map(|base| format!("from {base}\n").into_bytes()));
    for (path, content) in files {
        input.extend(format!("M 100644 inline {path}\ndata {}\n", content.len()).into_bytes());
        input.extend_from_slice(content);
        input.push(b'\n');
    }
    git.run_with_input(["fast-import", "--quiet", "--force"], &input).expect("fast-import");
    git.oid(["rev-parse", &format!("refs/attempts/{number}")]).expect("a commit")
}

/// Bytes that do not compress, the same for the same seed.
pub fn random(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
