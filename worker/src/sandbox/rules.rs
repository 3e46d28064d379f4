//! What one command may do, as its shim is told.
//!
//! Everything here is decided by the worker. The shim only carries it out, and a layer that is
//! asked for and cannot be had means that the command does not start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The layers of a boundary, each of which the kernel may or may not grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// A user namespace: for a worker that is not root, the way to all the others.
    pub user: bool,
    /// Process ids, mounts and System V objects of its own.
    pub pid: bool,
    /// A network of its own, with nothing in it but its loopback.
    pub net: bool,
    /// Landlock: paths, and signals and abstract sockets where its version has them.
    pub landlock: bool,
    /// The filter of system calls.
    pub seccomp: bool,
}

impl Layers {
    /// All of them, `user` as told.
    pub const fn all(user: bool) -> Self {
        Self { user, pid: true, net: true, landlock: true, seccomp: true }
    }
}

/// What a command may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads at once.
    pub processes: u64,
    /// Bytes of one file it writes.
    pub file_bytes: u64,
    /// Files it holds open, each process for itself.
    pub open_files: u64,
    /// Bytes of address space of each process; 0 is no limit.
    pub address_bytes: u64,
    /// Resident bytes of all its processes together; 0 is no limit.
    pub memory_bytes: u64,
    /// Below this much free space where it works, it is ended; 0 never ends it.
    pub disk_free_bytes: u64,
}

impl Default for Limits {
    /// Generous: builds start thousands of threads and link files of gigabytes.
    fn default() -> Self {
        Self {
            processes: 4_096,
            file_bytes: 8 << 30,
            open_files: 65_536,
            address_bytes: 0,
            memory_bytes: 0,
            disk_free_bytes: 64 << 20,
        }
    }
}

/// Namespaces of an attempt that its commands share, as paths below `/proc/<pid>/fd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The user namespace that owns the network, where there is one.
    pub user: Option<PathBuf>,
    /// The network.
    pub net: PathBuf,
}

/// The boundary of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What is asked of the kernel.
    pub layers: Layers,
    /// The network to enter; without one, `layers.net` makes a new one.
    pub space: Option<Space>,
    /// TCP ports of this machine that may be reached where there is no network of its own.
    pub ports: Vec<u16>,
    /// Folders and files that may be written, and read.
    pub writes: Vec<PathBuf>,
    /// Folders and files within `hidden` that may be read all the same.
    pub reads: Vec<PathBuf>,
    /// Folders and files that may not be read; canonical.
    pub hidden: Vec<PathBuf>,
    /// Unix sockets of the machine's programs; canonical.
    pub sockets: Vec<PathBuf>,
    /// The repository in the workspace: its hooks and configuration cannot be written.
    pub git: Option<PathBuf>,
    /// What it may use up.
    pub limits: Limits,
}
