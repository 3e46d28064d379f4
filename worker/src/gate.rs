//! The gate: a command that judges the integrated tree, in a slot no agent ever wrote to.

mod covered;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use longhaul_common::Oid;
use longhaul_common::text::clip_tail;
use longhaul_proto::{Derived, Failure, FailureClass, Finished, Gate, GateResult, Timing, Usage, Verdict, finished};

use crate::commit::{
    Exclusions, NewResult, StageError, add_all, changes, commit, set_entries, without_secrets, write_pack,
};
use crate::execution::{Execution, Program, is_inconclusive, limit_of, ms_since};
use crate::failure::infrastructure;
use crate::process::{Placeholders, ProcessEnd, ProcessError, ProcessOutcome, Purpose, Secrets, argv_of};
use crate::services::Services;
use crate::workspace::{Slot, WorkspaceError};

/// Largest tail of the log in a verdict, in bytes.
const TAIL_BYTES_MAX: usize = 8 << 10;

/// Title of the commit that carries regenerated files.
const REGENERATE_TITLE: &str = "longhaul: regenerate derived files";

/// Signals that come from outside (hang-up, interrupt, quit, kill, terminate): they say nothing
/// about the tree, while a crash (segmentation fault, abort) does.
const OUTSIDE_SIGNALS: &[i32] = &[1, 2, 3, 9, 15];

/// Executes a gate; the pack of a regeneration, if there is one, is written to `pack`.
pub async fn gate(execution: Arc<Execution>, gate: Gate, pack: PathBuf) -> Finished {
    let started = Instant::now();
    let mut timing = Timing::default();
    let mut result = GateResult::default();
    if let Err(stop) = steps(&execution, &gate, pack, &mut timing, &mut result).await {
        stop.into_result(&mut result);
    }
    timing.total_ms = ms_since(started);
    Finished {
        outcome: Some(finished::Outcome::Gate(result)),
        timing: Some(timing),
        usage: Some(Usage::default()),
        logs: execution.logs(),
        ..Finished::default()
    }
}

/// Why a gate ended before its command did.
enum Stop {
    /// It blames nobody.
    Inconclusive(Box<Failure>),
    /// The tree cannot be regenerated.
    Red(Box<ProcessOutcome>, String),
}

impl From<Box<Failure>> for Stop {
    fn from(failure: Box<Failure>) -> Self {
        Self::Inconclusive(failure)
    }
}

impl From<WorkspaceError> for Stop {
    fn from(error: WorkspaceError) -> Self {
        Self::Inconclusive(Box::new(error.into()))
    }
}

impl From<ProcessError> for Stop {
    fn from(error: ProcessError) -> Self {
        Self::Inconclusive(Box::new(error.into()))
    }
}

impl From<StageError> for Stop {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Refused(failure) => Self::Inconclusive(failure),
            StageError::Broken(error) => error.into(),
        }
    }
}

impl Stop {
    fn into_result(self, result: &mut GateResult) {
        match self {
            Self::Inconclusive(failure) => {
                result.verdict = Verdict::Inconclusive.into();
                result.reason = format!("{}: {}", failure.class().as_str_name(), failure.message);
                if result.log_tail.is_empty() {
                    result.log_tail = clip_tail(&failure.detail, TAIL_BYTES_MAX).to_owned();
                }
            }
            Self::Red(outcome, reason) => {
                judge(&outcome, result);
                result.reason = reason;
            }
        }
    }
}

async fn steps(
    execution: &Arc<Execution>,
    gate: &Gate,
    pack: PathBuf,
    timing: &mut Timing,
    result: &mut GateResult,
) -> Result<(), Stop> {
    let started = Instant::now();
    execution.reporter.step("slot");
    execution.move_slot().await?;
    timing.slot_ms = ms_since(started);
    let started = Instant::now();
    execution.setup().await?;
    timing.setup_ms = ms_since(started);
    let started = Instant::now();
    if gate.regenerate {
        regenerate(execution, gate, pack, result).await?;
    }
    timing.commit_ms = ms_since(started);
    let started = Instant::now();
    let services = Services::start(execution, Purpose::Gate).await?;
    let judged = run_and_measure(execution, gate, &services, result).await;
    services.stop().await;
    timing.check_ms = ms_since(started);
    judged
}

async fn run_and_measure(
    execution: &Execution,
    gate: &Gate,
    services: &Services,
    result: &mut GateResult,
) -> Result<(), Stop> {
    run(execution, gate, services, result).await?;
    if result.verdict() == Verdict::Green {
        result.coverage = covered::measure(execution, gate, services).await?;
    }
    Ok(())
}

fn values(execution: &Execution, gate: &Gate) -> Placeholders {
    Placeholders::default()
        .with("job_dir", execution.assignment.job_dir.as_str())
        .with("workspace", execution.slot.ws().display().to_string())
        .with("base", gate.compare_base.as_str())
        .with_list("changed_files", gate.changed_files.clone())
}

/// A program of the gate, within its limits.
fn program(gate: &Gate, name: &str, argv: Vec<OsString>) -> Program {
    Program {
        name: name.to_owned(),
        argv,
        timeout: limit_of(gate.timeout_ms),
        idle_timeout: limit_of(gate.idle_timeout_ms),
        ..Program::default()
    }
}

async fn run(execution: &Execution, gate: &Gate, services: &Services, result: &mut GateResult) -> Result<(), Stop> {
    let values = values(execution, gate);
    let Some(argv) = gate.run.as_ref().and_then(|run| argv_of(run, &values)) else {
        result.verdict = Verdict::Green.into();
        result.reason = "the gate has no command".into();
        return Ok(());
    };
    // Set-up, services and regeneration ran since they were compared.
    if !execution.has_its_files().await {
        let changed = "the job's own files were changed on this worker before the gate ran";
        return Err(Stop::Inconclusive(Box::new(infrastructure(changed))));
    }
    execution.reporter.step("gate");
    let program = Program { env: services.env().clone(), ..program(gate, "gate", argv) };
    let outcome = execution.run(Purpose::Gate, program).await?;
    judge(&outcome, result);
    Ok(())
}

/// The verdict of a finished run.
fn judge(outcome: &ProcessOutcome, result: &mut GateResult) {
    result.log_hash = outcome.log.hash.to_vec();
    result.log_tail = clip_tail(&outcome.log.tail, TAIL_BYTES_MAX).to_owned();
    let (verdict, code, reason) = match &outcome.end {
        _ if outcome.log.disk_full => (Verdict::Inconclusive, -1, "the disk is full".to_owned()),
        ProcessEnd::Exited(0) => (Verdict::Green, 0, String::new()),
        // A shell reports the signal that ended its program as 128 and its number.
        ProcessEnd::Exited(code) if OUTSIDE_SIGNALS.contains(&(code - 128)) => {
            (Verdict::Inconclusive, *code, format!("ended by signal {} from outside", code - 128))
        }
        ProcessEnd::Exited(code) => (Verdict::Red, *code, String::new()),
        ProcessEnd::Signalled(signal) if OUTSIDE_SIGNALS.contains(signal) => {
            (Verdict::Inconclusive, 128 + signal, format!("ended by signal {signal} from outside"))
        }
        ProcessEnd::Signalled(signal) => (Verdict::Red, 128 + signal, format!("crashed with signal {signal}")),
        ProcessEnd::TimedOut => (Verdict::Inconclusive, -1, "ran into its time limit".to_owned()),
        ProcessEnd::Silent(limit) => (Verdict::Inconclusive, -1, crate::failure::silent("the gate", *limit)),
        ProcessEnd::Cancelled => (Verdict::Inconclusive, -1, "cancelled".to_owned()),
        ProcessEnd::NotStarted(why) => (Verdict::Inconclusive, -1, format!("could not be started: {why}")),
        ProcessEnd::OverLimit(what) => (Verdict::Inconclusive, -1, format!("was ended: {what}")),
        ProcessEnd::Lost => (Verdict::Inconclusive, -1, "the process shim was killed from outside".to_owned()),
    };
    result.verdict = verdict.into();
    result.exit_code = code;
    result.reason = reason;
    result.timed_out = matches!(outcome.end, ProcessEnd::TimedOut | ProcessEnd::Silent(_));
}

/// Runs every `regenerate`, keeps what it did to its own derived files as a commit, and undoes the rest.
async fn regenerate(execution: &Execution, gate: &Gate, pack: PathBuf, result: &mut GateResult) -> Result<(), Stop> {
    let all = execution.assignment.repo.as_ref().map_or(&[][..], |repo| &repo.derived);
    if all.is_empty() {
        return Ok(());
    }
    execution.reporter.step("regenerate");
    let values = values(execution, gate);
    for derived in all {
        regenerate_one(execution, gate, derived, &values).await?;
    }
    let new = NewDerived {
        base: execution.base,
        author: (gate.author_name.clone(), gate.author_email.clone()),
        job: execution.assignment.job.clone(),
        exclusions: execution.exclusions(),
        store: execution.store(),
        caches: execution.caches(),
        secrets: execution.secrets(),
        pack,
    };
    if let Some(made) = execution.blocking(move |slot| keep_derived(slot, &new)).await?? {
        result.derived_commit = made.0.to_vec();
        result.derived_tree = made.1.to_vec();
        result.derived_files = made.2;
    }
    // What the set-up made outside the caches was swept away.
    execution.setup().await?;
    Ok(())
}

async fn regenerate_one(
    execution: &Execution,
    gate: &Gate,
    derived: &Derived,
    values: &Placeholders,
) -> Result<(), Stop> {
    let Some(argv) = derived.regenerate.as_ref().and_then(|command| argv_of(command, values)) else { return Ok(()) };
    let outcome = execution.run(Purpose::Prepare, program(gate, "regenerate", argv)).await?;
    match crate::failure::of_run("regenerate", &outcome, FailureClass::Gate) {
        None => Ok(()),
        Some(failure) if failure.class() != FailureClass::Gate || is_inconclusive(&outcome.end) => {
            Err(Stop::Inconclusive(Box::new(failure)))
        }
        Some(failure) => Err(Stop::Red(Box::new(outcome), failure.message)),
    }
}

struct NewDerived {
    base: Oid,
    author: (String, String),
    job: String,
    exclusions: Exclusions,
    store: PathBuf,
    caches: Vec<String>,
    secrets: Secrets,
    pack: PathBuf,
}

/// Commit, tree and files of a regeneration, `None` when it changed nothing.
fn keep_derived(slot: &Slot, new: &NewDerived) -> Result<Option<(Oid, Oid, Vec<String>)>, StageError> {
    let git = slot.git();
    add_all(&git, &slot.index(), &slot.ws())?;
    // Also derived files that `.gitignore` names are theirs when they are tracked, as git has it.
    let (kept, dropped): (Vec<_>, Vec<_>) = changes(&git, &new.base.to_string())?
        .into_iter()
        .partition(|change| new.exclusions.derived.contains(&change.path));
    let back: Vec<_> = dropped.iter().map(|change| (change.old_mode, change.old, change.raw.as_slice())).collect();
    set_entries(slot, &back)?;
    without_secrets(slot, &kept, &new.secrets)?;
    let tree = git.oid(["write-tree"])?;
    slot.restore(tree, new.base, &new.store, &new.caches)?;
    if kept.is_empty() {
        return Ok(None);
    }
    let message = format!("{REGENERATE_TITLE}\n\nJob-Id: {}\n", new.job.replace(['\n', '\r'], " "));
    let author = (new.author.0.as_str(), new.author.1.as_str());
    let made = commit(slot, &NewResult { tree, parent: new.base, author, message: &message })?;
    write_pack(slot, made, new.base, &new.pack)?;
    Ok(Some((made, tree, kept.into_iter().map(|change| change.path).collect())))
}
