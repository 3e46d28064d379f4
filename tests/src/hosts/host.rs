//! One host: an address, a wire to the switch, and what runs on it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::net::{ip, kill_all, remove};
use super::process::Process;

/// An address that answers nobody: what is sent to it is lost, without an error for the sender.
const NOBODY: &str = "02:00:00:00:00:01";

/// A network namespace with one interface.
pub struct Host {
    name: String,
    namespace: String,
    address: String,
    switch: String,
    wire: String,
}

impl Host {
    pub(super) fn new(name: &str, namespace: String, address: String, switch: String, wire: String) -> Self {
        Self { name: name.to_owned(), namespace, address, switch, wire }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, without a port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same command, to run on this host. It gets SIGKILL when the thread that starts it ends.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace, "setpriv", "--pdeathsig", "KILL", "--"]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Starts a program on this host, its output in a file.
    pub fn start(&self, command: &Command, log: &Path) -> Result<Process> {
        Process::start(&self.name, self.inside(command), log)
    }

    /// Pulls the wire: nothing comes or goes, and nobody is told.
    pub fn cut(&self) -> Result<()> {
        ip(&["-n", &self.switch, "link", "set", &self.wire, "down"]).map(drop)
    }

    /// Puts the wire back.
    pub fn mend(&self) -> Result<()> {
        ip(&["-n", &self.switch, "link", "set", &self.wire, "up"]).map(drop)
    }

    /// Loses everything between this host and another, in both directions; both reach all others.
    pub fn part(&self, other: &Self) -> Result<()> {
        self.lose(other)?;
        other.lose(self)
    }

    /// Ends [`Host::part`].
    pub fn join(&self, other: &Self) -> Result<()> {
        self.find(other)?;
        other.find(self)
    }

    /// Takes the power away: SIGKILL for everything that runs on it.
    pub fn power_off(&self) {
        kill_all(&self.namespace);
    }

    fn lose(&self, other: &Self) -> Result<()> {
        let at = ["-n", &self.namespace, "neighbour", "replace", other.address(), "lladdr", NOBODY];
        ip(&[&at[..], &["dev", "eth0", "nud", "permanent"]].concat()).map(drop)
    }

    fn find(&self, other: &Self) -> Result<()> {
        ip(&["-n", &self.namespace, "neighbour", "del", other.address(), "dev", "eth0"]).map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove(&self.namespace);
    }
}
