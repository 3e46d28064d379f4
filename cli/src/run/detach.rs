//! Going on in the background: the same program again, in a session of its own.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use longhaul_common::JobId;

use crate::context::Context;
use crate::exit::Stop;

/// How long a background process may take to serve its job.
const START_MAX: Duration = Duration::from_secs(20);

/// How often it is looked at.
const START_LOOK: Duration = Duration::from_millis(50);

/// Starts `longhaul resume JOB` in the background and waits until it serves the job.
pub fn detach(context: &Context, job: &JobId, yes: bool, no_export: bool) -> anyhow::Result<()> {
    let layout = context.layout.job(job);
    let output = layout.root().join("output.log");
    let log = std::fs::File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--state-dir").arg(context.layout.root()).args(["--json", "resume", job.as_str()]);
    if yes {
        command.arg("--yes");
    }
    if no_export {
        command.arg("--no-export");
    }
    for (setting, variable) in [
        ("worker.sandbox", "LONGHAUL_WORKER__SANDBOX"),
        ("worker.record", "LONGHAUL_WORKER__RECORD"),
        ("worker.replay", "LONGHAUL_WORKER__REPLAY"),
    ] {
        if let Some(value) = context.settings.text(setting) {
            command.env(variable, value);
        }
    }
    // A process group of its own: Ctrl-C in this terminal does not reach it.
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn().context("cannot start the background process")?;
    let socket = context.layout.socket(job);
    let begun = std::time::Instant::now();
    while begun.elapsed() < START_MAX {
        if socket.exists() && std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            eprintln!("running in the background; `longhaul watch {job}` follows it, `longhaul status {job}` tells");
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read_to_string(&output).unwrap_or_default();
            if status.success() {
                eprintln!("done already; `longhaul status {job}` tells");
                return Ok(());
            }
            return Err(Stop::failed(format!("the background process ended at once ({status}):\n{said}")));
        }
        std::thread::sleep(START_LOOK);
    }
    Err(Stop::failed(format!("the background process does not answer; see {}", output.display())))
}
