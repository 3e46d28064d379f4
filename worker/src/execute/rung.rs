//! One rung of the ladder: its agent is told what to do, runs, and its work in progress is saved.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longhaul_common::text::clip_head;
use longhaul_proto::{Agent, CodemodAgent, CommandAgent, Failure, FailureClass, agent};

use super::checking::idle_timeout;
use super::{Attempt, broken, refused, told_of};
use crate::agent::briefing::Briefing;
use crate::agent::instructions::{Instructions, TOKENS_MAX, places};
use crate::agent::{codemod, command, skills, split};
use crate::commit::Declared;
use crate::execution::{Program, limit_of};
use crate::failure::infrastructure;
use crate::process::Purpose;
use crate::session::Told;
use crate::wip::{Saver, unpack_session};
use crate::workspace::{Folder, Slot, WorkspaceError, remove_tree};

/// What an agent is told of the change before it, in bytes; the files themselves are all there.
const DIFF_BYTES_MAX: usize = 32_000;

/// Name of the file in which a command agent is told what to do.
const SUBTASK: &str = "subtask.json";

impl Attempt {
    pub(super) async fn agent(&mut self, rung: usize, before: Option<&Failure>) -> Told {
        let Some(agent) = self.work.ladder.get(rung).cloned() else {
            return refused(FailureClass::Agent, "no such rung");
        };
        self.running.clone_from(&agent.name);
        self.rung = u32::try_from(rung).unwrap_or(u32::MAX);
        self.execution.reporter.step(&agent.name);
        if let Err(error) = self.forget_split().await {
            return broken(error);
        }
        let told = self.run_agent(&agent, before).await;
        if !matches!(told, Told::Done) || self.work.split_max == 0 {
            return told;
        }
        self.split_instead(&agent.name).await.unwrap_or(told)
    }

    /// What an earlier agent wrote is not this one's word.
    async fn forget_split(&self) -> Result<(), WorkspaceError> {
        let remove = |slot: &Slot| {
            let path = split::file(&slot.tmp());
            remove_tree(&path).map_err(|source| WorkspaceError::Io { action: "remove", path, source })
        };
        self.execution.blocking(remove).await.and_then(|removed| removed)
    }

    /// The end of the attempt, where its agent would have the subtask split.
    async fn split_instead(&self, agent: &str) -> Option<Told> {
        let most = self.work.split_max;
        let read = self.execution.blocking(move |slot| split::read(&slot.tmp(), most)).await;
        match read {
            Err(error) => Some(broken(error)),
            Ok(Ok(None)) => None,
            Ok(Ok(Some(parts))) => Some(Told::Broken(Box::new(split::split(agent, parts)))),
            Ok(Err(why)) => Some(refused(FailureClass::Agent, format!("{agent}: {}: {why}", split::FILE))),
        }
    }

    async fn run_agent(&mut self, agent: &Agent, before: Option<&Failure>) -> Told {
        match agent.kind.clone() {
            Some(agent::Kind::Codemod(codemod)) => self.codemod(codemod).await,
            Some(agent::Kind::Command(command)) => self.command(agent, &command, before).await,
            Some(agent::Kind::Model(model)) => self.model(agent, &model, before).await,
            Some(kind @ (agent::Kind::Acp(_) | agent::Kind::Codex(_))) => {
                Box::pin(self.talk(agent, &kind, before)).await
            }
            None => Told::Broken(Box::new(infrastructure(format!(
                "this worker does not know the kind of the agent {}",
                agent.name
            )))),
        }
    }

    async fn codemod(&self, agent: CodemodAgent) -> Told {
        let (files, declared) = (self.work.files.clone(), self.declared.clone());
        let done = self.execution.blocking(move |slot| {
            let files = if files.is_empty() { tracked(slot, &declared)? } else { files };
            Ok::<_, WorkspaceError>(codemod::apply(&agent, &slot.ws(), &files))
        });
        match done.await.and_then(|done| done) {
            Err(error) => broken(error),
            Ok(Ok(done)) => {
                for skipped in &done.skipped {
                    tracing::info!(subtask = self.work.subtask, skipped, "codemod passed over a file");
                }
                Told::Done
            }
            Ok(Err(codemod::CodemodError::Io { action, path, source })) => {
                broken(WorkspaceError::Io { action, path, source })
            }
            Ok(Err(error)) => refused(FailureClass::Agent, error.to_string()),
        }
    }

    async fn command(&mut self, agent: &Agent, command: &CommandAgent, before: Option<&Failure>) -> Told {
        let Some(run) = &command.run else { return refused(FailureClass::Agent, "the agent has no command") };
        let env = match self.agent_env(command, before).await {
            Ok(env) => env,
            Err(error) => return broken(error),
        };
        let program = Program {
            name: agent.name.clone(),
            env,
            stdin: Some(self.subtask_file()),
            timeout: limit_of(command.timeout_ms),
            idle_timeout: idle_timeout(&self.work),
            ..Program::default()
        };
        let values = command::placeholders(&self.execution.assignment, &self.work.files, &self.execution.slot.ws());
        let execution = Arc::clone(&self.execution);
        let ran = tokio::select! {
            biased;
            ran = execution.command(Purpose::Agent, FailureClass::Agent, run, &values, program) => ran,
            () = self.saver.watch(self.rung) => Ok(()),
        };
        if self.execution.leave.is_cancelled() && ran.is_err() {
            self.saver.last(self.rung).await;
        }
        told_of(ran)
    }

    fn subtask_file(&self) -> PathBuf {
        self.execution.slot.tmp().join(SUBTASK)
    }

    /// What the rungs before left in the workspace, as a patch.
    async fn diff_so_far(&self) -> Result<String, WorkspaceError> {
        let Some(good) = self.good.as_ref().filter(|good| !good.changes.is_empty()) else { return Ok(String::new()) };
        let (base, tree) = (self.execution.base.to_string(), good.tree.to_string());
        let diff = self.execution.blocking(move |slot| {
            let args = ["diff", "--no-color", "--no-ext-diff", "--no-textconv", base.as_str(), tree.as_str()];
            Ok::<_, WorkspaceError>(slot.git().run(args)?)
        });
        let diff = diff.await.and_then(|diff| diff)?;
        Ok(clip_head(&String::from_utf8_lossy(&diff), DIFF_BYTES_MAX).to_owned())
    }

    /// Writes what a command agent is told, and gives its variables.
    async fn agent_env(
        &self,
        command: &CommandAgent,
        before: Option<&Failure>,
    ) -> Result<BTreeMap<OsString, OsString>, WorkspaceError> {
        let mut json = command::subtask_json(&self.work, command::instructions(&self.work));
        if let Some(before) = before {
            json["previous"] = serde_json::json!({
                "class": before.class().as_str_name(),
                "message": before.message,
                "detail": before.detail,
                "diff": self.diff_so_far().await?,
            });
        }
        let places = places(&self.work);
        let told = self.execution.blocking(move |slot| Instructions::gather(&slot.ws(), &places, TOKENS_MAX)).await?;
        let told = told.all.into_iter().map(|one| serde_json::json!({"path": one.path, "text": one.text}));
        json["agents_md"] = told.collect();
        if let Some(turn) = self.restore_session(before).await? {
            json["continues"] = serde_json::json!({ "turn": turn });
        }
        let path = self.subtask_file();
        let (text, to) = (json.to_string(), path.clone());
        let write = move |slot: &Slot| {
            // An agent of an earlier rung may have left a link there.
            let written = Folder::at(&slot.tmp()).and_then(|tmp| tmp.create(Path::new(SUBTASK)));
            let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|source| WorkspaceError::Io { action: "write", path: to, source })
        };
        self.execution.blocking(write).await.and_then(|written| written)?;
        let slot = &self.execution.slot;
        let mut env: BTreeMap<OsString, OsString> =
            command.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
        env.insert("LONGHAUL_SUBTASK".into(), path.into());
        env.insert("LONGHAUL_TURN".into(), Saver::turn_file(slot).into());
        if self.work.split_max > 0 {
            env.insert("LONGHAUL_SPLIT".into(), split::file(&slot.tmp()).into());
        }
        env.insert("LONGHAUL_SESSION".into(), Saver::session_dir(slot).into());
        Ok(env)
    }
}

impl Attempt {
    /// What an agent that reads is told first.
    pub(super) async fn briefing(&self, skills: &[String], before: Option<&Failure>) -> Result<Briefing, Box<Failure>> {
        let (places, folders) = (places(&self.work), skills.to_vec());
        let gather = move |slot: &Slot| {
            let ws = slot.ws();
            (Instructions::gather(&ws, &places, TOKENS_MAX), skills::gather(&ws, &folders))
        };
        let (found, skills) = self.execution.blocking(gather).await.map_err(|error| Box::new(Failure::from(error)))?;
        Ok(Briefing::new(&self.work, &found, &skills, before))
    }

    /// Makes the folder of the agent's session, with what an earlier attempt kept in it; gives that
    /// one's turns. It goes on with the rung that was working, and in its first try only.
    pub(super) async fn restore_session(&self, before: Option<&Failure>) -> Result<Option<u32>, WorkspaceError> {
        let wip = self.work.wip.as_ref().filter(|wip| wip.rung == self.rung && before.is_none());
        let session = wip.map(|wip| wip.session.clone()).unwrap_or_default();
        let restore = move |slot: &Slot| {
            let folder = Saver::session_dir(slot);
            let made = remove_tree(&folder).and_then(|()| std::fs::create_dir(&folder));
            made.map_err(|source| WorkspaceError::Io { action: "make", path: folder.clone(), source })?;
            if let Err(error) = unpack_session(&session, &folder) {
                tracing::warn!(%error, "the session of the earlier attempt is not restored");
            }
            Ok(())
        };
        self.execution.blocking(restore).await.and_then(|made| made)?;
        Ok(wip.map(|wip| wip.turn))
    }
}

/// All tracked files the subtask may write.
fn tracked(slot: &Slot, declared: &Declared) -> Result<Vec<String>, WorkspaceError> {
    let out = slot.git().run(["ls-files", "-z"])?;
    let names = out.split(|&b| b == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| !name.is_empty() && declared.covers(name)).map(str::to_owned).collect())
}
