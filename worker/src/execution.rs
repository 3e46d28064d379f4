//! What subtasks and gates have in common while they are executed: the slot, the logs, the limits,
//! and how programs are run.

mod logs;
mod program;

pub use program::{Program, RIPGREP};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longhaul_common::Oid;
use longhaul_common::spec::PROGRAM_SETTINGS;
use longhaul_proto::{Agent, Assignment, Failure, FailureClass, LogFile, Provider, RepoEnv, agent, assignment};
use tokio_util::sync::CancellationToken;

use crate::asking::Asks;
use crate::commit::Exclusions;
use crate::config::{ResultSink, WorkerConfig};
use crate::environment::{SETUP_MAX, needs_setup, present_caches, setup_digest};
use crate::failure::{failure, infrastructure};
use crate::gateway::{Rates, Recording};
use crate::job_files::JobFolder;
use crate::otel::Telemetry;
use crate::paths::PathSet;
use crate::process::{Placeholders, ProcessEnd, Purpose, Secrets};
use crate::report::Reporter;
use crate::sandbox::Boundary;
use crate::standstill::Standstill;
use crate::workspace::{Slot, WorkspaceError};

/// One assignment in its slot.
pub struct Execution {
    /// What is to be done.
    pub assignment: Assignment,
    /// The commit to start from.
    pub base: Oid,
    /// Where.
    pub slot: Arc<Slot>,
    /// Ends it early.
    pub cancel: CancellationToken,
    /// Set with `cancel` when it is to be handed back.
    pub leave: CancellationToken,
    /// Tells watchers.
    pub reporter: Reporter,
    /// Asks people.
    pub asks: Asks,
    /// Time that counts for no limit of its agents.
    pub still: Standstill,
    /// Where work in progress goes.
    pub sink: Arc<dyn ResultSink>,
    /// The folder of its entry in the outbox.
    pub entry: PathBuf,
    store: PathBuf,
    files: Option<Arc<JobFolder>>,
    secrets: Secrets,
    config: Arc<WorkerConfig>,
    pub(crate) boundary: Boundary,
    repo_env: RepoEnv,
    /// Settings of agent programs that agents do not see.
    shut: Vec<&'static str>,
    exclusions: Mutex<Exclusions>,
    logs_dir: PathBuf,
    logs: Mutex<Vec<LogFile>>,
    deadline: Option<Instant>,
}

/// What an execution is made from.
pub struct ExecutionParts {
    /// What is to be done.
    pub assignment: Assignment,
    /// Where.
    pub slot: Arc<Slot>,
    /// Where logs go.
    pub logs_dir: PathBuf,
    /// The folder of its entry in the outbox.
    pub entry: PathBuf,
    /// Ends it early.
    pub cancel: CancellationToken,
    /// Set with `cancel` when it is to be handed back.
    pub leave: CancellationToken,
    /// Cancelled when the worker is about to leave: nobody is waited for any more.
    pub leaving: CancellationToken,
    /// Tells watchers.
    pub reporter: Reporter,
    /// Where work in progress goes.
    pub sink: Arc<dyn ResultSink>,
    /// The repository to read objects from.
    pub store: PathBuf,
    /// The job's own files, where they are a checkout of this worker.
    pub files: Option<Arc<JobFolder>>,
    /// The worker's settings.
    pub config: Arc<WorkerConfig>,
    /// What its programs may do.
    pub boundary: Boundary,
}

impl Execution {
    /// Whether the job's own files are still what the job says.
    pub async fn has_its_files(&self) -> bool {
        let Some(files) = self.files.clone() else { return true };
        tokio::task::spawn_blocking(move || files.is_whole()).await.unwrap_or_default()
    }

    /// Whether agents see settings of their programs in the repository.
    pub fn shows_settings(&self) -> bool {
        self.shut.len() < PROGRAM_SETTINGS.len()
    }

    /// Reads the assignment's fixed parts.
    pub fn new(parts: ExecutionParts) -> Result<Self, Box<Failure>> {
        let ExecutionParts {
            assignment,
            slot,
            logs_dir,
            entry,
            cancel,
            leave,
            leaving,
            reporter,
            sink,
            store,
            files,
            config,
            boundary,
        } = parts;
        let bad =
            |error: &dyn std::fmt::Display| Box::new(infrastructure(format!("the assignment cannot be read: {error}")));
        let base = Oid::from_bytes(&assignment.base).map_err(|error| bad(&error))?;
        let repo = assignment.repo.clone().unwrap_or_default();
        let repo_env = repo.env.unwrap_or_default();
        let derived =
            PathSet::new(repo.derived.iter().flat_map(|derived| &derived.paths)).map_err(|error| bad(&error))?;
        let exclusions = Exclusions { derived, folders: clean_folders(&repo_env.cache) };
        let still = Standstill::default();
        let wait = assignment.policy.as_ref().and_then(|policy| limit_of(policy.ask_wait_ms));
        let asks = Asks::new(reporter.clone(), wait, (cancel.clone(), leaving), still.clone());
        Ok(Self {
            asks,
            still,
            base,
            slot,
            cancel,
            leave,
            reporter,
            sink,
            store,
            files,
            secrets: Secrets::of(&repo_env, config.held_secrets().into_iter().chain(provider_keys(&assignment))),
            config,
            boundary,
            shut: shut(&assignment, &repo.trusted),
            repo_env,
            exclusions: Mutex::new(exclusions),
            entry,
            logs_dir,
            logs: Mutex::default(),
            deadline: None,
            assignment,
        })
    }

    /// With a wall time limit for everything from now on.
    pub fn limit(&mut self, wall: Option<Duration>) {
        self.deadline = wall.map(|wall| Instant::now() + wall);
    }

    /// What is left of it, without the time it stood still; `None` where there is no limit.
    pub fn time_left(&self) -> Option<Duration> {
        let now = Instant::now();
        self.deadline.map(|deadline| (deadline + self.still.so_far()).saturating_duration_since(now))
    }

    /// Where sessions of agents are sent to, beside the record.
    pub fn telemetry(&self) -> Option<&Telemetry> {
        self.config.telemetry.as_ref()
    }

    /// The name of this worker.
    pub fn worker_name(&self) -> &str {
        &self.config.name
    }

    /// Limits of providers of models.
    pub fn rates(&self) -> Rates {
        self.config.rates.clone()
    }

    /// What becomes of this attempt's exchanges with models.
    pub fn recording(&self) -> Recording {
        let Some(assignment::Kind::Work(work)) = &self.assignment.kind else { return Recording::Off };
        let attempt =
            |folder: &Path| folder.join(&self.assignment.job).join(&work.subtask).join(work.attempt_number.to_string());
        match &self.config.recording {
            Recording::Off => Recording::Off,
            Recording::On(folder) => Recording::On(attempt(folder)),
            Recording::Replay(folder) => Recording::Replay(attempt(folder)),
        }
    }

    /// `[repo.env]` of the repository.
    pub fn repo_env(&self) -> &RepoEnv {
        &self.repo_env
    }

    /// The argv prefix of the process shim.
    pub fn shim(&self) -> Vec<OsString> {
        self.config.shim.clone()
    }

    /// Cache folders.
    pub fn caches(&self) -> Vec<String> {
        clean_folders(&self.repo_env.cache)
    }

    /// What is never part of a patch.
    pub fn exclusions(&self) -> Exclusions {
        self.exclusions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The folder of the repository objects are read from: the store, or the worker's mirror.
    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// What is replaced in all output.
    pub fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    /// Runs blocking work on the slot.
    pub async fn blocking<T, F>(&self, work: F) -> Result<T, WorkspaceError>
    where
        T: Send + 'static,
        F: FnOnce(&Slot) -> T + Send + 'static,
    {
        let slot = Arc::clone(&self.slot);
        tokio::task::spawn_blocking(move || work(&slot)).await.map_err(|_| WorkspaceError::Ended)
    }

    /// Brings the slot to the base.
    pub async fn move_slot(&self) -> Result<(), Box<Failure>> {
        let (base, store, caches) = (self.base, self.store(), self.caches());
        let moved = self.blocking(move |slot| slot.move_to(base, &store, &caches)).await;
        moved.and_then(|moved| moved).map_err(|error| Box::new(error.into()))
    }

    /// Runs the set-up if it has to run, and keeps what it leaves behind out of every patch.
    pub async fn setup(&self) -> Result<(), Box<Failure>> {
        let Some(setup) = self.repo_env.setup.clone() else { return Ok(()) };
        let broken = |error: WorkspaceError| Box::new(Failure::from(error));
        let env = self.repo_env.clone();
        let digest = self
            .blocking(move |slot| {
                let digest = setup_digest(&env, &slot.ws());
                needs_setup(&env, &slot.record(), &digest, &slot.ws()).then_some(digest)
            })
            .await
            .map_err(broken)?;
        let Some(digest) = digest else { return Ok(()) };
        self.reporter.step("setup");
        let values = Placeholders::default()
            .with("job_dir", self.assignment.job_dir.as_str())
            .with("workspace", self.slot.ws().display().to_string());
        let program = Program { name: "setup".into(), timeout: Some(SETUP_MAX), ..Program::default() };
        self.command(Purpose::Setup, FailureClass::Setup, &setup, &values, program).await?;
        let env = self.repo_env.clone();
        let left =
            self.blocking(move |slot| after_setup(slot, &env, digest)).await.and_then(|left| left).map_err(broken)?;
        self.exclusions.lock().unwrap_or_else(PoisonError::into_inner).folders.extend(left);
        Ok(())
    }
}

/// Where the models of an agent are, if it has a gateway.
fn provider_of(agent: &Agent) -> Option<&Provider> {
    match &agent.kind {
        Some(agent::Kind::Model(model)) => model.provider.as_ref(),
        Some(agent::Kind::Acp(acp)) => acp.program.as_ref()?.provider.as_ref(),
        Some(agent::Kind::Codex(codex)) => codex.program.as_ref()?.provider.as_ref(),
        Some(agent::Kind::Codemod(_) | agent::Kind::Command(_)) | None => None,
    }
}

/// What of a repository configures agent programs, without what the job trusts and what the subtask is
/// there to change.
fn shut(assignment: &Assignment, trusted: &[String]) -> Vec<&'static str> {
    let Some(assignment::Kind::Work(work)) = &assignment.kind else { return Vec::new() };
    let globs = work.task.iter().flat_map(|task| &task.write);
    let own: Vec<&String> = work.files.iter().chain(&work.claims).chain(globs).collect();
    let is_own = |name: &str| {
        own.iter().any(|path| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let names = PROGRAM_SETTINGS.iter().copied();
    names.filter(|name| !trusted.iter().any(|path| path == name) && !is_own(name)).collect()
}

/// The keys that the gateways of an assignment show to providers.
fn provider_keys(assignment: &Assignment) -> Vec<String> {
    let Some(assignment::Kind::Work(work)) = &assignment.kind else { return Vec::new() };
    let variables = work.ladder.iter().filter_map(provider_of).map(|provider| provider.key_env.as_str());
    variables.filter(|name| !name.is_empty()).filter_map(|name| std::env::var(name).ok()).collect()
}

fn clean_folders(caches: &[String]) -> Vec<String> {
    caches.iter().map(|cache| cache.trim_matches('/').to_owned()).filter(|cache| !cache.is_empty()).collect()
}

/// Undoes what the set-up did to tracked files, lists what else it left outside the caches, and
/// stamps the slot. What is not in a cache is gone after the next move, so then there is no stamp.
fn after_setup(slot: &Slot, env: &RepoEnv, digest: String) -> Result<Vec<String>, WorkspaceError> {
    let git = slot.git();
    // The index is as the last move or restore left it: no program can reach it.
    let tree = git.oid(["write-tree"])?;
    git.run(["read-tree", "--reset", "-u", &tree.to_string()])?;
    let out = git.run(["ls-files", "-o", "--directory", "--no-empty-directory", "-z"])?;
    let caches = clean_folders(&env.cache);
    let left: Vec<String> = out
        .split(|&b| b == 0)
        .map(|path| String::from_utf8_lossy(path).trim_end_matches('/').to_owned())
        .filter(|path| !path.is_empty() && !caches.iter().any(|cache| crate::paths::is_at_or_below(path, cache)))
        .filter(|path| !caches.iter().any(|cache| crate::paths::is_at_or_below(cache, path)))
        .collect();
    let mut record = slot.record();
    record.setup_digest = if left.is_empty() { digest } else { String::new() };
    record.setup_caches = present_caches(env, &slot.ws());
    slot.write_record(&record)?;
    Ok(left)
}

/// Milliseconds since an instant.
pub fn ms_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A wall time limit of a message: 0 is none.
pub fn limit_of(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// A cancelled assignment.
pub fn cancelled() -> Box<Failure> {
    Box::new(failure(FailureClass::Cancelled, "cancelled"))
}

/// Whether a run ended for a reason that says nothing about the program.
pub fn is_inconclusive(end: &ProcessEnd) -> bool {
    matches!(
        end,
        ProcessEnd::TimedOut
            | ProcessEnd::Silent(_)
            | ProcessEnd::Cancelled
            | ProcessEnd::NotStarted(_)
            | ProcessEnd::OverLimit(_)
            | ProcessEnd::Lost
    )
}
