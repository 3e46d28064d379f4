//! A rung whose agent is a program that is talked with: its home, its gateway, its process, the
//! conversation, and what is kept of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longhaul_common::price::{Price, Prices};
use longhaul_proto::{Agent, AgentProgram, Failure, FailureClass, Permissions, agent};
use tokio_util::sync::CancellationToken;

use super::{Attempt, broken, told_of};
use crate::agent::acp::{self, Acp};
use crate::agent::codex::{self, Codex};
use crate::agent::command;
use crate::agent::programs::{Models, Program as Known};
use crate::agent::talk::{
    CANCEL_MAX, EXIT_MAX, Kept, Policy, Progress, Setting, TalkError, TurnEnd, Used, WORDS_MAX, Witness,
    failure_of_end, failure_of_error, keep, prompt, restore,
};
use crate::config::Held;
use crate::execution::{Program, limit_of};
use crate::failure::{failure, infrastructure, of_run, with_detail};
use crate::gateway::{Api, Gateway, GatewayConfig, Outcome, Provider, RateLimiter, RateShare};
use crate::process::talk::{Talk, find};
use crate::process::{ProcessEnd, ProcessOutcome, Purpose, argv_of, variables};
use crate::session::Told;
use crate::trace::Trace;
use crate::wip::{Saver, unpack_session};
use crate::workspace::{Slot, WorkspaceError, remove_tree};

/// Shortest time between two savings of a program's session while a turn runs.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// The name of the folder of a slot that is an agent's home. It is not in the temporary folder: there
/// Codex makes no helper programs, and then its sandbox cannot start anything.
const HOME: &str = "home";

/// What a session is run with.
struct Session {
    known: Known,
    kind: Kind,
    argv: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    /// The home that was written for it; `None` where it has the user's.
    home: Option<PathBuf>,
    gateway: Option<Gateway>,
    kept: Option<Kept>,
    may: Permissions,
    model: String,
    timeout: Option<Duration>,
}

/// Which client.
enum Kind {
    Acp(Acp),
    Codex(Codex),
}

/// How a session and its process ended.
struct Ended {
    said: Result<TurnEnd, TalkError>,
    process: ProcessOutcome,
    /// The process was ended by us, once the session was over.
    stopped: bool,
    used: Used,
}

impl Attempt {
    /// Has a program do the work.
    pub(super) async fn talk(&mut self, agent: &Agent, kind: &agent::Kind, before: Option<&Failure>) -> Told {
        let session = match self.prepare(agent, kind, before).await {
            Ok(session) => session,
            Err(failure) => return told_of(Err(failure)),
        };
        let home = session.home.clone();
        let told = self.converse(agent, session, before).await;
        if let Some(home) = home
            && let Err(error) = self.execution.blocking(move |_| remove_tree(&home)).await
        {
            tracing::warn!(%error, "an agent's home is not removed");
        }
        told
    }

    async fn prepare(
        &self,
        agent: &Agent,
        kind: &agent::Kind,
        before: Option<&Failure>,
    ) -> Result<Session, Box<Failure>> {
        let (program, known, mode) = match kind {
            agent::Kind::Acp(acp) => (acp.program.clone(), Known::of(&acp.preset), acp.mode.as_str()),
            agent::Kind::Codex(codex) => (codex.program.clone(), Known::Codex, ""),
            _ => (None, Known::Unknown, ""),
        };
        let program = program.unwrap_or_default();
        let kind = match kind {
            agent::Kind::Codex(codex) => {
                Kind::Codex(Codex { effort: codex.effort.clone(), sandbox: codex.sandbox.clone(), ..Codex::default() })
            }
            // This one's mode is set by a variable, before its first word.
            _ if known == Known::CodexAcp => Kind::Acp(Acp::default()),
            _ => Kind::Acp(Acp { mode: mode.to_owned() }),
        };
        let values = command::placeholders(&self.execution.assignment, &self.work.files, &self.execution.slot.ws());
        let argv = program.run.as_ref().and_then(|run| argv_of(run, &values));
        let argv = argv.unwrap_or_else(|| known.command(&program.model));
        let gateway = self.gateway(&program).await?;
        let mut env = BTreeMap::new();
        let mut home = None;
        if let Some(gateway) = &gateway {
            let models = Models {
                url: gateway.base_url(),
                key: gateway.key().to_owned(),
                api: program.provider.as_ref().map(|provider| provider.api.clone()).unwrap_or_default(),
                model: program.model.clone(),
            };
            let own = self.execution.slot.root().join(HOME);
            let made = known.home(&own, &models, mode);
            env.extend(tool_homes());
            env.extend(made.env);
            self.write_home(own.clone(), made.files).await?;
            home = Some(own);
        }
        env.extend(program.env.iter().map(|(key, value)| (key.into(), value.into())));
        let kept = self.restore_session(home.clone(), before).await.map_err(|error| Box::new(Failure::from(error)))?;
        let kept = kept.filter(|kept| known.moves() || kept.cwd == self.execution.slot.ws());
        let session = Session {
            known,
            kind,
            argv,
            env,
            home,
            gateway,
            kept,
            may: program.permissions.unwrap_or_default(),
            model: program.model,
            timeout: limit_of(program.timeout_ms),
        };
        self.program_is_there(agent, &session)?;
        Ok(session)
    }

    /// A missing program is said to be missing before anything is started.
    fn program_is_there(&self, agent: &Agent, session: &Session) -> Result<(), Box<Failure>> {
        let Some(program) = session.argv.first() else {
            return Err(Box::new(failure(FailureClass::Setup, format!("the agent {} has no command", agent.name))));
        };
        let slot = &self.execution.slot;
        let env = variables(Purpose::Agent, self.execution.repo_env(), &slot.tmp());
        let path = session.env.get(&OsString::from("PATH")).or(env.get(&OsString::from("PATH")));
        match find(program, &slot.ws(), path.map(OsString::as_os_str)) {
            Some(_) => Ok(()),
            None => {
                let message = format!(
                    "the program {} of the agent {} is not on this worker: install it, or name it in `run`",
                    Path::new(program).display(),
                    agent.name
                );
                Err(Box::new(failure(FailureClass::Setup, message)))
            }
        }
    }

    /// The way to the provider, if one is named.
    async fn gateway(&self, program: &AgentProgram) -> Result<Option<Gateway>, Box<Failure>> {
        let Some(provider) = &program.provider else { return Ok(None) };
        let setup = |message: String| Box::new(failure(FailureClass::Setup, message));
        let key = if provider.key_env.is_empty() { Ok(Held::default()) } else { Provider::key_from(&provider.key_env) };
        let apis = [Api::OpenaiResponses, Api::OpenaiChat, Api::AnthropicMessages, Api::Gemini];
        let api = apis.into_iter().find(|api| api.name() == provider.api);
        let api =
            api.ok_or_else(|| Box::new(infrastructure(format!("this worker does not know the api {}", provider.api))))?;
        let share = RateShare {
            requests_per_minute: provider.requests_per_minute,
            tokens_per_minute: provider.tokens_per_minute,
        };
        let one = Provider {
            name: provider.name.clone(),
            api,
            url: provider.url.clone(),
            key: key.map_err(setup)?,
            models: vec!["*".to_owned()],
            rates: Arc::new(RateLimiter::new(share)),
        };
        let mut config = GatewayConfig::new(vec![one]);
        let prices = program.prices.iter().map(|price| (price.model.clone(), price_of(price)));
        config.prices = Prices::new(prices).map_err(|error| Box::new(infrastructure(error.to_string())))?;
        config.secrets = self.execution.secrets();
        Gateway::start(config).await.map(Some).map_err(|error| Box::new(infrastructure(error.to_string())))
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

    /// Makes the folder of what is kept of the session, and puts an earlier attempt's session into
    /// the home. It goes on with the rung that was working, and in its first try only.
    async fn restore_session(
        &self,
        home: Option<PathBuf>,
        before: Option<&Failure>,
    ) -> Result<Option<Kept>, WorkspaceError> {
        let wip = self.work.wip.as_ref().filter(|wip| wip.rung == self.rung && before.is_none());
        let session = wip.map(|wip| wip.session.clone()).unwrap_or_default();
        let unpack = move |slot: &Slot| {
            let folder = Saver::session_dir(slot);
            let made = remove_tree(&folder).and_then(|()| std::fs::create_dir(&folder));
            made.map_err(|source| WorkspaceError::Io { action: "make", path: folder.clone(), source })?;
            let Some(home) = home else { return Ok(None) };
            let restored = unpack_session(&session, &folder)
                .map_err(|error| error.to_string())
                .and_then(|()| restore(&folder, &home).map_err(|error| error.to_string()));
            Ok(restored.unwrap_or_else(|error| {
                tracing::warn!(error, "the session of the earlier attempt is not restored");
                None
            }))
        };
        self.execution.blocking(unpack).await.and_then(|made| made)
    }

    async fn converse(&mut self, agent: &Agent, mut session: Session, before: Option<&Failure>) -> Told {
        let gateway = session.gateway.take();
        let mut ended = gateway.as_ref().map(Gateway::ended);
        let execution = Arc::clone(&self.execution);
        let stop = execution.cancel.child_token();
        let limit = async {
            match &mut ended {
                // The sender lives as long as the gateway.
                Some(ended) => ended.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone()),
                None => std::future::pending().await,
            }
        };
        let running = self.run_session(agent, session, before, stop.clone());
        let mut running = Box::pin(running);
        let (result, outcome) = tokio::select! {
            result = &mut running => (result, None),
            outcome = limit => {
                stop.cancel();
                (running.as_mut().await, outcome)
            }
        };
        drop(running);
        let metered = match gateway {
            Some(gateway) => Some(gateway.stop().await),
            None => None,
        };
        match result {
            Err(failure) => told_of(Err(failure)),
            Ok(end) => {
                let (tokens, usd_micros) =
                    metered.map_or((end.used.total(), 0), |used| (used.tokens.total(), used.usd_micros));
                self.used(tokens, usd_micros);
                if execution.leave.is_cancelled() {
                    self.saver.last(self.rung).await;
                }
                told_of(judge(agent, end, outcome))
            }
        }
    }

    async fn run_session(
        &mut self,
        agent: &Agent,
        session: Session,
        before: Option<&Failure>,
        stop: CancellationToken,
    ) -> Result<Ended, Box<Failure>> {
        let execution = Arc::clone(&self.execution);
        let slot = &execution.slot;
        let at = |source| Box::new(Failure::from(WorkspaceError::Io { action: "prepare", path: slot.tmp(), source }));
        let talk = Talk::new(&slot.tmp()).map_err(at)?;
        let (log, path) = execution.trace_file(&agent.name);
        let trace = Trace::create(&path, execution.secrets()).map_err(at)?;
        let mut witness = Witness::new(trace, execution.lines(), self.keeper(&session));
        let (words, told) = tokio::sync::mpsc::channel(WORDS_MAX);
        let _listening = execution.reporter.listen(words);
        let setting = Setting {
            cwd: slot.ws(),
            prompt: prompt(&self.work, before, session.kept.is_some()),
            model: session.model.clone(),
            resume: session.kept.as_ref().map(|kept| kept.id.clone()),
            words: told,
            cancel: stop.clone(),
            idle: self.idle_timeout(),
            policy: Policy::new(&session.may, None),
        };
        let program = Program {
            name: agent.name.clone(),
            argv: session.argv.clone(),
            env: session.env.clone(),
            stdin: Some(talk.stdin.clone()),
            stdout: Some(talk.stdout.clone()),
            timeout: session.timeout,
            ..Program::default()
        };
        let kill = CancellationToken::new();
        let ended_token = talk.ended.clone();
        let process = async {
            let ran = execution.run_until(Purpose::Agent, program, &kill).await;
            ended_token.cancel();
            ran
        };
        let talking = Talking { setting, kind: session.kind, kept: session.kept, talk, stop };
        let both = talking.until_both_end(process, &kill, &mut witness);
        let finished = tokio::select! {
            biased;
            finished = both => finished,
            () = self.saver.watch(self.rung) => return Err(crate::execution::cancelled()),
        };
        let used = witness.used();
        match tokio::task::spawn_blocking(move || witness.into_trace().finish()).await {
            Ok(Ok(path)) => execution.keep_file(log, path).await,
            Ok(Err(error)) => tracing::warn!(%error, "the trace of an attempt is not kept"),
            Err(_) => {}
        }
        let (said, process, stopped) = finished;
        let process = process.map_err(|error| Box::new(Failure::from(error)))?;
        Ok(Ended { said, process, stopped, used })
    }

    /// Keeps the program's session, at most so often, and says when a turn ended.
    fn keeper(&self, session: &Session) -> Box<dyn FnMut(Progress, &str, Used) + Send> {
        let Some(home) = session.home.clone() else { return Box::new(|_, _, _| {}) };
        let slot = &self.execution.slot;
        let (folder, turn, cwd) = (Saver::session_dir(slot), Saver::turn_file(slot), slot.ws());
        let (parts, secrets) = (session.known.sessions(), self.execution.secrets());
        let before = session.kept.as_ref().map(Kept::used).unwrap_or_default();
        let mut last: Option<Instant> = None;
        Box::new(move |progress, id, used| {
            let recent = last.is_some_and(|last| last.elapsed() < KEEP_EVERY);
            if parts.is_empty() || id.is_empty() || (progress == Progress::Tool && recent) {
                return;
            }
            last = Some(Instant::now());
            let kept = Kept::new(id, &cwd, before.with(used));
            if let Err(error) = keep(kept, &home, parts, &folder, &secrets) {
                tracing::info!(%error, "a session is not kept; the next time it may");
            } else if progress == Progress::Turn
                && let Err(error) = std::fs::write(&turn, id)
            {
                tracing::info!(%error, "the end of a turn is not noted");
            }
        })
    }
}

/// A conversation that is about to begin.
struct Talking {
    setting: Setting,
    kind: Kind,
    kept: Option<Kept>,
    talk: Talk,
    stop: CancellationToken,
}

impl Talking {
    /// Runs conversation and process side by side, and sees to it that the one ends with the other.
    async fn until_both_end<E>(
        self,
        process: impl Future<Output = Result<ProcessOutcome, E>>,
        kill: &CancellationToken,
        witness: &mut Witness,
    ) -> (Result<TurnEnd, TalkError>, Result<ProcessOutcome, E>, bool) {
        let Self { setting, kind, kept, talk, stop } = self;
        let talking = async {
            match kind {
                Kind::Acp(acp) => acp::converse(talk, setting, acp, witness).await,
                Kind::Codex(codex) => {
                    let used_before = kept.map(|kept| kept.used()).unwrap_or_default();
                    codex::converse(talk, setting, Codex { used_before, ..codex }, witness).await
                }
            }
        };
        // One that does not notice is dropped: the process must be gone within two seconds.
        let talking = async {
            let mut talking = Box::pin(talking);
            tokio::select! {
                said = &mut talking => said,
                () = stopped(&stop) => Err(TalkError::Cancelled),
            }
        };
        let (mut process, mut talking) = (std::pin::pin!(process), std::pin::pin!(talking));
        tokio::select! {
            biased;
            // Its input has ended with the conversation: it has a moment to exit by itself.
            said = &mut talking => {
                let grace = if said.is_ok() { EXIT_MAX } else { Duration::ZERO };
                if let Ok(outcome) = tokio::time::timeout(grace, &mut process).await {
                    return (said, outcome, false);
                }
                kill.cancel();
                (said, process.await, true)
            }
            // What it wrote before it ended is still read.
            outcome = &mut process => (talking.await, outcome, false),
        }
    }
}

/// A little after a session was told to stop.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(CANCEL_MAX + CANCEL_MAX / 2).await;
}

/// What the end of a session means for the attempt.
fn judge(agent: &Agent, end: Ended, outcome: Option<Outcome>) -> Result<(), Box<Failure>> {
    let name = agent.name.as_str();
    match outcome {
        Some(Outcome::ProviderLimit { provider, until_ms }) => {
            let message = format!("a limit of the provider {provider} lasts until {until_ms} ms since the epoch");
            return Err(Box::new(infrastructure(message)));
        }
        Some(Outcome::BudgetUsedUp { what }) => {
            return Err(Box::new(failure(
                FailureClass::Agent,
                format!("the budget of the attempt is used up: {what}"),
            )));
        }
        None => {}
    }
    let run = of_run(name, &end.process, FailureClass::Agent);
    let found = match (&end.said, &end.process.end) {
        (Err(TalkError::Cancelled), _) => Some(failure_of_error(name, &TalkError::Cancelled)),
        // Its own end says more than that it ended.
        (Err(TalkError::Ended), _) if run.is_some() && !end.stopped => run,
        (_, ProcessEnd::TimedOut | ProcessEnd::NotStarted(_) | ProcessEnd::Lost) => run,
        (Err(error), _) => Some(with_detail(failure_of_error(name, error), &end.process.log.tail)),
        (Ok(turn), _) => failure_of_end(name, turn).map(|failure| with_detail(failure, &end.process.log.tail)),
    };
    found.map_or(Ok(()), |failure| Err(Box::new(failure)))
}

/// Tools that keep their state in the user's home find it though the agent has another one.
fn tool_homes() -> BTreeMap<OsString, OsString> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return BTreeMap::new() };
    let tools = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
    let found = tools.into_iter().map(|(name, folder)| (name, home.join(folder)));
    let found = found.filter(|(name, path)| std::env::var_os(name).is_none() && path.is_dir());
    found.map(|(name, path)| (name.into(), path.into())).collect()
}

fn price_of(price: &longhaul_proto::Price) -> Price {
    Price {
        input: price.input,
        cached_input: price.cached_input,
        cache_write: price.cache_write,
        output: price.output,
        as_of: price.as_of.clone(),
    }
}
