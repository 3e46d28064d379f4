//! A network of its own for programs that must not reach any other: only `lo`.
//!
//! It is a network and process namespace held by a shell that dies with the test; everything in it
//! dies with the shell, daemons and other sessions included. It needs no root where the kernel lets
//! users make namespaces.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::agents::REQUIRED;

/// Brings `lo` up, says so, and stays until its input closes.
const HOLD: &str = "ip link set lo up && echo ready && read -r _";

/// The namespaces, and what runs in them.
pub struct Namespace {
    holder: Child,
    inside: u32,
}

impl Namespace {
    /// New and empty.
    pub fn new() -> Result<Self> {
        let mut holder = Command::new("unshare");
        holder.args(["-r", "-n", "-p", "-m", "--fork", "--kill-child", "--mount-proc", "sh", "-c", HOLD]);
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = holder.spawn().context("cannot start unshare (package util-linux)")?;
        let mut said = String::new();
        if let Some(out) = holder.stdout.take() {
            BufReader::new(out).read_line(&mut said)?;
        }
        if said.trim() != "ready" {
            drop(holder.kill());
            drop(holder.wait());
            bail!("this kernel or container lets nobody make namespaces, or iproute2 is missing");
        }
        let pid = holder.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let inside = children.trim().parse().with_context(|| format!("one process inside, not {children:?}"))?;
        Ok(Self { holder, inside })
    }

    /// Why there can be none here, in words; `None` where there can. Where agents are required there
    /// must be one.
    pub fn missing() -> Option<String> {
        let reason = format!("{:#}", Self::new().err()?);
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and agents have no namespace: {reason}");
        Some(reason)
    }

    /// A program to run inside, with no variable of this process's environment but `PATH`. Its
    /// folder is named here, as an absolute path: entering a namespace forgets where one was.
    pub fn command(&self, program: impl AsRef<OsStr>, folder: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inside.to_string(), "--user", "--preserve-credentials"]);
        let mut inside = OsString::from("--wdns=");
        inside.push(folder);
        command.args(["--net", "--pid", "--mount"]).arg(inside).arg("--").arg(program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).stdin(Stdio::null());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
