//! Kinds of agents, looked at before anything else of their tables: a kind decides which keys make
//! sense.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::suggest::next_step;
use super::{AgentKind, AgentTable, At, EFFORTS, MODEL_PROFILES, Problem, Source, VERBOSITIES};

const KINDS: [&str; 3] = ["codemod", "command", "model"];
/// Kinds the design names and this version cannot run.
const PLANNED: [&str; 2] = ["acp", "codex"];

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
            let help = "use \"codemod\", \"command\" or \"model\"; a command can start any program, an agent too";
            (message, help.to_owned())
        } else {
            let help = next_step(&text, KINDS, "use \"codemod\", \"command\" or \"model\"");
            (format!("unknown kind of agent \"{text}\" (agent `{}`)", name.get_ref()), help)
        };
        problems.push(source.problem(span, message, help));
    }
    names
}

/// Keys that an agent's kind needs or has no use for.
pub(super) fn check_agent(name: &str, agent: &At<AgentTable>, source: &Source, problems: &mut Vec<Problem>) {
    let mut report = |span, message: String, help: &str| problems.push(source.problem(span, message, help));
    let mut missing = |key: &str, kind: &str, help: &str, span: Option<Range<usize>>| {
        report(span.unwrap_or(agent.kind.span()), format!("missing key `{key}` in the {kind} `{name}`"), help);
    };
    let empty = |text: &Option<At<String>>| text.as_ref().is_none_or(|text| text.trim().is_empty());
    let span = |text: &Option<At<String>>| text.as_ref().map(At::span);
    let (kind, own): (&str, &[&str]) = match agent.kind.value {
        AgentKind::Codemod => {
            if empty(&agent.rules) {
                let help = "add `rules`: the file of ast-grep rules, relative to the job file";
                missing("rules", "codemod", help, span(&agent.rules));
            }
            ("codemod", &["rules"])
        }
        AgentKind::Command => {
            if agent.run.is_none() {
                missing("run", "command", "add `run`: a shell line, or a program and its arguments", None);
            }
            ("command", &["run", "timeout", "env"])
        }
        AgentKind::Model => {
            if empty(&agent.model) {
                missing("model", "model", "add `model`: its name at its provider", span(&agent.model));
            }
            if empty(&agent.provider) {
                missing("provider", "model", "add `provider`: the name of a [provider.NAME]", span(&agent.provider));
            }
            ("model", &MODEL_KEYS)
        }
    };
    for (key, span, kinds) in keys(agent) {
        if let Some(span) = span.filter(|_| !own.contains(&key)) {
            let help = format!("remove it, or use {kinds}");
            report(span, format!("`{key}` means nothing for a {kind} (agent `{name}`)"), &help);
        }
    }
    for (key, text, known) in [
        ("profile", &agent.profile, &MODEL_PROFILES[..]),
        ("effort", &agent.effort, &EFFORTS[..]),
        ("verbosity", &agent.verbosity, &VERBOSITIES[..]),
    ] {
        if let Some(text) = text.as_ref().filter(|text| !known.contains(&text.as_str())) {
            let help = next_step(text, known.iter().copied(), "leave it out");
            report(text.span(), format!("unknown `{key}` \"{}\" (agent `{name}`)", text.value), &help);
        }
    }
}

const MODEL_KEYS: [&str; 15] = [
    "timeout",
    "model",
    "provider",
    "profile",
    "effort",
    "verbosity",
    "skills",
    "preambles",
    "max_turns",
    "max_tokens",
    "subagents",
    "subagent_depth",
    "subagent_tokens",
    "context_tokens",
    "answer_tokens",
];

/// A key, where it is written, and the kinds that know it.
type Key = (&'static str, Option<Range<usize>>, &'static str);

/// Every key of an agent but its kind.
fn keys(agent: &AgentTable) -> [Key; 18] {
    let span = |text: &Option<At<String>>| text.as_ref().map(At::span);
    let number = |number: &Option<At<u64>>| number.as_ref().map(At::span);
    let (codemod, command, model) = ("kind = \"codemod\"", "kind = \"command\"", "kind = \"model\"");
    [
        ("rules", span(&agent.rules), codemod),
        ("run", agent.run.as_ref().map(At::span), command),
        ("timeout", agent.timeout.as_ref().map(At::span), command),
        ("env", agent.env.values().next().map(At::span), command),
        ("model", span(&agent.model), model),
        ("provider", span(&agent.provider), model),
        ("profile", span(&agent.profile), model),
        ("effort", span(&agent.effort), model),
        ("verbosity", span(&agent.verbosity), model),
        ("skills", agent.skills.first().map(At::span), model),
        ("preambles", agent.preambles.as_ref().map(At::span), model),
        ("max_turns", agent.max_turns.as_ref().map(At::span), model),
        ("max_tokens", number(&agent.max_tokens), model),
        ("subagents", agent.subagents.as_ref().map(At::span), model),
        ("subagent_depth", agent.subagent_depth.as_ref().map(At::span), model),
        ("subagent_tokens", number(&agent.subagent_tokens), model),
        ("context_tokens", number(&agent.context_tokens), model),
        ("answer_tokens", number(&agent.answer_tokens), model),
    ]
}
