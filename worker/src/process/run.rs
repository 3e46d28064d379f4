//! The parent's side: one program, run to its end, its limit or its cancellation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, CapturedLog, drain};
use super::descendants::kill_orphans;
use super::secrets::Secrets;
use super::wire::{ShimSpec, ShimStatus, TERMINATE};
use crate::sandbox::Enclosed;
use crate::workspace::WorkspaceError;

/// Time between SIGTERM and SIGKILL: a cancelled assignment ends within two seconds.
const GRACE: Duration = Duration::from_millis(1_200);

/// How long after the grace the shim may take to kill what is left before it is killed itself.
const SHIM_END_MAX: Duration = Duration::from_secs(8);

/// How long the output may stay open after the shim is gone, before what has come is all there is.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Captured output of one process when the policy says nothing.
pub const OUTPUT_BYTES_DEFAULT: u64 = 4 << 20;

/// Called with the last whole line of output, from the thread that reads it.
pub type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

/// What to run, and within which limits.
#[derive(Clone)]
pub struct ProcessSpec {
    /// Program and arguments; never empty.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// File to read stdin from; `None` is `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// File for stdout, a FIFO made by [`super::talk`]; `None` is the log.
    pub stdout: Option<PathBuf>,
    /// Wall time limit.
    pub timeout: Option<Duration>,
    /// Longest time without output.
    pub idle_timeout: Option<Duration>,
    /// What is replaced in all output.
    pub secrets: Secrets,
    /// Where stderr goes, and stdout unless it has a file of its own.
    pub log: PathBuf,
    /// Bytes kept of it; 0 is [`OUTPUT_BYTES_DEFAULT`].
    pub output_bytes_max: u64,
    /// Progress.
    pub on_line: Option<OnLine>,
    /// What it runs inside; `None` is no boundary.
    pub sandbox: Option<Enclosed>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The program exited by itself.
    Exited(i32),
    /// A signal that was not ours ended it.
    Signalled(i32),
    /// It ran into its wall time limit and was ended.
    TimedOut,
    /// It wrote nothing for this long and was ended.
    Silent(Duration),
    /// It was ended by the cancellation.
    Cancelled,
    /// It could not be executed, and why.
    NotStarted(String),
    /// It used more than it may and was ended, and what it was.
    OverLimit(String),
    /// The shim was killed from outside; how the program ended is not known.
    Lost,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct ProcessOutcome {
    /// How it ended.
    pub end: ProcessEnd,
    /// What it printed.
    pub log: CapturedLog,
}

impl ProcessOutcome {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.end == ProcessEnd::Exited(0)
    }
}

/// Why a run could not even be attempted.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The log file or a pipe could not be made.
    #[error("cannot prepare the output {}: {source}", path.display())]
    Output {
        /// The log file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Its boundary could not be made.
    #[error("cannot draw the boundary of a program: {0}")]
    Boundary(String),
    /// The workspace is not fit for it.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The shim could not be started.
    #[error("cannot start the process shim {program:?}: {source}")]
    Shim {
        /// The shim's program.
        program: OsString,
        /// The operating system's word.
        source: std::io::Error,
    },
}

/// Runs a program through the shim. When this future is dropped, or this process dies, every
/// process it started is killed.
pub async fn run(
    shim: &[OsString],
    spec: ProcessSpec,
    cancel: &CancellationToken,
) -> Result<ProcessOutcome, ProcessError> {
    let output = |source| ProcessError::Output { path: spec.log.clone(), source };
    let max = if spec.output_bytes_max == 0 { OUTPUT_BYTES_DEFAULT } else { spec.output_bytes_max };
    let capture = Arc::new(Mutex::new(Capture::create(&spec.log, max, spec.secrets.clone()).map_err(output)?));
    if cancel.is_cancelled() {
        return Ok(ProcessOutcome { end: ProcessEnd::Cancelled, log: finish(&capture) });
    }
    let (reader, writer) = std::io::pipe().map_err(output)?;
    let mark = unique_mark();
    let mut child = spawn(shim, writer)?;
    let session = child.id();
    let mut drained = drain(reader, Arc::clone(&capture), spec.on_line.clone());
    let status = child.stdout.take().map(|stdout| tokio::spawn(read_status(stdout)));
    let message = message(shim, &spec, &mark);
    let mut lifeline = child.stdin.take();
    if let Some(stdin) = &mut lifeline {
        // A shim that cannot read it has ended, which the status tells.
        let _ended_early = stdin.write_all(&message).await;
    }

    let timeout = async {
        match spec.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let stopped = tokio::select! {
        biased;
        _ended = child.wait() => None,
        () = cancel.cancelled() => Some(ProcessEnd::Cancelled),
        () = timeout => Some(ProcessEnd::TimedOut),
        limit = silence(&capture, spec.idle_timeout) => Some(ProcessEnd::Silent(limit)),
    };
    if stopped.is_some() {
        if let Some(stdin) = &mut lifeline {
            let _ended_early = stdin.write_all(&[TERMINATE]).await;
        }
        if tokio::time::timeout(GRACE + SHIM_END_MAX, child.wait()).await.is_err() {
            // Only a process in an uninterruptible system call holds it up for so long.
            let _killed = child.kill().await;
        }
    }
    let status = match status {
        Some(task) => task.await.ok().flatten(),
        None => None,
    };
    if status.is_none() {
        let session = session.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1);
        let _swept = tokio::task::spawn_blocking(move || kill_orphans(session, mark.as_bytes())).await;
    }
    // A timeout here means a process that could not be killed still holds the pipe.
    let _complete = tokio::time::timeout(DRAIN_MAX, &mut drained).await;
    let end = stopped.unwrap_or(match status {
        Some(ShimStatus::Exited(code)) => ProcessEnd::Exited(code),
        Some(ShimStatus::Signalled(signal)) => ProcessEnd::Signalled(signal),
        Some(ShimStatus::NotStarted(message)) => ProcessEnd::NotStarted(message),
        Some(ShimStatus::OverLimit(what)) => ProcessEnd::OverLimit(what),
        None => ProcessEnd::Lost,
    });
    Ok(ProcessOutcome { end, log: finish(&capture) })
}

/// Returns when nothing was written for the limit.
async fn silence(capture: &Mutex<Capture>, limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let quiet = capture.lock().unwrap_or_else(PoisonError::into_inner).heard().elapsed();
        match limit.checked_sub(quiet) {
            None | Some(Duration::ZERO) => return limit,
            Some(left) => tokio::time::sleep(left).await,
        }
    }
}

fn finish(capture: &Mutex<Capture>) -> CapturedLog {
    capture.lock().unwrap_or_else(PoisonError::into_inner).finish()
}

/// One variable that no other run has, to recognise what a killed shim leaves behind.
fn unique_mark() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    format!("LONGHAUL_RUN={}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
}

fn message(shim: &[OsString], spec: &ProcessSpec, mark: &str) -> Vec<u8> {
    let mut env = spec.env.clone();
    env.extend(spec.sandbox.iter().flat_map(|sandbox| sandbox.env.clone()));
    let mut env: Vec<(OsString, OsString)> = env.into_iter().collect();
    if let Some((key, value)) = mark.split_once('=') {
        env.push((key.into(), value.into()));
    }
    let wire = ShimSpec {
        shim: shim.to_vec(),
        argv: spec.argv.clone(),
        cwd: spec.cwd.clone(),
        env,
        stdin: spec.stdin.clone(),
        stdout: spec.stdout.clone(),
        grace_ms: GRACE.as_millis() as u64,
        sandbox: spec.sandbox.as_ref().map(|sandbox| sandbox.rules.clone()),
    };
    let json = serde_json::to_vec(&wire).expect("paths and strings of this platform serialise");
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend(json);
    message
}

fn spawn(shim: &[OsString], output: std::io::PipeWriter) -> Result<Child, ProcessError> {
    let (program, prefix) = shim
        .split_first()
        .ok_or_else(|| ProcessError::Shim { program: OsString::new(), source: std::io::ErrorKind::NotFound.into() })?;
    tokio::process::Command::new(program)
        .args(prefix)
        .env_clear()
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(output))
        .spawn()
        .map_err(|source| ProcessError::Shim { program: program.clone(), source })
}

async fn read_status(mut stdout: ChildStdout) -> Option<ShimStatus> {
    let mut json = Vec::new();
    stdout.read_to_end(&mut json).await.ok()?;
    serde_json::from_slice(&json).ok()
}
