//! The inner half of the namespaces: the view of the file system.
//!
//! Everything stays where it is and becomes read-only, except what may be written. Folders that
//! hold secrets or sockets are covered by empty ones, with what is needed of them put back. `/proc`
//! shows the command's own processes. Landlock refuses most of this a second time; what only mounts
//! do is to keep modes, owners and attributes of what is outside, unix sockets in the file system,
//! and the hooks of the workspace's repository.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

use super::namespaces::leave;
use super::rules::Rules;

/// Folders covered in every command: sockets of the machine's services, and what everybody shares.
const COVERED: &[&str] = &["/run", "/var/run", "/tmp", "/dev/shm"];

/// Of the covered ones, those that are the command's own to write.
const OWN: &[&str] = &["/tmp", "/dev/shm"];

/// What systems without `/usr` keep below `/run`.
const KEPT: &[&str] = &["/run/current-system", "/run/wrappers", "/run/opengl-driver"];

/// The kernel's own settings, which root may write by owning their files alone.
const KERNEL: &[&str] = &["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"];

/// What of a repository decides which programs git runs.
const GUARDED: &[&str] = &["config", "hooks", "info", "commondir"];

/// Where process ids have had a limit of their own in each namespace since; before, it was the machine's.
const PID_LIMIT_SINCE: (u32, u32) = (6, 14);

/// Process ids the kernel never gives out again after the first round.
const PIDS_RESERVED: u64 = 300;

/// What is done to one path.
enum Change {
    /// An empty folder in its place.
    Cover,
    /// What was there before, put back.
    Keep(OwnedFd),
    /// Nothing in the place of a socket.
    Shut,
}

/// Makes the view. The caller has one thread, and process ids of its own.
pub fn arrange(rules: &Rules) -> Result<(), String> {
    leave(UnshareFlags::NEWNS | UnshareFlags::NEWIPC, "mounts of its own")?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(failed("detach from", Path::new("/")))?;
    for (path, change) in changes(rules)? {
        match change {
            Change::Cover if path.is_dir() => cover(&path)?,
            Change::Cover if path.exists() => bind(Path::new("/dev/null"), &path)?,
            // Within a folder that is covered already.
            Change::Cover => {}
            Change::Keep(file) => keep(&file, &path)?,
            Change::Shut => shut(&path)?,
        }
    }
    close_the_rest(&rules.writes)?;
    if let Some(git) = &rules.git {
        guard(git)?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None).map_err(failed("mount", Path::new("/proc")))?;
    limit_pids(rules.limits.processes);
    KERNEL.iter().map(Path::new).filter(|path| path.exists()).try_for_each(close)
}

fn failed(action: &'static str, path: &Path) -> impl Fn(rustix::io::Errno) -> String {
    move |error| format!("mounts: cannot {action} {}: {error}", path.display())
}

/// Every change, outer folders first: what is put back in one that is covered comes after it.
fn changes(rules: &Rules) -> Result<Vec<(PathBuf, Change)>, String> {
    let mut covered: Vec<PathBuf> = COVERED.iter().map(PathBuf::from).chain(rules.hidden.iter().cloned()).collect();
    covered.retain(|path| fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink()));
    covered.sort();
    covered.dedup();
    let kept = KEPT.iter().map(PathBuf::from).chain(named_places());
    let kept =
        kept.chain(rules.reads.iter().cloned()).filter(|path| covered.iter().any(|outer| path.starts_with(outer)));
    let mut kept: Vec<PathBuf> = kept.chain(rules.writes.iter().cloned()).filter(|path| path.exists()).collect();
    kept.sort();
    kept.dedup();
    let mut changes = Vec::new();
    for path in kept {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed("open", &path))?;
        covered.retain(|other| *other != path);
        changes.push((path, Change::Keep(file)));
    }
    let sockets = rules.sockets.iter().filter(|path| !covered.contains(path)).cloned();
    changes.extend(sockets.map(|path| (path, Change::Shut)));
    changes.extend(covered.into_iter().map(|path| (path, Change::Cover)));
    changes.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(changes)
}

/// What lies in `/tmp` and the program's variables name: a toolchain may be unpacked there, a home be there.
fn named_places() -> Vec<PathBuf> {
    let shared = Path::new(OWN[0]);
    let named = std::env::vars_os().flat_map(|(_, value)| std::env::split_paths(&value).collect::<Vec<_>>());
    named
        .filter(|path| path.starts_with(shared))
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| path.starts_with(shared) && path != shared)
        .collect()
}

fn cover(path: &Path) -> Result<(), String> {
    let own = OWN.iter().any(|own| Path::new(own) == path);
    // What lies there is memory, which no limit of a process counts.
    let mode = if own { c"mode=1777,size=1g" } else { c"mode=0755,size=1m" };
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, mode).map_err(failed("cover", path))
}

/// A socket that has gone by now, or lies where this user cannot get, needs nothing.
fn shut(path: &Path) -> Result<(), String> {
    match rustix::mount::mount_bind_recursive("/dev/null", path) {
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => Ok(()),
        Err(error) => Err(failed("close the socket", path)(error)),
    }
}

fn bind(source: &Path, target: &Path) -> Result<(), String> {
    rustix::mount::mount_bind_recursive(source, target).map_err(failed("bind", target))
}

fn keep(file: &OwnedFd, path: &Path) -> Result<(), String> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if !path.exists() {
        let made = if source.is_dir() {
            fs::create_dir_all(path)
        } else {
            let parent = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).and_then(|()| File::create(path).map(drop))
        };
        made.map_err(|error| format!("mounts: cannot make {}: {error}", path.display()))?;
    }
    bind(&source, path)
}

/// Makes every mount read-only that is not to be written.
fn close_the_rest(writes: &[PathBuf]) -> Result<(), String> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mounts: {error}"))?;
    for (path, flags) in table.lines().filter_map(parse_mount) {
        let own = OWN.iter().any(|own| Path::new(own) == path);
        if own || path.starts_with("/proc") || writes.iter().any(|open| path.starts_with(open)) {
            continue;
        }
        let flags = flags | MountFlags::BIND | MountFlags::RDONLY;
        match rustix::mount::mount_remount(&path, flags, c"") {
            Ok(()) => {}
            // Covered by another mount, gone, or of another user's: then nothing can be reached by it.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
            Err(error) => return Err(failed("close", &path)(error)),
        }
    }
    Ok(())
}

/// The mount point of a line of `mountinfo`, and the flags that a change has to repeat.
fn parse_mount(line: &str) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(' ').skip(4);
    let path = unescaped(fields.next()?);
    let mut flags = MountFlags::empty();
    for option in fields.next()?.split(',') {
        flags |= match option {
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "noatime" => MountFlags::NOATIME,
            "nodiratime" => MountFlags::NODIRATIME,
            "relatime" => MountFlags::RELATIME,
            "nosymfollow" => MountFlags::NOSYMFOLLOW,
            _ => MountFlags::empty(),
        };
    }
    Some((path, flags))
}

/// `\040` and its like, which stand for a space, a tab, a line's end and the backslash.
fn unescaped(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    std::ffi::OsString::from_vec(out).into()
}

/// The repository of the workspace works, and keeps its hooks and configuration. It is a mount of
/// its own, so that it cannot be moved away and another put in its place.
fn guard(git: &Path) -> Result<(), String> {
    if !git.is_dir() {
        return Ok(());
    }
    bind(git, git)?;
    GUARDED.iter().map(|name| git.join(name)).filter(|path| path.exists()).try_for_each(|path| close(&path))
}

/// A read-only mount of its own.
fn close(path: &Path) -> Result<(), String> {
    bind(path, path)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | own_flags(path);
    rustix::mount::mount_remount(path, flags, c"").map_err(failed("close", path))
}

/// The flags of the mount at a path, which a user namespace may not take away.
fn own_flags(path: &Path) -> MountFlags {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let top = table.lines().rev().filter_map(parse_mount).find(|(at, _)| at == path);
    top.map_or(MountFlags::empty(), |(_, flags)| flags)
}

/// The hard limit of a fork bomb, also of root's, where the kernel has one for each namespace.
fn limit_pids(processes: u64) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= PID_LIMIT_SINCE {
        // Where it is refused, the shim's watch and RLIMIT_NPROC remain.
        let _refused = fs::write("/proc/sys/kernel/pid_max", (processes + PIDS_RESERVED).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_give_path_and_flags() {
        let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noexec,relatime master:1 - ext3 /dev/root rw,errors=continue";
        let (path, flags) = parse_mount(line).expect("parses");
        assert_eq!((path.as_path(), flags), (Path::new("/mnt 2"), MountFlags::NOEXEC | MountFlags::RELATIME));
        assert_eq!(unescaped("a\\134b\\9"), Path::new("a\\b\\9"));
        assert!(parse_mount("36 35 98:0").is_none());
    }
}
