//! The switch that hosts are connected to.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

use super::host::Host;

/// Hosts of one net; the last byte of an address is 10 + the host's number.
pub const HOSTS_MAX: u32 = 200;

/// The first three bytes of every address: private, and unused outside of the namespaces.
const PREFIX: &str = "10.77.0";

/// Names of our namespaces: `lht-<pid>-<net>-<host>`.
const MARK: &str = "lht-";

/// Names that this process gave away.
static NAMES: AtomicU32 = AtomicU32::new(0);

/// One switch with the hosts connected to it. It goes, with its wires, when it is dropped; hosts
/// have to be dropped first.
pub struct Net {
    id: String,
    hosts: Cell<u32>,
}

/// Why such nets cannot be made here, in words; `None` where they can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for (tool, package) in [("ip", "iproute2"), ("setpriv", "util-linux"), ("sha256sum", "coreutils")] {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder: PathBuf| folder.join(tool).is_file()));
        if !found {
            return Some(format!("{tool} is missing: install the package {package}"));
        }
    }
    let probe = format!("{}-probe", unique());
    let made = ip(&["netns", "add", &probe]);
    drop(ip(&["netns", "del", &probe]));
    made.err().map(|error| format!("this kernel or container makes no network namespaces: {error:#}"))
}

impl Net {
    /// A switch without hosts.
    pub fn new() -> Result<Self> {
        sweep();
        let id = unique();
        let net = Self { id, hosts: Cell::new(0) };
        let switch = net.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        Ok(net)
    }

    /// A further host, connected.
    pub fn host(&self, name: &str) -> Result<Host> {
        let number = self.hosts.get();
        if number >= HOSTS_MAX {
            bail!("a net has {HOSTS_MAX} hosts at most");
        }
        self.hosts.set(number + 1);
        let address = format!("{PREFIX}.{}", 10 + number);
        let wire = format!("h{number}");
        let namespace = format!("{}-{name}", self.id);
        ip(&["netns", "add", &namespace])?;
        let host = Host::new(name, namespace.clone(), address.clone(), self.switch(), wire.clone());
        let switch = self.switch();
        ip(&["-n", &switch, "link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        ip(&["-n", &switch, "link", "set", &wire, "master", "br0"])?;
        ip(&["-n", &switch, "link", "set", &wire, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        Ok(host)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.id)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(ip(&["netns", "del", &self.switch()]));
    }
}

/// The beginning of names that nobody else has.
fn unique() -> String {
    format!("{MARK}{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// Runs `ip`; its words are the error.
pub(super) fn ip(args: &[&str]) -> Result<String> {
    let out = Command::new("ip").args(args).output().context("cannot start ip")?;
    if !out.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Kills what runs in a namespace, and removes it.
pub(super) fn remove(namespace: &str) {
    kill_all(namespace);
    drop(ip(&["netns", "del", namespace]));
}

/// SIGKILL for every process of a namespace, until there is none: one that forks meanwhile is met
/// by the next round.
pub(super) fn kill_all(namespace: &str) {
    const ROUNDS_MAX: u32 = 1_000;
    for _ in 0..ROUNDS_MAX {
        let pids = ip(&["netns", "pids", namespace]).unwrap_or_default();
        let mut left = false;
        for pid in pids.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            left |= rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok() && !is_zombie(pid);
        }
        if !left {
            return;
        }
        std::thread::yield_now();
    }
}

/// Ended, and only not yet waited for.
fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Removes the namespaces of test processes that are gone.
fn sweep() {
    for line in ip(&["netns", "list"]).unwrap_or_default().lines() {
        let Some(name) = line.split_whitespace().next().filter(|name| name.starts_with(MARK)) else { continue };
        let pid = name[MARK.len()..].split('-').next().unwrap_or_default();
        if !std::path::Path::new("/proc").join(pid).exists() {
            remove(name);
        }
    }
}
