//! Telling whoever started this process that it serves: a file, and systemd where it asked.
//!
//! The file appears whole and only once the process can be spoken to; it goes with a clean end. One
//! that a killed process left is removed at the next start, before anybody can take it for new.

use std::path::PathBuf;

use anyhow::Context as _;
use longhaul_common::notify;

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
        told(notify::ready());
        Ok(())
    }

    /// Says that the process is about to end, which may take a while.
    pub fn ending(&self) {
        told(notify::stopping());
    }

    /// Takes the file away: the process ends now.
    pub fn ends(&self) {
        if let Some(path) = &self.path {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Telling is never worth failing for.
fn told(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the supervisor that NOTIFY_SOCKET names was not told");
    }
}
