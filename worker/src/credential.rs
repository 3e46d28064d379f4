//! What lets a coordinator into this worker's own service: made anew by each process, kept in its
//! memory, and handed over to the coordinator alone.
//!
//! No two workers have the same, so whoever comes by one opens one service, until its process ends.

use std::fmt;
use std::io::Read as _;

use longhaul_common::server::WORKER_SERVICE;
use rcgen::{CertificateParams, KeyPair};

/// Random bytes of a token: nobody guesses 256 bits.
const SECRET_BYTES: usize = 32;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The source of randomness.
    #[error("cannot read random bytes: {0}")]
    Random(#[from] std::io::Error),
    /// The certificate.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A token, and a certificate with its key.
#[derive(Clone)]
pub struct Credential {
    pub(crate) token: String,
    /// PEM, signed by itself: whoever is to believe it is given it.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}

impl Credential {
    /// A new one.
    pub fn new() -> Result<Self, CredentialError> {
        let mut bytes = [0; SECRET_BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![WORKER_SERVICE.to_owned()])?.self_signed(&key)?.pem();
        Ok(Self { token, certificate, key: key.serialize_pem() })
    }

    /// What no output and no result of this worker may carry.
    pub fn secrets(&self) -> Vec<String> {
        let key = self.key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned);
        std::iter::once(self.token.clone()).chain(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_and_none_is_shown() {
        let (one, two) = (Credential::new().expect("made"), Credential::new().expect("made"));
        assert!(one.token != two.token && one.certificate != two.certificate && one.key != two.key);
        assert_eq!(one.token.len(), 2 * SECRET_BYTES);
        let shown = format!("{one:?}");
        assert!(one.secrets().iter().all(|secret| !shown.contains(secret)), "{shown}");
        assert!(one.secrets().len() > 1 && one.secrets().iter().all(|secret| secret.len() >= 6));
    }
}
