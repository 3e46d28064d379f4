//! All mirrors of a worker, who uses them, and which are removed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use longhaul_common::Oid;
use longhaul_common::git::{Git, GitError, Store};
use longhaul_common::server::ServerAccess;
use rustix::fs::FlockOperation;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fetch::{Fetch, fetch};
use super::upkeep;
use crate::config::{Scope, WorkerConfig};
use crate::process::Secrets;
use crate::workspace::remove_tree;

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
pub(super) struct Shared {
    pub(super) uses: BTreeMap<String, usize>,
    /// Objects of it may be damaged; to be looked through.
    suspect: std::collections::BTreeSet<String>,
    /// Those without leftovers of a killed git.
    tidy: std::collections::BTreeSet<String>,
    /// One fetch at a time for each.
    turns: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// Held by who changes a mirror.
type Turn = OwnedMutexGuard<()>;

/// A mirror that is ready to fetch into.
struct Prepared {
    turn: Turn,
    missing: Vec<Oid>,
    /// It was made anew, or leftovers were removed from it.
    mended: bool,
}

/// The mirrors below one folder; clones are the same.
#[derive(Clone, Debug)]
pub struct Mirrors {
    pub(super) root: PathBuf,
    server: Option<ServerAccess>,
    shim: Vec<OsString>,
    pub(super) bytes_max: u64,
    /// No other process uses the folder.
    pub(super) exclusive: bool,
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

pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MirrorError {
    move |source| {
        if longhaul_common::room::is_out_of_room(&source) {
            return MirrorError::DiskFull { cause: format!("cannot {action} {}: {source}", path.display()) };
        }
        MirrorError::Io { action, path: path.to_owned(), source }
    }
}

/// Whether a name from the wire is one folder's name and nothing else.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= KEY_BYTES_MAX && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

impl Mirrors {
    /// Those of a worker of this scope; the folder need not exist yet.
    pub fn new(config: &WorkerConfig, scope: &Scope) -> Self {
        Self {
            root: config.root.join("mirrors"),
            server: config.server.clone(),
            shim: config.shim.clone(),
            bytes_max: config.disk.mirrors_bytes_max,
            exclusive: *scope == Scope::All,
            shared: Arc::default(),
        }
    }

    pub(super) fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
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
        let mut turn = tokio::select! {
            turn = turn.lock_owned() => turn,
            () = cancel.cancelled() => return Err(MirrorError::Cancelled),
        };
        // Counted before anything is looked at: from now on nothing of it is removed.
        let found = self.using(&need.key);
        let (mut anew, mut last, mut failed) = (false, false, None);
        loop {
            let mut preparing = self.prepare(need, anew, turn);
            let prepared = tokio::select! {
                prepared = &mut preparing => prepared.map_err(|_| MirrorError::Ended)??,
                () = cancel.cancelled() => {
                    // It goes on by itself; until it is done the mirror is in use and its turn taken.
                    tokio::spawn(async move {
                        let _done = preparing.await;
                        drop(found);
                    });
                    return Err(MirrorError::Cancelled);
                }
            };
            turn = prepared.turn;
            if prepared.missing.is_empty() {
                return Ok(found);
            }
            // Tried enough, unless it was the mirror that failed.
            if let Some(error) = failed.take().filter(|_| !prepared.mended) {
                return Err(error);
            }
            let secrets = Secrets::new(server.token.iter().map(OsString::from));
            let wanted = Fetch {
                path: found.path(),
                url: &url,
                server,
                shim: &self.shim,
                secrets,
                job: &need.job,
                commits: &prepared.missing,
            };
            let fetched = fetch(&wanted, cancel).await;
            if fetched.is_err() {
                self.shared().tidy.remove(&need.key);
            }
            match fetched {
                Ok(()) => {
                    self.evict(&need.key).await;
                    return Ok(found);
                }
                // A broken mirror says so by failing to fetch what a new one can.
                Err(MirrorError::Git(error)) if !last && self.is_only_user(&need.key) => {
                    tracing::warn!(mirror = need.key, %error, "the mirror is damaged; making it anew");
                    (anew, last) = (true, true);
                }
                // After so many tries it is looked through: damage has many words.
                Err(error @ MirrorError::Fetch { .. }) if !last && self.is_only_user(&need.key) => {
                    found.suspect();
                    last = true;
                    failed = Some(error);
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

    /// Makes the folder ready, and finds what has to be fetched.
    fn prepare(&self, need: &Need, anew: bool, turn: Turn) -> JoinHandle<Result<Prepared, MirrorError>> {
        let (this, need) = (self.clone(), need.clone());
        tokio::task::spawn_blocking(move || {
            let (missing, mended) = this.prepare_now(&need, anew)?;
            Ok(Prepared { turn, missing, mended })
        })
    }

    fn prepare_now(&self, need: &Need, anew: bool) -> Result<(Vec<Oid>, bool), MirrorError> {
        fs::create_dir_all(&self.root).map_err(io("create", &self.root))?;
        let path = self.path(&need.key);
        let alone = self.is_only_user(&need.key);
        let untidy = self.exclusive && self.shared().tidy.insert(need.key.clone());
        let tidied = untidy && upkeep::tidy(&path).map_err(io("tidy", &path))?;
        // Reading all of it is cheap beside fetching all of it again for another cause of the failure.
        let named = alone && self.shared().suspect.remove(&need.key);
        let suspect = named && upkeep::is_damaged(&path, &self.shim);
        let made = anew || suspect || !is_whole(&path);
        if made {
            self.make(&need.key)?;
        } else if let Err(error) = upkeep::repack_if_due(&path, &self.shim, alone) {
            tracing::warn!(mirror = need.key, %error, "the mirror could not be repacked");
        }
        touch(&path);
        let store = match Store::open_own(&path) {
            Ok(store) => store,
            Err(_) if alone => {
                self.make(&need.key)?;
                return Ok((need.commits.clone(), true));
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
        Ok((need.commits.iter().filter(|oid| !held(oid)).copied().collect(), made || tidied))
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
}

fn is_whole(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

/// Notes a use, by the time of a file.
fn touch(path: &Path) {
    // Only the order of removal hangs on it.
    let _unnoted = fs::write(path.join("used"), "");
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

    #[tokio::test]
    async fn waiting_for_a_mirrors_turn_gives_way_to_a_cancel() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut config = WorkerConfig::new("w", dir.path(), Vec::new());
        config.server = Some(ServerAccess { url: "file:///nowhere".into(), ..ServerAccess::default() });
        let mirrors = Mirrors::new(&config, &Scope::All);
        let turn = Arc::clone(mirrors.shared().turns.entry("r".into()).or_default());
        let _held = turn.lock().await;
        let need = Need { key: "r".into(), store: "r.git".into(), job: "j".into(), commits: Vec::new() };
        let cancel = CancellationToken::new();
        cancel.cancel();
        let ended = mirrors.ensure(&need, &cancel).await.expect_err("someone else has it");
        assert!(matches!(ended, MirrorError::Cancelled), "{ended}");
    }
}
