//! The tables of the job file. The doc comments here are what the published schema and the help of
//! an error say, so they are written for the person who writes the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    At, BreakerRule, CommandLine, Group, Interval, ModelRuleTable, Period, PriceTable, ProviderTable, Size, Source,
    StringList, TimeOfDay,
};

/// A job of Longhaul: one goal, its plan, agents, gate, budget and policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// What the job is for, in a sentence; every agent reads it.
    pub goal: At<String>,
    /// Name of the job: lower-case letters, digits and dashes; made from the goal when left out.
    pub name: Option<At<String>>,
    /// Globs of further files of the job file's folder that commands need beyond those they name as `{job_dir}/x`.
    #[serde(default)]
    pub carry: StringList,
    /// The repository the job works on. One for now.
    #[serde(default)]
    pub repo: Vec<At<RepoTable>>,
    /// What does the work, by name.
    #[serde(default)]
    pub agent: BTreeMap<String, At<AgentTable>>,
    /// Where models are, by name.
    #[serde(default)]
    pub provider: BTreeMap<String, At<ProviderTable>>,
    /// Servers of tools that agents may be given (Model Context Protocol over stdin and stdout), by name.
    #[serde(default)]
    pub mcp: BTreeMap<String, At<McpTable>>,
    /// What models cost, by the model's name or a glob of names.
    #[serde(default)]
    pub price: BTreeMap<String, At<PriceTable>>,
    /// Subtasks written out one by one.
    #[serde(default)]
    pub task: Vec<At<TaskTable>>,
    /// Subtasks made from the files of the repository.
    #[serde(default)]
    pub map: Vec<At<MapTable>>,
    /// What an integrated change must pass before it lands.
    pub gate: At<GateTable>,
    /// What the job may spend.
    #[serde(default)]
    pub budget: BudgetTable,
    /// What subtasks may do.
    #[serde(default)]
    pub policy: PolicyTable,
    /// Path and text, for the positions of errors.
    #[serde(skip)]
    pub source: Source,
}

/// A repository.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoTable {
    /// Name of the repository; the last part of its path when left out.
    pub name: Option<At<String>>,
    /// Path of the repository, relative to the job file; the job file's folder when left out.
    pub path: Option<At<String>>,
    /// Branch, tag or commit the job starts from; pinned when the job is submitted. HEAD when left out.
    pub base: Option<At<String>>,
    /// Formatter run on changed files before checks.
    pub fix: Option<CommandLine>,
    /// How a workspace becomes able to build and test.
    #[serde(default)]
    pub env: EnvTable,
    /// Settings of agent programs in the repository that agents may see, each with its git object id at the base
    /// (`git rev-parse main:.mcp.json`); all others are hidden from them.
    #[serde(default)]
    pub trust: BTreeMap<String, At<String>>,
    /// Files regenerated at landing; in no footprint and in no patch.
    #[serde(default)]
    pub derived: Vec<At<DerivedTable>>,
}

/// How a workspace becomes able to build and test.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvTable {
    /// Run once in a new workspace, and again when a lockfile changed.
    pub setup: Option<CommandLine>,
    /// Folders kept between attempts, relative to the repository.
    #[serde(default)]
    pub cache: StringList,
    /// Servers that checks need, on ports of their own.
    #[serde(default)]
    pub services: Vec<At<ServiceTable>>,
    /// Names of environment variables given to checks and gates, never to agents.
    #[serde(default)]
    pub secrets: StringList,
    /// Files whose content decides whether `setup` runs again; the usual lockfiles when left out.
    pub lockfiles: Option<StringList>,
    /// Names of further environment variables that agents, checks and gates may see.
    #[serde(default)]
    pub pass: StringList,
}

/// A server that checks need.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTable {
    /// Name of the service.
    pub name: At<String>,
    /// Starts it and stays in the foreground.
    pub start: CommandLine,
    /// Polled until it exits 0.
    pub ready: Option<CommandLine>,
    /// Run at the end; without it the process group is ended.
    pub stop: Option<CommandLine>,
    /// Names of environment variables that receive one free port each.
    #[serde(default)]
    pub ports: StringList,
    /// How long it may take to become ready; "30s" when left out.
    pub ready_timeout: Option<Period>,
}

/// Files made from others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DerivedTable {
    /// Globs of the files.
    pub paths: StringList,
    /// Makes them again.
    pub regenerate: CommandLine,
}

/// What an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// ast-grep rules, applied in process.
    Codemod,
    /// Any program.
    Command,
    /// Longhaul's own loop around a model.
    Model,
    /// An agent that speaks the Agent Client Protocol.
    Acp,
    /// Codex, through its App Server.
    Codex,
}

/// Something that does work inside a workspace.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTable {
    /// "codemod" (ast-grep rules), "command" (any program), "model" (Longhaul's own loop around a model), "acp" (an agent that speaks the Agent Client Protocol) or "codex" (Codex through its App Server).
    pub kind: At<AgentKind>,
    /// For a codemod: the file of ast-grep rules, relative to the job file.
    pub rules: Option<At<String>>,
    /// For a command: the program; it gets the subtask as JSON on stdin. `{job_dir}` is the job file's folder. For an acp
    /// or a codex: what starts it, where it is not the usual command.
    pub run: Option<At<CommandLine>>,
    /// Wall time of one execution or session; the subtask's own limit when left out. Not for a codemod.
    pub timeout: Option<At<Period>>,
    /// Environment variables set for it. Not for a codemod.
    #[serde(default)]
    pub env: BTreeMap<String, At<String>>,
    /// For an acp: "opencode", "codex-acp", "claude-agent-acp" or "gemini", whose configuration is written for each attempt.
    pub program: Option<At<AgentProgram>>,
    /// For a model: its name at its provider. For an acp or a codex: the same; the program's own choice when left out.
    pub model: Option<At<String>>,
    /// For a model: the name of its [provider.NAME]. For an acp or a codex: the same; the program's own login when left out.
    pub provider: Option<At<String>>,
    /// For an acp: id of its session mode. For a codex: its own sandbox, "read-only", "workspace-write" (when left out) or "danger-full-access".
    pub mode: Option<At<String>>,
    /// For an acp or a codex: what is answered when it asks whether it may.
    pub permissions: Option<At<PermissionsTable>>,
    /// For a model: the tools it gets, "gpt", "claude", "general" or "schema"; by the model's name when left out.
    pub profile: Option<At<String>>,
    /// For a model or a codex: how much it reasons, "none", "minimal", "low", "medium", "high", "xhigh" or "max"; as its provider has it when left out.
    pub effort: Option<At<String>>,
    /// For a model: how much it says, "low", "medium" or "high"; as its provider has it when left out.
    pub verbosity: Option<At<String>>,
    /// For a model, an acp or a codex: folders of the repository with skills (a `SKILL.md` each) that it is told of; none when left out.
    #[serde(default)]
    pub skills: StringList,
    /// For a model, an acp or a codex: names of the [mcp.NAME] it is given; none when left out.
    #[serde(default)]
    pub mcp: StringList,
    /// For a model: whether it says what it is about to do before it does it; false when left out.
    pub preambles: Option<At<bool>>,
    /// For a model: answers of one execution; 200 when left out.
    pub max_turns: Option<At<u32>>,
    /// For a model: input and output tokens of one execution; no limit when left out.
    pub max_tokens: Option<At<u64>>,
    /// For a model: pieces that one execution may hand to sub-agents; none when left out.
    pub subagents: Option<At<u32>>,
    /// For a model: how deep sub-agents may hand on; 1, not at all, when left out.
    pub subagent_depth: Option<At<u32>>,
    /// For a model: input and output tokens of one sub-agent; a quarter of what is left of `max_tokens` when left out.
    pub subagent_tokens: Option<At<u64>>,
    /// For a model: the tokens of its window; by the model's name when left out.
    pub context_tokens: Option<At<u64>>,
    /// For a model: the tokens of its largest answer; by the model's name when left out.
    pub answer_tokens: Option<At<u64>>,
}

/// A program that speaks the Agent Client Protocol and whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentProgram {
    /// opencode.
    Opencode,
    /// Codex behind its adapter.
    CodexAcp,
    /// Claude Code behind its adapter.
    ClaudeAgentAcp,
    /// Gemini CLI.
    Gemini,
}

impl AgentProgram {
    /// As the job file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opencode => "opencode",
            Self::CodexAcp => "codex-acp",
            Self::ClaudeAgentAcp => "claude-agent-acp",
            Self::Gemini => "gemini",
        }
    }
}

/// A server of tools.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpTable {
    /// What starts it, a shell line or a program and its arguments. `{job_dir}` is the job file's folder.
    pub run: At<CommandLine>,
    /// Environment variables set for it.
    #[serde(default)]
    pub env: BTreeMap<String, At<String>>,
}

/// An answer to an agent that asks whether it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Yes, this once.
    Allow,
    /// No.
    Reject,
    /// A person decides; the subtask waits for it.
    Ask,
}

/// Answers by kind of action.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionsTable {
    /// To read and search files; "allow" when left out.
    pub read: Option<Permission>,
    /// To change, move and delete files; "allow" when left out.
    pub edit: Option<Permission>,
    /// To run commands, and for whatever is of no known kind; "allow" when left out.
    pub execute: Option<Permission>,
    /// To fetch from the network; "reject" when left out.
    pub fetch: Option<Permission>,
}

/// One subtask.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskTable {
    /// Name of the subtask, unique in the file.
    pub id: At<String>,
    /// Ids, globs of ids, or names of maps that must have landed before.
    #[serde(default)]
    pub after: StringList,
    /// Globs of the paths it may write; the whole repository when left out. What is protected has to be named: as a path,
    /// or by a wildcard that stands for nothing else; what the gate and the checks run as a path.
    pub write: Option<StringList>,
    /// Names of agents, cheapest first; the next one gets what the last one left.
    pub ladder: At<StringList>,
    /// What to do, for agents that read.
    pub instructions: Option<At<String>>,
    /// Run on the result; must exit 0.
    pub check: Option<At<CommandLine>>,
    /// Several checks, in order.
    #[serde(default)]
    pub checks: Vec<At<CommandLine>>,
    /// Wall time of one attempt; "30m" when left out.
    pub timeout: Option<Period>,
    /// How often it may be tried; 3 when left out.
    pub attempts: Option<At<u32>>,
    /// Name of a group whose members land together.
    pub land_with: Option<At<String>>,
    /// Sentences every agent must keep to.
    #[serde(default)]
    pub constraints: StringList,
    /// Regular expression: while it matches in the subtask's files, an agent left work behind.
    pub left: Option<At<String>>,
    /// Only workers with all of these labels take it.
    #[serde(default)]
    pub labels: StringList,
    /// A program without a line of output for this long is ended; no limit when left out.
    pub idle_timeout: Option<At<Period>>,
    /// How often work in progress is saved, or "off"; "1m" for commands that may take longer, when left out.
    pub wip_every: Option<At<Interval>>,
    /// What all attempts of one subtask may use of models together; a share of the job's when left out.
    pub budget: Option<SubtaskBudget>,
    /// "keep" (default): a result whose tests say less than before, or that changes what the gate or a check runs, waits
    /// for a person; or "may-change".
    pub tests: Option<At<TestsRule>>,
    /// "fails" (default): an agent that ends well and changes nothing has failed, but for codemods and where `left` finds
    /// nothing in the subtask's files; or "may-be": it may find nothing to do.
    pub unchanged: Option<At<UnchangedRule>>,
    /// Whether tests of today's behaviour land first, by a subtask of their own; false when left out.
    pub characterise: Option<At<bool>>,
    /// Into how many parts an agent may have a subtask split that is too much for one change, 2 to 64; it may not when left
    /// out.
    pub split: Option<At<u32>>,
}

/// One subtask for each group of files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapTable {
    /// Ids of the subtasks, with {stem}, {path}, {dir}, {file} of the group's first file, or {n}.
    pub id: At<String>,
    /// Name to select all of its subtasks by; the fixed start of the id when left out.
    pub name: Option<At<String>>,
    /// Globs of the files, relative to the repository.
    pub files: At<StringList>,
    /// Globs of files to leave out.
    #[serde(default)]
    pub exclude: StringList,
    /// Regular expression a file must contain; `^` and `$` match at lines.
    pub containing: Option<At<String>>,
    /// "file" (default), "directory", a number of files, or "tokens:N".
    #[serde(default)]
    pub group: Group,
    /// So many varied subtasks run first; the others wait for a person's yes.
    pub pilot: Option<At<u32>>,
    /// Ids, globs of ids, or names of maps that must have landed before.
    #[serde(default)]
    pub after: StringList,
    /// Globs of paths each subtask may write besides its own files.
    pub write: Option<StringList>,
    /// Names of agents, cheapest first; the next one gets what the last one left.
    pub ladder: At<StringList>,
    /// What to do, for agents that read.
    pub instructions: Option<At<String>>,
    /// Run on the result; must exit 0.
    pub check: Option<At<CommandLine>>,
    /// Several checks, in order.
    #[serde(default)]
    pub checks: Vec<At<CommandLine>>,
    /// Wall time of one attempt; "30m" when left out.
    pub timeout: Option<Period>,
    /// How often each may be tried; 3 when left out.
    pub attempts: Option<At<u32>>,
    /// Name of a group whose members land together.
    pub land_with: Option<At<String>>,
    /// Sentences every agent must keep to.
    #[serde(default)]
    pub constraints: StringList,
    /// Regular expression: while it matches in a subtask's files, an agent left work behind.
    pub left: Option<At<String>>,
    /// Only workers with all of these labels take them.
    #[serde(default)]
    pub labels: StringList,
    /// A program without a line of output for this long is ended; no limit when left out.
    pub idle_timeout: Option<At<Period>>,
    /// How often work in progress is saved, or "off"; "1m" for commands that may take longer, when left out.
    pub wip_every: Option<At<Interval>>,
    /// What all attempts of one subtask may use of models together; a share of the job's when left out.
    pub budget: Option<SubtaskBudget>,
    /// "keep" (default): a result whose tests say less than before, or that changes what the gate or a check runs, waits
    /// for a person; or "may-change".
    pub tests: Option<At<TestsRule>>,
    /// "fails" (default): an agent that ends well and changes nothing has failed, but for codemods and where `left` finds
    /// nothing in the subtask's files; or "may-be": it may find nothing to do.
    pub unchanged: Option<At<UnchangedRule>>,
    /// Whether tests of today's behaviour land first, by a subtask of their own; false when left out.
    pub characterise: Option<At<bool>>,
    /// Into how many parts an agent may have a subtask split that is too much for one change, 2 to 64; it may not when left
    /// out.
    pub split: Option<At<u32>>,
}

/// What an integrated change must pass before it lands.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateTable {
    /// Run on the integrated tree; must exit 0. `{changed_files}` and `{base}` are filled in.
    pub run: At<CommandLine>,
    /// Run behind a green gate on each batch; writes a report in lcov's format to `{coverage}`. A landing is proven
    /// when all changed lines that are code were executed.
    pub coverage: Option<At<CommandLine>>,
    /// Run once more at the end of the job.
    #[serde(rename = "final")]
    pub last: Option<At<CommandLine>>,
    /// Largest number of subtasks gated together; 8 when left out.
    pub batch: Option<At<u32>>,
    /// Wall time of one run; "30m" when left out.
    pub timeout: Option<Period>,
    /// Only workers with all of these labels run it: a pool you trust.
    #[serde(default)]
    pub labels: StringList,
    /// A run without a line of output for this long is ended; no limit when left out.
    pub idle_timeout: Option<At<Period>>,
}

/// What the job may spend. What is left out has no limit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetTable {
    /// US dollars.
    pub usd: Option<At<f64>>,
    /// Model tokens.
    pub tokens: Option<At<u64>>,
    /// Hours of wall time.
    pub hours: Option<At<f64>>,
    /// Subtasks at once; one a core when left out, and on a server as many as its workers take.
    pub parallel: Option<At<u32>>,
    /// Attempts of all subtasks together.
    pub attempts: Option<At<u64>>,
    /// Time of day by which work winds down, as "07:00"; the next one after the job was submitted.
    pub deadline: Option<At<TimeOfDay>>,
    /// The job pauses when so many of its last attempts failed; "18 of 20" when left out, or "off".
    pub breaker: Option<At<BreakerRule>>,
}

/// Whether tests may come to say less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TestsRule {
    /// A result that deletes, skips or empties tests waits for a person.
    Keep,
    /// It does not.
    MayChange,
}

/// What an agent's word that there was nothing to do is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnchangedRule {
    /// Nothing: it claimed success without a change.
    Fails,
    /// It is believed, where the checks pass.
    MayBe,
}

/// What all attempts of one subtask may use of models together. What is left out has no limit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubtaskBudget {
    /// US dollars.
    pub usd: Option<At<f64>>,
    /// Model tokens.
    pub tokens: Option<At<u64>>,
    /// Hours in which its attempts are at work, together.
    pub hours: Option<At<f64>>,
}

/// How far a subtask's processes are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Agents read, and write only their temporary folder.
    ReadOnly,
    /// Writes only inside the workspace.
    #[default]
    WorkspaceWrite,
    /// No sandbox: whatever the worker's user may do. "off" is its old name.
    #[serde(alias = "off")]
    DangerFullAccess,
}

/// What subtasks may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    /// "read-only", "workspace-write" (default) or "danger-full-access".
    #[serde(default)]
    pub sandbox: Sandbox,
    /// Whether agents, checks and gates reach the hosts below; false when left out: no network at all.
    #[serde(default)]
    pub network: bool,
    /// Hosts they reach then: "example.org", "*.example.org", "10.0.0.7:8080".
    #[serde(default)]
    pub hosts: StringList,
    /// Whether `setup` reaches package registries and the hosts above; true when left out.
    pub setup_network: Option<bool>,
    /// Globs of paths no patch may touch unless its subtask names them; tests, CI and what the gate names when left out.
    pub protect: Option<StringList>,
    /// Largest file a patch may add or change; "5MB" when left out.
    pub max_file: Option<Size>,
    /// Largest number of files in a patch; 2000 when left out.
    pub max_files: Option<At<u32>>,
    /// Lines a patch may add and remove together before a person is asked; any number when left out.
    pub diff_lines_max: Option<At<u64>>,
    /// Files a patch may change before a person is asked; any number when left out.
    pub diff_files_max: Option<At<u32>>,
    /// Captured output of a command; "1MB" when left out.
    pub max_output: Option<Size>,
    /// Tokens of the context handed to an agent; 8000 when left out.
    pub capsule_tokens: Option<At<u64>>,
    /// Which providers some paths may be sent to; any where nothing is said.
    #[serde(default)]
    pub model: Vec<At<ModelRuleTable>>,
    /// How long an agent that asks a person waits in its slot before its subtask is parked: at most "1h"; "5m" when
    /// left out, "off" for not at all.
    pub ask_wait: Option<At<Interval>>,
    /// Which commands an agent may run; the longest prefix decides.
    #[serde(default)]
    pub command: Vec<At<CommandRuleTable>>,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandDecision {
    /// It runs.
    Allow,
    /// A person is asked.
    Ask,
    /// It does not run.
    Deny,
}

/// What becomes of commands that begin so.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRuleTable {
    /// The program and its first arguments, e.g. ["git", "push"].
    pub prefix: At<StringList>,
    /// "allow", "ask" (a person decides) or "deny".
    pub decide: At<CommandDecision>,
}
