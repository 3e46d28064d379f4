//! One process of a fleet: its log goes to a file, and it dies with the test.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// How often a process is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A child with a log.
pub struct Process {
    child: Child,
    stopped: bool,
}

impl Process {
    /// Starts it; what it says is appended to the log.
    pub fn spawn(command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        // The kernel ends it with the thread that started it, however that ends.
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        wrapped.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = wrapped.spawn().context("setpriv (util-linux) starts the processes of a fleet")?;
        Ok(Self { child, stopped: false })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> std::io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        match pid {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// Holds it, or lets it go on.
    pub fn hold(&mut self, hold: bool) -> std::io::Result<()> {
        self.stopped = hold;
        self.signal(if hold { Signal::STOP } else { Signal::CONT })
    }

    /// Whether it is held.
    pub fn is_held(&self) -> bool {
        self.stopped
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end at most so long.
    pub fn wait(&mut self, most: Duration) -> std::io::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if begun.elapsed() > most {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// SIGKILL, and reaped.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// SIGTERM, and its end; SIGKILL after `most`.
    pub fn end(&mut self, most: Duration) -> std::io::Result<ExitStatus> {
        if self.stopped {
            self.hold(false)?;
        }
        self.signal(Signal::TERM)?;
        match self.wait(most)? {
            Some(status) => Ok(status),
            None => {
                self.child.kill()?;
                self.child.wait()
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already is only reaped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
