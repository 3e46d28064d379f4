//! The shim: the process between the worker and the programs it runs.
//!
//! Two stages, both a re-execution of the binary. The first is session leader and child subreaper;
//! it watches the lifeline, waits, and at the end leaves no descendant alive. The second asks the
//! kernel to be killed with the first and then becomes the program. Neither uses tokio: the death
//! signal follows the *thread* that started a process, and this one's main thread lives to the end.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::descendants::{reap, signal_descendants};
use super::wire::{SPEC_BYTES_MAX, ShimSpec, ShimStatus, TERMINATE};

/// Argument that selects the second stage.
const EXEC_STAGE: &str = "exec";

/// Pause between two sweeps over the remaining descendants.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// Longest time spent killing before the shim gives up on a process that cannot be killed (one in
/// an uninterruptible system call).
const SWEEP_MAX: Duration = Duration::from_secs(5);

/// Runs the binary as the shim; `args` is everything after the prefix of `WorkerConfig::shim`.
/// It must be called first thing in `main`, before any thread exists.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let done = match args.first().map(OsString::as_os_str) {
        None => supervise(),
        Some(stage) if stage == OsStr::new(EXEC_STAGE) => execute(&args[1..]),
        Some(_) => Err("unknown arguments; it is started by longhaul itself".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("longhaul process shim: {message}");
            ExitCode::from(70)
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn supervise() -> Result<(), String> {
    let spec = read_spec()?;
    // Fails only for a process that leads a group already, which then has the same effect.
    let _leads = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(text)?;
    let status = match start(&spec) {
        Ok(main) => {
            let grace = Duration::from_millis(spec.grace_ms);
            std::thread::spawn(move || watch_lifeline(grace));
            wait_for(main)?
        }
        Err(message) => ShimStatus::NotStarted(message),
    };
    kill_all();
    let line = serde_json::to_vec(&status).map_err(text)?;
    // The parent may be gone; then nobody needs the status.
    let _unread = std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush());
    Ok(())
}

fn read_spec() -> Result<ShimSpec, String> {
    let mut stdin = std::io::stdin().lock();
    let mut length = [0; 4];
    stdin.read_exact(&mut length).map_err(text)?;
    let length = u32::from_be_bytes(length);
    if length > SPEC_BYTES_MAX {
        return Err(format!("a specification of {length} bytes is over the limit"));
    }
    let mut json = vec![0; length as usize];
    stdin.read_exact(&mut json).map_err(text)?;
    serde_json::from_slice(&json).map_err(text)
}

/// Starts the second stage and waits until it has become the program.
fn start(spec: &ShimSpec) -> Result<Pid, String> {
    let (program, prefix) = spec.shim.split_first().ok_or("no shim to execute")?;
    let (mut errors, report) = std::io::pipe().map_err(text)?;
    let output = match &spec.stdout {
        None => std::io::stderr().as_fd().try_clone_to_owned().map_err(text)?,
        // For reading as well: so it cannot block, however a FIFO's other end is.
        Some(path) => {
            let opened = std::fs::File::options().read(true).write(true).open(path);
            opened.map_err(|error| format!("cannot open {}: {error}", path.display()))?.into()
        }
    };
    let stdin = spec.stdin.as_deref().unwrap_or(Path::new("/dev/null"));
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    let child = Command::new(program)
        .args(prefix)
        .args([OsStr::new(EXEC_STAGE), OsStr::new(&own), stdin.as_os_str()])
        .args(&spec.argv)
        .env_clear()
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&spec.cwd)
        .stdin(report)
        .stdout(output)
        .spawn()
        .map_err(|error| format!("cannot start in {}: {error}", spec.cwd.display()))?;
    let mut message = String::new();
    errors.read_to_string(&mut message).map_err(text)?;
    if message.is_empty() { Ok(Pid::from_child(&child)) } else { Err(message) }
}

/// The second stage: arguments are the shim's process id, the file for stdin, program, arguments.
///
/// Its own stdin is the pipe that tells the first stage why the program could not be executed; a
/// copy of it is closed by a successful execution.
fn execute(args: &[OsString]) -> Result<(), String> {
    let mut report: std::fs::File = std::io::stdin().as_fd().try_clone_to_owned().map_err(text)?.into();
    let message = become_program(args);
    report.write_all(message.as_bytes()).map_err(text)?;
    std::process::exit(127)
}

/// Returns only on failure.
fn become_program(args: &[OsString]) -> String {
    let [parent, stdin, program, rest @ ..] = args else { return "too few arguments".to_owned() };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot set the death signal: {error}");
    }
    // The shim may have died before the signal was set.
    let alive = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if alive.as_deref().map(OsStr::new) != Some(parent) {
        return "the shim is gone".to_owned();
    }
    if let Err(error) = rustix::process::setpgid(None, None) {
        return format!("cannot make a process group: {error}");
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        return format!("cannot limit core files: {error}");
    }
    let stdin = match std::fs::File::open(stdin) {
        Ok(file) => Stdio::from(file),
        Err(error) => return format!("cannot open {}: {error}", Path::new(stdin).display()),
    };
    let error = Command::new(program).args(rest).stdin(stdin).exec();
    format!("cannot execute {}: {error}", program.to_string_lossy())
}

/// Waits for the main program, reaping orphans that were handed to us on the way.
fn wait_for(main: Pid) -> Result<ShimStatus, String> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => ShimStatus::Exited(code),
                    (None, signal) => ShimStatus::Signalled(signal.unwrap_or_default()),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for the program: {error}")),
        }
    }
}

fn watch_lifeline(grace: Duration) {
    let mut byte = [0];
    let asked = matches!(std::io::stdin().read(&mut byte), Ok(1)) && byte[0] == TERMINATE;
    if asked {
        signal_descendants(Signal::TERM);
        // The parent may die during the grace; the end is the same a little later.
        std::thread::sleep(grace);
    }
    // The main thread reaps, reports and ends the process, and this thread with it.
    loop {
        signal_descendants(Signal::KILL);
        std::thread::sleep(SWEEP_PAUSE);
    }
}

/// Kills until no child is left. Every orphan below us becomes our child, so "no child" is "none".
fn kill_all() {
    let started = Instant::now();
    while reap() && started.elapsed() < SWEEP_MAX {
        signal_descendants(Signal::KILL);
        std::thread::sleep(SWEEP_PAUSE);
    }
}
