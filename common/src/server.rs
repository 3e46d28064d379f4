//! Reaching a coordinator's server: address, trust, and who one is. The same for the command line
//! and for workers, over gRPC and over git's smart HTTP.
//!
//! A token travels in a header only: never in argv, a log or an error.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Request, Status};

use crate::text::without_user;

/// Time between two keepalive pings; streams last for hours.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// How long a ping or a new connection may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The name in the certificate of every worker's own service. It is one for all because it says
/// nothing: the certificate itself is what is known of the worker.
pub const WORKER_SERVICE: &str = "worker.longhaul.invalid";

/// Where a server is and how to speak to it.
#[derive(Clone, Default)]
pub struct ServerAccess {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Sent as `authorization: Bearer`.
    pub token: Option<String>,
    /// Certificates (PEM) of the authority that signed the server's.
    pub ca: Option<PathBuf>,
    /// One's own certificate (PEM), with its key.
    pub cert: Option<PathBuf>,
    /// Key (PEM) of `cert`.
    pub key: Option<PathBuf>,
}

impl fmt::Debug for ServerAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "set");
        f.debug_struct("ServerAccess").field("url", &self.url).field("token", &token).finish_non_exhaustive()
    }
}

/// Why a server cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Not an address.
    #[error("not a server address: {url:?}; http://host:port or https://host:port is expected")]
    Url {
        /// As given, without a password.
        url: String,
    },
    /// A file of certificates or keys.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The token has characters no header can have.
    #[error("the token cannot be sent: it holds characters that are not plain ASCII")]
    Token,
    /// The TLS settings do not go together.
    #[error("the TLS settings cannot be used: {0}")]
    Tls(String),
}

/// A channel that connects when it is used and reconnects by itself, with one's token on every
/// request.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts the token on a request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// No token: for a socket whose folder says who may come in.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    std::fs::read(path).map_err(|source| ServerError::File { path: path.to_owned(), source })
}

/// Whether a host is this machine, by name or by address. An IPv4 address in IPv6 clothes is the
/// same address.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether what is sent to an address can be read by nobody on the way: TLS, or it stays on this
/// machine.
pub fn is_private(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri.host().is_some_and(is_loopback),
        _ => false,
    }
}

/// An endpoint that connects when it is used; `tls` where the address asks for it.
fn lazy(url: &str, tls: impl FnOnce() -> Result<ClientTlsConfig, ServerError>) -> Result<Channel, ServerError> {
    let bad = || ServerError::Url { url: without_user(url) };
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(bad()),
    };
    // A user's name in front of the host would make one address look like another.
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(bad());
    }
    let mut endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(ANSWER_MAX)
        .keep_alive_while_idle(true)
        .connect_timeout(ANSWER_MAX)
        .tcp_nodelay(true);
    if secure {
        endpoint = endpoint.tls_config(tls()?).map_err(|error| ServerError::Tls(error.to_string()))?;
    }
    Ok(endpoint.connect_lazy())
}

impl Bearer {
    fn of(token: &str) -> Result<Self, ServerError> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| ServerError::Token)?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

/// A connection to a worker's own service, which is known by the one certificate (PEM) it handed
/// over; empty where plain text stays on this machine.
pub fn connect_to_worker(url: &str, token: &str, certificate: &str) -> Result<Connection, ServerError> {
    let pinned = || {
        let only = Certificate::from_pem(certificate);
        Ok(ClientTlsConfig::new().ca_certificate(only).domain_name(WORKER_SERVICE))
    };
    Ok(InterceptedService::new(lazy(url, pinned)?, Bearer::of(token)?))
}

impl ServerAccess {
    /// A connection for clients of any service; nothing is sent before its first use.
    pub fn connect(&self) -> Result<Connection, ServerError> {
        let tls = || {
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
            }
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            Ok(tls)
        };
        let channel = lazy(&self.url, tls)?;
        let bearer = self.token.as_deref().map_or_else(|| Ok(Bearer::none()), Bearer::of)?;
        Ok(InterceptedService::new(channel, bearer))
    }

    /// Variables that make git speak to the server: settings by environment, so that nothing
    /// secret is in argv and nothing is written to a file.
    pub fn git_env(&self) -> Vec<(OsString, OsString)> {
        // For this server's addresses alone, and for what it serves itself: neither a redirect nor a
        // submodule named in a repository may see the token.
        let scoped = |key: &str| format!("http.{}/.{key}", self.url.trim_end_matches('/'));
        let mut settings: Vec<(String, OsString)> =
            vec![(scoped("followRedirects"), "false".into()), ("fetch.recurseSubmodules".to_owned(), "false".into())];
        if let Some(token) = &self.token {
            settings.push((scoped("extraHeader"), format!("Authorization: Bearer {token}").into()));
        }
        for (key, path) in [("sslCAInfo", &self.ca), ("sslCert", &self.cert), ("sslKey", &self.key)] {
            settings.extend(path.iter().map(|path| (scoped(key), path.clone().into_os_string())));
        }
        let mut env = vec![("GIT_CONFIG_COUNT".into(), settings.len().to_string().into())];
        for (at, (key, value)) in settings.into_iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{at}").into(), key.into()));
            env.push((format!("GIT_CONFIG_VALUE_{at}").into(), value));
        }
        // The user's own variables of these names would win over the settings above.
        for (name, path) in [("GIT_SSL_CAINFO", &self.ca), ("GIT_SSL_CERT", &self.cert), ("GIT_SSL_KEY", &self.key)] {
            env.extend(path.iter().map(|path| (name.into(), path.clone().into_os_string())));
        }
        env
    }

    /// The URL of something the server serves, from a path relative to its root.
    pub fn at(&self, path: &str) -> String {
        format!("{}/{}", self.url.trim_end_matches('/'), path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_and_this_machine_are_private() {
        for url in [
            "https://far.example",
            "http://127.0.0.1:7117",
            "http://[::1]:7117",
            "http://localhost",
            "http://[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_private(url), "{url}");
        }
        for url in [
            "http://far.example:7117",
            "http://127.0.0.1.far.example",
            "http://127.0.0.1:x@far.example",
            "http://localhost@far.example",
            "http://0.0.0.0:1",
            "far.example",
            "",
        ] {
            assert!(!is_private(url), "{url}");
        }
    }

    #[test]
    fn an_address_with_a_user_is_none_and_its_password_is_not_shown() {
        let access = ServerAccess { url: "https://ada:secret@far.example".into(), ..ServerAccess::default() };
        let error = access.connect().expect_err("refused").to_string();
        assert!(error.contains("https://far.example") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn the_token_is_for_the_server_alone() {
        let access = ServerAccess {
            url: "https://far.example:7117/".into(),
            token: Some("t".into()),
            ..ServerAccess::default()
        };
        let env = access.git_env();
        let value = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.to_string_lossy());
        let count: usize = value("GIT_CONFIG_COUNT").expect("told").parse().expect("a number");
        let all: Vec<(String, String)> = (0..count)
            .map(|at| {
                let of = |what: &str| value(&format!("GIT_CONFIG_{what}_{at}")).expect("told").into_owned();
                (of("KEY"), of("VALUE"))
            })
            .collect();
        let header = all.iter().filter(|(_, value)| value.contains("Bearer t")).map(|(key, _)| key.as_str());
        assert_eq!(header.collect::<Vec<_>>(), ["http.https://far.example:7117/.extraHeader"]);
        let off = |key: &str| all.contains(&(key.to_owned(), "false".to_owned()));
        assert!(off("http.https://far.example:7117/.followRedirects") && off("fetch.recurseSubmodules"), "{all:?}");
    }
}
