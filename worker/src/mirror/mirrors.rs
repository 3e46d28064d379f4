//! All mirrors of a worker, who uses them, and which are removed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Store};
use longhaul_common::server::ServerAccess;
use rustix::fs::FlockOperation;
use tokio_util::sync::CancellationToken;

use super::fetch::{Fetch, fetch};
use super::upkeep;
use crate::config::WorkerConfig;
use crate::process::Secrets;
use crate::workspace::{remove_tree, tree_bytes};

/// Longest key of a repository: it names a folder.
const KEY_BYTES_MAX: usize = 100;

/// What an assignment needs of a repository.
#[derive(Clone, Debug)]
pub struct Need {
    /// Names the mirror.
    pub key: String,
    /// Path of the repository, relative to the server's root.
    pub store: String,
    /// For whom: refs are kept by job.
    pub job: String,
    /// What must be there.
    pub commits: Vec<Oid>,
}

/// Why a mirror cannot give what is needed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The worker was not told where the server is.
    #[error("the assignment's store {store:?} is on a server, and this worker was given none (--server)")]
    NoServer {
        /// As the assignment has it.
        store: String,
    },
    /// A key or path that leads elsewhere.
    #[error("{name:?} cannot name a repository")]
    BadName {
        /// As the assignment has it.
        name: String,
    },
    /// A file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The mirror's own git commands.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The server does not give it, however often it is asked.
    #[error("cannot fetch from {url} after {tries} tries: {cause}")]
    Fetch {
        /// Of what.
        url: String,
        /// How often.
        tries: u32,
        /// The last word of git.
        cause: String,
    },
    /// The disk is full.
    #[error("the disk is full: {cause}")]
    DiskFull {
        /// Who said so.
        cause: String,
    },
    /// The assignment was cancelled meanwhile.
    #[error("cancelled while fetching")]
    Cancelled,
    /// The process ends.
    #[error("the worker is shutting down")]
    Ended,
}

#[derive(Debug, Default)]
struct Shared {
    uses: BTreeMap<String, usize>,
    /// Objects of it may be damaged; to be looked through.
    suspect: std::collections::BTreeSet<String>,
    /// One fetch at a time for each.
    turns: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// The mirrors below one folder; clones are the same.
#[derive(Clone, Debug)]
pub struct Mirrors {
    root: PathBuf,
    server: Option<ServerAccess>,
    shim: Vec<OsString>,
    bytes_max: u64,
    shared: Arc<Mutex<Shared>>,
}

/// A mirror that stays until this value is dropped.
#[derive(Debug)]
pub struct MirrorUse {
    mirrors: Mirrors,
    key: String,
}

impl MirrorUse {
    /// The bare repository.
    pub fn path(&self) -> PathBuf {
        self.mirrors.path(&self.key)
    }

    /// Its objects may be damaged: it is looked through before its next use, and made anew if so.
    pub fn suspect(&self) {
        self.mirrors.shared().suspect.insert(self.key.clone());
    }
}

impl Drop for MirrorUse {
    fn drop(&mut self) {
        let mut shared = self.mirrors.shared();
        if let Some(uses) = shared.uses.get_mut(&self.key) {
            *uses -= 1;
            if *uses == 0 {
                shared.uses.remove(&self.key);
            }
        }
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MirrorError {
    move |source| {
        if crate::workspace::is_full(&source) {
            return MirrorError::DiskFull { cause: format!("cannot {action} {}: {source}", path.display()) };
        }
        MirrorError::Io { action, path: path.to_owned(), source }
    }
}

/// Whether a name from the wire is one folder's name and nothing else.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= KEY_BYTES_MAX && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

impl Mirrors {
    /// Those of a worker; the folder need not exist yet.
    pub fn new(config: &WorkerConfig) -> Self {
        Self {
            root: config.root.join("mirrors"),
            server: config.server.clone(),
            shim: config.shim.clone(),
            bytes_max: config.disk.mirrors_bytes_max,
            shared: Arc::default(),
        }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(format!("{key}.git"))
    }

    /// Brings what is needed, fetching only what is missing.
    pub async fn ensure(&self, need: &Need, cancel: &CancellationToken) -> Result<MirrorUse, MirrorError> {
        let Some(server) = &self.server else { return Err(MirrorError::NoServer { store: need.store.clone() }) };
        for name in std::iter::once(need.key.as_str()).chain(need.store.split('/')) {
            if !is_plain(name) {
                return Err(MirrorError::BadName { name: name.to_owned() });
            }
        }
        let url = server.at(&need.store);
        let turn = Arc::clone(self.shared().turns.entry(need.key.clone()).or_default());
        let _turn = turn.lock().await;
        // Counted before anything is looked at: from now on nothing of it is removed.
        let found = self.using(&need.key);
        let mut anew = false;
        loop {
            let missing = self.prepare(need, anew).await?;
            if missing.is_empty() {
                return Ok(found);
            }
            let secrets = Secrets::new(server.token.iter().map(OsString::from));
            let wanted = Fetch {
                path: found.path(),
                url: &url,
                server,
                shim: &self.shim,
                secrets,
                job: &need.job,
                commits: &missing,
            };
            match fetch(&wanted, cancel).await {
                Ok(()) => {
                    self.evict(&need.key).await;
                    return Ok(found);
                }
                // A broken mirror says so by failing to fetch what a new one can.
                Err(MirrorError::Git(error)) if !anew && self.is_only_user(&need.key) => {
                    tracing::warn!(mirror = need.key, %error, "the mirror is damaged; making it anew");
                    anew = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn using(&self, key: &str) -> MirrorUse {
        *self.shared().uses.entry(key.to_owned()).or_default() += 1;
        MirrorUse { mirrors: self.clone(), key: key.to_owned() }
    }

    fn is_only_user(&self, key: &str) -> bool {
        self.shared().uses.get(key).copied().unwrap_or_default() <= 1
    }

    /// Makes the folder ready; gives what has to be fetched.
    async fn prepare(&self, need: &Need, anew: bool) -> Result<Vec<Oid>, MirrorError> {
        let (this, need) = (self.clone(), need.clone());
        let prepared = tokio::task::spawn_blocking(move || this.prepare_now(&need, anew));
        prepared.await.map_err(|_| MirrorError::Ended)?
    }

    fn prepare_now(&self, need: &Need, anew: bool) -> Result<Vec<Oid>, MirrorError> {
        fs::create_dir_all(&self.root).map_err(io("create", &self.root))?;
        let path = self.path(&need.key);
        let alone = self.is_only_user(&need.key);
        // Reading all of it is cheap beside fetching all of it again for another cause of the failure.
        let named = alone && self.shared().suspect.remove(&need.key);
        let suspect = named && is_damaged(&path);
        if anew || suspect || !is_whole(&path) {
            self.make(&need.key)?;
        } else if let Err(error) = upkeep::repack_if_due(&path, alone) {
            tracing::warn!(mirror = need.key, %error, "the mirror could not be repacked");
        }
        touch(&path);
        let store = match Store::open_own(&path) {
            Ok(store) => store,
            Err(_) if alone => {
                self.make(&need.key)?;
                return Ok(need.commits.clone());
            }
            Err(error) => {
                return Err(MirrorError::Fetch { url: path.display().to_string(), tries: 0, cause: error.to_string() });
            }
        };
        // A commit counts as there when a ref says that all below it is: a killed fetch leaves some.
        let held = |oid: &Oid| {
            let name = super::fetch::reference(&need.job, *oid);
            matches!(store.reference(&name), Ok(Some(found)) if found == *oid) && store.has(*oid)
        };
        Ok(need.commits.iter().filter(|oid| !held(oid)).copied().collect())
    }

    /// Makes an empty mirror in the place of whatever is there.
    fn make(&self, key: &str) -> Result<(), MirrorError> {
        let path = self.path(key);
        let lock_path = self.root.join(format!("{key}.lock"));
        let lock = fs::File::create(&lock_path).map_err(io("create", &lock_path))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| io("lock", &lock_path)(error.into()))?;
        let new = self.root.join(format!(".new-{key}"));
        for old in [&new, &path] {
            remove_tree(old).map_err(io("remove", old))?;
        }
        fs::create_dir(&new).map_err(io("create", &new))?;
        Git::at(&new).run(["init", "-q", "--bare", "--template="])?;
        fs::rename(&new, &path).map_err(io("rename", &new))
    }

    /// Keys of the mirrors there are.
    pub fn warm(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.all().into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys
    }

    fn all(&self) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let key = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".git").map(str::to_owned);
        entries.filter_map(|entry| Some((key(&entry.path()).filter(|key| is_plain(key))?, entry.path()))).collect()
    }

    /// Bytes on disk of all. Blocks.
    pub fn bytes(&self) -> u64 {
        tree_bytes(&self.root)
    }

    /// Removes idle mirrors, the least recently used first, while all are over the limit.
    async fn evict(&self, keep: &str) {
        if self.bytes_max == 0 {
            return;
        }
        let (this, keep) = (self.clone(), keep.to_owned());
        let evicted = tokio::task::spawn_blocking(move || this.evict_now(&keep));
        if let Ok(Err(error)) = evicted.await {
            tracing::warn!(%error, "a mirror could not be removed to stay within the limit");
        }
    }

    fn evict_now(&self, keep: &str) -> Result<(), MirrorError> {
        let mut known: Vec<_> =
            self.all().into_iter().map(|(key, path)| (used(&path), tree_bytes(&path), key, path)).collect();
        let mut bytes: u64 = known.iter().map(|(_, bytes, ..)| bytes).sum();
        known.sort();
        for (_, own, key, path) in known {
            if bytes <= self.bytes_max {
                break;
            }
            // Under the lock: nobody begins to use it between the look and the rename.
            let shared = self.shared();
            if key == keep || shared.uses.contains_key(&key) {
                continue;
            }
            let gone = self.root.join(format!(".gone-{key}"));
            remove_tree(&gone).map_err(io("remove", &gone))?;
            fs::rename(&path, &gone).map_err(io("rename", &path))?;
            drop(shared);
            tracing::info!(mirror = key, bytes = own, "mirror removed to stay within the limit");
            remove_tree(&gone).map_err(io("remove", &gone))?;
            bytes -= own;
        }
        Ok(())
    }
}

fn is_whole(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

fn is_damaged(path: &Path) -> bool {
    Git::at(path).run(["fsck", "--no-dangling", "--no-progress"]).is_err()
}

/// Notes a use, by the time of a file.
fn touch(path: &Path) {
    // Only the order of removal hangs on it.
    let _unnoted = fs::write(path.join("used"), "");
}

fn used(path: &Path) -> SystemTime {
    fs::metadata(path.join("used")).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_wire_stay_inside_the_folder() {
        for good in ["api-0123456789ab", "a.git", "job-1"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", ".git", "ü", &"x".repeat(101)] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
