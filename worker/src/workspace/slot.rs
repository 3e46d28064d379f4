//! One slot: its folders, its lock, and the move to the next base.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use longhaul_common::Oid;
use longhaul_common::git::{Git, Store, StoreError};
use rustix::fs::FlockOperation;

use super::decoy;
use super::error::{At as _, WorkspaceError};
use super::record::SlotRecord;
use super::sweep::sweep;
use super::tree::remove_tree;

/// Configuration of the worker's git directory: nothing of the user's, nothing surprising. The
/// index carries no checksum of itself, which saves hashing it twice on every move.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tbare = true
\tfilemode = true
\tsymlinks = true
\ttrustctime = true
\tautocrlf = false
\tsafecrlf = false
\tpreloadIndex = true
\tlogallrefupdates = false
\texcludesFile = /dev/null
\tattributesFile = /dev/null
\tlooseCompression = 1
[index]
\tskipHash = true
[submodule]
\trecurse = false
[gc]
\tauto = 0
";

/// A slot that is ours until this value is dropped.
#[derive(Debug)]
pub struct Slot {
    root: PathBuf,
    /// Held (flock) as long as the slot is used, by any process of this machine.
    _lock: File,
}

impl Slot {
    /// Opens the slot at a folder, creating it; `None` when someone else is using it.
    pub fn try_open(root: &Path) -> Result<Option<Self>, WorkspaceError> {
        fs::create_dir_all(root).at("create", root)?;
        let path = root.join("lock");
        let lock = File::options().create(true).append(true).open(&path).at("open", &path)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { root: root.to_owned(), _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).at("lock", &path),
        }
    }

    /// The slot's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace.
    pub fn ws(&self) -> PathBuf {
        self.root.join("ws")
    }

    /// TMPDIR of what runs here; emptied by every move.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The home of an agent that has one of its own, gone with its session. It is not in the temporary folder: there Codex makes
    /// no helper programs, and then its sandbox cannot start anything.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// What the tools of its programs keep between assignments; theirs alone to write.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Programs that its agents find beside those of the machine; they cannot write there.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Offers a program there by a name. Several commands may do so at once.
    pub fn offer(&self, name: &str, program: &Path) -> Result<(), WorkspaceError> {
        let (folder, link) = (self.tools(), self.tools().join(name));
        let is_there = || fs::read_link(&link).is_ok_and(|to| to == program);
        if is_there() {
            return Ok(());
        }
        fs::create_dir_all(&folder).at("create", &folder)?;
        match fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &link),
            _ => {}
        }
        match std::os::unix::fs::symlink(program, &link) {
            Err(error) if !is_there() => Err(error).at("link", &link),
            _ => Ok(()),
        }
    }

    /// The worker's own git directory.
    pub fn git_dir(&self) -> PathBuf {
        self.root.join("git")
    }

    /// The worker's own index.
    pub fn index(&self) -> PathBuf {
        self.git_dir().join("index")
    }

    fn record_path(&self) -> PathBuf {
        self.root.join("slot.json")
    }

    /// What is known about it.
    pub fn record(&self) -> SlotRecord {
        SlotRecord::read(&self.record_path())
    }

    /// Replaces what is known about it.
    pub fn write_record(&self, record: &SlotRecord) -> Result<(), WorkspaceError> {
        record.write(&self.record_path())
    }

    /// Git on the workspace with the worker's own directory and index.
    pub fn git(&self) -> Git {
        Git::at(self.git_dir()).with_work_tree(self.ws()).with_env("GIT_INDEX_FILE", self.index())
    }

    /// The slot's objects and, through its alternates, those of the store.
    pub fn objects(&self) -> Result<Store, WorkspaceError> {
        Ok(Store::open_own(&self.git_dir())?)
    }

    /// Brings the workspace to exactly `commit`, keeping only cache folders. By difference where
    /// that works, from scratch where it does not.
    pub fn move_to(&self, commit: Oid, store: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
        if !store.join("objects").is_dir() {
            return Err(WorkspaceError::NoStore { store: store.display().to_string() });
        }
        let moved = self.try_move(commit, store, caches);
        match moved {
            Err(error) if !error.is_disk_full() => {
                // A commit the store lacks is no reason to give up the slot's caches.
                let known = Store::open_own(store)?;
                if !known.has(commit) {
                    return Err(StoreError::Unknown { path: store.to_owned(), rev: commit.to_string() }.into());
                }
                tracing::warn!(slot = %self.root.display(), %error, "slot cannot be moved, making it anew");
                self.empty()?;
                self.try_move(commit, store, caches)
            }
            other => other,
        }
    }

    fn try_move(&self, commit: Oid, store: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
        self.ready_git(store, caches)?;
        self.ready_folders()?;
        self.reset_to(&commit.to_string(), caches)?;
        decoy::write(&self.ws(), commit, store, &self.index(), caches)
    }

    /// Brings tracked files to a commit or tree and removes all that is not in it, except caches
    /// and the decoy's place (`ws/.git` is removed).
    pub fn reset_to(&self, treeish: &str, caches: &[String]) -> Result<(), WorkspaceError> {
        self.git().run(["read-tree", "--reset", "-u", treeish])?;
        sweep(&self.ws(), &self.index(), caches)?;
        Ok(())
    }

    /// As [`Slot::reset_to`] in the middle of an assignment: the decoy is written anew.
    pub fn restore(&self, tree: Oid, base: Oid, store: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
        self.reset_to(&tree.to_string(), caches)?;
        decoy::write(&self.ws(), base, store, &self.index(), caches)
    }

    /// Undoes what programs did to what git runs by; writes the decoy anew where it is none any more.
    pub fn mend_decoy(&self, base: Oid, store: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
        if decoy::mend(&self.ws()) {
            return Ok(());
        }
        decoy::write(&self.ws(), base, store, &self.index(), caches)
    }

    /// Makes the git directory as it must be, whatever a killed process left in it. Objects of
    /// earlier assignments go: their results are acknowledged and durable elsewhere.
    fn ready_git(&self, store: &Path, caches: &[String]) -> Result<(), WorkspaceError> {
        let git = self.git_dir();
        for folder in ["objects/info", "refs/heads", "info"] {
            let path = git.join(folder);
            fs::create_dir_all(&path).at("create", &path)?;
        }
        let alternates = format!("{}\n", store.join("objects").display());
        let exclude: String = caches.iter().map(|cache| format!("/{}/\n", cache.trim_matches('/'))).collect();
        write_if_changed(&git.join("HEAD"), "ref: refs/heads/none\n")?;
        write_if_changed(&git.join("config"), CONFIG)?;
        write_if_changed(&git.join("info/exclude"), &exclude)?;
        write_if_changed(&git.join("objects/info/alternates"), &alternates)?;
        for entry in fs::read_dir(&git).at("list", &git)?.flatten() {
            // The slot is exclusively ours, so any lock is a killed process's.
            if entry.path().extension().is_some_and(|extension| extension == "lock") {
                remove_tree(&entry.path()).at("remove", &entry.path())?;
            }
        }
        let objects = git.join("objects");
        for entry in fs::read_dir(&objects).at("list", &objects)?.flatten() {
            if entry.file_name() != "info" {
                remove_tree(&entry.path()).at("remove", &entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what an agent had as its home: no other may find its session, its key or its settings.
    pub fn remove_home(&self) -> Result<(), WorkspaceError> {
        let home = self.home();
        remove_tree(&home).at("remove", &home)
    }

    fn ready_folders(&self) -> Result<(), WorkspaceError> {
        // A worker that was killed leaves it.
        self.remove_home()?;
        let (ws, tmp) = (self.ws(), self.tmp());
        if !fs::symlink_metadata(&ws).is_ok_and(|found| found.is_dir()) {
            remove_tree(&ws).at("remove", &ws)?;
            fs::create_dir(&ws).at("create", &ws)?;
        }
        remove_tree(&tmp).at("empty", &tmp)?;
        fs::create_dir(&tmp).at("create", &tmp)?;
        let cache = self.cache();
        if !fs::symlink_metadata(&cache).is_ok_and(|found| found.is_dir()) {
            remove_tree(&cache).at("remove", &cache)?;
            fs::create_dir(&cache).at("create", &cache)?;
        }
        Ok(())
    }

    /// Removes everything but the lock.
    pub fn empty(&self) -> Result<(), WorkspaceError> {
        for name in ["ws", "git", "tmp", "cache", "home", "slot.json", decoy::IN_THE_MAKING] {
            let path = self.root.join(name);
            remove_tree(&path).at("remove", &path)?;
        }
        Ok(())
    }
}

fn write_if_changed(path: &Path, content: &str) -> Result<(), WorkspaceError> {
    if fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    fs::write(path, content).at("write", path)
}
