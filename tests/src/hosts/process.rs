//! A process on a host.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

/// How often a file or an end is looked for; nothing of another process can be awaited otherwise.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one process had said may be shown in an error, in bytes.
const SAID_BYTES_MAX: usize = 6_000;

/// A running process; killed when it is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Everything it wrote so far, and those before it with the same log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `holds`, at most this long; an error with its last words when it ended before.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before {what}; it said:\n{}", self.name, self.last_words());
            }
            if begun.elapsed() > limit {
                bail!("{}: not {what} after {limit:?}; it said:\n{}", self.name, self.last_words());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits for that, at most this long.
    pub fn terminate(self, limit: Duration) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a process id")?;
        rustix::process::kill_process(pid, Signal::TERM)?;
        self.wait(limit)
    }

    /// Waits for its end, at most this long.
    pub fn wait(mut self, limit: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                bail!("{} did not end within {limit:?}; it said:\n{}", self.name, self.last_words());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn last_words(&self) -> String {
        let said = self.said();
        let from = said.len().saturating_sub(SAID_BYTES_MAX);
        let from = (from..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(said.len());
        said[from..].to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
