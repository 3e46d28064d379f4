//! A rung whose agent has no session: rules that are applied in process, or a program of any kind. Its
//! trace says what was run and how that ended.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Instant;

use longhaul_common::command::commands;
use longhaul_common::sign::Sign;
use longhaul_proto::{Agent, CodemodAgent, CommandAgent, CommandLine, Failure, FailureClass};
use serde_json::{Value, json};

use super::checking::idle_timeout;
use super::{Attempt, broken, record, refused, told_of};
use crate::agent::talk::{AgentEvent, ToolKind};
use crate::agent::{codemod, command};
use crate::commit::Declared;
use crate::execution::{Program, limit_of};
use crate::failure::{of_run, with_sign};
use crate::gateway::Calls;
use crate::process::{ProcessOutcome, Purpose, argv_of};
use crate::session::Told;
use crate::trace::Trace;
use crate::workspace::{Slot, WorkspaceError};

/// The one thing that such an agent does, in its trace.
const ID: &str = "1";

/// A trace of one thing done.
struct Doing {
    log: String,
    trace: Trace,
    began: Instant,
}

impl Attempt {
    pub(super) async fn codemod(&mut self, name: &str, agent: CodemodAgent) -> Told {
        let doing = match self.begin(name, ToolKind::Edit, &agent.rules_path, json!({ "rules": agent.rules_path })) {
            Ok(doing) => doing,
            Err(failure) => return told_of(Err(failure)),
        };
        let (files, declared) = (self.work.files.clone(), self.declared.clone());
        let done = self.execution.blocking(move |slot| {
            let files = if files.is_empty() { tracked(slot, &declared)? } else { files };
            Ok::<_, WorkspaceError>(codemod::apply(&agent, &slot.ws(), &files))
        });
        let (told, words) = match done.await.and_then(|done| done) {
            Err(error) => (broken(error), String::new()),
            Ok(Ok(done)) => {
                self.partial = done.is_partial;
                (Told::Done, done.words())
            }
            Ok(Err(codemod::CodemodError::Io { action, path, source })) => {
                (broken(WorkspaceError::Io { action, path, source }), String::new())
            }
            Ok(Err(error)) => (refused(FailureClass::Agent, error.to_string()), String::new()),
        };
        self.end(name, doing, &told, words).await;
        told
    }

    pub(super) async fn command(&mut self, agent: &Agent, command: &CommandAgent, before: Option<&Failure>) -> Told {
        let values = command::placeholders(&self.execution.assignment, &self.work.files, &self.execution.slot.ws());
        let run = command.run.as_ref();
        let Some((run, argv)) = run.and_then(|run| argv_of(run, &values).map(|argv| (run, argv))) else {
            return refused(FailureClass::Agent, "the agent has no command");
        };
        let env = match self.agent_env(command, before).await {
            Ok(env) => env,
            Err(error) => return broken(error),
        };
        let doing = match self.begin(&agent.name, ToolKind::Execute, &line(&argv), json!({ "argv": words(&argv) })) {
            Ok(doing) => doing,
            Err(failure) => return told_of(Err(failure)),
        };
        let program = Program {
            name: agent.name.clone(),
            argv,
            env,
            stdin: Some(self.subtask_file()),
            timeout: limit_of(command.timeout_ms),
            idle_timeout: idle_timeout(&self.work),
            ..Program::default()
        };
        let execution = Arc::clone(&self.execution);
        let ran = tokio::select! {
            biased;
            ran = execution.run(Purpose::Agent, program) => Some(ran),
            () = self.saver.watch(self.rung) => None,
        };
        let (told, words) = match ran {
            None => (Told::Done, String::new()),
            Some(Err(error)) => (told_of(Err(Box::new(error.into()))), String::new()),
            Some(Ok(ran)) => {
                let failure = of_run(&agent.name, &ran, FailureClass::Agent);
                let failure =
                    failure.map(|failure| not_there(run, failure, |program| self.found(program, None).is_some()));
                (told_of(failure.map_or(Ok(()), Err)), said(&ran))
            }
        };
        if self.execution.leave.is_cancelled() && !matches!(told, Told::Done) {
            self.saver.last(self.rung).await;
        }
        self.end(&agent.name, doing, &told, words).await;
        told
    }

    fn begin(&self, agent: &str, kind: ToolKind, title: &str, input: Value) -> Result<Doing, Box<Failure>> {
        let (log, mut trace) = record::trace(&self.execution, agent)?;
        trace.write(&AgentEvent::ToolStarted { id: ID.to_owned(), kind, title: title.to_owned(), input });
        Ok(Doing { log, trace, began: Instant::now() })
    }

    async fn end(&self, agent: &str, doing: Doing, told: &Told, words: String) {
        let Doing { log, mut trace, began } = doing;
        let failure = match told {
            Told::Done => None,
            Told::Broken(failure) | Told::Refused(failure) => Some(&**failure),
        };
        let output = match failure {
            Some(failure) if words.is_empty() => failure.message.clone(),
            _ => words,
        };
        let output = format!("{output} ({:.3} s)", began.elapsed().as_secs_f64());
        trace.write(&AgentEvent::ToolEnded { id: ID.to_owned(), failed: failure.is_some(), output });
        trace.write(&AgentEvent::TurnEnded { end: record::ended(failure) });
        record::finish(&self.execution, agent, log, trace, Calls::default()).await;
    }
}

/// A shell that finds no program says so by its code alone, and so does a script for what it calls. Where the
/// line is one command whose program is not there, that is the worker's set-up, and no attempt of the agent.
fn not_there(run: &CommandLine, found: Failure, is_there: impl Fn(&OsStr) -> bool) -> Box<Failure> {
    let one = match commands(&run.shell).as_deref() {
        Ok([argv]) => argv.first().cloned(),
        _ => None,
    };
    let one = one.filter(|program| !is_there(OsStr::new(program)));
    match one.filter(|_| found.sign == Sign::Died.as_str() && found.message.ends_with(" exited with 127")) {
        Some(program) => {
            let class = FailureClass::Setup.into();
            let message = format!("{}: the program {program} is not on this worker, or not executable", found.message);
            Box::new(with_sign(Failure { class, message, ..found }, Sign::NotStarted))
        }
        None => Box::new(found),
    }
}

fn words(argv: &[OsString]) -> Vec<String> {
    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// For people; the words apart are beside it.
fn line(argv: &[OsString]) -> String {
    words(argv).join(" ")
}

/// How a program ended; what it wrote has a log of its own.
fn said(ran: &ProcessOutcome) -> String {
    match of_run("it", ran, FailureClass::Agent) {
        None => "it exited with 0".to_owned(),
        Some(failure) => failure.message,
    }
}

/// All tracked files the subtask may write.
fn tracked(slot: &Slot, declared: &Declared) -> Result<Vec<String>, WorkspaceError> {
    let out = slot.git().run(["ls-files", "-z"])?;
    let names = out.split(|&b| b == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| !name.is_empty() && declared.covers(name)).map(str::to_owned).collect())
}
