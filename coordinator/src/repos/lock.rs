//! Who may change a store's objects at the same time: imports together, clearing alone.
//!
//! The lock (flock on `longhaul.lock`) goes with its process, so it is never stale. Imports hold
//! it shared and may wait a moment for a clearing; a clearing does not wait in line, where every
//! later import would wait behind it: it asks for a while and gives way.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{RepoError, io};

/// How long a clearing asks for a moment without imports before it is left for the next time.
pub const GIVE_WAY_MAX: Duration = Duration::from_secs(3);

/// Time between two such questions.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A hold on a store, until it is dropped.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "held, not read")] File);

impl StoreLock {
    /// For adding objects.
    pub fn shared(store: &Path) -> Result<Self, RepoError> {
        let file = open(store, "longhaul.lock")?;
        wait(store, &file, FlockOperation::LockShared)?;
        Ok(Self(file))
    }

    /// For taking objects away; `None` when imports never paused.
    pub fn exclusive(store: &Path) -> Result<Option<Self>, RepoError> {
        let file = open(store, "longhaul.lock")?;
        let begin = Instant::now();
        while !try_lock(store, &file)? {
            if begin.elapsed() >= GIVE_WAY_MAX {
                return Ok(None);
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(Some(Self(file)))
    }

    /// To be the only maintenance of a store; `None` when another one is at work.
    pub fn maintenance(store: &Path) -> Result<Option<Self>, RepoError> {
        let file = open(store, "longhaul-maintenance.lock")?;
        Ok(try_lock(store, &file)?.then_some(Self(file)))
    }
}

fn open(store: &Path, name: &str) -> Result<File, RepoError> {
    let path = store.join(name);
    File::options().create(true).truncate(false).write(true).open(&path).map_err(io("open", &path))
}

fn wait(store: &Path, file: &File, operation: FlockOperation) -> Result<(), RepoError> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            done => return done.map_err(|error| io("lock", store)(error.into())),
        }
    }
}

fn try_lock(store: &Path, file: &File) -> Result<bool, RepoError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(io("lock", store)(error.into())),
    }
}
