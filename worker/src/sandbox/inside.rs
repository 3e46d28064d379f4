//! The second stage of the shim with a boundary: closes it around itself, then becomes or starts the
//! program.
//!
//! With process ids of its own it is their first process: it starts the program, reaps whatever is
//! orphaned, and its end is the end of everything, by the kernel's hand. Nobody inside can end it,
//! look into it, or answer in its place.

use std::convert::Infallible;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use super::rules::Rules;
use super::{calls, limits, mounts, paths};
use crate::process::ShimStatus;

/// What the first stage reads when the program was started.
pub const STARTED: u8 = b'S';

/// What it reads before the reason why it was not.
pub const FAILED: u8 = b'!';

/// Closes the boundary around this process. `cwd` is entered anew: what a process stood in before its
/// mounts changed is not below them.
pub fn confine(rules: &Rules, cwd: &Path) -> Result<(), String> {
    if rules.layers.pid {
        mounts::arrange(rules)?;
    }
    std::env::set_current_dir(cwd).map_err(|error| format!("cannot enter {}: {error}", cwd.display()))?;
    limits::apply(rules)?;
    if rules.layers.landlock {
        paths::restrict(rules)?;
    }
    drop_capabilities()?;
    // Last: the calls above are among those it refuses.
    if rules.layers.seccomp {
        calls::filter(rules)?;
    }
    Ok(())
}

/// Root, in a namespace or outside, becomes a user like any other, and stays one in all it starts.
fn drop_capabilities() -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("capabilities: {error}");
    rustix::thread::set_no_new_privs(true).map_err(failed)?;
    let none = CapabilitySet::empty();
    let held = rustix::thread::capabilities(None).map_err(failed)?;
    if held.permitted.is_empty() {
        return Ok(());
    }
    let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    // A root that may not set them gains nothing by executing either: `no_new_privs` is enough.
    let _kept = rustix::thread::set_capabilities_secure_bits(bits);
    rustix::thread::clear_ambient_capability_set().map_err(failed)?;
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// Whether the first stage, which reads the report, is gone.
pub fn is_orphan(report: &impl std::os::fd::AsFd) -> bool {
    let mut polled = [PollFd::new(report, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok_and(|_| polled[0].revents().contains(PollFlags::ERR))
}

/// Runs the program as the first process of its namespace; ends with it. `report` gets
/// [`STARTED`] and, at the end, the status as JSON.
pub fn first_process(mut command: Command, mut report: std::fs::File) -> Result<Infallible, String> {
    // Its report must be nobody else's to write, by `/proc/1/fd` or otherwise.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| format!("init: {error}"))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.process_group(0).spawn().map_err(|error| format!("cannot execute {program}: {error}"))?;
    drop(command);
    let failed = |error: std::io::Error| format!("init: {error}");
    report.write_all(&[STARTED]).map_err(failed)?;
    let status = reap_until(&child)?;
    let json = serde_json::to_vec(&status).map_err(|error| format!("init: {error}"))?;
    // Nobody reads it where the first stage is gone, and nobody needs to.
    let _unread = report.write_all(&json).and_then(|()| report.flush());
    std::process::exit(0)
}

fn reap_until(child: &Child) -> Result<ShimStatus, String> {
    let main = Pid::from_child(child);
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => ShimStatus::Exited(code),
                    (None, signal) => ShimStatus::Signalled(signal.unwrap_or_default()),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("init: cannot wait for the program: {error}")),
        }
    }
}

/// Whether a namespace can be made from where this process is: what the sandboxes that agents bring
/// along need.
pub fn can_nest() -> bool {
    super::namespaces::own_user().is_ok()
}

/// Asks the kernel to end this process with the thread that started it.
pub fn die_with_parent() -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot set the death signal: {error}"))
}

/// The pipe to the first stage, which is this process's stdin.
pub fn report() -> Result<std::fs::File, String> {
    let file = std::io::stdin().as_fd().try_clone_to_owned();
    file.map(Into::into).map_err(|error| format!("no pipe to report to: {error}"))
}
