//! Reads the App Server's messages. Pure: a recorded transcript is all a test needs.

use longhaul_common::price::Tokens;
use serde_json::Value;

use crate::agent::talk::{AgentEvent, Asked, ToolKind, TurnEnd};

/// What a notification says.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something happened.
    Event(AgentEvent),
    /// A turn began.
    TurnStarted(String),
    /// A turn ended.
    TurnEnded(String, TurnEnd),
    /// The thread's usage so far, and what its last call filled of its window.
    Total {
        /// Since the thread began.
        total: Tokens,
        /// Tokens of the last call.
        last: u64,
        /// Tokens that fit; 0 where nobody knows.
        window: u64,
    },
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a notification says; nothing for those that say nothing new.
pub fn notification(method: &str, params: &Value) -> Vec<Heard> {
    match method {
        "turn/started" => vec![Heard::TurnStarted(text(&params["turn"]["id"]))],
        "turn/completed" => vec![Heard::TurnEnded(text(&params["turn"]["id"]), end(&params["turn"]))],
        "item/started" => started(&params["item"]).into_iter().map(Heard::Event).collect(),
        "item/completed" => completed(&params["item"]).into_iter().map(Heard::Event).collect(),
        "turn/diff/updated" => vec![Heard::Event(AgentEvent::Diff { diff: text(&params["diff"]) })],
        "turn/plan/updated" => {
            let steps = params["plan"].as_array().into_iter().flatten();
            let steps = steps.map(|step| format!("{}: {}", text(&step["status"]), text(&step["step"]))).collect();
            vec![Heard::Event(AgentEvent::Plan { steps })]
        }
        "thread/tokenUsage/updated" => {
            let usage = &params["tokenUsage"];
            vec![Heard::Total {
                total: used(&usage["total"]),
                last: number(&usage["last"], "totalTokens"),
                window: number(usage, "modelContextWindow"),
            }]
        }
        "error" => vec![Heard::Event(AgentEvent::Warning { message: text(&params["error"]["message"]) })],
        "warning" | "configWarning" => {
            let said = if params["message"].is_string() { &params["message"] } else { &params["summary"] };
            vec![Heard::Event(AgentEvent::Warning { message: text(said) })]
        }
        _ => Vec::new(),
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn used(value: &Value) -> Tokens {
    Tokens {
        input: number(value, "inputTokens"),
        cached: number(value, "cachedInputTokens"),
        output: number(value, "outputTokens"),
        reasoning: number(value, "reasoningOutputTokens"),
        ..Tokens::default()
    }
}

fn end(turn: &Value) -> TurnEnd {
    match turn["status"].as_str() {
        Some("completed") => TurnEnd::Done,
        Some("interrupted") => TurnEnd::Cancelled,
        _ => {
            let error = &turn["error"];
            let said = if error["message"].is_string() { text(&error["message"]) } else { error.to_string() };
            TurnEnd::Failed { message: said }
        }
    }
}

/// The kind of an item that is a tool's use, and what to call it.
fn tool(item: &Value) -> Option<(ToolKind, String)> {
    Some(match item["type"].as_str()? {
        "commandExecution" => (ToolKind::Execute, text(&item["command"])),
        "fileChange" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let paths: Vec<String> = changes.map(|change| text(&change["path"])).collect();
            (ToolKind::Edit, format!("change {}", paths.join(", ")))
        }
        "webSearch" => (ToolKind::Fetch, format!("search the web: {}", text(&item["query"]))),
        "mcpToolCall" => (ToolKind::Other, format!("{} {}", text(&item["server"]), text(&item["tool"]))),
        "dynamicToolCall" | "collabAgentToolCall" => (ToolKind::Other, text(&item["tool"])),
        _ => return None,
    })
}

fn started(item: &Value) -> Option<AgentEvent> {
    let (kind, title) = tool(item)?;
    Some(AgentEvent::ToolStarted { id: text(&item["id"]), kind, title, input: input(item) })
}

/// What the tool was given, without what came of it.
fn input(item: &Value) -> Value {
    let kept = ["command", "cwd", "changes", "arguments", "query", "server", "tool"];
    let fields = kept.iter().filter(|&&key| !item[key].is_null()).map(|&key| (key.to_owned(), item[key].clone()));
    Value::Object(fields.collect())
}

fn completed(item: &Value) -> Option<AgentEvent> {
    match item["type"].as_str()? {
        "agentMessage" => Some(AgentEvent::Text { text: text(&item["text"]) }),
        "reasoning" => {
            let parts = item["summary"].as_array().into_iter().flatten();
            let said = parts.map(text).collect::<Vec<_>>().join("\n");
            (!said.is_empty()).then_some(AgentEvent::Thought { text: said })
        }
        "contextCompaction" => Some(AgentEvent::Compacted),
        _ => {
            tool(item)?;
            let failed = !matches!(item["status"].as_str(), Some("completed") | None);
            let mut output = text(&item["aggregatedOutput"]);
            if let Some(code) = item["exitCode"].as_i64().filter(|&code| code != 0) {
                output.push_str(&format!("\n[exit code {code}]"));
            }
            if item["status"] == "declined" {
                output.push_str("\n[declined]");
            }
            Some(AgentEvent::ToolEnded { id: text(&item["id"]), failed, output })
        }
    }
}

/// The request by which a server of tools asks something, and Codex whether such a tool may be used.
pub const ELICITATION: &str = "mcpServer/elicitation/request";

/// What a request of the server asks, with the tool's use and its title; `None` for one that is no
/// question of permission.
pub fn approval(method: &str, params: &Value) -> Option<(String, Asked, String)> {
    let id = text(&params["itemId"]);
    match method {
        "item/commandExecution/requestApproval" => {
            let command = params["command"].as_str().filter(|line| !line.trim().is_empty()).map(str::to_owned);
            let actions = params["commandActions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let reads = |action: &Value| matches!(action["type"].as_str(), Some("read" | "listFiles" | "search"));
            let kind =
                if !actions.is_empty() && actions.iter().all(reads) { ToolKind::Read } else { ToolKind::Execute };
            let title = command.clone().unwrap_or_else(|| text(&params["reason"]));
            Some((id, Asked { kind, command }, title))
        }
        "item/fileChange/requestApproval" => {
            let why = text(&params["reason"]);
            Some((
                id,
                Asked { kind: ToolKind::Edit, command: None },
                if why.is_empty() { "change files".into() } else { why },
            ))
        }
        ELICITATION if params["_meta"]["codex_approval_kind"] == "mcp_tool_call" => {
            let asked = Asked { kind: ToolKind::Other, command: None };
            Some((text(&params["_meta"]["tool_name"]), asked, text(&params["message"])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::talk::Totals;

    /// A turn of Codex 0.169 as it was recorded, without what nobody reads.
    const RECORDED: &str = include_str!("testdata/turn.jsonl");

    #[test]
    fn a_recorded_turn_is_read_whole() {
        let heard: Vec<Heard> = RECORDED
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .flat_map(|message| notification(message["method"].as_str().unwrap_or_default(), &message["params"]))
            .collect();
        let events: Vec<String> = heard
            .iter()
            .map(|heard| match heard {
                Heard::Event(event) => {
                    serde_json::to_value(event).expect("JSON")["event"].as_str().unwrap_or_default().to_owned()
                }
                Heard::TurnStarted(id) => format!("started {id}"),
                Heard::TurnEnded(id, end) => format!("ended {id} {}", end.text()),
                Heard::Total { total, last, window } => format!("{} {last} {window}", total.total()),
            })
            .collect();
        assert_eq!(
            events,
            [
                "started t1",
                "text",
                "tool_started",
                "tool_ended",
                "1040 1040 258400",
                "tool_started",
                "tool_ended",
                "diff",
                "2120 1080 258400",
                "compacted",
                "ended t1 done"
            ]
        );
        let mut totals = Totals::default();
        let used: u64 = heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Total { total, .. } => Some(totals.take(*total).total()),
                _ => None,
            })
            .sum();
        assert_eq!(used, 2_120, "the last total, not the sum of totals");
    }

    #[test]
    fn ends_of_turns() {
        let failed = json!({"turn": {"id": "t", "status": "failed", "error": {"message": "unexpected status 401"}}});
        let heard = notification("turn/completed", &failed);
        assert_eq!(heard, [Heard::TurnEnded("t".into(), TurnEnd::Failed { message: "unexpected status 401".into() })]);
        let heard = notification("turn/completed", &json!({"turn": {"id": "t", "status": "interrupted"}}));
        assert_eq!(heard, [Heard::TurnEnded("t".into(), TurnEnd::Cancelled)]);
        assert!(notification("account/rateLimits/updated", &json!({})).is_empty());
        assert!(notification("item/started", &json!({"item": {"type": "new kind"}})).is_empty());
    }

    #[test]
    fn questions_have_kinds() {
        let ask = |actions: Value| {
            let params = json!({"itemId": "c", "command": "x", "commandActions": actions});
            approval("item/commandExecution/requestApproval", &params).expect("a question").1.kind
        };
        assert_eq!(ask(json!([{"type": "read"}, {"type": "search"}])), ToolKind::Read);
        assert_eq!(ask(json!([{"type": "read"}, {"type": "unknown"}])), ToolKind::Execute);
        assert_eq!(ask(json!([])), ToolKind::Execute);
        assert_eq!(
            approval("item/fileChange/requestApproval", &json!({"itemId": "f"})).expect("one").1.kind,
            ToolKind::Edit
        );
        assert_eq!(approval("item/tool/requestUserInput", &json!({})), None);
        let unnamed = json!({"itemId": "c", "command": null, "commandActions": []});
        let asked = approval("item/commandExecution/requestApproval", &unnamed).expect("a question").1;
        assert_eq!(asked, Asked { kind: ToolKind::Execute, command: None });
        let tool =
            json!({"serverName": "docs", "message": "Allow it?", "_meta": {"codex_approval_kind": "mcp_tool_call"}});
        assert_eq!(approval(ELICITATION, &tool).expect("a question").1.kind, ToolKind::Other);
        assert_eq!(approval(ELICITATION, &json!({"serverName": "docs", "message": "Your name?"})), None);
    }
}
