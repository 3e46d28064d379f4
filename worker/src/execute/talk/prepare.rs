//! What a session is run with: the program's command, its home, its gateway, and the session of an
//! earlier attempt.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longhaul_common::price::Price;
use longhaul_proto::{Agent, AgentProgram, Failure, FailureClass, agent};

use super::both::Kind;
use crate::agent::acp::Acp;
use crate::agent::briefing::Briefing;
use crate::agent::codex::Codex;
use crate::agent::command;
use crate::agent::metered::{self, Asks, Who};
use crate::agent::programs::{Home, Mode, Models, Program as Known};
use crate::agent::talk::{Kept, McpServer, Policy, restore};
use crate::execute::{Attempt, policy as sending};
use crate::execution::limit_of;
use crate::failure::failure;
use crate::gateway::Gateway;
use crate::process::argv_of;
use crate::wip::Saver;
use crate::workspace::{Slot, WorkspaceError, remove_tree};

/// What a session is run with.
pub(super) struct Session {
    pub known: Known,
    pub kind: Kind,
    pub argv: Vec<OsString>,
    pub env: BTreeMap<OsString, OsString>,
    /// The home that was written for it; `None` where it has the user's.
    pub home: Option<PathBuf>,
    pub gateway: Option<Gateway>,
    /// What its model costs, for what no gateway meters.
    pub price: Option<Price>,
    pub kept: Option<Kept>,
    /// Whether it goes on from work in progress, with its session or without.
    pub continues: bool,
    pub briefing: Briefing,
    /// What of the user's home holds its login, where that is what it uses.
    pub logins: Vec<PathBuf>,
    pub policy: Policy,
    pub mcp: Vec<McpServer>,
    pub model: String,
    pub timeout: Option<Duration>,
}

/// The program of an agent, what is known of it, and its client.
fn client_of(kind: &agent::Kind) -> Option<(AgentProgram, Known, &str, Kind)> {
    match kind {
        agent::Kind::Acp(acp) => {
            let known = Known::of(&acp.preset);
            // This one's mode is set by a variable, before its first word.
            let mode = if known == Known::CodexAcp { String::new() } else { acp.mode.clone() };
            Some((acp.program.clone()?, known, &acp.mode, Kind::Acp(Acp { mode, titled: known.titled() })))
        }
        agent::Kind::Codex(codex) => {
            let own = Codex { effort: codex.effort.clone(), sandbox: codex.sandbox.clone(), ..Codex::default() };
            Some((codex.program.clone()?, Known::Codex, "", Kind::Codex(own)))
        }
        _ => None,
    }
}

/// In a boundary in which no other can be drawn, Codex runs with its own off: ours holds instead.
fn without_own_sandbox(kind: Kind) -> Kind {
    match kind {
        Kind::Codex(codex) => Kind::Codex(Codex { sandbox: "danger-full-access".to_owned(), ..codex }),
        other => other,
    }
}

/// Behind its adapter Codex asks for what is beyond its sandbox alone: nobody is there to refuse the rest. The
/// plan says so first; here it is the rung's failure, since no worker can do better.
fn can_be_refused(known: Known, policy: &Policy) -> Result<(), Box<Failure>> {
    if known != Known::CodexAcp || policy.allows_work() {
        return Ok(());
    }
    let message = "codex-acp does not ask before it acts within its sandbox; use kind = \"codex\", or allow \
        reading, edits and commands and leave [[policy.command]] out";
    Err(Box::new(failure(FailureClass::Agent, message)))
}

fn setup(message: String) -> Box<Failure> {
    Box::new(failure(FailureClass::Setup, message))
}

impl Attempt {
    pub(super) async fn prepare(
        &self,
        agent: &Agent,
        kind: &agent::Kind,
        before: Option<&Failure>,
    ) -> Result<Session, Box<Failure>> {
        let Some((program, known, mode, kind)) = client_of(kind) else {
            return Err(setup(format!("the agent {} has no program", agent.name)));
        };
        let nests = self.execution.boundary.nests();
        let may = program.permissions.clone().unwrap_or_default();
        let rules = self.execution.assignment.policy.as_ref().map_or(&[][..], |policy| &policy.commands);
        let policy = Policy::new(may, rules, &self.work.decisions);
        can_be_refused(known, &policy)?;
        let kind = if nests { kind } else { without_own_sandbox(kind) };
        let provider = program.provider.as_ref();
        sending::may_be_sent(&self.execution, &self.work, provider.map(|provider| provider.name.as_str()))?;
        let values = command::placeholders(&self.execution.assignment, &self.work.files, &self.execution.slot.ws());
        let argv = program.run.as_ref().and_then(|run| argv_of(run, &values));
        let argv = argv.unwrap_or_else(|| known.command(&program.model));
        self.program_is_there(&agent.name, &argv, &program)?;
        let mcp = self.mcp_servers(&program.mcp, &values)?;
        let own = self.execution.slot.home();
        let mode = Mode { wanted: mode, nests };
        let Home { mut files, mut env } = known.switches(&own, mode, self.execution.shows_settings());
        let (mut home, mut gateway) = (None, None);
        if let Some(provider) = provider {
            let asks = Asks {
                models: vec!["*".to_owned()],
                prices: &program.prices,
                allowance: self.allowance()?,
                who: Who::Program,
                books: self.books(),
                barred: sending::barred(&self.execution, &provider.name).await?,
            };
            let open = metered::gateway(provider, asks, &self.execution).await?;
            let models = Models {
                url: open.base_url(),
                key: open.key().to_owned(),
                api: provider.api.clone(),
                model: program.model.clone(),
            };
            let made = known.home(&own, &models);
            env.extend(tool_homes());
            env.extend(made.env);
            files.extend(made.files);
            (home, gateway) = (Some(own.clone()), Some(open));
        } else {
            self.books().close();
        }
        self.write_home(own, files).await?;
        env.extend(program.env.iter().map(|(key, value)| (key.into(), value.into())));
        let broken = |error| Box::new(Failure::from(error));
        let continues = self.restore_session(before).await.map_err(broken)?.is_some();
        let logins = match provider {
            None => known.logins(std::env::var_os("HOME").map(PathBuf::from)),
            Some(_) => Vec::new(),
        };
        let kept = if continues { self.session_before(known, home.clone()).await.map_err(broken)? } else { None };
        Ok(Session {
            known,
            kind: kind.with_homes(home.iter().chain(&logins)),
            argv,
            env,
            home,
            gateway,
            price: metered::price_of(&program.prices, &program.model),
            kept: kept.filter(|kept| known.moves() || kept.cwd == self.execution.slot.ws()),
            continues,
            briefing: self.briefing(&program.skills, before).await?,
            policy,
            logins,
            mcp,
            model: program.model,
            timeout: limit_of(program.timeout_ms),
        })
    }

    /// A missing program is said to be missing before anything is started.
    fn program_is_there(&self, agent: &str, argv: &[OsString], own: &AgentProgram) -> Result<(), Box<Failure>> {
        let Some(program) = argv.first() else { return Err(setup(format!("the agent {agent} has no command"))) };
        match self.found(program, own.env.get("PATH")) {
            Some(_) => Ok(()),
            None => Err(setup(format!(
                "the program {} of the agent {agent} is not on this worker: install it, or name it in `run`",
                Path::new(program).display(),
            ))),
        }
    }

    async fn write_home(&self, home: PathBuf, files: Vec<(String, String)>) -> Result<(), Box<Failure>> {
        let write = move |_: &Slot| {
            let at = |path: &Path| {
                let path = path.to_owned();
                move |source| WorkspaceError::Io { action: "write", path, source }
            };
            remove_tree(&home).map_err(at(&home))?;
            std::fs::create_dir(&home).map_err(at(&home))?;
            for (path, content) in files {
                let path = home.join(path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(at(folder))?;
                }
                std::fs::write(&path, content).map_err(at(&path))?;
            }
            Ok(())
        };
        self.execution.blocking(write).await.and_then(|written| written).map_err(|error| Box::new(error.into()))
    }

    /// Puts an earlier attempt's session into the home of this one.
    async fn session_before(&self, known: Known, home: Option<PathBuf>) -> Result<Option<Kept>, WorkspaceError> {
        let Some(home) = home else { return Ok(None) };
        let put = move |slot: &Slot| restore(&Saver::session_dir(slot), &home, |path| known.restored(path));
        Ok(self.execution.blocking(put).await?.unwrap_or_else(|error| {
            tracing::warn!(%error, "the session of the earlier attempt is not gone on with");
            None
        }))
    }
}

/// Tools that keep their state in the user's home find it though the agent has another one.
fn tool_homes() -> BTreeMap<OsString, OsString> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return BTreeMap::new() };
    let tools = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
    let found = tools.into_iter().map(|(name, folder)| (name, home.join(folder)));
    let found = found.filter(|(name, path)| std::env::var_os(name).is_none() && path.is_dir());
    found.map(|(name, path)| (name.into(), path.into())).collect()
}

#[cfg(test)]
mod tests {
    use longhaul_proto::Permissions;

    use super::*;

    #[test]
    fn what_asks_for_nothing_is_not_run_where_something_is_refused() {
        let may = |execute: &str| Permissions {
            read: "allow".into(),
            edit: "allow".into(),
            execute: execute.into(),
            fetch: "reject".into(),
        };
        let policy = |execute| Policy::new(may(execute), &[], &[]);
        assert_eq!(can_be_refused(Known::CodexAcp, &policy("allow")), Ok(()));
        let refused = can_be_refused(Known::CodexAcp, &policy("reject")).expect_err("nobody would refuse it");
        assert_eq!(refused.class(), FailureClass::Agent, "no worker can do better: the next rung goes on");
        for known in [Known::Codex, Known::Gemini, Known::Unknown] {
            assert_eq!(can_be_refused(known, &policy("reject")), Ok(()), "{known:?} asks");
        }
    }
}
