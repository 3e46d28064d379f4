//! How a bus reaches its server, and who it is there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::super::Subject;
use super::backoff;
use crate::WorkerName;

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Longest wait between two attempts to connect.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Time between two pings; a cut line is noticed after two without an answer.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Who a bus is on its server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NatsRole {
    /// Creates the fleet's streams; may everything below the fleet's subjects.
    Coordinator,
    /// Waits for the streams; may only what concerns itself.
    Worker(WorkerName),
}

/// Settings of a [`super::NatsBus`].
#[derive(Clone)]
pub struct NatsConfig {
    /// `nats://host:port` or `tls://host:port`, any server of the cluster.
    pub urls: Vec<String>,
    /// Which fleet's subjects and streams: letters, digits, `-` and `_`.
    pub fleet: String,
    /// How the server's operators see the connection.
    pub name: String,
    /// Copies of each stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// Certificates (PEM) of the authority that signed the server's; asks for TLS.
    pub ca: Option<PathBuf>,
    /// One's own certificate (PEM), with its key.
    pub cert: Option<PathBuf>,
    /// Key (PEM) of `cert`.
    pub key: Option<PathBuf>,
    /// A credentials file (JWT and seed).
    pub creds: Option<PathBuf>,
    /// A file that holds an nkey seed.
    pub nkey_seed: Option<PathBuf>,
    /// A token, sent on connecting.
    pub token: Option<String>,
    /// Who connects.
    pub role: NatsRole,
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.urls.iter().map(|url| shown(url)).collect();
        let mut shown = f.debug_struct("NatsConfig");
        shown.field("urls", &urls).field("fleet", &self.fleet).field("name", &self.name);
        shown.field("role", &self.role).finish_non_exhaustive()
    }
}

/// Why a bus cannot be set up as configured. That no server is reached is none of these: it is
/// tried for ever.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// No address.
    #[error("no NATS server is named; give at least one address such as nats://127.0.0.1:4222")]
    NoUrl,
    /// Not an address.
    #[error("not the address of a NATS server: {url:?}; nats://host:port or tls://host:port is expected")]
    Url {
        /// As given, without a password.
        url: String,
    },
    /// Not one plain token.
    #[error("not a fleet's name: {fleet:?}; letters, digits, '-' and '_' are allowed")]
    Fleet {
        /// As given.
        fleet: String,
    },
    /// A file of certificates, keys or credentials.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A certificate without key, or the other way round.
    #[error("a client certificate for NATS needs its key, and a key its certificate")]
    HalfACertificate,
    /// A file that holds no nkey seed.
    #[error("{} holds no nkey seed of a user (a line that starts with SU)", path.display())]
    Seed {
        /// Which.
        path: PathBuf,
    },
    /// The client library refused.
    #[error("cannot set up the connection to NATS: {0}")]
    SetUp(#[from] async_nats::ConnectError),
}

/// An address without what comes before `@`.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    }
}

fn check(path: &Path) -> Result<(), NatsError> {
    std::fs::File::open(path).map(drop).map_err(|source| NatsError::File { path: path.to_owned(), source })
}

fn seed(path: &Path) -> Result<String, NatsError> {
    let text = std::fs::read_to_string(path).map_err(|source| NatsError::File { path: path.to_owned(), source })?;
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    seed.map(str::to_owned).ok_or_else(|| NatsError::Seed { path: path.to_owned() })
}

impl NatsConfig {
    /// The addresses, understood.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, NatsError> {
        if self.urls.is_empty() {
            return Err(NatsError::NoUrl);
        }
        let parse = |url: &String| url.parse().map_err(|_| NatsError::Url { url: shown(url) });
        self.urls.iter().map(parse).collect()
    }

    /// The addresses in words, without passwords.
    pub(super) fn server(&self) -> String {
        self.urls.iter().map(|url| shown(url)).collect::<Vec<_>>().join(", ")
    }

    /// What the connection is to be like.
    pub(super) async fn options(&self) -> Result<ConnectOptions, NatsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.fleet.is_empty() || !self.fleet.bytes().all(plain) {
            return Err(NatsError::Fleet { fleet: self.fleet.clone() });
        }
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .retry_on_initial_connect()
            .connection_timeout(CONNECT_MAX)
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(|attempts| {
                backoff::delay(u32::try_from(attempts).unwrap_or(u32::MAX).saturating_sub(1), RECONNECT_MAX)
            })
            .custom_inbox_prefix(self.inbox());
        if let Some(ca) = &self.ca {
            check(ca)?;
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                check(cert)?;
                check(key)?;
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            (None, None) => {}
            _ => return Err(NatsError::HalfACertificate),
        }
        if let Some(path) = &self.creds {
            let failed = |source| NatsError::File { path: path.clone(), source };
            options = options.credentials_file(path).await.map_err(failed)?;
        }
        if let Some(path) = &self.nkey_seed {
            options = options.nkey(seed(path)?);
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        Ok(options)
    }

    /// Answers come to a subject of one's own, so that a worker can be kept from reading others'.
    fn inbox(&self) -> String {
        match &self.role {
            NatsRole::Coordinator => "_INBOX".to_owned(),
            NatsRole::Worker(name) => {
                let subject = Subject::worker(name.as_str());
                format!("_INBOX.{}", subject.worker_name().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("nats://ada:secret@host:4222"), "nats://host:4222");
        assert_eq!(shown("nats://host:4222"), "nats://host:4222");
        assert_eq!(shown("secret@host"), "host");
    }
}
