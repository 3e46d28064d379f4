//! The coverage run behind a green gate: the job's program writes a report, which is held against the
//! lines that the batch changed. Whatever goes wrong leaves the verdict as it is, and nothing proven.

use std::path::Path;

use longhaul_proto::{Coverage, FailureClass, Gate};

use super::{Stop, values};
use crate::coverage::{Added, Lcov, added, judge};
use crate::execution::{Execution, Program, cancelled, limit_of};
use crate::failure::of_run;
use crate::process::{ProcessEnd, Purpose, argv_of};
use crate::services::Services;
use crate::workspace::{Slot, WorkspaceError};

/// Largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// What the gate's coverage says, where the job asks for it.
pub(super) async fn measure(execution: &Execution, gate: &Gate, services: &Services) -> Result<Option<Coverage>, Stop> {
    let report = execution.slot.tmp().join("coverage.lcov");
    let values = values(execution, gate).with("coverage", report.display().to_string());
    let Some(argv) = gate.coverage.as_ref().and_then(|command| argv_of(command, &values)) else { return Ok(None) };
    // What the gate's own run left there is no report on this run.
    match std::fs::remove_file(&report) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(WorkspaceError::Io { action: "remove", path: report, source }.into());
        }
        _ => {}
    }
    execution.reporter.step("coverage");
    let program = Program {
        name: "coverage".into(),
        argv,
        env: services.env().clone(),
        timeout: limit_of(gate.timeout_ms),
        idle_timeout: limit_of(gate.idle_timeout_ms),
        ..Program::default()
    };
    let outcome = match execution.run(Purpose::Gate, program).await {
        Ok(outcome) => outcome,
        Err(error) => return Ok(Some(nothing(error.to_string()))),
    };
    if outcome.end == ProcessEnd::Cancelled {
        return Err(Stop::Inconclusive(cancelled()));
    }
    if let Some(failure) = of_run("the coverage program", &outcome, FailureClass::Gate) {
        return Ok(Some(nothing(failure.message)));
    }
    let (base, commit) = (gate.compare_base.clone(), execution.base.to_string());
    let judged = execution.blocking(move |slot| {
        let changed = changed(slot, &base, &commit)?;
        let roots = roots(&slot.ws());
        Ok::<_, WorkspaceError>(match read(&report) {
            Ok(report) => judge(&changed, &report, &roots),
            Err(why) => nothing(why),
        })
    });
    Ok(Some(judged.await.and_then(|judged| judged)?))
}

fn nothing(why: String) -> Coverage {
    Coverage { inconclusive: why, ..Coverage::default() }
}

/// The added lines of all that differs. Attributes of the repository may not hide a file from it.
fn changed(slot: &Slot, base: &str, commit: &str) -> Result<Added, WorkspaceError> {
    let plain = ["--no-prefix", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--text"];
    let args =
        ["-c", "core.quotePath=false", "diff", "--unified=0"].into_iter().chain(plain).chain([base, commit, "--"]);
    Ok(added(&slot.git().run(args)?))
}

/// How a program may call the folder it measured.
fn roots(workspace: &Path) -> Vec<String> {
    let real = std::fs::canonicalize(workspace).ok();
    std::iter::once(workspace.to_owned()).chain(real).map(|root| root.display().to_string()).collect()
}

fn read(path: &Path) -> Result<Lcov, String> {
    let about = |what: &dyn std::fmt::Display| format!("the report at {{coverage}} cannot be used: {what}");
    let found = std::fs::symlink_metadata(path).map_err(|error| about(&error))?;
    if !found.is_file() || found.len() > REPORT_BYTES_MAX {
        return Err(about(&format!("it is no file of at most {REPORT_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| about(&error))?;
    Lcov::parse(&text).map_err(|error| about(&error))
}
