//! The record of a rung: its trace, among the logs of the attempt, and the same as spans for a collector.

use std::path::PathBuf;

use longhaul_proto::{Failure, FailureClass, assignment};
use serde_json::Value;

use crate::agent::talk::{AgentEvent, OnProgress, TurnEnd, Witness};
use crate::execution::Execution;
use crate::gateway::Calls;
use crate::otel::{About, spans};
use crate::session::Told;
use crate::trace::{Trace, read};
use crate::workspace::WorkspaceError;

/// Begins the record of an agent, and gives the name of its log.
pub(super) fn witness(
    execution: &Execution,
    agent: &str,
    on_progress: OnProgress,
) -> Result<(String, Witness), Box<Failure>> {
    let (log, trace) = trace(execution, agent)?;
    Ok((log, Witness::new(trace, execution.reporter.lines(), on_progress)))
}

/// Begins the record of an agent that nobody talks with, and gives the name of its log.
pub(super) fn trace(execution: &Execution, agent: &str) -> Result<(String, Trace), Box<Failure>> {
    let (log, path) = execution.trace_file(agent);
    match Trace::create(&path, execution.secrets()) {
        Ok(trace) => Ok((log, trace)),
        Err(source) => Err(Box::new(WorkspaceError::Io { action: "write", path, source }.into())),
    }
}

/// Ends it, with the calls its gateway made: from now on it is part of the result.
pub(super) async fn keep(execution: &Execution, agent: &str, log: String, witness: Witness, calls: Calls) {
    finish(execution, agent, log, witness.into_trace(), calls).await;
}

/// As [`keep`] for a trace alone.
pub(super) async fn finish(execution: &Execution, agent: &str, log: String, mut trace: Trace, calls: Calls) {
    let finish = move || {
        for call in calls.take() {
            trace.write(&called(&call));
        }
        trace.finish()
    };
    match tokio::task::spawn_blocking(finish).await {
        Ok(Ok(path)) => {
            export(execution, agent, path.clone()).await;
            execution.keep_file(log, path).await;
        }
        Ok(Err(error)) => tracing::warn!(%error, "the trace of an attempt is not kept"),
        Err(_) => {}
    }
}

/// The record of what ended before it had one: why.
pub(super) async fn keep_failure(execution: &Execution, agent: &str, told: &Told) {
    let (Told::Broken(failure) | Told::Refused(failure)) = told else { return };
    let Ok((log, mut trace)) = trace(execution, agent) else { return };
    trace.write(&AgentEvent::TurnEnded { end: ended(Some(failure)) });
    finish(execution, agent, log, trace, Calls::default()).await;
}

/// How an agent without turns ended.
pub(super) fn ended(failure: Option<&Failure>) -> TurnEnd {
    match failure {
        None => TurnEnd::Done,
        Some(failure) if failure.class() == FailureClass::Cancelled => TurnEnd::Cancelled,
        Some(failure) => TurnEnd::Failed { message: failure.message.clone() },
    }
}

/// A call as an event of the trace. Its time is when it began; the line's is when it was noted.
fn called(call: &crate::gateway::Entry) -> Value {
    let mut event = serde_json::to_value(call).unwrap_or_default();
    if let Value::Object(fields) = &mut event {
        let began = fields.remove("at_ms").unwrap_or_default();
        fields.retain(|_, value| !value.is_null());
        fields.insert("began_ms".to_owned(), began);
        fields.insert("event".to_owned(), "model_call".into());
    }
    event
}

async fn export(execution: &Execution, agent: &str, path: PathBuf) {
    let Some(telemetry) = execution.telemetry() else { return };
    let subtask = match &execution.assignment.kind {
        Some(assignment::Kind::Work(work)) => work.subtask.clone(),
        _ => String::new(),
    };
    let about = About {
        job: execution.assignment.job.clone(),
        subtask,
        attempt: execution.assignment.id,
        agent: agent.to_owned(),
        worker: execution.worker_name().to_owned(),
    };
    let made = tokio::task::spawn_blocking(move || {
        let lines = read(&path)?;
        Ok::<_, std::io::Error>((spans(&about, &lines), about))
    });
    match made.await {
        Ok(Ok((spans, about))) => telemetry.session(&about, spans),
        Ok(Err(error)) => tracing::info!(%error, "a trace is not exported"),
        Err(_) => {}
    }
}
