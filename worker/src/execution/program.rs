//! How programs of an assignment are run: within its boundary, its limits and its time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use longhaul_proto::{CommandLine, Failure, FailureClass, LogFile};
use tokio_util::sync::CancellationToken;

use super::Execution;
use crate::failure::of_run;
use crate::process::{
    Placeholders, ProcessEnd, ProcessError, ProcessOutcome, ProcessSpec, Purpose, argv_of, variables,
};
use crate::sandbox::{Enclosed, Place};

/// A program to run for an execution.
#[derive(Clone, Default)]
pub struct Program {
    /// What it is, for its log's name and for messages.
    pub name: String,
    /// Its argv.
    pub argv: Vec<OsString>,
    /// Variables beyond the allow-list.
    pub env: BTreeMap<OsString, OsString>,
    /// File on its stdin.
    pub stdin: Option<PathBuf>,
    /// File for its stdout; its log otherwise.
    pub stdout: Option<PathBuf>,
    /// What of the user's home is open to it although it is hidden: a login of its own.
    pub logins: Vec<PathBuf>,
    /// Wall time limit; the execution's own deadline holds as well.
    pub timeout: Option<Duration>,
    /// Longest time without output.
    pub idle_timeout: Option<Duration>,
    /// It puts in order what others left, so the execution's own deadline does not hold for it.
    pub closes: bool,
}

/// The name that agents know ripgrep by.
pub const RIPGREP: &str = "rg";

impl Execution {
    /// Runs a program in the workspace; its log becomes part of the result.
    pub async fn run(&self, purpose: Purpose, program: Program) -> Result<ProcessOutcome, ProcessError> {
        self.run_until(purpose, program, &self.cancel).await
    }

    /// The same with an end of its own.
    pub async fn run_until(
        &self,
        purpose: Purpose,
        program: Program,
        cancel: &CancellationToken,
    ) -> Result<ProcessOutcome, ProcessError> {
        let log = self.log_name(&program.name, "log");
        let outcome = self.start(purpose, program, self.logs_dir.join(&log), cancel).await?;
        let file = LogFile { name: log, hash: outcome.log.hash.to_vec(), bytes: outcome.log.bytes };
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        Ok(outcome)
    }

    /// The same with its output in another file, which is no log of the result.
    pub async fn run_to(
        &self,
        purpose: Purpose,
        program: Program,
        log: PathBuf,
        cancel: &CancellationToken,
    ) -> Result<ProcessOutcome, ProcessError> {
        self.start(purpose, program, log, cancel).await
    }

    async fn start(
        &self,
        purpose: Purpose,
        program: Program,
        log: PathBuf,
        cancel: &CancellationToken,
    ) -> Result<ProcessOutcome, ProcessError> {
        let mut env = variables(purpose, &self.repo_env, &self.slot.tmp());
        env.insert("LONGHAUL_JOB".into(), self.assignment.job.clone().into());
        if let Some(program) = self.config.ripgrep.as_ref().filter(|_| purpose == Purpose::Agent) {
            self.slot.offer(RIPGREP, program).map_err(ProcessError::Workspace)?;
            let path = env.entry("PATH".into()).or_default();
            *path = with_last(path, self.slot.tools());
        }
        env.extend(program.env);
        let left = self.time_left().filter(|_| !program.closes);
        let timeout = [left, program.timeout].into_iter().flatten().min();
        let sandbox = self.enclose(purpose, program.logins).await?;
        let spec = ProcessSpec {
            argv: program.argv,
            cwd: self.slot.ws(),
            env,
            stdin: program.stdin,
            stdout: program.stdout,
            // Counted here: time stands still while a person is asked.
            timeout: None,
            idle_timeout: program.idle_timeout,
            secrets: self.secrets(),
            log,
            output_bytes_max: self.assignment.policy.as_ref().map_or(0, |policy| policy.max_output_bytes),
            on_line: Some(self.reporter.lines()),
            sandbox,
        };
        let late = cancel.child_token();
        let mut running = std::pin::pin!(crate::process::run(&self.config.shim, spec, &late));
        let over = async {
            match timeout {
                Some(limit) => self.still.worked(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ran = &mut running => return ran,
            () = over => {}
        }
        late.cancel();
        let mut ran = running.await?;
        if ran.end == ProcessEnd::Cancelled && !cancel.is_cancelled() {
            ran.end = ProcessEnd::TimedOut;
        }
        Ok(ran)
    }

    /// As [`Execution::run`] for a command as the user wrote it; a failure is of `class`.
    pub async fn command(
        &self,
        purpose: Purpose,
        class: FailureClass,
        command: &CommandLine,
        values: &Placeholders,
        program: Program,
    ) -> Result<(), Box<Failure>> {
        let Some(argv) = argv_of(command, values) else { return Ok(()) };
        let name = program.name.clone();
        let outcome = self.run(purpose, Program { argv, ..program }).await.map_err(|error| Box::new(error.into()))?;
        match of_run(&name, &outcome, class) {
            None => Ok(()),
            Some(failure) => Err(Box::new(failure)),
        }
    }

    /// The boundary of a program of this assignment; an agent's own logins are open to it. What judges finds a
    /// repository whose configuration no agent wrote.
    pub async fn enclose(&self, purpose: Purpose, logins: Vec<PathBuf>) -> Result<Option<Enclosed>, ProcessError> {
        if !matches!(purpose, Purpose::Agent | Purpose::Setup) {
            let (base, store, caches) = (self.base, self.store(), self.caches());
            let mended = self.blocking(move |slot| slot.mend_decoy(base, &store, &caches)).await;
            mended.and_then(|mended| mended).map_err(ProcessError::Workspace)?;
        }
        let shut = self.shut.iter().map(|name| self.slot.ws().join(name)).collect();
        let place = Place { logins, shut, ..Place::new(&self.slot, &self.store, self.assignment.job_dir.as_ref()) };
        self.boundary.enclose(purpose, &place).await.map_err(ProcessError::Boundary)
    }
}

/// A list of folders with one more at its end.
fn with_last(path: &OsStr, folder: PathBuf) -> OsString {
    let folders = std::env::split_paths(path).filter(|folder| !folder.as_os_str().is_empty());
    // Only a name with a colon cannot be in such a list; then it goes on as it was.
    std::env::join_paths(folders.chain([folder])).unwrap_or_else(|_| path.to_owned())
}
