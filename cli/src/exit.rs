//! Exit codes by kind, and errors with their next step.

use std::fmt;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// All done.
    Done,
    /// The job failed, or a check of the verb did.
    Failed,
    /// Wrong use: flags, job file, names.
    Usage,
    /// Some of it landed, some did not.
    Partial,
    /// A server does not know the caller, or does not let it.
    Credentials,
    /// A limit was reached; resumable.
    Budget,
    /// Disk, git, a process: not the job's doing.
    Infrastructure,
    /// Interrupted with the state saved.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partial => 3,
            Exit::Credentials => 4,
            Exit::Budget => 5,
            Exit::Infrastructure => 6,
            Exit::Interrupted => 130,
        })
    }
}

/// An error that ends the verb, with its exit code.
#[derive(Debug)]
pub struct Stop {
    /// How to end.
    pub exit: Exit,
    /// What to say, in whole lines; may be rendered already.
    pub text: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Stop {}

impl Stop {
    /// Wrong use.
    pub fn usage(text: impl fmt::Display) -> anyhow::Error {
        Self { exit: Exit::Usage, text: text.to_string() }.into()
    }

    /// Nobody's doing but the surroundings'.
    pub fn infrastructure(text: impl fmt::Display) -> anyhow::Error {
        Self { exit: Exit::Infrastructure, text: text.to_string() }.into()
    }

    /// Something that is there no more or not yet.
    pub fn failed(text: impl fmt::Display) -> anyhow::Error {
        Self { exit: Exit::Failed, text: text.to_string() }.into()
    }
}

/// The exit code an error stands for: what is no [`Stop`] is infrastructure.
pub fn code_of(error: &anyhow::Error) -> Exit {
    use longhaul_coordinator::coordinator::OpenError;
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.exit;
    }
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Locked { .. } | OpenError::Feed(_)) => Exit::Usage,
        _ => Exit::Infrastructure,
    }
}

/// An error with its causes, each said once: many of ours name their cause themselves.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
