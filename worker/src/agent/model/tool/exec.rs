//! Commands of a model: run to their end, or left running and looked at again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::output::name_of;
use crate::execution::{Execution, Program};
use crate::process::{ProcessEnd, ProcessError, ProcessOutcome, Purpose};
use crate::workspace::Folder;

/// Commands left running at once.
const RUNNING_MAX: usize = 16;

/// Output read of one command at once, in bytes.
const READ_BYTES_MAX: u64 = 8 << 20;

/// What a command of a shell is wrapped in: the folder, then the command and its arguments.
const IN_FOLDER: &str = r#"cd -- "$1" || exit 125; shift; exec "$@""#;

/// How a command stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It ended.
    Ended(ProcessEnd),
    /// It goes on, under this number.
    Running(u64),
}

/// A command, what it said since the last look, and where all of it is.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it stands.
    pub state: State,
    /// What it said.
    pub output: String,
    /// The file of all its output.
    pub file: PathBuf,
}

/// A command to run.
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Folder.
    pub folder: PathBuf,
    /// Whether its stdin stays open.
    pub writable: bool,
    /// File of its output.
    pub file: PathBuf,
    /// How long it is waited for before it is left running.
    pub wait: Duration,
    /// Wall time it may take.
    pub limit: Option<Duration>,
}

/// The commands of one attempt.
pub struct Runs {
    execution: Arc<Execution>,
    running: BTreeMap<u64, Running>,
    next: u64,
}

struct Running {
    task: JoinHandle<Result<ProcessOutcome, ProcessError>>,
    stop: CancellationToken,
    /// Of its output.
    folder: PathBuf,
    stdin: Option<File>,
    file: PathBuf,
    seen: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        // With the run its processes end, whatever they are doing.
        self.task.abort();
    }
}

impl Runs {
    /// None yet.
    pub fn new(execution: Arc<Execution>) -> Self {
        Self { execution, running: BTreeMap::new(), next: 1 }
    }

    /// Starts a command and waits for it.
    pub async fn start(&mut self, command: Command) -> Result<Ran, String> {
        if self.running.len() >= RUNNING_MAX {
            return Err(format!("{RUNNING_MAX} commands are running; end one first"));
        }
        let pipe = command.file.with_extension("stdin");
        let folder = command.file.parent().unwrap_or(&command.folder).to_owned();
        let stdin = if command.writable {
            let made = name_of(&pipe).and_then(|name| Folder::at(&folder)?.pipe(name));
            Some(made.map_err(|error| format!("no pipe can be made: {error}"))?)
        } else {
            None
        };
        let mut argv: Vec<OsString> = ["sh", "-c", IN_FOLDER, "sh"].map(OsString::from).to_vec();
        argv.push(command.folder.into());
        argv.extend(command.argv);
        let program = Program {
            name: "tool".into(),
            argv,
            stdin: stdin.is_some().then_some(pipe),
            timeout: command.limit,
            ..Program::default()
        };
        let (execution, file) = (Arc::clone(&self.execution), command.file.clone());
        let stop = execution.cancel.child_token();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { execution.run_to(Purpose::Agent, program, file, &stopped).await });
        let number = self.next;
        self.next += 1;
        self.running.insert(number, Running { task, stop, folder, stdin, file: command.file, seen: 0 });
        self.look(number, "", command.wait).await
    }

    /// Writes to a running command and waits for what it says, or for its end.
    pub async fn look(&mut self, number: u64, chars: &str, wait: Duration) -> Result<Ran, String> {
        let Some(running) = self.running.get_mut(&number) else {
            return Err(format!("no session {number} is running"));
        };
        if !chars.is_empty() {
            let stdin = running.stdin.as_mut().ok_or("its stdin is closed: start the command with tty = true")?;
            stdin.write_all(chars.as_bytes()).map_err(|error| format!("it does not read its stdin: {error}"))?;
        }
        let ended = tokio::time::timeout(wait, &mut running.task).await;
        let output = running.unseen();
        let file = running.file.clone();
        let state = match ended {
            Err(_) => State::Running(number),
            Ok(joined) => {
                self.running.remove(&number);
                let outcome = joined.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                State::Ended(outcome.end)
            }
        };
        Ok(Ran { state, output, file })
    }

    /// Ends all that still run, and waits until none of their processes is left to write anything.
    pub async fn close(&mut self) {
        let running = std::mem::take(&mut self.running);
        running.values().for_each(|running| running.stop.cancel());
        for (_, mut running) in running {
            let _ended = (&mut running.task).await;
        }
    }
}

impl Running {
    /// What its file got since the last look. Of long output the file holds the head until the
    /// command ends, and its tail then.
    fn unseen(&mut self) -> String {
        let mut bytes = Vec::new();
        // The command may have put a link or a pipe in the place of its output.
        let opened = name_of(&self.file).and_then(|name| Folder::at(&self.folder)?.open(name));
        let read = opened.and_then(|file| {
            let mut file = file.ok_or(std::io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(self.seen))?;
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)
        });
        // A character may be cut by the end of what is there so far: it comes with the next look.
        let whole = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() && !self.task.is_finished() => error.valid_up_to(),
            _ => bytes.len(),
        };
        self.seen += read.map_or(0, |_| whole as u64);
        String::from_utf8_lossy(&bytes[..whole]).into_owned()
    }
}
