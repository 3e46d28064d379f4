//! Waiting for a process to say that it serves.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::Process;

/// How long a start may take on a busy machine.
pub const READY_MAX: Duration = Duration::from_secs(60);

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits for a process's ready file and gives the address it listens on.
pub fn wait_ready(process: &mut Process, file: &Path) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        // It is renamed into place, so it is whole.
        if let Ok(text) = std::fs::read_to_string(file) {
            let value: serde_json::Value = serde_json::from_str(&text).context("the ready file is JSON")?;
            let listen = value.get("listen").and_then(serde_json::Value::as_str).unwrap_or_default();
            return Ok(listen.to_owned());
        }
        if let Some(status) = process.ended()? {
            bail!("it ended with {status}");
        }
        if begun.elapsed() > READY_MAX {
            bail!("it did not say so within {} s", READY_MAX.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
