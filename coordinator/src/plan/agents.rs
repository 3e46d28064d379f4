//! Agents with everything that determines what they do: the bytes of rule files, and the hashes of
//! the files of the job folder that a command names as `{job_dir}/…`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use longhaul_common::spec::{
    AgentKind, AgentTable, At, CommandLine, INPUT_BYTES_MAX, INPUT_FILES_MAX, JobFile, MODEL_TURNS_DEFAULT, Permission,
    Problem, ProviderTable,
};
use longhaul_proto as proto;
use proto::agent::Kind;

use super::models;

/// What stands for the job file's folder in a command.
const JOB_DIR: &str = "{job_dir}/";

/// The agents of the job file, by name. Problems leave holes, so the result counts only without.
pub(super) fn resolve(file: &JobFile, job_dir: &Path, problems: &mut Vec<Problem>) -> Vec<proto::Agent> {
    let mut agents = Vec::new();
    for (name, table) in &file.agent {
        let kind = match table.kind.value {
            AgentKind::Codemod => codemod(file, table, job_dir, problems).map(Kind::Codemod),
            AgentKind::Command => command(file, table, job_dir, problems).map(Kind::Command),
            AgentKind::Model => model(file, table, job_dir, problems).map(Kind::Model),
            AgentKind::Acp => Some(Kind::Acp(proto::AcpAgent {
                program: Some(program(file, table, job_dir, problems)),
                preset: table.program.as_ref().map(|preset| preset.value.name().to_owned()).unwrap_or_default(),
                mode: text(&table.mode),
            })),
            AgentKind::Codex => Some(Kind::Codex(proto::CodexAgent {
                program: Some(program(file, table, job_dir, problems)),
                effort: text(&table.effort),
                sandbox: table.mode.as_ref().map_or("workspace-write", |mode| mode.as_str()).to_owned(),
            })),
        };
        agents.push(proto::Agent { name: name.clone(), kind });
    }
    agents
}

fn codemod(
    file: &JobFile,
    table: &At<AgentTable>,
    job_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Option<proto::CodemodAgent> {
    let rules = table.rules.as_ref()?;
    let path = job_dir.join(&rules.value);
    let text = read(&path).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
    });
    match text {
        Ok(text) if text.trim().is_empty() => {
            let message = format!("the rule file {} is empty", path.display());
            problems.push(file.source.problem(rules.span(), message, "write at least one ast-grep rule"));
            None
        }
        Ok(rules_yaml) => Some(proto::CodemodAgent { rules_path: rules.value.clone(), rules_yaml }),
        Err(error) => {
            let message = format!("cannot read the rule file {}: {error}", path.display());
            problems.push(file.source.problem(rules.span(), message, "`rules` is relative to the job file's folder"));
            None
        }
    }
}

fn command(
    file: &JobFile,
    table: &At<AgentTable>,
    job_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Option<proto::CommandAgent> {
    let run = table.run.as_ref()?;
    Some(proto::CommandAgent {
        run: Some(run.to_proto()),
        timeout_ms: table.timeout.as_ref().map_or(0, |timeout| timeout.0),
        env: env(&table.env),
        inputs: own_inputs(file, table.run.as_ref(), &table.env, job_dir, problems),
    })
}

fn env(env: &BTreeMap<String, At<String>>) -> BTreeMap<String, String> {
    env.iter().map(|(key, value)| (key.clone(), value.value.clone())).collect()
}

/// The files of the job folder that a command and its environment name.
fn own_inputs(
    file: &JobFile,
    run: Option<&At<CommandLine>>,
    env: &BTreeMap<String, At<String>>,
    job_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut hashes = BTreeSet::new();
    let parts = run.into_iter().flat_map(|run| texts(run).into_iter().map(|text| (text, run.span())));
    let settings = env.values().map(|value| (value.value.as_str(), value.span()));
    for (text, span) in parts.chain(settings) {
        match inputs(text, job_dir) {
            Ok(found) => hashes.extend(found),
            Err(error) => problems.push(missing_input(file, span, &error)),
        }
    }
    hashes.into_iter().collect()
}

/// What agents that talk have in common.
fn program(file: &JobFile, table: &AgentTable, job_dir: &Path, problems: &mut Vec<Problem>) -> proto::AgentProgram {
    let provider = provider(file, table);
    let asked = table.permissions.as_ref().map(|table| table.value.clone()).unwrap_or_default();
    proto::AgentProgram {
        run: table.run.as_ref().map(|run| run.to_proto()),
        env: env(&table.env),
        inputs: own_inputs(file, table.run.as_ref(), &table.env, job_dir, problems),
        model: text(&table.model),
        prices: models::prices(file),
        provider: provider.map(|(name, table)| models::provider(name, table)),
        permissions: Some(proto::Permissions {
            read: answer(asked.read, Permission::Allow),
            edit: answer(asked.edit, Permission::Allow),
            execute: answer(asked.execute, Permission::Allow),
            fetch: answer(asked.fetch, Permission::Reject),
        }),
        timeout_ms: table.timeout.as_ref().map_or(0, |timeout| timeout.0),
        skills: skills(table),
        mcp: mcp(file, table, job_dir, problems),
    }
}

/// The servers of tools that an agent is given.
fn mcp(file: &JobFile, table: &AgentTable, job_dir: &Path, problems: &mut Vec<Problem>) -> Vec<proto::McpServer> {
    table.mcp.iter().filter_map(|name| mcp_server(file, name, job_dir, problems)).collect()
}

/// A server of tools; `None` for one that is reported as unknown.
fn mcp_server(file: &JobFile, name: &str, job_dir: &Path, problems: &mut Vec<Problem>) -> Option<proto::McpServer> {
    let table = &file.mcp.get(name)?.value;
    Some(proto::McpServer {
        name: name.to_owned(),
        run: Some(table.run.to_proto()),
        env: env(&table.env),
        inputs: own_inputs(file, Some(&table.run), &table.env, job_dir, problems),
    })
}

/// Where its models are; `None` without one, or for one that is reported as unknown.
fn provider<'f>(file: &'f JobFile, table: &'f AgentTable) -> Option<(&'f str, &'f ProviderTable)> {
    let name = table.provider.as_ref()?;
    Some((name.as_str(), &file.provider.get(&name.value)?.value))
}

fn skills(table: &AgentTable) -> Vec<String> {
    table.skills.iter().map(|folder| folder.value.clone()).collect()
}

fn text(text: &Option<At<String>>) -> String {
    text.as_ref().map(|text| text.value.clone()).unwrap_or_default()
}

fn answer(written: Option<Permission>, otherwise: Permission) -> String {
    match written.unwrap_or(otherwise) {
        Permission::Allow => "allow",
        Permission::Reject => "reject",
        Permission::Ask => "ask",
    }
    .to_owned()
}

/// The agent with its provider and prices, so that an assignment needs nothing beside it.
fn model(file: &JobFile, table: &AgentTable, job_dir: &Path, problems: &mut Vec<Problem>) -> Option<proto::ModelAgent> {
    let number = |number: &Option<At<u64>>| number.as_ref().map_or(0, |number| number.value);
    let (name, provider) = provider(file, table)?;
    Some(proto::ModelAgent {
        model: text(&table.model),
        provider: Some(models::provider(name, provider)),
        profile: text(&table.profile),
        effort: text(&table.effort),
        verbosity: text(&table.verbosity),
        preambles: table.preambles.as_ref().is_some_and(|preambles| preambles.value),
        max_turns: table.max_turns.as_ref().map_or(MODEL_TURNS_DEFAULT, |turns| turns.value),
        max_tokens: number(&table.max_tokens),
        context_tokens: number(&table.context_tokens),
        answer_tokens: number(&table.answer_tokens),
        subagents: table.subagents.as_ref().map_or(0, |count| count.value),
        subagent_depth: table.subagent_depth.as_ref().map_or(1, |depth| depth.value),
        subagent_tokens: number(&table.subagent_tokens),
        prices: models::prices(file),
        timeout_ms: table.timeout.as_ref().map_or(0, |timeout| timeout.0),
        skills: skills(table),
        mcp: mcp(file, table, job_dir, problems),
    })
}

/// The files of the job folder that a command names, as "path hash", sorted.
pub(super) fn command_inputs(command: &CommandLine, job_dir: &Path) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    for text in texts(command) {
        all.extend(inputs(text, job_dir)?);
    }
    Ok(all)
}

/// A file named as `{job_dir}/…` that cannot be read.
pub(super) fn missing_input(file: &JobFile, span: std::ops::Range<usize>, cause: &str) -> Problem {
    file.source.problem(span, cause, "`{job_dir}` is the job file's folder; the file must lie below it")
}

fn texts(command: &CommandLine) -> Vec<&str> {
    match command {
        CommandLine::Shell(line) => vec![line],
        CommandLine::Argv(argv) => argv.iter().map(String::as_str).collect(),
    }
}

fn inputs(text: &str, job_dir: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in named(text)? {
        hash(job_dir, path, &mut found).map_err(|error| format!("cannot read {{job_dir}}/{path}: {error}"))?;
    }
    Ok(found)
}

/// The paths a text names as `{job_dir}/…`, relative to it.
pub(super) fn named(text: &str) -> Result<Vec<&str>, String> {
    let mut found = Vec::new();
    for rest in text.split(JOB_DIR).skip(1) {
        let end = rest.find(|c: char| c.is_whitespace() || "\"'`;|&<>()$:".contains(c)).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches('/');
        if path.is_empty() {
            continue;
        }
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(format!("{{job_dir}}/{path} lies outside the job file's folder"));
        }
        found.push(path);
    }
    Ok(found)
}

/// Hashes a file, or every file below a folder.
fn hash(job_dir: &Path, path: &str, found: &mut Vec<String>) -> io::Result<()> {
    let full = job_dir.join(path);
    if !full.is_dir() {
        if found.len() >= INPUT_FILES_MAX {
            return Err(io::Error::other(format!("more than {INPUT_FILES_MAX} files")));
        }
        found.push(format!("{path} {}", blake3::hash(&read(&full)?).to_hex()));
        return Ok(());
    }
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&full)? {
        let entry = entry?;
        // A linked folder could lead in circles; a linked file is read.
        if !(entry.file_type()?.is_symlink() && entry.path().is_dir()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.into_iter().filter(|name| name != ".git").try_for_each(|name| hash(job_dir, &format!("{path}/{name}"), found))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > INPUT_BYTES_MAX {
        return Err(io::Error::other(format!("it has {size} bytes; at most {INPUT_BYTES_MAX} are read")));
    }
    std::fs::read(path)
}
