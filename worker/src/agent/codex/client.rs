//! The client of the App Server: newline-delimited JSON-RPC without its version field.
//!
//! One task reads and writes, so there is no order of messages to get wrong. A request of the server
//! has an id of the server's own space and a method; an answer to us has an id of ours and none.

mod approvals;
mod turn;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use longhaul_common::price::Tokens;
use longhaul_proto::Question;
use serde_json::{Value, json};

use super::read::{Heard, notification};
use super::rollout::{self, missing};
use crate::agent::talk::{
    AgentEvent, Asked, McpServer, Nonsense, Policy, START_MAX, Setting, TalkError, Totals, TurnEnd, Witness,
};
use crate::asking::Asks;
use crate::process::talk::{Input, Lines, Talk};

/// How long any further request may take to be answered.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Part of the window, in percent, above which the history is compacted before the next turn. Within
/// a turn Codex sees to it by itself.
const COMPACT_ABOVE_PERCENT: u64 = 80;

/// What is Codex's own in a session.
#[derive(Clone, Debug, Default)]
pub struct Codex {
    /// Reasoning effort; empty leaves it.
    pub effort: String,
    /// Its sandbox.
    pub sandbox: String,
    /// What an earlier session had used.
    pub used_before: Tokens,
    /// Folders that its rollouts are in: no other file is read for one.
    pub homes: Vec<PathBuf>,
}

/// Talks until the last turn ended; its input ends with it.
pub async fn converse(
    talk: Talk,
    mut setting: Setting,
    codex: Codex,
    witness: &mut Witness,
) -> Result<TurnEnd, TalkError> {
    let Talk { lines, input, .. } = talk;
    let totals = Totals::new(setting.resume.is_some().then_some(codex.used_before));
    let mut client = Client {
        lines,
        input,
        nonsense: Nonsense::default(),
        policy: setting.policy.clone(),
        asks: setting.asks.clone(),
        open: VecDeque::new(),
        codex,
        totals,
        last_id: 0,
        turn: None,
        ended: None,
        filled: (0, 0),
        seen: BTreeSet::new(),
        rollout: None,
        thread: String::new(),
        begun: false,
        asked: None,
        witness,
    };
    let end = client.session(&mut setting).await;
    client.complete().await;
    end
}

/// A request for approval that is not answered.
struct Open {
    /// Of the request.
    request: Value,
    /// It came as a server's question, which is answered in another form.
    elicited: bool,
    /// The tool's use.
    id: String,
    asked: Asked,
    title: String,
}

struct Client<'a> {
    lines: Lines,
    input: Input,
    nonsense: Nonsense,
    policy: Policy,
    asks: Asks,
    /// What it waits with for a person's answer; the first of it is asked.
    open: VecDeque<Open>,
    codex: Codex,
    totals: Totals,
    last_id: u64,
    /// The turn that runs.
    turn: Option<String>,
    /// How the last one ended.
    ended: Option<TurnEnd>,
    /// Tokens of the last call, and of the window.
    filled: (u64, u64),
    /// Uses of tools that there were events of.
    seen: BTreeSet<String>,
    rollout: Option<PathBuf>,
    thread: String,
    /// Whether a turn of this session began.
    begun: bool,
    /// What a person is needed for: the session ends with it.
    asked: Option<Box<Question>>,
    witness: &'a mut Witness,
}

impl Client<'_> {
    async fn session(&mut self, setting: &mut Setting) -> Result<TurnEnd, TalkError> {
        let version = env!("CARGO_PKG_VERSION");
        let hello = json!({
            "clientInfo": {"name": "longhaul", "title": "Longhaul", "version": version},
            "capabilities": {"experimentalApi": false, "requestAttestation": false},
        });
        self.call("initialize", hello, START_MAX).await?;
        self.write(&json!({"method": "initialized"})).await?;
        self.open(setting).await?;
        let mut next = (std::mem::take(&mut setting.prompt), false);
        loop {
            let (text, steers) = next;
            let end = self.turn(setting, text, steers).await?;
            self.witness.tell(&AgentEvent::TurnEnded { end: end.clone() });
            // Words that came too late for the turn are a turn of their own.
            match setting.words.try_recv() {
                Ok(words) if end == TurnEnd::Done => next = (words, true),
                _ => return Ok(end),
            }
            self.compact(setting).await?;
        }
    }

    /// Starts a thread, or goes on with one.
    async fn open(&mut self, setting: &Setting) -> Result<(), TalkError> {
        let approvals = if setting.policy.allows_work() { "never" } else { "untrusted" };
        let mut params = json!({"cwd": setting.cwd, "approvalPolicy": approvals, "sandbox": self.codex.sandbox});
        if !setting.model.is_empty() {
            params["model"] = setting.model.clone().into();
        }
        // What the repository tells agents is in the prompt, within its limit.
        params["config"] = json!({"project_doc_max_bytes": 0});
        if !setting.mcp.is_empty() {
            params["config"]["mcp_servers"] = mcp_servers(&setting.mcp);
        }
        let mut resumed = false;
        let mut answer = Value::Null;
        if let Some(thread) = &setting.resume {
            let mut params = params.clone();
            params["threadId"] = thread.clone().into();
            match self.call("thread/resume", params, START_MAX).await {
                Ok(found) => (answer, resumed) = (found, true),
                Err(TalkError::Answered { message, .. }) => {
                    let message = format!("the earlier thread cannot be gone on with: {message}");
                    self.witness.tell(&AgentEvent::Warning { message });
                    self.totals = Totals::default();
                }
                Err(error) => return Err(error),
            }
        }
        if !resumed {
            answer = self.call("thread/start", params, START_MAX).await?;
        }
        let thread = &answer["thread"];
        self.thread = thread["id"].as_str().unwrap_or_default().to_owned();
        self.rollout = thread["path"].as_str().map(PathBuf::from);
        self.witness.tell(&AgentEvent::Session { id: self.thread.clone(), resumed });
        Ok(())
    }

    async fn write(&mut self, message: &Value) -> Result<(), TalkError> {
        Ok(self.input.write_line(&message.to_string()).await?)
    }

    /// A request, and its answer; what comes before that is taken as ever.
    async fn call(&mut self, method: &str, params: Value, limit: Duration) -> Result<Value, TalkError> {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&json!({"id": id, "method": method, "params": params})).await?;
        let answered = async {
            loop {
                let next = message(&mut self.lines, &mut self.nonsense, self.witness).await?;
                if next["method"].is_null() && next["id"] == id {
                    return Ok::<Value, TalkError>(next);
                }
                self.take(next).await?;
            }
        };
        let no_answer = |_| TalkError::NoAnswer { method: method.to_owned(), limit };
        let mut answer: Value = tokio::time::timeout(limit, answered).await.map_err(no_answer)??;
        if answer["error"].is_null() {
            return Ok(answer["result"].take());
        }
        let message = answer["error"]["message"].as_str().unwrap_or("an error without words").to_owned();
        Err(TalkError::Answered { method: method.to_owned(), message })
    }

    /// Whatever the server says that is no answer to us.
    async fn take(&mut self, message: Value) -> Result<(), TalkError> {
        let Some(method) = message["method"].as_str() else { return Ok(()) };
        if !message["id"].is_null() {
            return self.answer(method, &message).await;
        }
        for heard in notification(method, &message["params"]) {
            match heard {
                Heard::Event(event) => {
                    if let AgentEvent::ToolStarted { id, .. } | AgentEvent::ToolEnded { id, .. } = &event {
                        self.seen.insert(id.clone());
                    }
                    self.witness.tell(&event);
                }
                Heard::TurnStarted(id) => (self.turn, self.begun) = (Some(id), true),
                Heard::TurnEnded(_, end) => (self.turn, self.ended) = (None, Some(end)),
                Heard::Total { total, last, window } => {
                    self.filled = (last, window);
                    // A thread that is gone on with tells first what it had used by then.
                    if !self.begun {
                        self.totals = Totals::new(Some(total));
                    }
                    let since = self.totals.take(total);
                    if since != Tokens::default() {
                        self.witness.tell(&AgentEvent::Usage(since));
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts into the trace what the events left out.
    async fn complete(&mut self) {
        let Some(path) = self.rollout.take() else { return };
        let homes = std::mem::take(&mut self.codex.homes);
        let read = tokio::task::spawn_blocking(move || rollout::read(&path, &homes));
        match read.await {
            Ok(Ok(rollout)) => missing(&rollout, &self.seen).iter().for_each(|event| self.witness.note(event)),
            Ok(Err(error)) => {
                let message = format!("the rollout cannot be read: {error}");
                self.witness.tell(&AgentEvent::Warning { message });
            }
            Err(_) => {}
        }
    }
}

/// Servers of tools as Codex's configuration has them.
fn mcp_servers(servers: &[McpServer]) -> Value {
    let own = |server: &McpServer| json!({"command": server.command, "args": server.args, "env": server.env});
    Value::Object(servers.iter().map(|server| (server.name.clone(), own(server))).collect())
}

fn input(text: &str) -> Value {
    json!([{"type": "text", "text": text, "text_elements": []}])
}

/// The next message; lines that are none are noted.
async fn message(lines: &mut Lines, nonsense: &mut Nonsense, witness: &mut Witness) -> Result<Value, TalkError> {
    loop {
        let line = lines.next().await?.ok_or(TalkError::Ended)?;
        witness.heard();
        match nonsense.read(&line)? {
            Ok(message) => return Ok(message),
            Err(line) if line.is_empty() => {}
            Err(line) => witness.tell(&AgentEvent::Nonsense { line }),
        }
    }
}

#[cfg(test)]
mod tests;
