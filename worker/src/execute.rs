//! Drives the machine of one attempt: does each step, tells what happened, builds the result.

mod checking;
mod mcp;
mod model;
mod noticed;
mod policy;
mod program;
mod record;
mod rung;
mod shown;
mod spent;
mod talk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use longhaul_common::Oid;
use longhaul_common::sign::Sign;
use longhaul_common::text::clip_head;
use longhaul_proto::{Failure, FailureClass, Finished, Patch, Timing, Unchanged, Usage, Work, finished};

use checking::Bench;

use crate::agent::briefing::Tried;
use crate::agent::command;
use crate::commit::{
    Declared, NewResult, Snapshot, StageError, commit, snapshot, validate, without_secrets, write_pack,
};
use crate::execution::{Execution, Program, cancelled, ms_since};
use crate::failure::{failure, infrastructure, with_paths, with_sign};
use crate::gateway::Used;
use crate::process::Purpose;
use crate::services::Services;
use crate::session::{Do, End, Session, Shape, Told};
use crate::wip::Saver;
use crate::workspace::WorkspaceError;

/// Longest title of a commit, in bytes.
const TITLE_BYTES_MAX: usize = 100;

/// Executes a subtask; the pack, if there is one, is written to `pack`.
pub async fn execute(execution: Arc<Execution>, work: Work, pack: PathBuf) -> Finished {
    let started = Instant::now();
    let mut attempt = match Attempt::new(execution, work) {
        Ok(attempt) => attempt,
        Err(failure) => return Finished { outcome: Some(finished::Outcome::Failure(*failure)), ..Finished::default() },
    };
    // Killed before it asks any model, it has used nothing.
    attempt.books().write(&Used::default());
    let first = attempt.work.wip.as_ref().map_or(0, |wip| wip.rung as usize);
    let shape = Shape { rungs: attempt.work.ladder.len(), checks: attempt.checks(), first };
    let (mut session, mut step) = Session::begin(shape);
    let end = loop {
        if let Do::Deliver(end) = step {
            break end;
        }
        let told = if attempt.execution.cancel.is_cancelled() {
            Told::Broken(cancelled())
        } else {
            attempt.perform(step).await
        };
        (session, step) = session.next(told);
    };
    let outcome = match end {
        End::Failed(failure) => finished::Outcome::Failure(*failure),
        End::Result => attempt.result(pack).await.unwrap_or_else(|failure| finished::Outcome::Failure(*failure)),
    };
    attempt.stop_services().await;
    attempt.timing.total_ms = ms_since(started);
    attempt.timing.asked_ms = attempt.execution.still.so_far().as_millis().try_into().unwrap_or(u64::MAX);
    Finished {
        outcome: Some(outcome),
        timing: Some(attempt.timing),
        usage: Some(attempt.usage),
        logs: attempt.execution.logs(),
        ..Finished::default()
    }
}

struct Attempt {
    execution: Arc<Execution>,
    work: Work,
    declared: Declared,
    left: Option<regex::bytes::Regex>,
    services: Option<Services>,
    /// The last good state; `None` is the base.
    good: Option<Snapshot>,
    protected_touched: Vec<String>,
    /// The agent that runs or ran last.
    running: String,
    /// The agent whose work the last good state is.
    author: String,
    /// Saves what is not finished yet.
    saver: Saver,
    rung: u32,
    /// What its agent did beside its work.
    noticed: Option<Sign>,
    /// Whether the codemod that ran last passed over files.
    partial: bool,
    timing: Timing,
    /// What models cost.
    usage: Usage,
    /// What the rung before made, where it failed.
    tried: Option<Tried>,
}

fn refused(class: FailureClass, message: impl Into<String>) -> Told {
    Told::Refused(Box::new(failure(class, message)))
}

fn broken(error: WorkspaceError) -> Told {
    Told::Broken(Box::new(error.into()))
}

/// What a program's failure means: its own doing, or the machine's.
fn told_of(result: Result<(), Box<Failure>>) -> Told {
    match result {
        Ok(()) => Told::Done,
        Err(failure) => match failure.class() {
            FailureClass::Infrastructure
            | FailureClass::DiskFull
            | FailureClass::Cancelled
            | FailureClass::Setup
            | FailureClass::Provider
            | FailureClass::ProviderLimit
            | FailureClass::Sandbox
            | FailureClass::Asked => Told::Broken(failure),
            _ => Told::Refused(failure),
        },
    }
}

impl Attempt {
    fn new(execution: Arc<Execution>, work: Work) -> Result<Self, Box<Failure>> {
        let bad =
            |error: &dyn std::fmt::Display| Box::new(infrastructure(format!("the assignment cannot be read: {error}")));
        let policy = execution.assignment.policy.clone().unwrap_or_default();
        let declared = Declared::new(&work.task.clone().unwrap_or_default(), &work.files, &work.claims, &policy)
            .map_err(|error| bad(&error))?;
        let pattern = work.task.as_ref().map_or("", |task| task.left.as_str());
        // The same reading of '^' and '$' as a map's `containing`.
        let left = regex::bytes::RegexBuilder::new(pattern).multi_line(true).build().map_err(|error| bad(&error))?;
        let left = (!pattern.is_empty()).then_some(left);
        let every_ms = work.task.as_ref().map_or(0, |task| task.wip_every_ms);
        let author = (work.author_name.clone(), work.author_email.clone());
        let saver = Saver::new(Arc::clone(&execution), author, every_ms, work.wip.as_ref());
        Ok(Self {
            saver,
            rung: 0,
            noticed: None,
            partial: false,
            execution,
            work,
            declared,
            left,
            services: None,
            good: None,
            protected_touched: Vec::new(),
            running: String::new(),
            author: String::new(),
            timing: Timing::default(),
            usage: Usage::default(),
            tried: None,
        })
    }

    fn checks(&self) -> usize {
        self.work.task.as_ref().map_or(0, |task| task.check.len())
    }

    async fn perform(&mut self, step: Do) -> Told {
        let started = Instant::now();
        let timed = step.clone();
        let told = match step {
            Do::Slot => {
                self.execution.reporter.step("slot");
                match self.execution.move_slot().await {
                    Ok(()) => self.go_on().await,
                    Err(failure) => told_of(Err(failure)),
                }
            }
            Do::Setup => {
                let told = told_of(self.execution.setup().await);
                record::keep_failure(&self.execution, "setup", &told).await;
                told
            }
            Do::Agent(rung, before) => self.agent(rung, before.as_deref()).await,
            Do::Fix => self.fix().await,
            Do::Snapshot => self.take_snapshot().await,
            Do::LookForLeft => self.look_for_left().await,
            Do::Check(number) => self.check(number).await,
            Do::Restore => self.restore().await,
            Do::Deliver(_) => Told::Done,
        };
        let ms = ms_since(started);
        match timed {
            Do::Slot | Do::Restore => self.timing.slot_ms += ms,
            Do::Setup => self.timing.setup_ms += ms,
            Do::Agent(..) => self.timing.agent_ms += ms,
            Do::Fix => self.timing.fix_ms += ms,
            Do::Check(_) => self.timing.check_ms += ms,
            Do::Snapshot | Do::LookForLeft | Do::Deliver(_) => self.timing.commit_ms += ms,
        }
        told
    }

    /// Brings the workspace to the work in progress of an earlier attempt, if there is one.
    async fn go_on(&self) -> Told {
        let Some(wip) = self.work.wip.clone() else { return Told::Done };
        let (base, store, caches) = (self.execution.base, self.execution.store(), self.execution.caches());
        let tree = match Oid::from_bytes(&wip.tree) {
            Ok(tree) => tree,
            Err(error) => {
                return Told::Broken(Box::new(infrastructure(format!("the work in progress cannot be read: {error}"))));
            }
        };
        let restored = self.execution.blocking(move |slot| slot.restore(tree, base, &store, &caches)).await;
        match restored.and_then(|restored| restored) {
            Ok(()) => Told::Done,
            Err(error) => broken(error),
        }
    }

    fn changed_files(snapshot: &Snapshot) -> Vec<String> {
        snapshot.changes.iter().filter(|change| !change.is_deletion()).map(|change| change.path.clone()).collect()
    }

    async fn fix(&mut self) -> Told {
        let fix = self.execution.assignment.repo.as_ref().and_then(|repo| repo.fix.clone());
        let Some(fix) = fix.filter(|fix| !crate::process::is_empty(fix)) else { return Told::Done };
        let (base, exclusions) = (self.execution.base, self.execution.exclusions());
        let before = self.execution.blocking(move |slot| snapshot(slot, base, &exclusions)).await;
        let before = match before.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok(before) => before,
            Err(error) => return told_of_stage(error),
        };
        let changed = Self::changed_files(&before);
        if changed.is_empty() {
            return Told::Done;
        }
        self.execution.reporter.step("fix");
        let values = checking::values(&self.execution, &self.work, changed);
        let program = Program { name: "fix".into(), ..Program::default() };
        let ran = self.execution.command(Purpose::Prepare, FailureClass::Check, &fix, &values, program).await;
        // Also after a failed fix: what it did to other files must not stay.
        let exclusions = self.execution.exclusions();
        let settled = self.execution.blocking(move |slot| crate::fix::settle(slot, base, &before, &exclusions)).await;
        match settled.map_err(StageError::Broken).and_then(|settled| settled) {
            Ok(_) => told_of(ran.map_err(|failure| Box::new(with_sign(*failure, Sign::FixFailed)))),
            Err(error) => told_of_stage(error),
        }
    }

    /// The tree is taken before the checks run, so what they leave behind is never in it.
    async fn take_snapshot(&mut self) -> Told {
        self.execution.reporter.step("commit");
        let (base, exclusions, declared) = (self.execution.base, self.execution.exclusions(), self.declared.clone());
        let policy = self.execution.assignment.policy.clone().unwrap_or_default();
        let secrets = self.execution.secrets();
        let taken = self.execution.blocking(move |slot| {
            let taken = snapshot(slot, base, &exclusions)?;
            let touched =
                validate(&taken.changes, &declared, &policy, &slot.objects()?).map_err(StageError::Refused)?;
            without_secrets(slot, &taken.changes, &secrets)?;
            Ok((taken, touched))
        });
        match taken.await.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok((taken, touched)) => {
                if self.good.as_ref().is_none_or(|good| good.tree != taken.tree) && !taken.changes.is_empty() {
                    self.author.clone_from(&self.running);
                }
                self.good = Some(taken);
                self.protected_touched = touched;
                self.saver.after_rung(self.rung);
                Told::Done
            }
            Err(error) => told_of_stage(error),
        }
    }

    async fn look_for_left(&self) -> Told {
        match checking::left(&self.execution, &self.work, self.left.as_ref()).await {
            Err(error) => broken(error),
            Ok(found) if found.is_empty() => self.believed_unchanged(),
            Ok(found) => {
                let message = format!("the agent {} left work in {} of the subtask's files", self.running, found.len());
                self.claimed(Told::Refused(Box::new(with_paths(failure(FailureClass::Agent, message), found))))
            }
        }
    }

    async fn check(&mut self, number: usize) -> Told {
        let changed = self.good.as_ref().map(Self::changed_files).unwrap_or_default();
        let mut bench = Bench { execution: &self.execution, work: &self.work, services: &mut self.services };
        let told = bench.check(number, changed).await;
        self.claimed(told)
    }

    async fn restore(&mut self) -> Told {
        self.stop_services().await;
        self.tried = self.what_was_tried().await;
        let (base, store, caches) = (self.execution.base, self.execution.store(), self.execution.caches());
        let tree = self.good.as_ref().map(|good| good.tree);
        let restored = self.execution.blocking(move |slot| match tree {
            Some(tree) => slot.restore(tree, base, &store, &caches),
            None => slot.move_to(base, &store, &caches),
        });
        let restored = restored.await.and_then(|restored| restored);
        match restored {
            // What the set-up made outside the caches was swept away with the rest.
            Ok(()) => told_of(self.execution.setup().await),
            Err(error) => broken(error),
        }
    }

    async fn stop_services(&mut self) {
        if let Some(services) = self.services.take() {
            services.stop().await;
        }
    }

    async fn result(&mut self, pack: PathBuf) -> Result<finished::Outcome, Box<Failure>> {
        let started = Instant::now();
        let Some(good) = self.good.clone().filter(|good| !good.changes.is_empty()) else {
            return Ok(finished::Outcome::Unchanged(Unchanged { summary: "nothing had to be changed".into() }));
        };
        let (base, message) = (self.execution.base, self.message());
        let author = (self.work.author_name.clone(), self.work.author_email.clone());
        let tree = good.tree;
        let written = self.execution.blocking(move |slot| {
            let new = NewResult { tree, parent: base, author: (&author.0, &author.1), message: &message };
            let commit = commit(slot, &new)?;
            write_pack(slot, commit, base, &pack)?;
            Ok::<_, WorkspaceError>(commit)
        });
        let commit = written.await.and_then(|commit| commit).map_err(|error| Box::new(Failure::from(error)))?;
        self.timing.commit_ms += ms_since(started);
        let (added, removed) =
            good.changes.iter().fold((0, 0), |sum, change| (sum.0 + change.lines.0, sum.1 + change.lines.1));
        let files: Vec<String> = good.changes.iter().map(|change| change.path.clone()).collect();
        Ok(finished::Outcome::Patch(Patch {
            commit: commit.to_vec(),
            tree: tree.to_vec(),
            base: base.to_vec(),
            summary: format!("{} changed {} files, +{added} -{removed}", self.author, files.len()),
            files,
            lines_added: added,
            lines_removed: removed,
            agent: self.author.clone(),
            protected_touched: self.protected_touched.clone(),
            // The coordinator looks for itself.
            findings: Vec::new(),
            sign: String::new(),
        }))
    }

    /// The commit's message: one line of what it is for, and where it comes from.
    fn message(&self) -> String {
        let line = if self.work.title.is_empty() { command::instructions(&self.work) } else { &self.work.title };
        let line = line.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("done");
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let title = one_line(&format!("{}: {line}", self.work.subtask));
        let trailers = [
            ("Job-Id", one_line(&self.execution.assignment.job)),
            ("Subtask-Id", one_line(&self.work.subtask)),
            ("Attempt", self.execution.assignment.id.to_string()),
            ("Agent", one_line(&self.author)),
        ];
        let trailers: String = trailers.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        format!("{}\n\n{trailers}", clip_head(&title, TITLE_BYTES_MAX).trim_end())
    }
}

fn told_of_stage(error: StageError) -> Told {
    match error {
        StageError::Refused(failure) => told_of(Err(failure)),
        StageError::Broken(error) => broken(error),
    }
}
