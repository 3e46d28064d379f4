//! One rung of the ladder: its agent is told what to do, runs, and its work in progress is saved.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use longhaul_common::text::clip_head;
use longhaul_proto::{Agent, CommandAgent, Failure, FailureClass, agent};

use super::{Attempt, broken, record, refused};
use crate::agent::briefing::{Before, Briefing, Tried};
use crate::agent::instructions::{Instructions, TOKENS_MAX, places};
use crate::agent::{command, skills, split};
use crate::commit::snapshot_aside;
use crate::failure::infrastructure;
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
        let (traces, logs) = (self.execution.traces(), self.execution.logs().len());
        let told = self.run_agent(&agent, before).await;
        if self.execution.traces() == traces {
            // It ended before it began: its program is missing, or its provider's key.
            record::keep_failure(&self.execution, &agent.name, &told).await;
        }
        self.noticed = self.notice(logs).await;
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
            Some(agent::Kind::Codemod(codemod)) => self.codemod(&agent.name, codemod).await,
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

    pub(super) fn subtask_file(&self) -> PathBuf {
        self.execution.slot.tmp().join(SUBTASK)
    }

    /// What a rung that failed made of the base, before the next one begins; nothing where it cannot be
    /// told: the next rung can do without.
    pub(super) async fn what_was_tried(&self) -> Option<Tried> {
        let (base, exclusions) = (self.execution.base, self.execution.exclusions());
        let good = self.good.as_ref().map(|good| good.tree);
        let secrets = self.execution.secrets();
        let tried = self.execution.blocking(move |slot| {
            let tree = snapshot_aside(slot, "tried-index", base, &exclusions).ok()?.tree;
            let (from, to) = (base.to_string(), tree.to_string());
            let args = ["diff", "--no-color", "--no-ext-diff", "--no-textconv", from.as_str(), to.as_str()];
            let diff = slot.git().run(args).ok()?;
            let diff = clip_head(&String::from_utf8_lossy(&diff), DIFF_BYTES_MAX).to_owned();
            Some(Tried { diff: secrets.redact_text(&diff), is_kept: good == Some(tree) })
        });
        tried.await.ok().flatten().filter(|tried| !tried.diff.is_empty())
    }

    /// Writes what a command agent is told, and gives its variables.
    pub(super) async fn agent_env(
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
                "diff": self.tried.as_ref().map_or("", |tried| &tried.diff),
                "is_kept": self.tried.as_ref().is_some_and(|tried| tried.is_kept),
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
        self.briefing_within(TOKENS_MAX, skills, before).await.map(|(briefing, _)| briefing)
    }

    /// The same with so many tokens for the repository's instructions; and the files of them that were cut.
    pub(super) async fn briefing_within(
        &self,
        tokens_max: usize,
        skills: &[String],
        before: Option<&Failure>,
    ) -> Result<(Briefing, Vec<String>), Box<Failure>> {
        let (places, folders) = (places(&self.work), skills.to_vec());
        let gather = move |slot: &Slot| {
            let ws = slot.ws();
            (Instructions::gather(&ws, &places, tokens_max), skills::gather(&ws, &folders))
        };
        let (found, skills) = self.execution.blocking(gather).await.map_err(|error| Box::new(Failure::from(error)))?;
        let before = before.map(|failure| Before { failure, tried: self.tried.as_ref() });
        Ok((Briefing::new(&self.work, &found, &skills, before), found.clipped))
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
