//! The outer half of the namespaces: what the shim enters before it starts anything.
//!
//! A process changes its user and network here, and decides that its children get process ids of
//! their own; mounts are the child's business (see [`super::mounts`]), so that the shim itself goes
//! on seeing the machine's `/proc`. The order is the kernel's: another user only with one thread,
//! and no further thread once children are numbered anew.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::loopback;
use super::rules::Rules;

/// Leaves the namespaces named by the flags.
pub(super) fn leave(flags: UnshareFlags, what: &str) -> Result<(), String> {
    // What makes it unsound is `CLONE_FILES` beside other threads; no caller here passes it.
    #[expect(deprecated, reason = "the safe form; its successor is an unsafe fn, and this crate has no unsafe code")]
    let left = rustix::thread::unshare(flags);
    left.map_err(|error| format!("{what}: {error}"))
}

/// Enters the user and the network that the rules ask for. The caller has one thread.
pub fn enter(rules: &Rules) -> Result<(), String> {
    let layers = rules.layers;
    match &rules.space {
        Some(space) => {
            // Both are opened first: from the other user, the worker's files are a stranger's.
            let net = open(&space.net)?;
            if let Some(user) = &space.user {
                join(&open(user)?, LinkNameSpaceType::User)?;
            }
            join(&net, LinkNameSpaceType::Network)?;
        }
        None => {
            if layers.user {
                own_user()?;
            }
            if layers.net {
                own_network()?;
                loopback::up()?;
            }
        }
    }
    if layers.user { carry_capabilities() } else { Ok(()) }
}

/// Whoever is not root in its user namespace loses by executing what entering gave, and the second stage
/// has mounts to make.
fn carry_capabilities() -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("a user namespace: capabilities: {error}");
    let carried = CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP;
    let held = rustix::thread::capabilities(None).map_err(failed)?;
    let sets = CapabilitySets { inheritable: held.inheritable | carried, ..held };
    rustix::thread::set_capabilities(None, sets).map_err(failed)?;
    carried.iter().try_for_each(|one| rustix::thread::configure_capability_in_ambient_set(one, true)).map_err(failed)
}

/// The next child is the first process of new ids, where the rules ask for that. The caller starts no
/// thread afterwards.
pub fn number_anew(rules: &Rules) -> Result<(), String> {
    if rules.layers.pid { leave(UnshareFlags::NEWPID, "process ids of its own") } else { Ok(()) }
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("the attempt's namespace at {}: {error}", path.display()))
}

fn join(file: &File, kind: LinkNameSpaceType) -> Result<(), String> {
    move_into_link_name_space(file.as_fd(), Some(kind))
        .map_err(|error| format!("the attempt's {kind:?} namespace: {error}"))
}

/// A user namespace in which this user is itself and nobody else exists.
pub(super) fn own_user() -> Result<(), String> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    leave(UnshareFlags::NEWUSER, "a user namespace")?;
    let write = |name: &str, text: String| {
        std::fs::write(format!("/proc/self/{name}"), text).map_err(|error| format!("a user namespace: {name}: {error}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))
}

/// A network without any way out.
pub(super) fn own_network() -> Result<(), String> {
    leave(UnshareFlags::NEWNET, "a network of its own")
}
