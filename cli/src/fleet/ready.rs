//! Telling whoever started this process that it serves: a file, and systemd where it asked.
//!
//! The file appears whole and only once the process can be spoken to; it goes with a clean end. One
//! that a killed process left is removed at the next start, before anybody can take it for new.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use anyhow::Context as _;

/// The file of `--ready-file`, or none.
#[derive(Debug)]
pub struct ReadyFile {
    path: Option<PathBuf>,
}

impl ReadyFile {
    /// Clears away what an earlier process left.
    pub fn new(path: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = &path {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(Self { path })
    }

    /// Says that the process serves; `about` is an object, to which pid and version are added.
    pub fn serves(&self, mut about: serde_json::Value) -> anyhow::Result<()> {
        about["pid"] = std::process::id().into();
        about["version"] = env!("CARGO_PKG_VERSION").into();
        if let Some(path) = &self.path {
            let making = path.with_extension("making");
            std::fs::write(&making, format!("{about}\n"))
                .and_then(|()| std::fs::rename(&making, path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        notify("READY=1");
        Ok(())
    }

    /// Says that the process is about to end.
    pub fn ends(&self) {
        notify("STOPPING=1");
        if let Some(path) = &self.path {
            drop(std::fs::remove_file(path));
        }
    }
}

/// A word for systemd (`Type=notify`); nobody else sets the variable.
fn notify(word: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").and_then(|socket| socket.into_string().ok()) else { return };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|from| address.and_then(|address| from.send_to_addr(word.as_bytes(), &address)));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd was not told: {word}");
    }
}
