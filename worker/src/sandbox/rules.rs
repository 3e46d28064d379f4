//! What one command may do, as its shim is told.
//!
//! Everything here is decided by the worker. The shim only carries it out, and a layer that is
//! asked for and cannot be had means that the command does not start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::share::machine_memory_bytes;

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

/// The least a command may have in memory on any machine that has it: builds and agent programs need that much.
const MEMORY_MIN: u64 = 2 << 30;

impl Limits {
    /// The default with a share of `memory` bytes (the machine's, when left out) for each command, where
    /// `slots` of them work at once. Few need theirs at the same time, so no share is below a quarter of the
    /// machine; and none is all of it, for the worker lives there too.
    pub fn of_machine(memory: Option<u64>, slots: u32) -> Self {
        let total = memory.or_else(machine_memory_bytes).unwrap_or_default();
        let most = total / 5 * 4;
        let share = (most / u64::from(slots.max(1))).max(total / 4).max(MEMORY_MIN).min(most);
        Self { memory_bytes: share, ..Self::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_memory_is_never_nothing_and_never_all() {
        let gib = |share: u64| share << 30;
        let share = |memory, slots| Limits::of_machine(Some(memory), slots).memory_bytes;
        assert_eq!(share(gib(20), 1), gib(16));
        assert_eq!(share(gib(20), 2), gib(8));
        assert_eq!(share(gib(20), 50), gib(5), "not all need theirs at once");
        assert_eq!(share(gib(5), 50), gib(2), "less is of no use");
        assert_eq!(share(gib(1), 1), gib(1) / 5 * 4, "the worker lives there too");
        assert_eq!(share(0, 1), 0, "a machine that does not say has no limit");
        let here = Limits::of_machine(None, 1).memory_bytes;
        assert!(here > 256 << 20, "{here}");
    }
}
