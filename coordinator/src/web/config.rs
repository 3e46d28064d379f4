//! How a server is set up, and which set-ups are refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::spool::SpoolLimits;
use super::tokens::AccessError;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Where; port 0 takes any free one.
    pub listen: SocketAddr,
    /// TLS, where it is spoken.
    pub tls: Option<TlsFiles>,
    /// The tokens file. Without one everybody who reaches the port is the local user.
    pub access: Option<PathBuf>,
    /// Folder for results on their way in; cleared at the start.
    pub spool: PathBuf,
    /// Bounds of what may be on its way in.
    pub limits: SpoolLimits,
}

/// PEM files of a server.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authority whose client certificates are believed; without one none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Listening to the network without protection.
    #[error(
        "refused to listen on {listen}, which other machines reach, without {missing}: \
         listen on 127.0.0.1, or give --tls-cert, --tls-key and --access"
    )]
    Open {
        /// The address asked for.
        listen: SocketAddr,
        /// What is missing.
        missing: &'static str,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A file cannot be used.
    #[error("cannot use {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The tokens file.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl WebConfig {
    /// Refuses what would let strangers in.
    pub(super) fn check(&self) -> Result<(), WebError> {
        let missing = match (&self.tls, &self.access) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "TLS and a tokens file",
            (None, Some(_)) => "TLS",
            (Some(_), None) => "a tokens file",
        };
        // An IPv4 address in IPv6 clothes is the same address.
        match self.listen.ip().to_canonical().is_loopback() {
            true => Ok(()),
            false => Err(WebError::Open { listen: self.listen, missing }),
        }
    }
}
