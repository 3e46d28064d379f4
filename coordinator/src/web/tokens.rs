//! The tokens file: who may come in, and as what.
//!
//! It holds digests, never tokens: whoever reads it cannot use them. Tokens have 256 random bits,
//! so that one round of SHA-256 is enough.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::hub::{Identity, Role};

/// Largest tokens file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Longest name of a caller in bytes; a worker's name is a part of file names and subjects.
const NAME_BYTES_MAX: usize = 64;

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read the tokens file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// It is not what a tokens file is; the cause names line and column.
    #[error("the tokens file {} is wrong: {cause}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// What and where.
        cause: String,
    },
}

/// A parsed tokens file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessFile {
    #[serde(default, rename = "token")]
    tokens: Vec<TokenEntry>,
    #[serde(default, rename = "certificate")]
    certificates: Vec<CertificateEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: Name,
    roles: BTreeSet<RoleName>,
    sha256: TokenHash,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: Name,
    roles: BTreeSet<RoleName>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    Read,
    Submit,
    Approve,
    Work,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Read => Self::Read,
            RoleName::Submit => Self::Submit,
            RoleName::Approve => Self::Approve,
            RoleName::Work => Self::Work,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        // The local user's name would make its holder any worker.
        if name == Identity::local().name {
            return Err(format!("the name {name:?} is the local user's and cannot be given away"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(plain) {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} is no name: 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 - _ . @ are expected")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct TokenHash([u8; 32]);

impl TryFrom<String> for TokenHash {
    type Error = String;

    fn try_from(hex: String) -> Result<Self, String> {
        let wrong = || "64 hexadecimal digits, the SHA-256 of the token, are expected".to_owned();
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// What a tokens file says of a token: the hexadecimal SHA-256 of it.
pub fn token_digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl AccessFile {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let failed = |source| AccessError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            let cause = format!("{bytes} bytes are over the limit of {FILE_BYTES_MAX}");
            return Err(AccessError::Parse { path: path.to_owned(), cause });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|cause| AccessError::Parse { path: path.to_owned(), cause })
    }

    /// Checks a file's text; the error names line and column.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
        let mut seen = BTreeSet::new();
        for entry in &file.tokens {
            if !seen.insert(entry.sha256.0) {
                return Err(format!("two tokens have one digest, the second is {:?}'s", entry.name.0));
            }
        }
        let mut named = BTreeSet::new();
        for entry in &file.certificates {
            if !named.insert(&entry.name.0) {
                return Err(format!("two entries for the certificate {:?}", entry.name.0));
            }
        }
        Ok(file)
    }

    /// Whose token it is. Every entry is compared, and each in constant time.
    pub fn by_token(&self, token: &str) -> Option<Identity> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for entry in &self.tokens {
            if bool::from(entry.sha256.0.ct_eq(&digest)) {
                found = Some(identity(&entry.name, &entry.roles));
            }
        }
        found
    }

    /// Whose certificate it is, by the common name of one that was verified.
    pub fn by_certificate(&self, common_name: &str) -> Option<Identity> {
        let entry = self.certificates.iter().find(|entry| entry.name.0 == common_name)?;
        Some(identity(&entry.name, &entry.roles))
    }
}

fn identity(name: &Name, roles: &BTreeSet<RoleName>) -> Identity {
    Identity { name: name.0.clone(), roles: roles.iter().map(|&role| role.into()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str) -> String {
        format!("[[token]]\nname = \"{name}\"\nroles = [\"read\", \"work\"]\nsha256 = \"{}\"\n", token_digest(token))
    }

    #[test]
    fn tokens_and_certificates_are_found_and_others_are_not() {
        let text = format!("{}[[certificate]]\nname = \"w1\"\nroles = [\"work\"]\n", entry("alice", "secret"));
        let file = AccessFile::parse(&text).expect("a tokens file");
        let alice = file.by_token("secret").expect("alice's token");
        assert_eq!((alice.name.as_str(), alice.may(Role::Work), alice.may(Role::Submit)), ("alice", true, false));
        assert!(file.by_token("secret ").is_none() && file.by_token("").is_none());
        assert_eq!(file.by_certificate("w1").expect("w1's certificate").roles, [Role::Work].into());
        assert!(file.by_certificate("W1").is_none() && file.by_certificate("alice").is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let good = entry("alice", "secret");
        for (text, line, word) in [
            (good.replace("work", "admin"), "line 3", "admin"),
            (good.replace("roles", "rules"), "line 3", "rules"),
            (good.replace("sha256 = \"", "sha256 = \"x"), "line 4", "64 hexadecimal digits"),
            (good.replace("alice", "local"), "line 2", "local user"),
            (good.replace("alice", "../alice"), "line 2", "no name"),
            (format!("{good}[[tokens]]\n"), "line 5", "tokens"),
        ] {
            let error = AccessFile::parse(&text).expect_err("a wrong file");
            assert!(error.contains(line) && error.contains(word), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let twice = format!("{good}{}", entry("bob", "secret"));
        assert!(AccessFile::parse(&twice).expect_err("a digest twice").contains("bob"));
    }
}
