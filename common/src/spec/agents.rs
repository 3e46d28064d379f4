//! Kinds of agents, looked at before anything else of their tables: a kind decides which keys make
//! sense.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::suggest::next_step;
use super::{
    AgentKind, AgentProgram, AgentTable, At, EFFORTS, JobFile, MODEL_PROFILES, PROGRAM_SETTINGS, Permission, Problem,
    ProviderApi, Source, VERBOSITIES,
};

const KINDS: [&str; 5] = ["codemod", "command", "model", "acp", "codex"];

/// Modes of the sandbox that Codex has itself.
const CODEX_SANDBOXES: [&str; 3] = ["read-only", "workspace-write", "danger-full-access"];

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
        let message = format!("unknown kind of agent \"{text}\" (agent `{}`)", name.get_ref());
        problems.push(source.problem(span, message, next_step(&text, KINDS, "")));
    }
    names
}

impl AgentKind {
    /// As the job file writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Codemod => "codemod",
            Self::Command => "command",
            Self::Model => "model",
            Self::Acp => "acp",
            Self::Codex => "codex",
        }
    }
}

/// A key, where it is written, and the kinds that know it.
type Key = (&'static str, Option<Range<usize>>, &'static [AgentKind]);

/// Every key of an agent but its kind.
fn keys(agent: &AgentTable) -> [Key; 22] {
    use AgentKind::{Acp, Codemod, Codex, Command, Model};
    let span = |text: &Option<At<String>>| text.as_ref().map(At::span);
    let number = |number: &Option<At<u64>>| number.as_ref().map(At::span);
    [
        ("rules", span(&agent.rules), &[Codemod]),
        ("run", agent.run.as_ref().map(At::span), &[Command, Acp, Codex]),
        ("timeout", agent.timeout.as_ref().map(At::span), &[Command, Model, Acp, Codex]),
        ("env", agent.env.values().next().map(At::span), &[Command, Acp, Codex]),
        ("program", agent.program.as_ref().map(At::span), &[Acp]),
        ("model", span(&agent.model), &[Model, Acp, Codex]),
        ("provider", span(&agent.provider), &[Model, Acp, Codex]),
        ("mode", span(&agent.mode), &[Acp, Codex]),
        ("permissions", agent.permissions.as_ref().map(At::span), &[Acp, Codex]),
        ("profile", span(&agent.profile), &[Model]),
        ("effort", span(&agent.effort), &[Model, Codex]),
        ("verbosity", span(&agent.verbosity), &[Model]),
        ("skills", agent.skills.first().map(At::span), &[Model, Acp, Codex]),
        ("mcp", agent.mcp.first().map(At::span), &[Model, Acp, Codex]),
        ("preambles", agent.preambles.as_ref().map(At::span), &[Model]),
        ("max_turns", agent.max_turns.as_ref().map(At::span), &[Model]),
        ("max_tokens", number(&agent.max_tokens), &[Model]),
        ("subagents", agent.subagents.as_ref().map(At::span), &[Model]),
        ("subagent_depth", agent.subagent_depth.as_ref().map(At::span), &[Model]),
        ("subagent_tokens", number(&agent.subagent_tokens), &[Model]),
        ("context_tokens", number(&agent.context_tokens), &[Model]),
        ("answer_tokens", number(&agent.answer_tokens), &[Model]),
    ]
}

/// Keys that an agent's kind needs or has no use for, and words that mean nothing.
pub(super) fn check_agent(
    name: &str,
    agent: &At<AgentTable>,
    file: &JobFile,
    source: &Source,
    problems: &mut Vec<Problem>,
) {
    let kind = agent.kind.value;
    let mut report = |span, message: String, help: &str| problems.push(source.problem(span, message, help));
    for (key, found, kinds) in keys(agent) {
        if let Some(span) = found.filter(|_| !kinds.contains(&kind)) {
            let article = if kind == AgentKind::Acp { "an" } else { "a" };
            let message = format!("`{key}` means nothing for {article} {} (agent `{name}`)", kind.name());
            let others: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            report(span, message, &format!("remove it, or use kind = {}", any_of(&others)));
        }
    }
    check_needed(name, agent, &mut report);
    for (key, text, known) in [
        ("profile", &agent.profile, &MODEL_PROFILES[..]),
        ("effort", &agent.effort, &EFFORTS[..]),
        ("verbosity", &agent.verbosity, &VERBOSITIES[..]),
        ("mode", &agent.mode, if kind == AgentKind::Codex { &CODEX_SANDBOXES[..] } else { &[] }),
    ] {
        if let Some(text) = text.as_ref().filter(|text| !known.is_empty() && !known.contains(&text.as_str())) {
            let help = next_step(text, known.iter().copied(), "leave it out");
            report(text.span(), format!("unknown `{key}` \"{}\" (agent `{name}`)", text.value), &help);
        }
    }
    for wanted in agent.mcp.iter().filter(|wanted| !file.mcp.contains_key(&wanted.value)) {
        let help = next_step(wanted, file.mcp.keys().map(String::as_str), "declare it as [mcp.NAME]");
        report(wanted.span(), format!("unknown mcp server `{}` of the agent `{name}`", wanted.value), &help);
    }
    check_provider(name, agent, file, &mut report);
    check_refusals(name, agent, file, &mut report);
    check_skills(name, agent, file, &mut report);
}

/// Codex behind its adapter asks for what is beyond its sandbox alone, so that nobody could refuse the rest.
fn check_refusals(name: &str, agent: &AgentTable, file: &JobFile, report: &mut impl FnMut(Range<usize>, String, &str)) {
    let Some(program) = agent.program.as_ref().filter(|program| program.value == AgentProgram::CodexAcp) else {
        return;
    };
    let may = agent.permissions.as_ref().map(|permissions| &permissions.value);
    let words = may.into_iter().flat_map(|may| [may.read, may.edit, may.execute]);
    let refuses = words.flatten().any(|word| word != Permission::Allow);
    if refuses || !file.policy.command.is_empty() {
        let message = format!("codex-acp does not ask before it acts within its sandbox (agent `{name}`)");
        let help = "use kind = \"codex\", or allow `read`, `edit` and `execute` and leave [[policy.command]] out";
        report(program.span(), message, help);
    }
}

/// An agent is told of skills only where it can read them.
fn check_skills(name: &str, agent: &AgentTable, file: &JobFile, report: &mut impl FnMut(Range<usize>, String, &str)) {
    for folder in agent.skills.iter() {
        let first = folder.trim_start_matches("./").split('/').next().unwrap_or_default();
        let trusted = || file.repo.iter().any(|repo| repo.trust.contains_key(first));
        if PROGRAM_SETTINGS.contains(&first) && !trusted() {
            let message = format!("agents do not see `{first}`, and so not these skills (agent `{name}`)");
            report(folder.span(), message, "name another folder, or what it holds in the repository's `trust`");
        }
    }
}

fn check_needed(name: &str, agent: &At<AgentTable>, report: &mut impl FnMut(Range<usize>, String, &str)) {
    let kind = agent.kind.value;
    let mut missing = |key: &str, help: &str, span: Option<Range<usize>>| {
        let message = format!("missing key {key} in the {} `{name}`", kind.name());
        report(span.unwrap_or(agent.kind.span()), message, help);
    };
    let empty = |text: &Option<At<String>>| text.as_ref().is_none_or(|text| text.trim().is_empty());
    let span = |text: &Option<At<String>>| text.as_ref().map(At::span);
    match kind {
        AgentKind::Codemod if empty(&agent.rules) => {
            let help = "add `rules`: the file of ast-grep rules, relative to the job file";
            missing("`rules`", help, span(&agent.rules));
        }
        AgentKind::Command if agent.run.is_none() => {
            missing("`run`", "add `run`: a shell line, or a program and its arguments", None);
        }
        AgentKind::Acp if agent.run.is_none() && agent.program.is_none() => {
            let help = "add `program`: a known one such as \"opencode\", or `run`: any command that speaks it on stdin and stdout";
            missing("`program` or `run`", help, None);
        }
        AgentKind::Model => {
            if empty(&agent.model) {
                missing("`model`", "add `model`: its name at its provider", span(&agent.model));
            }
            if empty(&agent.provider) {
                missing("`provider`", "add `provider`: the name of a [provider.NAME]", span(&agent.provider));
            }
        }
        _ => {}
    }
}

/// The provider has to exist, and to speak what the agent speaks.
fn check_provider(name: &str, agent: &AgentTable, file: &JobFile, report: &mut impl FnMut(Range<usize>, String, &str)) {
    use ProviderApi::{AnthropicMessages, Gemini, OpenaiChat, OpenaiResponses};
    let Some(wanted) = agent.provider.as_ref().filter(|provider| !provider.trim().is_empty()) else { return };
    let Some(provider) = file.provider.get(&wanted.value) else {
        let known = file.provider.keys().map(String::as_str);
        let help = next_step(wanted, known, "declare it as [provider.NAME]");
        return report(wanted.span(), format!("unknown provider `{}` of the agent `{name}`", wanted.value), &help);
    };
    let program = agent.program.as_ref().map(|program| program.value);
    let (who, apis): (&str, &[ProviderApi]) = match (agent.kind.value, program) {
        (AgentKind::Model, _) => ("the loop around a model", &[OpenaiResponses, OpenaiChat, AnthropicMessages]),
        (AgentKind::Codex, _) => ("Codex", &[OpenaiResponses]),
        (_, Some(AgentProgram::CodexAcp)) => ("codex-acp", &[OpenaiResponses]),
        (_, Some(AgentProgram::ClaudeAgentAcp)) => ("claude-agent-acp", &[AnthropicMessages]),
        (_, Some(AgentProgram::Gemini)) => ("gemini", &[Gemini]),
        (_, Some(AgentProgram::Opencode)) => ("opencode", &[OpenaiChat]),
        (_, None) => return,
    };
    if !apis.contains(&provider.api.value) {
        let apis: Vec<&str> = apis.iter().map(|api| api.name()).collect();
        let message = format!("{who} cannot talk to the provider `{}` (agent `{name}`)", wanted.value);
        report(wanted.span(), message, &format!("name a provider with api = {}", any_of(&apis)));
    }
}

/// Values to choose from: `"a", "b" or "c"`.
fn any_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}
