//! A session: initialize, a session new or loaded, prompts, updates, questions, cancellation.

use std::collections::VecDeque;
use std::time::Duration;

use longhaul_common::question::decided;
use longhaul_proto::{Answer as Said, Decision, Question};
use serde_json::{Value, json};

use super::connection::{Connection, Incoming, Reply};
use super::read;
use crate::agent::talk::{
    AgentEvent, Answer, Asked, CANCEL_MAX, McpServer, Policy, Ruled, START_MAX, Setting, TalkError, TurnEnd, Waiting,
    Witness, waited,
};
use crate::asking::{Asks, Waited};
use crate::process::talk::Talk;

/// The version of the protocol that is spoken.
const VERSION: u64 = 1;

/// Turns that are begun because one ended with a rejected action: some programs end it there.
const REJECTED_TURNS_MAX: u32 = 3;

/// Longest text that is put together from pieces, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What such a turn begins with.
const REJECTED: &str = "The action you asked for is not allowed here, and will not be. \
    Go on without it if you can; if the work is done, or cannot be done without it, say so and stop.";

/// What is a session's own in this protocol.
#[derive(Clone, Debug, Default)]
pub struct Acp {
    /// Id of the mode to set; empty leaves it.
    pub mode: String,
    /// Whether the title of a command that it asks for is its command line.
    pub titled: bool,
}

/// Talks until the last turn ended; the program's input ends with it.
pub async fn converse(talk: Talk, mut setting: Setting, acp: Acp, witness: &mut Witness) -> Result<TurnEnd, TalkError> {
    let connection = Connection::open(talk).await?;
    let mut client = Client {
        connection,
        titled: acp.titled,
        policy: setting.policy.clone(),
        asks: setting.asks.clone(),
        open: VecDeque::new(),
        session: String::new(),
        replaying: false,
        rejected: false,
        asked: None,
        text: Pieces::default(),
        witness,
    };
    let end = client.session(&mut setting, &acp).await;
    client.flush();
    end
}

/// A server of tools as the protocol writes it.
fn mcp_server(server: &McpServer) -> Value {
    let env = server.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
    json!({
        "name": server.name,
        "command": server.command,
        "args": server.args,
        "env": env.collect::<Vec<_>>(),
    })
}

struct Client<'a> {
    connection: Connection,
    titled: bool,
    policy: Policy,
    asks: Asks,
    /// What it waits with for a person's answer; the first of it is asked.
    open: VecDeque<Open>,
    session: String,
    /// A session that is loaded tells its past again.
    replaying: bool,
    /// An action of this turn was rejected.
    rejected: bool,
    /// What a person is needed for: the session ends with it.
    asked: Option<Box<Question>>,
    text: Pieces,
    witness: &'a mut Witness,
}

/// A request for permission that is not answered.
struct Open {
    params: Value,
    reply: Reply,
    /// The tool's use.
    id: String,
    asked: Asked,
    title: String,
}

/// Text that comes in pieces, of which there may be one a word.
#[derive(Default)]
struct Pieces {
    text: String,
    thought: bool,
}

impl Client<'_> {
    async fn session(&mut self, setting: &mut Setting, acp: &Acp) -> Result<TurnEnd, TalkError> {
        self.open(setting, acp).await?;
        let mut next = (std::mem::take(&mut setting.prompt), false);
        let mut rejected = 0;
        loop {
            let (end, words) = self.turn(setting, next).await?;
            self.tell(&AgentEvent::TurnEnded { end: end.clone() });
            let ended = matches!(end, TurnEnd::Done | TurnEnd::Cancelled);
            next = match words.or_else(|| setting.words.try_recv().ok()) {
                Some(words) if ended => (words, true),
                _ if ended && self.rejected && rejected < REJECTED_TURNS_MAX => {
                    rejected += 1;
                    (REJECTED.to_owned(), false)
                }
                // Told that it was rejected, it stopped: that is its end.
                _ if end == TurnEnd::Cancelled && rejected > 0 => return Ok(TurnEnd::Done),
                _ => return Ok(end),
            };
        }
    }

    /// A session, new or loaded, in its mode.
    async fn open(&mut self, setting: &Setting, acp: &Acp) -> Result<(), TalkError> {
        let hello = json!({
            "protocolVersion": VERSION,
            "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false},
            "clientInfo": {"name": "longhaul", "title": "Longhaul", "version": env!("CARGO_PKG_VERSION")},
        });
        let found = self.call("initialize", hello).await?;
        if found["protocolVersion"] != VERSION {
            return Err(TalkError::Version { version: found["protocolVersion"].to_string() });
        }
        let mut resumed = false;
        let servers: Vec<Value> = setting.mcp.iter().map(mcp_server).collect();
        let place = json!({"cwd": setting.cwd, "mcpServers": servers});
        if let Some(id) = setting.resume.clone().filter(|_| found["agentCapabilities"]["loadSession"] == true) {
            let mut params = place.clone();
            params["sessionId"] = id.clone().into();
            self.replaying = true;
            let loaded = self.call("session/load", params).await;
            self.replaying = false;
            match loaded {
                Ok(_) => (self.session, resumed) = (id, true),
                Err(TalkError::Answered { message, .. }) => {
                    let message = format!("the earlier session cannot be gone on with: {message}");
                    self.tell(&AgentEvent::Warning { message });
                }
                Err(error) => return Err(error),
            }
        }
        if !resumed {
            let answer = self.call("session/new", place).await?;
            self.session = answer["sessionId"].as_str().unwrap_or_default().to_owned();
        }
        self.tell(&AgentEvent::Session { id: self.session.clone(), resumed });
        if !acp.mode.is_empty() {
            self.call("session/set_mode", json!({"sessionId": self.session, "modeId": acp.mode})).await?;
        }
        Ok(())
    }

    /// One prompt to the end of its turn, and the words of a person that ended it early.
    async fn turn(
        &mut self,
        setting: &mut Setting,
        next: (String, bool),
    ) -> Result<(TurnEnd, Option<String>), TalkError> {
        let (text, steers) = next;
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": text}]});
        self.tell(&AgentEvent::Told { text, steers });
        self.rejected = false;
        let mut answer = std::pin::pin!(self.connection.ask("session/prompt", params));
        let mut words = None;
        let mut listening = true;
        let mut waiting: Option<Waiting> = None;
        loop {
            if waiting.is_none() {
                waiting = self.next_question(setting);
            }
            if let Some(question) = self.asked.take() {
                self.stop(answer.as_mut()).await;
                return Err(TalkError::Asked(question));
            }
            let silence = self.witness.silence(setting.idle.filter(|_| waiting.is_none()));
            tokio::select! {
                biased;
                () = setting.cancel.cancelled() => {
                    self.stop(answer.as_mut()).await;
                    return Err(TalkError::Cancelled);
                }
                waited = waited(&mut waiting) => {
                    waiting = None;
                    self.witness.heard();
                    self.tell(&waited.event());
                    if let Some(said) = self.waited(waited) {
                        self.connection.tell("session/cancel", json!({"sessionId": self.session}));
                        words = words.or(Some(said));
                    }
                }
                // What was told before the answer is told before the end of the turn.
                incoming = self.connection.next() => self.take(incoming?),
                answer = &mut answer => {
                    self.give_up();
                    return self.ended(answer).map(|end| (end, words));
                }
                said = setting.words.recv(), if listening && words.is_none() => match said {
                    Some(said) => {
                        // The protocol has one prompt at a time: the turn ends for the words.
                        waiting = None;
                        self.give_up();
                        self.connection.tell("session/cancel", json!({"sessionId": self.session}));
                        words = Some(said);
                    }
                    None => listening = false,
                },
                limit = silence => {
                    self.stop(answer.as_mut()).await;
                    return Err(TalkError::Silent(limit));
                }
            }
        }
    }

    /// The end of a turn; an error in the place of an answer is one of the turn.
    fn ended(&mut self, answer: Result<Value, TalkError>) -> Result<TurnEnd, TalkError> {
        self.flush();
        match answer {
            Ok(answer) => {
                if let Some(used) = read::usage(&answer) {
                    self.tell(&AgentEvent::Usage(used));
                }
                Ok(read::end(&answer))
            }
            Err(TalkError::Answered { message, .. }) => Ok(TurnEnd::Failed { message }),
            Err(error) => Err(error),
        }
    }

    /// Asks for the end of the turn and gives it a moment; its process is ended in any case.
    async fn stop(&mut self, answer: impl Future<Output = Result<Value, TalkError>>) {
        self.give_up();
        self.connection.tell("session/cancel", json!({"sessionId": self.session}));
        if let Ok(Ok(answer)) = tokio::time::timeout(CANCEL_MAX, answer).await {
            let end = read::end(&answer);
            self.tell(&AgentEvent::TurnEnded { end });
        }
    }

    /// A request, and its answer; what the program sends meanwhile is taken as ever.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, TalkError> {
        let limit: Duration = START_MAX;
        let mut late = std::pin::pin!(tokio::time::sleep(limit));
        let mut answer = std::pin::pin!(self.connection.ask(method, params));
        loop {
            tokio::select! {
                biased;
                incoming = self.connection.next() => self.take(incoming?),
                answer = &mut answer => return answer,
                () = &mut late => return Err(TalkError::NoAnswer { method: method.to_owned(), limit }),
            }
        }
    }

    fn take(&mut self, incoming: Incoming) {
        self.witness.heard();
        match incoming {
            Incoming::Nonsense(line) => self.tell(&AgentEvent::Nonsense { line }),
            Incoming::Notification(method, params) if method == "session/update" && !self.replaying => {
                for event in read::update(&params["update"]) {
                    self.tell(&event);
                }
            }
            Incoming::Notification(..) => {}
            Incoming::Request(method, params, reply) if method == "session/request_permission" => {
                self.answer(params, reply);
            }
            Incoming::Request(method, _, reply) => {
                self.tell(&AgentEvent::Warning { message: format!("longhaul does not answer {method}") });
                reply.not_known();
            }
        }
    }

    /// Answers by the policy, unless that leaves it to a person who can be waited for.
    fn answer(&mut self, params: Value, reply: Reply) {
        let (id, asked, title) = read::question(&params, self.titled);
        self.tell(&AgentEvent::PermissionAsked { id: id.clone(), kind: asked.kind, title: title.clone() });
        let ruled = self.policy.answer(&asked, &title);
        let open = Open { params, reply, id, asked, title };
        if ruled.question.is_some() && self.asks.patience().is_some() {
            self.open.push_back(open);
        } else {
            self.reply(open, ruled);
        }
    }

    fn reply(&mut self, open: Open, ruled: Ruled) {
        let Ruled { answer, why, question } = ruled;
        self.rejected |= answer == Answer::Reject;
        if question.is_some() {
            self.asked = question;
        }
        self.tell(&AgentEvent::PermissionAnswered { id: open.id, answer, why });
        open.reply.with(read::outcome(&open.params, answer));
    }

    /// Asks a person what is open first; what was decided meanwhile is answered.
    fn next_question(&mut self, setting: &Setting) -> Option<Waiting> {
        while let Some(open) = self.open.pop_front() {
            let ruled = self.policy.answer(&open.asked, &open.title);
            let Some(question) = ruled.question.as_ref().filter(|_| self.asks.patience().is_some()) else {
                self.reply(open, ruled);
                continue;
            };
            let question = setting.question(question);
            self.open.push_front(open);
            self.tell(&self.asks.event(&question));
            let asks = self.asks.clone();
            return Some(Box::pin(async move { asks.ask(question).await }));
        }
        None
    }

    /// What came of asking; words that have to be said to it.
    fn waited(&mut self, waited: Waited) -> Option<String> {
        match waited {
            Waited::Told(decision) => self.told(&decision),
            Waited::Late => {
                // The session ends with the first; nobody is asked for the others.
                for open in std::mem::take(&mut self.open).into_iter().rev() {
                    let ruled = self.policy.answer(&open.asked, &open.title);
                    self.reply(open, ruled);
                }
                None
            }
            // So is the session.
            Waited::Cancelled => None,
        }
    }

    fn told(&mut self, decision: &Decision) -> Option<String> {
        self.policy.learn(decision);
        if decision.answer() == Said::Yes {
            return None;
        }
        let open = self.open.pop_front()?;
        self.reply(open, Ruled::refused(decision));
        // A bare no is an answer that it understands by itself.
        (!decision.text.is_empty()).then(|| {
            self.give_up();
            decided(decision)
        })
    }

    /// Nobody is asked any more: the turn ends.
    fn give_up(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.tell(&AgentEvent::PermissionAnswered {
                id: open.id,
                answer: Answer::Reject,
                why: "the turn ends before there is an answer".to_owned(),
            });
            open.reply.with(read::outcome(&open.params, Answer::Ask));
        }
    }

    /// Pieces of text are put together; anything else comes after them.
    fn tell(&mut self, event: &AgentEvent) {
        let (text, thought) = match event {
            AgentEvent::Text { text } => (text, false),
            AgentEvent::Thought { text } => (text, true),
            _ => {
                self.flush();
                return self.witness.tell(event);
            }
        };
        if self.text.thought != thought || self.text.text.len() + text.len() > TEXT_BYTES_MAX {
            self.flush();
        }
        self.text.thought = thought;
        self.text.text.push_str(text);
    }

    fn flush(&mut self) {
        let Pieces { text, thought } = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.witness.tell(&if thought { AgentEvent::Thought { text } } else { AgentEvent::Text { text } });
        }
    }
}
