//! What parent and shim say to each other.
//!
//! Parent to shim, on stdin: a big-endian `u32` length, that many bytes of JSON ([`ShimSpec`]), then
//! nothing but at most one byte [`TERMINATE`]; the end of the file means "the parent is gone".
//! Shim to parent, on stdout: JSON ([`ShimStatus`]), once, at the end. The program's own output goes
//! to the shim's stderr, which is never mixed with the status.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sandbox::Rules;

/// Asks the shim to end the program: SIGTERM, the grace, then SIGKILL.
pub const TERMINATE: u8 = b't';

/// Largest specification in bytes: the kernel's own limit on arguments and environment is 2 MiB,
/// and JSON spells each byte of an argument in up to four.
pub const SPEC_BYTES_MAX: u32 = 16 << 20;

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The argv prefix that re-executes the binary as a shim.
    pub shim: Vec<OsString>,
    /// Program and arguments; never empty.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// File to read stdin from; `None` is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// File for stdout, a FIFO whose other end is open already; `None` is the log, with stderr.
    pub stdout: Option<PathBuf>,
    /// Time between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// What it may do; `None` is whatever this user may.
    pub sandbox: Option<Rules>,
}

/// How the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimStatus {
    /// It exited by itself.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It could not be executed, and why.
    NotStarted(String),
    /// It used more than it may and was ended, and what it was.
    OverLimit(String),
}
