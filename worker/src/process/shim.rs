//! The shim: the process between the worker and the programs it runs.
//!
//! Two stages, both a re-execution of the binary. The first is session leader and child subreaper;
//! it watches the lifeline, waits, and at the end leaves no descendant alive. The second asks the
//! kernel to be killed with the first and then becomes the program. Neither uses tokio: the death
//! signal follows the *thread* that started a process, and this one's main thread lives to the end.

use std::ffi::{OsStr, OsString};
use std::io::PipeReader;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::descendants::{reap, signal_descendants, usage};
use super::wire::{SPEC_BYTES_MAX, ShimSpec, ShimStatus, TERMINATE};
use crate::sandbox::{Rules, inside, limits, namespaces, paths, space};

/// Argument that selects the second stage.
const EXEC_STAGE: &str = "exec";

/// Argument that makes the network of an attempt; see [`space`].
pub const SPACE_STAGE: &str = "space";

/// Argument that prints the version of Landlock.
pub const LANDLOCK_STAGE: &str = "landlock";

/// Argument that does nothing, inside whatever boundary it is started in.
pub const NOTHING_STAGE: &str = "nothing";

/// Argument that tries to make a sandbox inside the boundary it is started in.
pub const NEST_STAGE: &str = "nest";

/// What stands for "no boundary" between the stages.
const OPEN: &str = "-";

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
        Some(stage) if stage == EXEC_STAGE => execute(&args[1..]),
        Some(stage) if stage == SPACE_STAGE => space::make(args.len() > 1),
        Some(stage) if stage == LANDLOCK_STAGE => {
            println!("{}", paths::version());
            Ok(())
        }
        Some(stage) if stage == NOTHING_STAGE => Ok(()),
        Some(stage) if stage == NEST_STAGE => {
            if inside::can_nest() {
                Ok(())
            } else {
                Err("no namespace can be made here".to_owned())
            }
        }
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
    let over = Arc::new(OnceLock::new());
    let status = match start(&spec, &over) {
        Ok(started) => wait_for(started)?,
        Err(message) => ShimStatus::NotStarted(message),
    };
    let status = over.get().cloned().map_or(status, ShimStatus::OverLimit);
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

/// The second stage, and what it will report at its end where it does not become the program.
struct Started {
    stage: Pid,
    report: Option<PipeReader>,
}

/// What ends everything: the lifeline, and limits.
fn watch(spec: &ShimSpec, over: &Arc<OnceLock<String>>) {
    let grace = Duration::from_millis(spec.grace_ms);
    std::thread::spawn(move || watch_lifeline(grace));
    if let Some(rules) = spec.sandbox.clone() {
        let (over, cwd) = (Arc::clone(over), spec.cwd.clone());
        std::thread::spawn(move || watch_limits(&rules, &cwd, &over));
    }
}

/// Starts the second stage and waits until the program runs.
fn start(spec: &ShimSpec, over: &Arc<OnceLock<String>>) -> Result<Started, String> {
    let (program, prefix) = spec.shim.split_first().ok_or("no shim to execute")?;
    let (mut report, reporter) = std::io::pipe().map_err(text)?;
    let output = match &spec.stdout {
        None => std::io::stderr().as_fd().try_clone_to_owned().map_err(text)?,
        // For reading as well: so it cannot block, however a FIFO's other end is.
        Some(path) => {
            let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
            let opened = std::fs::File::options().read(true).write(true).custom_flags(no_link).open(path);
            opened.map_err(|error| format!("cannot open {}: {error}", path.display()))?.into()
        }
    };
    let stdin = spec.stdin.as_deref().unwrap_or(Path::new("/dev/null"));
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    // Between the two: threads are neither before the first nor after the second.
    spec.sandbox.as_ref().map_or(Ok(()), namespaces::enter)?;
    watch(spec, over);
    spec.sandbox.as_ref().map_or(Ok(()), namespaces::number_anew)?;
    let rules = match &spec.sandbox {
        Some(rules) => serde_json::to_string(rules).map_err(text)?,
        None => OPEN.to_owned(),
    };
    let child = Command::new(program)
        .args(prefix)
        .args([OsStr::new(EXEC_STAGE), OsStr::new(&own), stdin.as_os_str(), OsStr::new(&rules)])
        .args(&spec.argv)
        .env_clear()
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&spec.cwd)
        .stdin(reporter)
        .stdout(output)
        .spawn()
        .map_err(|error| format!("cannot start in {}: {error}", spec.cwd.display()))?;
    let stage = Pid::from_child(&child);
    let mut first = [0];
    match report.read(&mut first).map_err(text)? {
        // Closed by a successful execution.
        0 => Ok(Started { stage, report: None }),
        _ if first[0] == inside::STARTED => Ok(Started { stage, report: Some(report) }),
        _ => {
            let mut message = String::new();
            report.read_to_string(&mut message).map_err(text)?;
            Err(message)
        }
    }
}

/// The second stage: arguments are the shim's process id, the file for stdin, the boundary, program,
/// arguments.
///
/// Its own stdin is the pipe that tells the first stage why the program could not be executed; a
/// copy of it is closed by a successful execution.
fn execute(args: &[OsString]) -> Result<(), String> {
    let mut report = inside::report()?;
    let message = become_program(args);
    report.write_all(&[inside::FAILED]).map_err(text)?;
    report.write_all(message.as_bytes()).map_err(text)?;
    std::process::exit(127)
}

/// Returns only on failure.
fn become_program(args: &[OsString]) -> String {
    match try_become(args) {
        Ok(never) => match never {},
        Err(message) => message,
    }
}

fn try_become(args: &[OsString]) -> Result<std::convert::Infallible, String> {
    let [parent, stdin, rules, program, rest @ ..] = args else { return Err("too few arguments".to_owned()) };
    let rules: Option<Rules> = match rules.to_str() {
        Some(OPEN) => None,
        Some(json) => Some(serde_json::from_str(json).map_err(text)?),
        None => return Err("a boundary that is no text".to_owned()),
    };
    inside::die_with_parent()?;
    let report = inside::report()?;
    let is_first = rules.as_ref().is_some_and(|rules| rules.layers.pid);
    // The shim may have died before the signal was set. Its id is not seen from new process ids.
    let alive = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    let is_orphan =
        if is_first { inside::is_orphan(&report) } else { alive.as_deref().map(OsStr::new) != Some(parent) };
    if is_orphan {
        return Err("the shim is gone".to_owned());
    }
    if !is_first {
        rustix::process::setpgid(None, None).map_err(|error| format!("cannot make a process group: {error}"))?;
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(|error| format!("cannot limit core files: {error}"))?;
    if let Some(rules) = &rules {
        let cwd = std::env::current_dir().map_err(text)?;
        inside::confine(rules, &cwd)?;
    }
    let file = std::fs::File::open(stdin);
    let file = file.map_err(|error| format!("cannot open {}: {error}", Path::new(stdin).display()))?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::from(file));
    if is_first {
        return inside::first_process(command, report);
    }
    drop(report);
    let error = command.exec();
    Err(format!("cannot execute {}: {error}", program.to_string_lossy()))
}

/// Waits for the main program, reaping orphans that were handed to us on the way.
fn wait_for(started: Started) -> Result<ShimStatus, String> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == started.stage => {
                let mut json = Vec::new();
                if let Some(mut report) = started.report {
                    report.read_to_end(&mut json).map_err(text)?;
                }
                if let Ok(status) = serde_json::from_slice(&json) {
                    return Ok(status);
                }
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

/// Ends everything when it uses more than it may, and says so in `over`.
fn watch_limits(rules: &Rules, cwd: &Path, over: &OnceLock<String>) {
    loop {
        std::thread::sleep(limits::LOOK_EVERY);
        if let Some(why) = limits::exceeded(&rules.limits, usage(), limits::free_bytes(cwd)) {
            let _first = over.set(why);
            signal_descendants(Signal::KILL);
        }
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
