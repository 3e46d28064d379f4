//! Failures as the coordinator hears of them.

use longhaul_common::question;
use longhaul_common::room::is_out_of_room;
use longhaul_common::sign::Sign;
use longhaul_common::text::clip_middle;
use longhaul_proto::{Failure, FailureClass, Question};

use crate::process::{CapturedLog, ProcessEnd, ProcessError, ProcessOutcome};
use crate::workspace::WorkspaceError;

/// Largest detail in a report, in bytes: it travels in a message and ends up in a capsule.
pub const DETAIL_BYTES_MAX: usize = 8 << 10;

/// Most paths named in one failure.
pub const PATHS_MAX: usize = 200;

/// Makes a failure.
pub fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure { class: class.into(), message: message.into(), ..Failure::default() }
}

/// Adds the name of what it shows.
pub fn with_sign(failure: Failure, sign: Sign) -> Failure {
    Failure { sign: sign.as_str().to_owned(), ..failure }
}

/// Adds the output that shows the cause.
pub fn with_detail(mut failure: Failure, detail: &str) -> Failure {
    failure.detail = clip_middle(detail.trim_end(), DETAIL_BYTES_MAX);
    failure
}

/// Adds the paths concerned.
pub fn with_paths(mut failure: Failure, mut paths: Vec<String>) -> Failure {
    paths.truncate(PATHS_MAX);
    failure.paths = paths;
    failure
}

/// An agent needs a person: no failure of anybody.
pub fn asked(agent: &str, asked: &Question) -> Failure {
    let question = Question { agent: agent.to_owned(), ..asked.clone() };
    Failure { question: Some(question.clone()), ..failure(FailureClass::Asked, question::sentence(&question)) }
}

/// An agent that read what may not go to its provider, in words.
pub fn barred(agent: &str, path: &str, provider: &str) -> String {
    format!(
        "{agent}: what it would send to {provider} holds lines of {path}, which `[[policy.model]]` does not let go there; \
         nothing of that call was sent"
    )
}

/// A failure of the machine.
pub fn infrastructure(message: impl Into<String>) -> Failure {
    failure(FailureClass::Infrastructure, message)
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        let class = if error.is_disk_full() { FailureClass::DiskFull } else { FailureClass::Infrastructure };
        failure(class, error.to_string())
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        let full = match &error {
            ProcessError::Workspace(error) => error.is_disk_full(),
            ProcessError::Output { source, .. } | ProcessError::Shim { source, .. } => is_out_of_room(source),
            ProcessError::Boundary(_) => return failure(FailureClass::Sandbox, error.to_string()),
        };
        failure(if full { FailureClass::DiskFull } else { FailureClass::Infrastructure }, error.to_string())
    }
}

/// A program without progress, in words.
pub fn silent(what: &str, limit: std::time::Duration) -> String {
    format!("{what} wrote nothing for {:.0?} and was ended (its limit without output)", limit)
}

/// The failure a finished run stands for, `None` when it succeeded. `class` is the one of a program
/// that ran and said no; what the machine or the user did has its own.
pub fn of_run(what: &str, outcome: &ProcessOutcome, class: FailureClass) -> Option<Failure> {
    let CapturedLog { tail, disk_full, .. } = &outcome.log;
    let found = match &outcome.end {
        _ if *disk_full => {
            failure(FailureClass::DiskFull, format!("the disk is full; the log of {what} could not be kept"))
        }
        ProcessEnd::Exited(0) => return None,
        ProcessEnd::Exited(code) => failure(class, format!("{what} exited with {code}")),
        ProcessEnd::Signalled(signal) => failure(class, format!("{what} was ended by signal {signal}")),
        ProcessEnd::TimedOut => failure(class, format!("{what} ran into its time limit")),
        ProcessEnd::Silent(limit) => failure(class, silent(what, *limit)),
        ProcessEnd::Cancelled => failure(FailureClass::Cancelled, format!("cancelled during {what}")),
        // Nothing an agent does mends it, so it costs no attempt.
        ProcessEnd::NotStarted(why) if class == FailureClass::Agent => {
            failure(FailureClass::Setup, format!("the program of the agent {what} could not be started: {why}"))
        }
        ProcessEnd::NotStarted(why) => failure(class, format!("{what} could not be started: {why}")),
        ProcessEnd::OverLimit(why) => failure(class, format!("{what} was ended: {why}")),
        ProcessEnd::Lost => infrastructure(format!("the process shim of {what} was killed from outside")),
    };
    let found = match sign_of_end(&outcome.end) {
        Some(sign) if class == FailureClass::Agent => with_sign(found, sign),
        _ => found,
    };
    Some(with_detail(found, tail))
}

/// What an agent's end shows.
fn sign_of_end(end: &ProcessEnd) -> Option<Sign> {
    match end {
        ProcessEnd::Exited(0) | ProcessEnd::Cancelled | ProcessEnd::Lost => None,
        ProcessEnd::Exited(_) | ProcessEnd::Signalled(_) => Some(Sign::Died),
        ProcessEnd::TimedOut => Some(Sign::NeverEnded),
        ProcessEnd::Silent(_) => Some(Sign::Silent),
        ProcessEnd::NotStarted(_) => Some(Sign::NotStarted),
        ProcessEnd::OverLimit(_) => Some(Sign::OverLimit),
    }
}
