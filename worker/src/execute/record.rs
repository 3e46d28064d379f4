//! The record of a rung whose agent has a session: its trace, among the logs of the attempt.

use longhaul_proto::Failure;

use crate::agent::talk::{OnProgress, Witness};
use crate::execution::Execution;
use crate::trace::Trace;
use crate::workspace::WorkspaceError;

/// Begins the record of an agent, and gives the name of its log.
pub(super) fn witness(
    execution: &Execution,
    agent: &str,
    on_progress: OnProgress,
) -> Result<(String, Witness), Box<Failure>> {
    let (log, path) = execution.trace_file(agent);
    match Trace::create(&path, execution.secrets()) {
        Ok(trace) => Ok((log, Witness::new(trace, execution.reporter.lines(), on_progress))),
        Err(source) => Err(Box::new(WorkspaceError::Io { action: "write", path, source }.into())),
    }
}

/// Ends it: from now on it is part of the result.
pub(super) async fn keep(execution: &Execution, log: String, witness: Witness) {
    match tokio::task::spawn_blocking(move || witness.into_trace().finish()).await {
        Ok(Ok(path)) => execution.keep_file(log, path).await,
        Ok(Err(error)) => tracing::warn!(%error, "the trace of an attempt is not kept"),
        Err(_) => {}
    }
}
