//! Kinds of agents, looked at before anything else of their tables: a kind decides which keys make
//! sense.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::suggest::next_step;
use super::{AgentKind, AgentTable, At, Problem, Source};

const KINDS: [&str; 2] = ["codemod", "command"];
/// Kinds the design names and this version cannot run.
const PLANNED: [&str; 3] = ["acp", "model", "codex"];

/// The names of all declared agents. Those of a kind that cannot run are reported and cut out.
pub(super) fn refuse_kinds(root: &mut DeTable<'_>, source: &Source, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Some(DeValue::Table(agents)) = root.get_mut("agent").map(toml::Spanned::get_mut) else { return names };
    for (name, agent) in std::mem::replace(agents, DeTable::new()) {
        names.insert(name.get_ref().to_string());
        let kind = agent.get_ref().get("kind").map(|kind| (kind.span(), kind.get_ref().as_str().map(str::to_owned)));
        let Some((span, Some(text))) =
            kind.filter(|(_, kind)| kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)))
        else {
            agents.insert(name, agent);
            continue;
        };
        let (message, help) = if PLANNED.contains(&text.as_str()) {
            let message = format!("agents of kind \"{text}\" are not supported yet (agent `{}`)", name.get_ref());
            (message, "use \"codemod\" or \"command\"; a command can start any program, an agent too".to_owned())
        } else {
            let help = next_step(&text, KINDS, "use \"codemod\" or \"command\"");
            (format!("unknown kind of agent \"{text}\" (agent `{}`)", name.get_ref()), help)
        };
        problems.push(source.problem(span, message, help));
    }
    names
}

/// Keys that an agent's kind needs or has no use for.
pub(super) fn check_agent(name: &str, agent: &At<AgentTable>, source: &Source, problems: &mut Vec<Problem>) {
    let mut report = |span, message: String, help: &str| problems.push(source.problem(span, message, help));
    let unused = |key: &str, kind: &str| format!("`{key}` means nothing for a {kind} (agent `{name}`)");
    match agent.kind.value {
        AgentKind::Codemod => {
            if agent.rules.as_ref().is_none_or(|rules| rules.trim().is_empty()) {
                let help = "add `rules`: the file of ast-grep rules, relative to the job file";
                let span = agent.rules.as_ref().map_or(agent.kind.span(), At::span);
                report(span, format!("missing key `rules` in the codemod `{name}`"), help);
            }
            let others = [("run", agent.run.as_ref().map(At::span)), ("timeout", agent.timeout.as_ref().map(At::span))];
            for (key, span) in others {
                if let Some(span) = span {
                    report(span, unused(key, "codemod"), "remove it, or use kind = \"command\"");
                }
            }
            if let Some(value) = agent.env.values().next() {
                report(value.span(), unused("env", "codemod"), "remove it, or use kind = \"command\"");
            }
        }
        AgentKind::Command => {
            if agent.run.is_none() {
                let message = format!("missing key `run` in the command `{name}`");
                report(agent.kind.span(), message, "add `run`: a shell line, or a program and its arguments");
            }
            if let Some(rules) = &agent.rules {
                report(rules.span(), unused("rules", "command"), "remove it, or use kind = \"codemod\"");
            }
        }
    }
}
