//! Reads updates, questions and ends of turns. Pure: a recorded transcript is all a test needs.

use longhaul_common::price::Tokens;
use serde_json::{Value, json};

use crate::agent::talk::{AgentEvent, Answer, Asked, ToolKind, TurnEnd};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What an update says; nothing for one that says nothing new.
pub fn update(update: &Value) -> Vec<AgentEvent> {
    match update["sessionUpdate"].as_str().unwrap_or_default() {
        "agent_message_chunk" => spoken(update).map(|text| AgentEvent::Text { text }).into_iter().collect(),
        "agent_thought_chunk" => spoken(update).map(|text| AgentEvent::Thought { text }).into_iter().collect(),
        "tool_call" => {
            let started = AgentEvent::ToolStarted {
                id: text(&update["toolCallId"]),
                kind: kind(&update["kind"]),
                title: text(&update["title"]),
                input: update["rawInput"].clone(),
            };
            [started].into_iter().chain(progress(update)).collect()
        }
        "tool_call_update" => arguments(update).into_iter().chain(progress(update)).collect(),
        "plan" => {
            let steps = update["entries"].as_array().into_iter().flatten();
            let steps = steps.map(|step| format!("{}: {}", text(&step["status"]), text(&step["content"]))).collect();
            vec![AgentEvent::Plan { steps }]
        }
        _ => Vec::new(),
    }
}

fn spoken(update: &Value) -> Option<String> {
    update["content"]["text"].as_str().map(str::to_owned)
}

/// The arguments of a tool's use, which some programs tell after its beginning.
fn arguments(update: &Value) -> Option<AgentEvent> {
    let input = update["rawInput"].as_object().filter(|input| !input.is_empty())?;
    let (id, input) = (text(&update["toolCallId"]), Value::Object(input.clone()));
    Some(AgentEvent::ToolUpdated { id, input, output: String::new() })
}

/// What a tool's use came to so far.
fn progress(update: &Value) -> Vec<AgentEvent> {
    let id = text(&update["toolCallId"]);
    let mut events: Vec<AgentEvent> = diffs(update).collect();
    let output = output(update);
    match update["status"].as_str() {
        Some(status @ ("completed" | "failed")) => {
            events.push(AgentEvent::ToolEnded { id, failed: status == "failed", output });
        }
        _ if !output.is_empty() => events.push(AgentEvent::ToolUpdated { id, input: Value::Null, output }),
        _ => {}
    }
    events
}

fn contents(update: &Value) -> impl Iterator<Item = &Value> {
    update["content"].as_array().into_iter().flatten()
}

fn diffs(update: &Value) -> impl Iterator<Item = AgentEvent> {
    contents(update).filter(|content| content["type"] == "diff").map(|content| {
        let lines = |key: &str| content[key].as_str().map_or(0, |text| text.lines().count());
        let diff = format!("{}: {} lines become {}", text(&content["path"]), lines("oldText"), lines("newText"));
        AgentEvent::Diff { diff }
    })
}

fn output(update: &Value) -> String {
    let said: Vec<&str> = contents(update).filter_map(|content| content["content"]["text"].as_str()).collect();
    match &update["rawOutput"] {
        _ if !said.is_empty() => said.join("\n"),
        // codex-acp shows a terminal that only it knows, and its output beside it.
        Value::Null => text(&update["_meta"]["terminal_output_delta"]["data"]),
        Value::String(output) => output.clone(),
        other => other.to_string(),
    }
}

fn kind(kind: &Value) -> ToolKind {
    match kind.as_str().unwrap_or_default() {
        "read" | "search" | "think" => ToolKind::Read,
        "edit" | "delete" | "move" => ToolKind::Edit,
        "execute" => ToolKind::Execute,
        "fetch" => ToolKind::Fetch,
        _ => ToolKind::Other,
    }
}

/// What a request for permission asks, with the tool's use and its title. `titled` says that the title of a
/// command is its command line.
pub fn question(params: &Value, titled: bool) -> (String, Asked, String) {
    let call = &params["toolCall"];
    let (kind, title) = (kind(&call["kind"]), text(&call["title"]));
    let command = call["rawInput"]["command"].as_str().or(call["rawInput"]["cmd"].as_str());
    let command = command.map(str::to_owned).or_else(|| {
        let words = call["rawInput"]["command"].as_array()?.iter().filter_map(Value::as_str);
        Some(shell_words::join(words))
    });
    let own = || (titled && kind == ToolKind::Execute && !title.is_empty()).then(|| title.clone());
    let asked = Asked { kind, command: command.or_else(own) };
    (text(&call["toolCallId"]), asked, title)
}

/// The outcome to send: the option of the right kind, whatever it is called. A use is allowed once
/// and never for good, if there is the choice; without an option of the kind nothing is chosen.
pub fn outcome(params: &Value, answer: Answer) -> Value {
    let wanted: [&str; 2] = match answer {
        Answer::Allow => ["allow_once", "allow_always"],
        Answer::Reject => ["reject_once", "reject_always"],
        Answer::Ask => return json!({"outcome": {"outcome": "cancelled"}}),
    };
    let options = params["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = wanted.iter().find_map(|&kind| options.iter().find(|option| option["kind"] == kind));
    match found {
        Some(option) => json!({"outcome": {"outcome": "selected", "optionId": option["optionId"]}}),
        None => json!({"outcome": {"outcome": "cancelled"}}),
    }
}

/// How a turn ended, from the answer to its prompt.
pub fn end(answer: &Value) -> TurnEnd {
    match answer["stopReason"].as_str() {
        Some("end_turn") => TurnEnd::Done,
        Some("cancelled") => TurnEnd::Cancelled,
        Some("refusal") => TurnEnd::Refused,
        Some("max_tokens") => TurnEnd::Limit { what: "tokens".to_owned() },
        Some("max_turn_requests") => TurnEnd::Limit { what: "requests of a turn".to_owned() },
        _ => TurnEnd::Failed { message: format!("it ended its turn for no known reason: {answer}") },
    }
}

/// What a turn used, where the answer to its prompt tells it: seen to be of the turn, not of the
/// session (codex-acp 2.6.0). Gemini CLI (0.61.0) has a place of its own for it.
pub fn usage(answer: &Value) -> Option<Tokens> {
    let Some(usage) = answer["usage"].as_object() else {
        let own = answer["_meta"]["quota"]["token_count"].as_object()?;
        let number = |key: &str| own.get(key).and_then(Value::as_u64).unwrap_or_default();
        return Some(Tokens { input: number("input_tokens"), output: number("output_tokens"), ..Tokens::default() });
    };
    let number = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (cached, cache_write) = (number("cachedReadTokens"), number("cachedWriteTokens"));
    // Cached input is counted beside the other input here.
    let input = number("inputTokens").saturating_add(cached).saturating_add(cache_write);
    let (output, reasoning) = (number("outputTokens"), number("thoughtTokens"));
    Some(Tokens { input, cached, cache_write, output, reasoning })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates of opencode 1.18 and claude-agent-acp 0.49, shortened, and one of a kind to come.
    const RECORDED: &str = include_str!("testdata/updates.jsonl");

    #[test]
    fn recorded_updates_are_read() {
        let events: Vec<AgentEvent> = RECORDED
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .flat_map(|message| update(&message["params"]["update"]))
            .collect();
        let kinds: Vec<String> =
            events.iter().map(|event| text(&serde_json::to_value(event).expect("JSON")["event"])).collect();
        assert_eq!(
            kinds,
            [
                "text",
                "thought",
                "tool_started",
                "tool_updated",
                "tool_updated",
                "diff",
                "tool_ended",
                "tool_started",
                "tool_ended",
                "tool_updated",
                "plan"
            ]
        );
        assert!(matches!(&events[2], AgentEvent::ToolStarted { kind: ToolKind::Edit, .. }));
        assert!(matches!(&events[3], AgentEvent::ToolUpdated { input, .. } if input["filePath"] == "/w/main.rs"));
        assert!(matches!(&events[8], AgentEvent::ToolEnded { failed: true, output, .. } if output == "no such file"));
    }

    #[test]
    fn options_are_chosen_by_their_kind() {
        let ask = json!({"options": [
            {"optionId": "always", "name": "Reject", "kind": "allow_always"},
            {"optionId": "proceed", "name": "No", "kind": "allow_once"},
            {"optionId": "x", "name": "Yes", "kind": "reject_once"},
        ]});
        assert_eq!(outcome(&ask, Answer::Allow)["outcome"]["optionId"], "proceed");
        assert_eq!(outcome(&ask, Answer::Reject)["outcome"]["optionId"], "x");
        assert_eq!(outcome(&ask, Answer::Ask)["outcome"]["outcome"], "cancelled");
        let only = json!({"options": [{"optionId": "a", "kind": "allow_always"}]});
        assert_eq!(outcome(&only, Answer::Allow)["outcome"]["optionId"], "a");
        assert_eq!(outcome(&only, Answer::Reject)["outcome"]["outcome"], "cancelled");
        assert_eq!(outcome(&json!({}), Answer::Allow)["outcome"]["outcome"], "cancelled");
    }

    #[test]
    fn questions_name_their_command() {
        for input in [json!({"command": "rm -r x"}), json!({"cmd": "rm -r x"}), json!({"command": ["rm", "-r", "x"]})] {
            let params = json!({"toolCall": {"toolCallId": "c", "title": "t", "kind": "execute", "rawInput": input}});
            let (id, asked, _) = question(&params, true);
            assert_eq!((id.as_str(), asked.kind, asked.command.as_deref()), ("c", ToolKind::Execute, Some("rm -r x")));
        }
        assert_eq!(question(&json!({"toolCall": {"kind": "of the future"}}), true).1.kind, ToolKind::Other);
        // Gemini CLI 0.61 sends no input; other programs write there what they like.
        let bare = |kind: &str| json!({"toolCall": {"toolCallId": "c", "title": "rm -r x", "kind": kind}});
        assert_eq!(question(&bare("execute"), true).1.command.as_deref(), Some("rm -r x"));
        assert_eq!(question(&bare("execute"), false).1.command, None);
        assert_eq!(question(&bare("edit"), true).1.command, None);
    }

    #[test]
    fn ends_and_usage() {
        for (reason, wanted) in
            [("end_turn", TurnEnd::Done), ("cancelled", TurnEnd::Cancelled), ("refusal", TurnEnd::Refused)]
        {
            assert_eq!(end(&json!({"stopReason": reason})), wanted);
        }
        assert!(matches!(end(&json!({})), TurnEnd::Failed { .. }));
        let answer = json!({"usage": {"inputTokens": 7, "cachedReadTokens": 90, "cachedWriteTokens": 3, "outputTokens": 7, "thoughtTokens": 2}});
        let wanted = Tokens { input: 100, cached: 90, cache_write: 3, output: 7, reasoning: 2 };
        assert_eq!(usage(&answer), Some(wanted));
        assert_eq!(usage(&json!({"stopReason": "end_turn"})), None);
        let gemini = json!({"_meta": {"quota": {"token_count": {"input_tokens": 70, "output_tokens": 5}}}});
        assert_eq!(usage(&gemini), Some(Tokens { input: 70, output: 5, ..Tokens::default() }));
    }
}
