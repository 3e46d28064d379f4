//! Identifiers as types of their own, so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A node of the open generation's plan: its index in `Plan.nodes`.
    NodeId(u32)
}
number_id! {
    /// One execution of a subtask. Numbered with gates in one sequence per job, from 1.
    AttemptId(u64)
}
number_id! {
    /// One run of the gate. Numbered with attempts in one sequence per job.
    GateId(u64)
}
number_id! {
    /// One batch of patches on its way to the integration branch, from 1.
    BatchId(u64)
}
number_id! {
    /// One park, consumed by its first wake, from 1.
    ParkId(u64)
}

impl NodeId {
    /// The position in `Plan.nodes`.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The node at a position in `Plan.nodes`.
    ///
    /// # Panics
    /// With more than `u32::MAX` nodes, which [`crate::spec`] refuses long before.
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("a plan holds at most 1,000,000 nodes"))
    }
}

/// A git object id (SHA-1, 20 bytes). Repositories with another hash are refused when opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Oid(pub [u8; 20]);

/// Text or bytes that are no object id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a git object id: {0:?} (40 hexadecimal digits expected)")]
pub struct BadOid(pub String);

impl Oid {
    /// All zeros: "no object".
    pub const ZERO: Self = Self([0; 20]);

    /// From the 20 raw bytes of a message field.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadOid> {
        bytes.try_into().map(Self).map_err(|_| BadOid(format!("{} bytes", bytes.len())))
    }

    /// The raw bytes for a message field.
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The first 12 digits, for people.
    pub fn short(self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// Whether this stands for "no object".
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Oid {
    type Err = BadOid;

    fn from_str(text: &str) -> Result<Self, BadOid> {
        let bad = || BadOid(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 40 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let mut out = [0; 20];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(out))
    }
}

impl From<gix::ObjectId> for Oid {
    fn from(id: gix::ObjectId) -> Self {
        let mut out = [0; 20];
        out.copy_from_slice(id.as_slice());
        Self(out)
    }
}

impl From<Oid> for gix::ObjectId {
    fn from(id: Oid) -> Self {
        gix::ObjectId::from_bytes_or_panic(&id.0)
    }
}

/// A job's name: lower-case letters, digits and dashes, 1 to 64 of them. It names a folder, a
/// branch and a socket, so nothing else is allowed in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct JobId(String);

/// Longest job name in bytes: it must fit into a unix socket path (108 bytes) with its folder.
pub const JOB_ID_MAX: usize = 64;

/// Longest worker name in bytes.
pub const WORKER_NAME_MAX: usize = 64;

/// A worker's name: letters, digits, dashes and underscores, 1 to 64 of them. It is one token of a
/// subject and names a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WorkerName(String);

/// Text that cannot be a worker's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a worker name: {0:?} (letters, digits, dashes and underscores, at most {WORKER_NAME_MAX})")]
pub struct BadWorkerName(pub String);

impl WorkerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerName {
    type Err = BadWorkerName;

    fn from_str(text: &str) -> Result<Self, BadWorkerName> {
        let fits = !text.is_empty()
            && text.len() <= WORKER_NAME_MAX
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits { Ok(Self(text.to_owned())) } else { Err(BadWorkerName(text.to_owned())) }
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that cannot be a job's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a job name: {0:?} (lower-case letters, digits and dashes, at most {JOB_ID_MAX})")]
pub struct BadJobId(pub String);

impl JobId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        let fits = !text.is_empty()
            && text.len() <= JOB_ID_MAX
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(BadJobId(text.to_owned())) }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oid_round_trips_and_refuses() {
        let hex = "00ff10203040506070809099aabbccddeeff0011";
        assert_eq!(hex.parse::<Oid>().expect("valid").to_string(), hex);
        for bad in ["", "00ff", &"g".repeat(40), &"+1".repeat(20), "é".repeat(20).as_str()] {
            assert!(bad.parse::<Oid>().is_err(), "{bad:?}");
        }
        assert!(Oid::from_bytes(&[1; 19]).is_err());
    }

    #[test]
    fn job_names_stay_inside_their_folder() {
        assert!("lazy-locks-7f3a".parse::<JobId>().is_ok());
        for bad in ["", "..", "a/b", "A", "-x", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?}");
        }
    }
}
