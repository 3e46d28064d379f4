//! The client of the App Server: newline-delimited JSON-RPC without its version field.
//!
//! One task reads and writes, so there is no order of messages to get wrong. A request of the server
//! has an id of the server's own space and a method; an answer to us has an id of ours and none.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use longhaul_common::price::Tokens;
use longhaul_common::question::decided;
use longhaul_proto::{Answer as Said, Decision, Question};
use serde_json::{Value, json};

use super::read::{Heard, approval, notification};
use super::rollout::{self, missing};
use crate::agent::talk::{
    AgentEvent, Answer, Asked, CANCEL_MAX, McpServer, Nonsense, Policy, Ruled, START_MAX, Setting, TalkError, Totals,
    TurnEnd, Waiting, Witness, waited,
};
use crate::asking::{Asks, Waited};
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
        if !setting.mcp.is_empty() {
            params["config"] = json!({"mcp_servers": mcp_servers(&setting.mcp)});
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

    /// One turn, from what is said to its end.
    async fn turn(&mut self, setting: &mut Setting, text: String, steers: bool) -> Result<TurnEnd, TalkError> {
        let mut params = json!({"threadId": self.thread, "input": input(&text)});
        if !self.codex.effort.is_empty() {
            params["effort"] = self.codex.effort.clone().into();
        }
        self.witness.tell(&AgentEvent::Told { text, steers });
        (self.turn, self.ended) = (None, None);
        let limit = setting.idle.map_or(ANSWER_MAX, |idle| idle.min(ANSWER_MAX));
        let started = self.call("turn/start", params, limit).await.map_err(|error| match error {
            TalkError::NoAnswer { limit, .. } if setting.idle == Some(limit) => TalkError::Silent(limit),
            other => other,
        })?;
        if self.ended.is_none() {
            self.turn = started["turn"]["id"].as_str().map(str::to_owned);
        }
        let mut listening = true;
        let mut waiting: Option<Waiting> = None;
        loop {
            if waiting.is_none() {
                waiting = self.next_question(setting).await?;
            }
            if let Some(question) = self.asked.take() {
                self.leave_turn().await;
                return Err(TalkError::Asked(question));
            }
            if let Some(end) = self.ended.take() {
                self.open.clear();
                return Ok(end);
            }
            let silence = self.witness.silence(setting.idle.filter(|_| waiting.is_none()));
            tokio::select! {
                biased;
                () = setting.cancel.cancelled() => {
                    self.interrupt().await;
                    return Err(TalkError::Cancelled);
                }
                waited = waited(&mut waiting) => {
                    waiting = None;
                    self.witness.heard();
                    self.witness.tell(&waited.event());
                    if let Some(words) = self.waited(waited).await? {
                        self.steer(words).await?;
                    }
                }
                message = message(&mut self.lines, &mut self.nonsense, self.witness) => self.take(message?).await?,
                words = setting.words.recv(), if listening => match words {
                    Some(words) => self.steer(words).await?,
                    None => listening = false,
                },
                limit = silence => {
                    self.interrupt().await;
                    return Err(TalkError::Silent(limit));
                }
            }
        }
    }

    /// Words into the running turn; if it ended meanwhile, they are a turn of their own.
    async fn steer(&mut self, words: String) -> Result<(), TalkError> {
        let params = json!({"threadId": self.thread, "expectedTurnId": self.turn, "input": input(&words)});
        self.witness.tell(&AgentEvent::Told { text: words.clone(), steers: true });
        match self.call("turn/steer", params, ANSWER_MAX).await {
            Ok(_) => Ok(()),
            Err(TalkError::Answered { .. }) if self.ended.is_some() => {
                let params = json!({"threadId": self.thread, "input": input(&words)});
                (self.turn, self.ended) = (None, None);
                let started = self.call("turn/start", params, ANSWER_MAX).await?;
                self.turn = started["turn"]["id"].as_str().map(str::to_owned);
                Ok(())
            }
            Err(TalkError::Answered { message, .. }) => {
                let message = format!("the words were not taken: {message}");
                self.witness.tell(&AgentEvent::Warning { message });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Stops the turn; whether that worked, the end of the process shows anyway.
    async fn interrupt(&mut self) {
        let Some(turn) = self.turn.clone() else { return };
        let params = json!({"threadId": self.thread, "turnId": turn});
        let stopping = async {
            self.call("turn/interrupt", params, CANCEL_MAX).await?;
            while self.ended.is_none() {
                let next = message(&mut self.lines, &mut self.nonsense, self.witness).await?;
                self.take(next).await?;
            }
            Ok::<_, TalkError>(())
        };
        let stopped = matches!(tokio::time::timeout(CANCEL_MAX, stopping).await, Ok(Ok(())));
        if let Some(end) = self.ended.take().filter(|_| stopped) {
            self.witness.tell(&AgentEvent::TurnEnded { end });
        }
    }

    /// Waits a moment for the end of a turn that was told to end.
    async fn leave_turn(&mut self) {
        let ending = async {
            while self.ended.is_none() {
                let next = message(&mut self.lines, &mut self.nonsense, self.witness).await?;
                self.take(next).await?;
            }
            Ok::<_, TalkError>(())
        };
        match tokio::time::timeout(CANCEL_MAX, ending).await {
            Ok(_) => {
                if let Some(end) = self.ended.take() {
                    self.witness.tell(&AgentEvent::TurnEnded { end });
                }
            }
            Err(_) => self.interrupt().await,
        }
    }

    /// Compacts the history between two turns when it is due.
    async fn compact(&mut self, setting: &Setting) -> Result<(), TalkError> {
        let (filled, window) = self.filled;
        if window == 0 || filled.saturating_mul(100) <= window.saturating_mul(COMPACT_ABOVE_PERCENT) {
            return Ok(());
        }
        (self.turn, self.ended) = (None, None);
        self.call("thread/compact/start", json!({"threadId": self.thread}), ANSWER_MAX).await?;
        while self.ended.take().is_none() {
            let silence = self.witness.silence(setting.idle);
            tokio::select! {
                biased;
                () = setting.cancel.cancelled() => return Err(TalkError::Cancelled),
                next = message(&mut self.lines, &mut self.nonsense, self.witness) => self.take(next?).await?,
                limit = silence => return Err(TalkError::Silent(limit)),
            }
        }
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

    /// Answers a request of the server: a question of permission by the policy, all else with no.
    async fn answer(&mut self, method: &str, request: &Value) -> Result<(), TalkError> {
        let Some((id, asked, title)) = approval(method, &request["params"]) else {
            let message = format!("longhaul does not answer {method}");
            self.witness.tell(&AgentEvent::Warning { message: message.clone() });
            return self.write(&json!({"id": request["id"], "error": {"code": -32601, "message": message}})).await;
        };
        self.witness.tell(&AgentEvent::PermissionAsked { id: id.clone(), kind: asked.kind, title: title.clone() });
        let ruled = self.policy.answer(&asked, &title);
        let open = Open { request: request["id"].clone(), id, asked, title };
        if ruled.question.is_some() && self.asks.patience().is_some() {
            self.open.push_back(open);
            return Ok(());
        }
        self.reply(open, ruled).await
    }

    async fn reply(&mut self, open: Open, ruled: Ruled) -> Result<(), TalkError> {
        let Ruled { answer, why, question } = ruled;
        let decision = match answer {
            Answer::Allow => "accept",
            // The turn goes on and the model is told.
            Answer::Reject => "decline",
            // The turn ends.
            Answer::Ask => "cancel",
        };
        if question.is_some() {
            self.asked = question;
        }
        self.witness.tell(&AgentEvent::PermissionAnswered { id: open.id, answer, why });
        self.write(&json!({"id": open.request, "result": {"decision": decision}})).await
    }

    /// Asks a person what is open first; what was decided meanwhile is answered.
    async fn next_question(&mut self, setting: &Setting) -> Result<Option<Waiting>, TalkError> {
        while let Some(open) = self.open.pop_front() {
            let ruled = self.policy.answer(&open.asked, &open.title);
            let Some(question) = ruled.question.as_ref().filter(|_| self.asks.patience().is_some()) else {
                self.reply(open, ruled).await?;
                continue;
            };
            let question = setting.question(question);
            self.open.push_front(open);
            self.witness.tell(&self.asks.event(&question));
            let asks = self.asks.clone();
            return Ok(Some(Box::pin(async move { asks.ask(question).await })));
        }
        Ok(None)
    }

    /// What came of asking; words that have to be said to it.
    async fn waited(&mut self, waited: Waited) -> Result<Option<String>, TalkError> {
        match waited {
            Waited::Told(decision) => self.told(&decision).await,
            Waited::Late => {
                // The session ends with the first; nobody is asked for the others.
                for open in std::mem::take(&mut self.open).into_iter().rev() {
                    let ruled = self.policy.answer(&open.asked, &open.title);
                    self.reply(open, ruled).await?;
                }
                Ok(None)
            }
            // So is the session.
            Waited::Cancelled => Ok(None),
        }
    }

    async fn told(&mut self, decision: &Decision) -> Result<Option<String>, TalkError> {
        self.policy.learn(decision);
        let refused = if decision.answer() == Said::Yes { None } else { self.open.pop_front() };
        let Some(open) = refused else { return Ok(None) };
        self.reply(open, Ruled::refused(decision)).await?;
        // A bare no is an answer that it understands by itself.
        Ok((!decision.text.is_empty()).then(|| decided(decision)))
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
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::sync::Arc;

    use super::*;
    use crate::trace::Trace;

    /// Plays a server that never ends the compaction it began.
    fn serve(talk: &Talk) {
        let open = |path: &PathBuf| std::fs::File::options().read(true).write(true).open(path).expect("opens");
        let (stdin, mut stdout) = (std::fs::File::open(&talk.stdin).expect("opens"), open(&talk.stdout));
        std::thread::spawn(move || {
            let mut say = |message: Value| {
                // Whoever gave up does not read.
                let _unread = stdout.write_all(format!("{message}\n").as_bytes());
            };
            for line in BufReader::new(stdin).lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else { return };
                let method = message["method"].as_str().unwrap_or_default();
                if method == "turn/steer" {
                    let usage = json!({"total": {}, "last": {"totalTokens": 90}, "modelContextWindow": 100});
                    say(json!({"method": "thread/tokenUsage/updated", "params": {"tokenUsage": usage}}));
                    let turn = json!({"id": "t", "status": "completed", "error": null});
                    say(json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}}));
                }
                if !message["id"].is_null() {
                    say(json!({"id": message["id"], "result": {"thread": {"id": "th"}, "turn": {"id": "t"}}}));
                }
            }
        });
    }

    #[tokio::test]
    async fn a_compaction_without_an_end_is_silence() {
        let dir = tempfile::tempdir().expect("a folder");
        let talk = Talk::new(dir.path()).expect("made");
        serve(&talk);
        let (tell, words) = tokio::sync::mpsc::channel(2);
        for text in ["one that steers", "one that comes too late for the turn"] {
            tell.try_send(text.to_owned()).expect("there is room");
        }
        let idle = Duration::from_millis(300);
        let setting = Setting {
            cwd: PathBuf::from("/"),
            prompt: "Do it".to_owned(),
            model: String::new(),
            resume: None,
            words,
            cancel: Default::default(),
            idle: Some(idle),
            policy: Policy::new(Default::default(), &[], &[]),
            asks: Asks::none(),
            agent: String::new(),
            mcp: Vec::new(),
        };
        let trace = Trace::create(&dir.path().join("trace"), Default::default()).expect("made");
        let mut witness = Witness::new(trace, Arc::new(|_| {}), Box::new(|_, _, _| {}));
        let talked = converse(talk, setting, Codex::default(), &mut witness);
        let end = tokio::time::timeout(ANSWER_MAX, talked).await.expect("it does not wait for ever");
        assert!(matches!(end, Err(TalkError::Silent(limit)) if limit == idle), "{end:?}");
    }
}
