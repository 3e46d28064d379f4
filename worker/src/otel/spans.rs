//! The spans of a session, from the lines of its trace: the agent, its calls of models, its tools.
//!
//! Names of attributes are those of the semantic conventions for generative AI (the development
//! version of November 2026), which no crate has in a stable form.

use std::collections::BTreeMap;

use serde_json::Value;

/// Most spans of one session; a collector is no archive, the trace is.
const SPANS_MAX: usize = 5_000;

/// Longest name of a tool, in characters: some programs put the whole command there.
const NAME_CHARS_MAX: usize = 80;

/// Whose session it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The job.
    pub job: String,
    /// The subtask.
    pub subtask: String,
    /// The attempt.
    pub attempt: u64,
    /// The agent's name in the job.
    pub agent: String,
    /// The worker's name.
    pub worker: String,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// Words.
    Text(String),
    /// A number.
    Number(i64),
}

/// A span. The first of a session is the agent's, and the parent of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `operation subject`, as the conventions have it.
    pub name: String,
    /// Whether it is a call of something outside.
    pub is_client: bool,
    /// Milliseconds since the epoch.
    pub began_ms: u64,
    /// Milliseconds since the epoch.
    pub ended_ms: u64,
    /// In the order in which they were found.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Span {
    fn new(operation: &'static str, subject: &str, began_ms: u64, ended_ms: u64) -> Self {
        let subject: String = subject.chars().take(NAME_CHARS_MAX).collect();
        let name = if subject.is_empty() { operation.to_owned() } else { format!("{operation} {subject}") };
        let attributes = vec![("gen_ai.operation.name", SpanValue::Text(operation.to_owned()))];
        Self { name, is_client: operation == "chat", began_ms, ended_ms, attributes, error: None }
    }

    fn text(&mut self, key: &'static str, text: &str) {
        if !text.is_empty() {
            self.attributes.push((key, SpanValue::Text(text.to_owned())));
        }
    }

    fn number(&mut self, key: &'static str, number: u64) {
        self.attributes.push((key, SpanValue::Number(i64::try_from(number).unwrap_or(i64::MAX))));
    }
}

/// A session's spans; none for a trace without a line.
pub fn spans(about: &About, lines: &[Value]) -> Vec<Span> {
    let times = lines.iter().filter_map(|line| line["at_ms"].as_u64());
    let (Some(began), Some(ended)) = (times.clone().min(), times.max()) else { return Vec::new() };
    let mut session = Session { children: Vec::new(), open: BTreeMap::new(), ended };
    let mut agent = Span::new("invoke_agent", &about.agent, began, ended);
    agent.text("gen_ai.agent.name", &about.agent);
    let mut used = [0_u64; 2];
    for line in lines {
        match line["event"].as_str().unwrap_or_default() {
            "session" => agent.text("gen_ai.conversation.id", words(line, "id")),
            "model_call" => {
                let call = call(line);
                agent.began_ms = agent.began_ms.min(call.began_ms);
                session.children.push(call);
            }
            "usage" => {
                used[0] += count(line, "input");
                used[1] += count(line, "output");
            }
            "tool_started" => session.begin(line),
            "tool_ended" => session.end(line),
            "turn_ended" => agent.error = failed(line),
            _ => {}
        }
    }
    session.close();
    agent.number("gen_ai.usage.input_tokens", used[0]);
    agent.number("gen_ai.usage.output_tokens", used[1]);
    agent.text("longhaul.job", &about.job);
    agent.text("longhaul.subtask", &about.subtask);
    agent.number("longhaul.attempt", about.attempt);
    agent.text("longhaul.worker", &about.worker);
    session.children.sort_by_key(|span| span.began_ms);
    let left_out = session.children.len().saturating_sub(SPANS_MAX - 1);
    if left_out > 0 {
        agent.number("longhaul.spans_left_out", left_out as u64);
        session.children.truncate(SPANS_MAX - 1);
    }
    std::iter::once(agent).chain(session.children).collect()
}

struct Session {
    children: Vec<Span>,
    /// Tools in use, by their ids.
    open: BTreeMap<String, Span>,
    ended: u64,
}

impl Session {
    fn begin(&mut self, line: &Value) {
        let at = line["at_ms"].as_u64().unwrap_or(self.ended);
        let (id, title) = (words(line, "id"), words(line, "title"));
        let name = if title.is_empty() { words(line, "kind") } else { title };
        let mut span = Span::new("execute_tool", name, at, self.ended);
        span.text("gen_ai.tool.name", name);
        span.text("gen_ai.tool.call.id", id);
        self.open.insert(id.to_owned(), span);
    }

    fn end(&mut self, line: &Value) {
        let Some(mut span) = self.open.remove(words(line, "id")) else { return };
        span.ended_ms = line["at_ms"].as_u64().unwrap_or(self.ended);
        if line["failed"] == true {
            span.text("error.type", "tool_error");
            span.error = Some("the tool failed".to_owned());
        }
        self.children.push(span);
    }

    /// Tools that nobody said were done: they end with the session.
    fn close(&mut self) {
        for (_, mut span) in std::mem::take(&mut self.open) {
            span.error = Some("it did not end before the session did".to_owned());
            self.children.push(span);
        }
    }
}

fn call(line: &Value) -> Span {
    let began = line["began_ms"].as_u64().unwrap_or_default();
    let model = words(line, "model");
    let mut span = Span::new("chat", model, began, began.saturating_add(count(line, "duration_ms")));
    span.text("gen_ai.provider.name", words(line, "provider"));
    span.text("gen_ai.request.model", model);
    span.number("gen_ai.usage.input_tokens", count(line, "input_tokens"));
    span.number("gen_ai.usage.output_tokens", count(line, "output_tokens"));
    span.number("gen_ai.usage.cache_read.input_tokens", count(line, "cached_tokens"));
    span.number("gen_ai.usage.reasoning.output_tokens", count(line, "reasoning_tokens"));
    span.number("http.response.status_code", count(line, "status"));
    span.number("longhaul.cost_usd_micros", count(line, "usd_micros"));
    let status = count(line, "status");
    if status == 0 || status >= 400 {
        span.text("error.type", &status.to_string());
        span.error = Some(if status == 0 { "no answer".to_owned() } else { format!("status {status}") });
    } else if line["whole"] == false {
        span.text("error.type", "cut");
        span.error = Some("the answer did not come to its end".to_owned());
    }
    span
}

/// Why a turn ended, where that is no good end.
fn failed(line: &Value) -> Option<String> {
    let end = &line["end"];
    let how = end.as_str().or_else(|| end["end"].as_str()).unwrap_or_default();
    match how {
        "done" | "" => None,
        _ => Some(end["message"].as_str().or_else(|| end["what"].as_str()).unwrap_or(how).to_owned()),
    }
}

fn words<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn count(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about() -> About {
        About { job: "j".into(), subtask: "s".into(), attempt: 7, agent: "coder".into(), worker: "w".into() }
    }

    fn says(span: &Span, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|(own, _)| *own == key)?;
        Some(match &found.1 {
            SpanValue::Text(text) => text.clone(),
            SpanValue::Number(number) => number.to_string(),
        })
    }

    #[test]
    fn a_session_is_an_agent_with_its_calls_and_tools() {
        let lines = [
            json!({"at_ms": 1_000, "event": "session", "id": "conv-1", "resumed": false}),
            json!({"at_ms": 1_500, "event": "tool_started", "id": "t1", "kind": "execute", "title": "ls", "input": {}}),
            json!({"at_ms": 1_900, "event": "tool_ended", "id": "t1", "failed": true, "output": ""}),
            json!({"at_ms": 2_000, "event": "tool_started", "id": "t2", "kind": "edit", "title": "", "input": {}}),
            json!({"at_ms": 2_400, "event": "usage", "input": 10, "cached": 4, "output": 5, "reasoning": 0}),
            json!({"at_ms": 2_500, "event": "turn_ended", "end": {"end": "failed", "message": "it broke"}}),
            json!({"at_ms": 2_600, "event": "model_call", "began_ms": 900, "duration_ms": 300, "model": "gpt-5.5",
                "provider": "main", "status": 200, "whole": true, "input_tokens": 10, "output_tokens": 5}),
            json!({"at_ms": 2_600, "event": "model_call", "began_ms": 1_950, "duration_ms": 40, "model": "gpt-5.5",
                "provider": "main", "status": 429, "whole": true}),
        ];
        let found = spans(&about(), &lines);
        let told: Vec<(&str, u64, u64, bool)> =
            found.iter().map(|span| (span.name.as_str(), span.began_ms, span.ended_ms, span.error.is_some())).collect();
        assert_eq!(
            told,
            [
                ("invoke_agent coder", 900, 2_600, true),
                ("chat gpt-5.5", 900, 1_200, false),
                ("execute_tool ls", 1_500, 1_900, true),
                ("chat gpt-5.5", 1_950, 1_990, true),
                ("execute_tool edit", 2_000, 2_600, true),
            ]
        );
        let agent = &found[0];
        assert_eq!(says(agent, "gen_ai.conversation.id").as_deref(), Some("conv-1"));
        assert_eq!(says(agent, "gen_ai.usage.input_tokens").as_deref(), Some("10"));
        assert_eq!(says(agent, "longhaul.attempt").as_deref(), Some("7"));
        assert_eq!(agent.error.as_deref(), Some("it broke"));
        assert!(found[1].is_client && !agent.is_client);
        assert_eq!(says(&found[3], "error.type").as_deref(), Some("429"));
    }

    #[test]
    fn nothing_and_too_much_are_no_trouble() {
        assert_eq!(spans(&about(), &[]), []);
        let lines: Vec<Value> = (0..SPANS_MAX as u64 * 2)
            .flat_map(|n| {
                let id = n.to_string();
                [
                    json!({"at_ms": n, "event": "tool_started", "id": id, "title": "x".repeat(1_000)}),
                    json!({"at_ms": n, "event": "tool_ended", "id": id}),
                ]
            })
            .collect();
        let found = spans(&about(), &lines);
        assert_eq!(found.len(), SPANS_MAX);
        assert_eq!(says(&found[0], "longhaul.spans_left_out"), Some((SPANS_MAX + 1).to_string()));
        assert!(found[1].name.len() < 100);
    }
}
