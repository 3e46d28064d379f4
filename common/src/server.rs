//! Reaching a coordinator's server: address, trust, and who one is. The same for the command line
//! and for workers, over gRPC and over git's smart HTTP.
//!
//! A token travels in a header only: never in argv, a log or an error.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// Time between two keepalive pings; streams last for hours.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// How long a ping or a new connection may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

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
        /// As given.
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

impl ServerAccess {
    /// A connection for clients of any service; nothing is sent before its first use.
    pub fn connect(&self) -> Result<Connection, ServerError> {
        let bad = || ServerError::Url { url: self.url.clone() };
        let secure = self.url.starts_with("https://");
        if !secure && !self.url.starts_with("http://") {
            return Err(bad());
        }
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(|_| bad())?
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(ANSWER_MAX)
            .keep_alive_while_idle(true)
            .connect_timeout(ANSWER_MAX)
            .tcp_nodelay(true);
        if secure {
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
            }
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| ServerError::Tls(error.to_string()))?;
        }
        let token = match &self.token {
            Some(token) => {
                let mut value: MetadataValue<Ascii> =
                    format!("Bearer {token}").parse().map_err(|_| ServerError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(InterceptedService::new(endpoint.connect_lazy(), Bearer(token)))
    }

    /// Variables that make git speak to the server: settings by environment, so that nothing
    /// secret is in argv and nothing is written to a file.
    pub fn git_env(&self) -> Vec<(OsString, OsString)> {
        let mut settings: Vec<(&str, OsString)> = Vec::new();
        if let Some(token) = &self.token {
            settings.push(("http.extraHeader", format!("Authorization: Bearer {token}").into()));
        }
        for (key, path) in [("http.sslCAInfo", &self.ca), ("http.sslCert", &self.cert), ("http.sslKey", &self.key)] {
            settings.extend(path.iter().map(|path| (key, path.clone().into_os_string())));
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
