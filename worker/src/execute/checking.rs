//! The checks of an attempt, and what is left of its work: asked at the end of a rung, and by an
//! agent's own loop before it says that it is done.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longhaul_proto::{FailureClass, Work};

use super::told_of;
use crate::agent::command;
use crate::execution::{Execution, Program, limit_of};
use crate::process::{Placeholders, Purpose};
use crate::services::Services;
use crate::session::Told;
use crate::workspace::{Folder, Slot, WorkspaceError};

/// What checks run with.
pub(super) struct Bench<'a> {
    pub execution: &'a Arc<Execution>,
    pub work: &'a Work,
    /// Started before the first check.
    pub services: &'a mut Option<Services>,
}

impl Bench<'_> {
    /// Runs one check on the workspace, in which these files changed.
    pub async fn check(&mut self, number: usize, changed: Vec<String>) -> Told {
        let Some(check) = self.work.task.as_ref().and_then(|task| task.check.get(number)).cloned() else {
            return Told::Done;
        };
        self.execution.reporter.step("check");
        if self.services.is_none() {
            match Services::start(self.execution, Purpose::Check).await {
                Ok(services) => *self.services = Some(services),
                Err(failure) => return Told::Broken(failure),
            }
        }
        let env = self.services.as_ref().map(|services| services.env().clone()).unwrap_or_default();
        let values = values(self.execution, self.work, changed);
        let idle_timeout = idle_timeout(self.work);
        let program = Program { name: "check".into(), env, idle_timeout, ..Program::default() };
        told_of(self.execution.command(Purpose::Check, FailureClass::Check, &check, &values, program).await)
    }

    /// How many there are.
    pub fn checks(&self) -> usize {
        self.work.task.as_ref().map_or(0, |task| task.check.len())
    }
}

/// The longest time a program of a subtask may say nothing.
pub(super) fn idle_timeout(work: &Work) -> Option<Duration> {
    work.task.as_ref().and_then(|task| limit_of(task.idle_timeout_ms))
}

/// Values for fix and checks.
pub(super) fn values(execution: &Execution, work: &Work, changed: Vec<String>) -> Placeholders {
    command::placeholders(&execution.assignment, &work.files, &execution.slot.ws())
        .with("base", execution.base.to_string())
        .with_list("changed_files", changed)
}

/// The subtask's files that still hold work.
pub(super) async fn left(
    execution: &Execution,
    work: &Work,
    pattern: Option<&regex::bytes::Regex>,
) -> Result<Vec<String>, WorkspaceError> {
    let Some(left) = pattern.cloned() else { return Ok(Vec::new()) };
    let files = work.files.clone();
    let look = move |slot: &Slot| {
        let ws = Folder::at(&slot.ws());
        let read = |file: &String| ws.as_ref().ok()?.read(Path::new(file), u64::MAX).ok();
        let holds = |file: &String| read(file).is_some_and(|bytes| left.is_match(&bytes));
        files.iter().filter(|file| holds(file)).cloned().collect::<Vec<_>>()
    };
    execution.blocking(look).await
}
