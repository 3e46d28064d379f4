//! Landlock: which paths may be read and written, whom signals and abstract sockets reach.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::carve::around;
use super::rules::Rules;

/// The version asked for; an older kernel gives what it has.
const VERSION: ABI = ABI::V9;

/// The first version with rules about TCP.
const NETWORK_SINCE: u32 = 4;

/// Devices every program may use. The rest of `/dev` is closed: root reads raw disks there.
const DEVICES: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// Folders of a mount namespace's own that any program may write.
const OWN: &[&str] = &["/tmp", "/dev/shm"];

fn text(error: impl std::fmt::Display) -> String {
    format!("landlock: {error}")
}

/// The version this process was given, after [`restrict`] with no rules; 0 is none.
pub fn version() -> u32 {
    let handled = Ruleset::default().handle_access(AccessFs::from_all(VERSION)).and_then(Ruleset::create);
    match handled.and_then(RulesetCreated::restrict_self).map(|status| status.landlock) {
        Ok(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            kernel_abi.and_then(|abi| u32::try_from(abi).ok()).unwrap_or(effective_abi as u32)
        }
        _ => 0,
    }
}

/// Restricts this process and all it starts, for good.
pub fn restrict(rules: &Rules) -> Result<(), String> {
    let files = AccessFs::from_all(VERSION);
    let mut ruleset = Ruleset::default().handle_access(files).map_err(text)?;
    ruleset = ruleset.scope(Scope::from_all(VERSION)).map_err(text)?;
    if !rules.layers.net {
        ruleset = ruleset.handle_access(AccessNet::from_all(VERSION)).map_err(text)?;
    }
    let mut created = ruleset.create().map_err(text)?;
    let read = AccessFs::from_read(VERSION);
    // Names may be listed everywhere: programs walk up from where they are.
    created = allow(created, Path::new("/"), AccessFs::ReadDir.into())?;
    let mut hidden = rules.hidden.clone();
    hidden.push(PathBuf::from("/dev"));
    let opened = rules.reads.iter().flat_map(|path| around(path, &below(&hidden, path)));
    for path in around(Path::new("/"), &hidden).into_iter().chain(opened) {
        created = allow(created, &path, read)?;
    }
    for path in &rules.writes {
        created = allow(created, path, files)?;
    }
    for device in DEVICES {
        let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
        created = allow(created, Path::new(device), access)?;
    }
    for path in OWN.iter().filter(|_| rules.layers.pid) {
        created = allow(created, Path::new(path), files)?;
    }
    if !rules.layers.net {
        for &port in &rules.ports {
            created = created.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(text)?;
        }
    }
    match created.restrict_self().map_err(text)?.ruleset {
        RulesetStatus::NotEnforced => Err("landlock: the kernel has none".to_owned()),
        _ => Ok(()),
    }
}

/// What stays hidden in a folder that may be read: the job's own may be the user's home.
fn below(hidden: &[PathBuf], folder: &Path) -> Vec<PathBuf> {
    hidden.iter().filter(|path| path.starts_with(folder) && *path != folder).cloned().collect()
}

/// Whether ports of TCP can be told apart by this version.
pub fn knows_ports(version: u32) -> bool {
    version >= NETWORK_SINCE
}

/// A path that is not there needs no rule; one that is a file takes what files have.
fn allow(created: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
    let Ok(fd) = PathFd::new(path) else { return Ok(created) };
    let is_folder = std::fs::metadata(path).is_ok_and(|found| found.is_dir());
    let access = if is_folder { access } else { access & AccessFs::from_file(VERSION) };
    created.add_rule(PathBeneath::new(fd, access)).map_err(text)
}
