//! The coverage run behind a green gate: the job's program writes a report, which is held against the
//! lines that the batch changed. Whatever goes wrong leaves the verdict as it is, and nothing proven.

use std::ffi::OsString;
use std::path::Path;

use longhaul_proto::{Coverage, FailureClass, Gate};

use super::{Stop, program, values};
use crate::coverage::{Added, Lcov, added, judge};
use crate::execution::{Execution, Program, cancelled};
use crate::failure::of_run;
use crate::process::{Purpose, argv_of};
use crate::services::Services;
use crate::workspace::{Folder, Slot, WorkspaceError, remove_tree};

/// Name of the report.
const REPORT: &str = "coverage.lcov";

/// Largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// What the gate's coverage says, where the job asks for it.
pub(super) async fn measure(execution: &Execution, gate: &Gate, services: &Services) -> Result<Option<Coverage>, Stop> {
    let report = execution.slot.tmp().join(REPORT);
    let values = values(execution, gate).with("coverage", report.display().to_string());
    let Some(argv) = gate.coverage.as_ref().and_then(|command| argv_of(command, &values)) else { return Ok(None) };
    execution.reporter.step("coverage");
    let measured = measured(execution, gate, services, argv).await;
    if execution.cancel.is_cancelled() {
        return Err(Stop::Inconclusive(cancelled()));
    }
    Ok(Some(measured.unwrap_or_else(|why| Coverage { inconclusive: why, ..Coverage::default() })))
}

/// The same, or why nothing is proven.
async fn measured(
    execution: &Execution,
    gate: &Gate,
    services: &Services,
    argv: Vec<OsString>,
) -> Result<Coverage, String> {
    // What the gate's own run left there is no report on this run.
    let clear = |slot: &Slot| remove_tree(&slot.tmp().join(REPORT));
    let cleared = execution.blocking(clear).await.map_err(|error| error.to_string())?;
    cleared.map_err(|error| format!("what is at {{coverage}} cannot be removed: {error}"))?;
    let program = Program { env: services.env().clone(), ..program(gate, "coverage", argv) };
    let outcome = execution.run(Purpose::Gate, program).await.map_err(|error| error.to_string())?;
    if let Some(failure) = of_run("the coverage program", &outcome, FailureClass::Gate) {
        return Err(failure.message);
    }
    let (base, commit) = (gate.compare_base.clone(), execution.base.to_string());
    let judged = execution.blocking(move |slot| {
        let changed = changed(slot, &base, &commit).map_err(|error| error.to_string())?;
        Ok::<_, String>(judge(&changed, &read(slot)?, &roots(&slot.ws())))
    });
    judged.await.map_err(|error| error.to_string())?
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

fn read(slot: &Slot) -> Result<Lcov, String> {
    let about = |what: &dyn std::fmt::Display| format!("the report at {{coverage}} cannot be used: {what}");
    let bytes = match Folder::at(&slot.tmp()).and_then(|tmp| tmp.read(Path::new(REPORT), REPORT_BYTES_MAX)) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Err(about(&"it is no file")),
        read => read.map_err(|error| about(&error))?,
    };
    let text = String::from_utf8(bytes).map_err(|error| about(&error))?;
    Lcov::parse(&text).map_err(|error| about(&error))
}
