//! An agent that is scripted: it speaks the Agent Client Protocol or that of Codex's App Server well,
//! or breaks it in one way. `agent acp|codex SCENARIO`.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

/// A line longer than any client reads.
const LONG_BYTES: usize = 10 << 20;

pub fn agent(protocol: &str, scenario: &str) {
    let mut agent = Agent { version: protocol == "acp", scenario: scenario.to_owned(), prompts: 0, pending: None };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { return };
        if message["method"].is_null() {
            agent.answered(&message);
        } else if agent.version {
            agent.acp(&message);
        } else {
            agent.codex(&message);
        }
    }
    if scenario == "stays" {
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
}

struct Agent {
    /// Whether messages have their version.
    version: bool,
    scenario: String,
    prompts: u32,
    /// The prompt that waits for the end of its turn.
    pending: Option<Value>,
}

fn say(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    // A client that gave up does not read.
    let _unread = out.write_all(bytes).and_then(|()| out.flush());
}

impl Agent {
    fn send(&self, mut message: Value) {
        if self.version {
            message["jsonrpc"] = "2.0".into();
        }
        say(format!("{message}\n").as_bytes());
    }

    fn result(&self, id: &Value, result: Value) {
        self.send(json!({"id": id, "result": result}));
    }

    /// Whether the scenario's fault happened in the place of an answer.
    fn fault(&self, id: &Value) -> bool {
        match self.scenario.as_str() {
            "nonsense" => (0..200).for_each(|n| say(format!("Loading {n} …\n").as_bytes())),
            "broken" => say(b"{\"jsonrpc\":\"2.0\",\"id\":3,\"resu\n"),
            "long" => {
                say(&vec![b'x'; LONG_BYTES]);
                say(b"\n");
            }
            "utf8" => say(b"{\"text\":\"\xff\xfe\"}\n"),
            "cut" => {
                say(b"{\"jsonrpc\":\"2.0\",");
                std::process::exit(3);
            }
            "silent" => {}
            "key" => {
                let message = "unexpected status 401 Unauthorized: no such key";
                if self.version {
                    self.send(json!({"id": id, "error": {"code": -32603, "message": message}}));
                } else {
                    self.result(id, json!({"turn": {"id": "t"}}));
                    let turn = json!({"id": "t", "status": "failed", "error": {"message": message}});
                    self.send(json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}}));
                }
            }
            _ => return false,
        }
        true
    }

    fn acp(&mut self, message: &Value) {
        let id = &message["id"];
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                say(b"a notice that is no message\n");
                self.result(id, json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": false}}));
            }
            "session/new" => self.result(id, json!({"sessionId": "s"})),
            "session/prompt" if self.fault(id) => {}
            "session/prompt" if matches!(self.scenario.as_str(), "wanders" | "swings") => {
                self.pending = Some(id.clone());
                circle(self.scenario == "swings");
            }
            "session/prompt" => {
                self.prompts += 1;
                let text = message["params"]["prompt"][0]["text"].as_str().unwrap_or_default();
                self.update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "I "}}));
                self.update(
                    json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "look."}}),
                );
                self.update(json!({"sessionUpdate": "kind_to_come", "content": 7}));
                if self.scenario == "steered" && self.prompts == 1 {
                    self.pending = Some(id.clone());
                    return self.update(json!({"sessionUpdate": "plan", "entries": []}));
                }
                if self.scenario == "steered" {
                    drop(std::fs::write("told", text));
                    return self.result(id, json!({"stopReason": "end_turn"}));
                }
                if self.prompts > 1 {
                    return self.result(id, json!({"stopReason": "end_turn"}));
                }
                self.pending = Some(id.clone());
                let call = json!({"toolCallId": "c1", "title": "make it", "kind": "execute", "status": "pending",
                    "rawInput": {"command": "make it"}});
                let options = json!([{"optionId": "yes-for-good", "name": "x", "kind": "allow_always"},
                    {"optionId": "yes", "name": "x", "kind": "allow_once"}, {"optionId": "no", "name": "x", "kind": "reject_once"}]);
                let params = json!({"sessionId": "s", "toolCall": call, "options": options});
                self.send(json!({"id": 77, "method": "session/request_permission", "params": params}));
            }
            "session/cancel" => {
                if let Some(id) = self.pending.take() {
                    self.result(&id, json!({"stopReason": "cancelled"}));
                }
            }
            _ if !id.is_null() => self.send(json!({"id": id, "error": {"code": -32601, "message": "no such method"}})),
            _ => {}
        }
    }

    fn update(&self, update: Value) {
        self.send(json!({"method": "session/update", "params": {"sessionId": "s", "update": update}}));
    }

    fn codex(&mut self, message: &Value) {
        let id = &message["id"];
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => self.result(id, json!({"userAgent": "fake"})),
            "thread/start" => self.result(id, json!({"thread": {"id": "th", "path": null}})),
            "turn/start" if self.fault(id) => {}
            "turn/start" => {
                self.prompts += 1;
                self.result(id, json!({"turn": {"id": "t"}}));
                self.send(json!({"method": "turn/started", "params": {"threadId": "th", "turn": {"id": "t"}}}));
                if self.prompts > 1 {
                    let turn = json!({"id": "t", "status": "completed", "error": null});
                    return self.send(json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}}));
                }
                let params = json!({"itemId": "c1", "command": "make it", "commandActions": []});
                self.send(json!({"id": 0, "method": "item/commandExecution/requestApproval", "params": params}));
            }
            "turn/steer" => self.send(json!({"id": id, "error": {"code": -32600, "message": "no turn to steer"}})),
            _ => {}
        }
    }

    /// The client answered a question.
    fn answered(&mut self, message: &Value) {
        let allowed = message["result"]["decision"] == "accept" || message["result"]["outcome"]["optionId"] == "yes";
        if allowed {
            drop(std::fs::write("made", "it\n"));
        }
        if !self.version {
            let usage = json!({"total": {"inputTokens": 90, "outputTokens": 10}, "last": {"totalTokens": 100}});
            self.send(json!({"method": "thread/tokenUsage/updated", "params": {"tokenUsage": usage}}));
            let turn = json!({"id": "t", "status": "completed", "error": null});
            return self.send(json!({"method": "turn/completed", "params": {"threadId": "th", "turn": turn}}));
        }
        self.update(json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "make it", "kind": "execute",
            "status": if allowed { "completed" } else { "failed" }, "rawInput": {"command": "make it"}}));
        if let Some(id) = self.pending.take() {
            let usage = json!({"inputTokens": 90, "outputTokens": 10, "totalTokens": 100});
            let reason = if allowed { "end_turn" } else { "cancelled" };
            self.result(&id, json!({"stopReason": reason, "usage": usage}));
        }
    }
}

/// Uses tools without end, none like the other: they change nothing, or the same file back and forth.
fn circle(swings: bool) {
    std::thread::spawn(move || {
        for number in 0_u64.. {
            if swings {
                drop(std::fs::write("a", format!("{}\n", number % 2)));
            }
            let command = format!("try {number}");
            let update = json!({"sessionUpdate": "tool_call", "toolCallId": command, "title": command, "kind": "execute",
                "status": "completed", "rawInput": {"command": command}});
            let params = json!({"sessionId": "s", "update": update});
            say(format!("{}\n", json!({"jsonrpc": "2.0", "method": "session/update", "params": params})).as_bytes());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}
