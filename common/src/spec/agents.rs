//! Kinds of agents, looked at before anything else of their tables: a kind decides which keys make
//! sense.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::suggest::next_step;
use super::{AgentKind, AgentProgram, AgentTable, At, JobFile, Problem, ProviderApi, Source};

const KINDS: [&str; 4] = ["codemod", "command", "acp", "codex"];
/// Kinds the design names and this version cannot run.
const PLANNED: [&str; 1] = ["model"];

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
        let (message, help) = if PLANNED.contains(&text.as_str()) {
            let message = format!("agents of kind \"{text}\" are not supported yet (agent `{}`)", name.get_ref());
            (message, "use \"acp\" or \"codex\" for an agent program; a command can start any other".to_owned())
        } else {
            let help = next_step(&text, KINDS, "");
            (format!("unknown kind of agent \"{text}\" (agent `{}`)", name.get_ref()), help)
        };
        problems.push(source.problem(span, message, help));
    }
    names
}

/// The kind as the job file writes it.
fn called(kind: AgentKind) -> &'static str {
    match kind {
        AgentKind::Codemod => "codemod",
        AgentKind::Command => "command",
        AgentKind::Acp => "acp",
        AgentKind::Codex => "codex",
    }
}

/// The kinds that a key is for.
type Kinds = &'static [AgentKind];

/// Keys that an agent's kind needs or has no use for.
pub(super) fn check_agent(
    name: &str,
    agent: &At<AgentTable>,
    file: &JobFile,
    source: &Source,
    problems: &mut Vec<Problem>,
) {
    use AgentKind::{Acp, Codemod, Codex, Command};
    let kind = agent.kind.value;
    let mut report = |span, message: String, help: &str| problems.push(source.problem(span, message, help));
    let keys: [(&str, Option<Range<usize>>, Kinds); 10] = [
        ("rules", agent.rules.as_ref().map(At::span), &[Codemod]),
        ("run", agent.run.as_ref().map(At::span), &[Command, Acp, Codex]),
        ("timeout", agent.timeout.as_ref().map(At::span), &[Command, Acp, Codex]),
        ("env", agent.env.values().next().map(At::span), &[Command, Acp, Codex]),
        ("program", agent.program.as_ref().map(At::span), &[Acp]),
        ("model", agent.model.as_ref().map(At::span), &[Acp, Codex]),
        ("provider", agent.provider.as_ref().map(At::span), &[Acp, Codex]),
        ("mode", agent.mode.as_ref().map(At::span), &[Acp, Codex]),
        ("effort", agent.effort.as_ref().map(At::span), &[Codex]),
        ("permissions", agent.permissions.as_ref().map(At::span), &[Acp, Codex]),
    ];
    for (key, found, kinds) in keys {
        if let Some(span) = found.filter(|_| !kinds.contains(&kind)) {
            let others: Vec<String> = kinds.iter().map(|&kind| format!("kind = \"{}\"", called(kind))).collect();
            let article = if kind == Acp { "an" } else { "a" };
            let message = format!("`{key}` means nothing for {article} {} (agent `{name}`)", called(kind));
            report(span, message, &format!("remove it, or use {}", others.join(" or ")));
        }
    }
    match kind {
        Codemod if agent.rules.as_ref().is_none_or(|rules| rules.trim().is_empty()) => {
            let help = "add `rules`: the file of ast-grep rules, relative to the job file";
            let span = agent.rules.as_ref().map_or(agent.kind.span(), At::span);
            report(span, format!("missing key `rules` in the codemod `{name}`"), help);
        }
        Command if agent.run.is_none() => {
            let message = format!("missing key `run` in the command `{name}`");
            report(agent.kind.span(), message, "add `run`: a shell line, or a program and its arguments");
        }
        Acp if agent.run.is_none() && agent.program.is_none() => {
            let help = "add `program`: a known one such as \"opencode\", or `run`: any command that speaks it on stdin and stdout";
            report(agent.kind.span(), format!("missing key `program` or `run` in the acp `{name}`"), help);
        }
        Codex => {
            if let Some(mode) = agent.mode.as_ref().filter(|mode| !CODEX_SANDBOXES.contains(&mode.as_str())) {
                let help = next_step(mode, CODEX_SANDBOXES, "");
                report(mode.span(), format!("unknown mode \"{}\" of the codex `{name}`", mode.value), &help);
            }
        }
        _ => {}
    }
    check_provider(name, agent, file, &mut report);
}

/// The provider has to exist, and to speak what the program speaks.
fn check_provider(name: &str, agent: &AgentTable, file: &JobFile, report: &mut impl FnMut(Range<usize>, String, &str)) {
    let Some(wanted) = &agent.provider else { return };
    let Some(provider) = file.provider.get(&wanted.value) else {
        let known = file.provider.keys().map(String::as_str);
        let help = next_step(wanted, known, "declare it as [provider.NAME]");
        return report(wanted.span(), format!("unknown provider `{}` of the agent `{name}`", wanted.value), &help);
    };
    let program = agent.program.as_ref().map(|program| program.value);
    let (who, apis): (&str, &[ProviderApi]) = match (agent.kind.value, program) {
        (AgentKind::Codex, _) => ("Codex", &[ProviderApi::OpenaiResponses]),
        (_, Some(AgentProgram::CodexAcp)) => ("codex-acp", &[ProviderApi::OpenaiResponses]),
        (_, Some(AgentProgram::ClaudeAgentAcp)) => ("claude-agent-acp", &[ProviderApi::AnthropicMessages]),
        (_, Some(AgentProgram::Gemini)) => ("gemini", &[ProviderApi::Gemini]),
        (_, Some(AgentProgram::Opencode)) => ("opencode", &[ProviderApi::OpenaiChat]),
        (_, None) => return,
    };
    if !apis.contains(&provider.api.value) {
        let apis: Vec<String> = apis.iter().map(|api| format!("\"{}\"", api.name())).collect();
        let message = format!("{who} cannot talk to the provider `{}` (agent `{name}`)", wanted.value);
        report(wanted.span(), message, &format!("name a provider with api = {}", apis.join(" or ")));
    }
}
