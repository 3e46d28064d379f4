//! How a bus reaches its server, and who it is there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::super::Subject;
use super::backoff;
use crate::WorkerName;
use crate::server::is_loopback;
use crate::text::without_user;

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
        let urls: Vec<String> = self.urls.iter().map(|url| without_user(url)).collect();
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
    /// Clear text on the network.
    #[error(
        "refused to speak to NATS at {url} in clear text: everyone on the way could read jobs and results, and use \
         what opens NATS; write {}, with --nats-ca for an authority of your own, or use a tunnel to 127.0.0.1",
        as_tls(url)
    )]
    Clear {
        /// Which, without a password.
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

fn as_tls(url: &str) -> String {
    format!("tls://{}", url.split_once("://").map_or(url, |(_, host)| host))
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
        let parse = |url: &String| url.parse().map_err(|_| NatsError::Url { url: without_user(url) });
        self.urls.iter().map(parse).collect()
    }

    /// Whether it has to be TLS; clear text is for this machine only. One server that needs it makes
    /// all need it: whichever answers names further ones of its cluster.
    fn secure(&self) -> Result<bool, NatsError> {
        let mut secure = self.ca.is_some();
        let addresses = self.addresses()?;
        for address in &addresses {
            secure |= address.tls_required();
        }
        for (address, url) in addresses.iter().zip(&self.urls) {
            let url = without_user(url);
            match address.scheme() {
                "tls" => {}
                "nats" if self.ca.is_some() || is_loopback(address.host()) => {}
                "nats" => return Err(NatsError::Clear { url }),
                _ => return Err(NatsError::Url { url }),
            }
        }
        Ok(secure)
    }

    /// The addresses in words, without passwords.
    pub(super) fn server(&self) -> String {
        self.urls.iter().map(|url| without_user(url)).collect::<Vec<_>>().join(", ")
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
        options = match self.secure()? {
            true => options.require_tls(true),
            // What a server on this machine names may be another machine.
            false => options.ignore_discovered_servers(),
        };
        if let Some(ca) = &self.ca {
            check(ca)?;
            options = options.add_root_certificates(ca.clone());
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

    fn config(urls: &[&str]) -> NatsConfig {
        NatsConfig {
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            fleet: "f".into(),
            name: "n".into(),
            replicas: 1,
            ca: None,
            cert: None,
            key: None,
            creds: None,
            nkey_seed: None,
            token: None,
            role: NatsRole::Coordinator,
        }
    }

    #[test]
    fn beyond_this_machine_it_is_tls_or_nothing() {
        for (urls, wanted) in [
            (&["nats://127.0.0.1:4222", "nats://localhost", "nats://[::1]:4222", "127.0.0.1"][..], Some(false)),
            (&["tls://far.example:4222"], Some(true)),
            (&["nats://127.0.0.1:4222", "tls://far.example"], Some(true)),
            (&["tls://127.0.0.1:4222"], Some(true)),
            (&["nats://far.example:4222"], None),
            (&["tls://a.example", "nats://far.example:4222"], None),
            (&["nats://0.0.0.0:4222"], None),
            (&["far.example"], None),
            (&["nats://ada:secret@far.example"], None),
            (&["ws://127.0.0.1:80"], None),
        ] {
            let found = config(urls).secure();
            assert_eq!(found.as_ref().ok().copied(), wanted, "{urls:?}");
            let said = found.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!said.contains("secret"), "{said}");
        }
        let error = config(&["nats://far.example:4222"]).secure().expect_err("refused").to_string();
        assert!(error.contains("tls://far.example:4222"), "{error}");
        // An authority for the server's certificate is asking for TLS.
        let with_ca = NatsConfig { ca: Some("ca.pem".into()), ..config(&["nats://far.example:4222"]) };
        assert!(with_ca.secure().expect("fine"));
    }
}
