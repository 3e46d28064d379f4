//! A rung whose agent is a program that is talked with: its home, its gateway, its process, the
//! conversation, and what is kept of it.

mod both;
mod circles;
mod judge;
mod keeper;
mod prepare;

use std::pin::pin;
use std::sync::{Arc, Mutex};

use longhaul_proto::{Agent, Failure, FailureClass, agent};
use tokio_util::sync::CancellationToken;

use self::both::{Ended, Talking};
use self::judge::{Models, judge};
use self::keeper::Keeper;
use self::prepare::Session;
use super::{Attempt, checking, record, told_of};
use crate::agent::talk::{OnProgress, Setting, TalkError, prompt};
use crate::execution::Program;
use crate::gateway::{Calls, Gateway};
use crate::process::Purpose;
use crate::process::talk::Talk;
use crate::session::Told;
use crate::workspace::{Slot, WorkspaceError};

impl Attempt {
    /// Has a program do the work.
    pub(super) async fn talk(&mut self, agent: &Agent, kind: &agent::Kind, before: Option<&Failure>) -> Told {
        let told = match self.prepare(agent, kind, before).await {
            Ok(session) => self.converse(agent, session).await,
            Err(failure) => Err(failure),
        };
        // Also one that was written for a session that never began: the next agent may not find it.
        if let Err(error) = self.execution.blocking(Slot::remove_home).await.and_then(|removed| removed) {
            tracing::warn!(%error, "an agent's home is not removed");
        }
        told_of(told)
    }

    /// Runs the session until it ends, or what the attempt may use does.
    async fn converse(&mut self, agent: &Agent, mut session: Session) -> Result<(), Box<Failure>> {
        let gateway = session.gateway.take();
        let price = session.price.take();
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
        let calls = gateway.as_ref().map(Gateway::calls).unwrap_or_default();
        let mut running = Box::pin(self.run_session(agent, session, calls, stop.clone()));
        let (result, outcome) = tokio::select! {
            result = &mut running => (result, None),
            outcome = limit => {
                stop.cancel();
                (running.as_mut().await, outcome)
            }
        };
        drop(running);
        let trouble = gateway.as_ref().and_then(Gateway::trouble);
        match gateway {
            Some(gateway) => self.book(gateway.stop().await),
            None => self.observe(result.as_ref().map(|end| end.used).unwrap_or_default(), price.as_ref()),
        }
        let asked = matches!(&result, Ok(end) if matches!(end.said, Err(TalkError::Asked(_))));
        if execution.leave.is_cancelled() || asked {
            self.saver.last(self.rung).await;
        }
        let end = result?;
        let sign = end.stuck.as_ref().map(|stuck| stuck.name());
        judge(&agent.name, &end, Models { outcome, trouble }).map_err(|failure| match sign {
            Some(sign) if failure.class() == FailureClass::Agent => {
                Box::new(Failure { sign: sign.to_owned(), ..*failure })
            }
            _ => failure,
        })
    }

    async fn run_session(
        &mut self,
        agent: &Agent,
        session: Session,
        calls: Calls,
        stop: CancellationToken,
    ) -> Result<Ended, Box<Failure>> {
        let execution = Arc::clone(&self.execution);
        let slot = &execution.slot;
        let talk = Talk::new(&slot.tmp())
            .map_err(|source| WorkspaceError::Io { action: "make a pipe in", path: slot.tmp(), source })
            .map_err(|error| Box::new(Failure::from(error)))?;
        let keeper = self.keeper(&session);
        let on_progress: OnProgress = match &keeper {
            Some(keeper) => keeper.on_progress(),
            None => Box::new(|_, _, _| {}),
        };
        let (log, witness) = record::witness(&execution, &agent.name, on_progress)?;
        let mut witness = witness.watching(stop.clone());
        let task = self.work.task.clone().unwrap_or_default();
        let setting = Setting {
            cwd: slot.ws(),
            prompt: prompt(&session.briefing, &task, self.work.split_max, session.continues),
            model: session.model.clone(),
            resume: session.kept.as_ref().map(|kept| kept.id.clone()),
            words: execution.reporter.listen(),
            cancel: stop.clone(),
            idle: checking::idle_timeout(&self.work),
            policy: session.policy.clone(),
            asks: execution.asks.clone(),
            agent: agent.name.clone(),
            mcp: session.mcp.clone(),
        };
        let program = program_of(agent, &session, &talk);
        let kill = CancellationToken::new();
        let ended = talk.ended.clone();
        let process = async {
            let ran = execution.run_until(Purpose::Agent, program, &kill).await;
            ended.cancel();
            ran
        };
        let (uses, leave) = (witness.uses(), stop.clone());
        let talking = Talking { setting, kind: session.kind, kept: session.kept, talk, stop };
        let mut circles = None;
        let (said, process, stopped) = {
            let mut both = pin!(talking.until_both_end(process, &kill, &mut witness));
            let mut saving = pin!(self.saver.watch(self.rung));
            let mut keeping = pin!(Keeper::keep_on(keeper));
            let mut looking = pin!(circles::found(&execution, uses));
            loop {
                tokio::select! {
                    biased;
                    finished = &mut both => break finished,
                    () = &mut saving => return Err(crate::execution::cancelled()),
                    () = &mut keeping => return Err(crate::execution::cancelled()),
                    stuck = &mut looking, if circles.is_none() => {
                        circles = Some(stuck);
                        leave.cancel();
                    }
                }
            }
        };
        let (used, stuck) = (witness.used(), witness.stuck().or(circles));
        record::keep(&execution, &agent.name, log, witness, calls).await;
        let process = process.map_err(|error| Box::new(Failure::from(error)))?;
        Ok(Ended { said, process, stopped, used, stuck })
    }

    /// Who keeps the program's session; nobody where it has the user's home.
    fn keeper(&self, session: &Session) -> Option<Arc<Keeper>> {
        let slot = &self.execution.slot;
        Some(Arc::new(Keeper {
            home: session.home.clone()?,
            parts: session.known.sessions(),
            slot: Arc::clone(slot),
            secrets: self.execution.secrets(),
            before: session.kept.as_ref().map(|kept| kept.used).unwrap_or_default(),
            last: Mutex::default(),
        }))
    }
}

/// The program of a session, with its input and output where it is talked with.
fn program_of(agent: &Agent, session: &Session, talk: &Talk) -> Program {
    Program {
        name: agent.name.clone(),
        argv: session.argv.clone(),
        logins: session.logins.clone(),
        env: session.env.clone(),
        stdin: Some(talk.stdin.clone()),
        stdout: Some(talk.stdout.clone()),
        timeout: session.timeout,
        ..Program::default()
    }
}
