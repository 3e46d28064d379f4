//! Who asks: by token, by client certificate, or anybody where the server is open on loopback.
//!
//! The tokens file is read again when it changes, so that tokens are rotated without a restart. A
//! file that is wrong or gone after a change leaves the last good one in force, loudly: a typing
//! error must not lock a fleet out, and a revoked token needs a file that parses to be revoked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::tokens::{AccessError, AccessFile};
use crate::hub::Identity;

/// How often the tokens file is looked at, at most.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest token in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// The answer to "who is this?".
#[derive(Clone, Debug)]
pub struct Access(Option<Arc<Mutex<Watched>>>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Modification time and size of what was read last.
    version: Option<(SystemTime, u64)>,
    looked: Instant,
    file: Arc<AccessFile>,
}

/// What a caller shows.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The `authorization` header, as sent.
    pub authorization: Option<String>,
    /// Common name of the verified client certificate.
    pub certificate: Option<String>,
}

impl Access {
    /// By a tokens file; without one everybody is the local user.
    pub fn open(path: Option<PathBuf>) -> Result<Self, AccessError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let version = version(&path);
        let file = Arc::new(AccessFile::read(&path)?);
        Ok(Self(Some(Arc::new(Mutex::new(Watched { path, version, looked: Instant::now(), file })))))
    }

    /// Whether nobody is asked for a credential.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Who shows these. A token that was shown must be right: a certificate does not mend it.
    pub fn identify(&self, shown: &Credentials) -> Option<Identity> {
        let Some(watched) = &self.0 else { return Some(Identity::local()) };
        let file = watched.lock().unwrap_or_else(PoisonError::into_inner).current();
        match (&shown.authorization, &shown.certificate) {
            (Some(header), _) => file.by_token(bearer(header)?),
            (None, Some(name)) => file.by_certificate(name),
            (None, None) => None,
        }
    }
}

/// The token of an `authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

fn version(path: &PathBuf) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

impl Watched {
    fn current(&mut self) -> Arc<AccessFile> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let version = version(&self.path);
            if version != self.version {
                self.version = version;
                match AccessFile::read(&self.path) {
                    Ok(file) => {
                        tracing::info!(path = %self.path.display(), "the tokens file was read again");
                        self.file = Arc::new(file);
                    }
                    Err(error) => tracing::error!(%error, "the tokens read before stay in force"),
                }
            }
        }
        Arc::clone(&self.file)
    }
}
