//! Git on a mirror for longer than a moment: through the shim, so that it ends with the worker, and
//! within limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longhaul_common::git::{Git, GitError};
use longhaul_proto::RepoEnv;
use tokio_util::sync::CancellationToken;

use crate::process::{ProcessSpec, Purpose, Secrets, run, variables};

/// Bytes kept of git's own words.
const LOG_BYTES_MAX: u64 = 64 << 10;

/// How long looking through a mirror, or repacking it, may take.
const UPKEEP_MAX: Duration = Duration::from_secs(3_600);

/// A command of git in the folder of a mirror, in the same clean environment as any other. What is
/// secret in it is in its environment only.
pub(super) fn spec<S: AsRef<std::ffi::OsStr>>(git: &Git, args: &[S], log: PathBuf, secrets: Secrets) -> ProcessSpec {
    let command = git.command(args);
    let path = git.git_dir();
    let mut env: BTreeMap<OsString, OsString> = variables(Purpose::Prepare, &RepoEnv::default(), path);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => drop(env.insert(key.to_owned(), value.to_owned())),
            // An inherited GIT_SSL_CAINFO would win over the authority of the server.
            None => drop(env.remove(key)),
        }
    }
    let mut argv = vec![command.get_program().to_owned()];
    argv.extend(command.get_args().map(OsString::from));
    ProcessSpec {
        argv,
        cwd: path.to_owned(),
        env,
        stdin: None,
        stdout: None,
        timeout: None,
        idle_timeout: None,
        secrets,
        log,
        output_bytes_max: LOG_BYTES_MAX,
        on_line: None,
        sandbox: None,
    }
}

/// Runs git on a mirror to its end. Blocks, in a runtime's thread for that.
pub(super) fn run_blocking(shim: &[OsString], path: &Path, args: &[&str]) -> Result<(), GitError> {
    let spec = spec(&Git::at(path), args, path.join("upkeep.log"), Secrets::default());
    let spec = ProcessSpec { timeout: Some(UPKEEP_MAX), ..spec };
    // Nobody cancels it: it serves whoever comes next. It ends with the worker.
    let cancel = CancellationToken::new();
    let outcome = tokio::runtime::Handle::current().block_on(run(shim, spec, &cancel));
    let failed = |output: String| GitError::Output { args: args.join(" "), output, expected: "its success" };
    match outcome {
        Ok(outcome) if outcome.succeeded() => Ok(()),
        Ok(outcome) => Err(failed(format!("{:?}: {}", outcome.end, outcome.log.tail.trim()))),
        Err(error) => Err(failed(error.to_string())),
    }
}
