//! The outer half of the namespaces: what the shim enters before it starts anything.
//!
//! A process changes its user and network here, and decides that its children get process ids of
//! their own; mounts are the child's business (see [`super::mounts`]), so that the shim itself goes
//! on seeing the machine's `/proc`.

use std::fs::File;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::loopback;
use super::rules::Rules;

/// Leaves the namespaces named by the flags.
pub(super) fn leave(flags: UnshareFlags, what: &str) -> Result<(), String> {
    // What makes it unsound is `CLONE_FILES` beside other threads; no caller here passes it.
    #[expect(deprecated, reason = "the safe form; its successor is an unsafe fn, and this crate has no unsafe code")]
    let left = rustix::thread::unshare(flags);
    left.map_err(|error| format!("{what}: {error}"))
}

/// Enters what the rules ask for. The caller has one thread.
pub fn enter(rules: &Rules) -> Result<(), String> {
    let layers = rules.layers;
    match &rules.space {
        Some(space) => {
            if let Some(user) = &space.user {
                join(user, LinkNameSpaceType::User)?;
            }
            join(&space.net, LinkNameSpaceType::Network)?;
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
    if layers.pid {
        leave(UnshareFlags::NEWPID, "process ids of its own")?;
    }
    Ok(())
}

fn join(path: &Path, kind: LinkNameSpaceType) -> Result<(), String> {
    use std::os::fd::AsFd as _;
    let failed = |error: std::io::Error| format!("the attempt's {kind:?} namespace: {error}");
    let file = File::open(path).map_err(failed)?;
    move_into_link_name_space(file.as_fd(), Some(kind)).map_err(|error| failed(error.into()))
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
