//! Node keys: blake3 over all that determines a subtask's result, in one encoding.
//!
//! Every field is its name and its value, each with its length in front, so that no two inputs
//! read the same. What only says how long, how often or how many at once is left out on purpose:
//! raising a limit must not throw finished work away.

use std::collections::BTreeSet;
use std::path::Path;

use longhaul_common::Oid;
use longhaul_common::git::EntryKind;
use longhaul_common::spec::{CommandLine, JobFile, Problem, Table};
use longhaul_proto as proto;
use proto::agent::Kind;

use super::agents::{command_inputs, missing_input};
use super::base::Base;
use super::draft::Draft;

/// A hash in the making.
struct Encoder(blake3::Hasher);

impl Encoder {
    fn new(what: &str) -> Self {
        let mut encoder = Self(blake3::Hasher::new());
        encoder.bytes(what.as_bytes());
        encoder.number(u64::from(proto::FORMAT));
        encoder
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.bytes(name.as_bytes());
        self.bytes(value);
    }

    fn list<'t>(&mut self, name: &str, items: impl ExactSizeIterator<Item = &'t str>) {
        self.bytes(name.as_bytes());
        self.number(items.len() as u64);
        items.for_each(|item| self.bytes(item.as_bytes()));
    }

    fn command(&mut self, name: &str, command: Option<&proto::CommandLine>) {
        let Some(command) = command else { return self.field(name, b"none") };
        self.field(name, command.shell.as_bytes());
        self.list("argv", command.argv.iter().map(String::as_str));
    }

    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// What the keys of a job's subtasks have in common.
pub(super) struct Common<'a> {
    /// The job file.
    pub file: &'a JobFile,
    /// The pinned base.
    pub base: &'a Base,
    /// The repository as the plan has it.
    pub repo: &'a proto::Repo,
    /// The agents as the plan has them.
    pub agents: &'a [proto::Agent],
}

impl Common<'_> {
    /// The part of the key that all subtasks of a table share; `dep_keys` are those of its
    /// dependencies in any order.
    pub fn table_digest(
        &self,
        table: Table<'_>,
        task: &proto::Task,
        dep_keys: Vec<&[u8]>,
        problems: &mut Vec<Problem>,
    ) -> [u8; 32] {
        let mut encoder = Encoder::new("longhaul table");
        encoder.field("repository", self.repo.name.as_bytes());
        encoder.field("id", task.id.as_bytes());
        encoder.field("instructions", task.instructions.as_bytes());
        encoder.list("write", task.write.iter().map(String::as_str));
        encoder.field("whole", &[u8::from(task.whole_repository)]);
        encoder.field("left", task.left.as_bytes());
        encoder.list("constraints", task.constraints.iter().map(String::as_str));
        // Only where it is asked for, so that keys without it stay what they were.
        if table.work().characterise.is_some_and(|wanted| wanted.value) {
            encoder.field("characterise", &[1]);
        }
        encoder.number(task.ladder.len() as u64);
        for &rung in &task.ladder {
            agent(&mut encoder, &self.agents[rung as usize]);
        }
        encoder.number(task.check.len() as u64);
        for check in &task.check {
            encoder.command("check", Some(check));
        }
        encoder.command("fix", self.repo.fix.as_ref());
        encoder.command("setup", self.repo.env.as_ref().and_then(|env| env.setup.as_ref()));
        let inputs = self.inputs(table, problems);
        encoder.list("inputs", inputs.iter().map(String::as_str));
        let mut dep_keys = dep_keys;
        dep_keys.sort_unstable();
        encoder.number(dep_keys.len() as u64);
        dep_keys.into_iter().for_each(|key| encoder.bytes(key));
        encoder.finish()
    }

    /// Scripts of the job folder that checks, `fix` and `setup` name.
    fn inputs(&self, table: Table<'_>, problems: &mut Vec<Problem>) -> BTreeSet<String> {
        let work = table.work();
        let repo = &self.file.repo[0];
        let checks = work.check.into_iter().chain(work.checks).map(|check| (&check.value, check.span()));
        let others = [&repo.fix, &repo.env.setup].into_iter().flatten().map(|command| (command, repo.span()));
        let mut all = BTreeSet::new();
        for (command, span) in checks.chain(others) {
            match command_inputs(command, &self.base.job_dir) {
                Ok(found) => all.extend(found),
                Err(cause) => problems.push(missing_input(self.file, span, &cause)),
            }
        }
        all
    }

    /// The key of one subtask.
    pub fn node_key(&self, table: &[u8; 32], draft: &Draft, whole: bool, remarks: &[String]) -> [u8; 32] {
        let mut encoder = Encoder::new("longhaul node");
        encoder.field("table", table);
        encoder.list("files", draft.files.iter().map(|&at| self.base.path_of(at)).collect::<Vec<_>>().into_iter());
        if whole {
            encoder.field("tree", &self.base.tree.0);
        } else {
            encoder.number(draft.claims.len() as u64);
            for &at in &draft.claims {
                let entry = &self.base.entries[at];
                encoder.field(&entry.path, &blob(entry.kind, entry.oid));
            }
        }
        encoder.list("remarks", remarks.iter().map(String::as_str));
        encoder.finish()
    }
}

/// A leaf's content and what kind it is: a link is not the file of the same bytes.
fn blob(kind: EntryKind, oid: Oid) -> [u8; 21] {
    let mut bytes = [0; 21];
    bytes[0] = match kind {
        EntryKind::File => b'f',
        EntryKind::Executable => b'x',
        EntryKind::Symlink => b'l',
        EntryKind::Submodule => b's',
    };
    bytes[1..].copy_from_slice(&oid.0);
    bytes
}

/// What an agent does, not what it is called.
fn agent(encoder: &mut Encoder, agent: &proto::Agent) {
    match &agent.kind {
        Some(Kind::Codemod(codemod)) => encoder.field("codemod", codemod.rules_yaml.as_bytes()),
        Some(Kind::Command(command)) => {
            encoder.command("command", command.run.as_ref());
            let env: Vec<&str> = command.env.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]).collect();
            encoder.list("env", env.into_iter());
            encoder.list("inputs", command.inputs.iter().map(String::as_str));
        }
        Some(Kind::Acp(acp)) => {
            encoder.list("acp", [acp.preset.as_str(), &acp.mode].into_iter());
            program(encoder, acp.program.as_ref());
        }
        Some(Kind::Codex(codex)) => {
            encoder.list("codex", [codex.effort.as_str(), &codex.sandbox].into_iter());
            program(encoder, codex.program.as_ref());
        }
        Some(Kind::Model(model)) => {
            encoder.field("model", model.model.as_bytes());
            for (name, text) in
                [("profile", &model.profile), ("effort", &model.effort), ("verbosity", &model.verbosity)]
            {
                encoder.field(name, text.as_bytes());
            }
            encoder.list("skills", model.skills.iter().map(String::as_str));
            encoder.field("preambles", &[u8::from(model.preambles)]);
            // Whether it has the tool changes what it is told; how often it may use it is a limit.
            encoder.field("delegates", &[u8::from(model.subagents > 0)]);
            mcp(encoder, &model.mcp);
        }
        None => encoder.field("agent", b"none"),
    }
}

/// What it is started with, and what it may; where its models are is no matter of what it makes.
fn program(encoder: &mut Encoder, program: Option<&proto::AgentProgram>) {
    let Some(program) = program else { return encoder.field("program", b"none") };
    encoder.command("run", program.run.as_ref());
    let env: Vec<&str> = program.env.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]).collect();
    encoder.list("env", env.into_iter());
    encoder.list("inputs", program.inputs.iter().map(String::as_str));
    encoder.field("model", program.model.as_bytes());
    encoder.list("skills", program.skills.iter().map(String::as_str));
    mcp(encoder, &program.mcp);
    let may = program.permissions.clone().unwrap_or_default();
    encoder.list("permissions", [&may.read, &may.edit, &may.execute, &may.fetch].into_iter().map(String::as_str));
}

/// Servers of tools: what they are called is a part of their tools' names.
fn mcp(encoder: &mut Encoder, servers: &[proto::McpServer]) {
    for server in servers {
        encoder.field("mcp", server.name.as_bytes());
        encoder.command("run", server.run.as_ref());
        let env: Vec<&str> = server.env.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]).collect();
        encoder.list("env", env.into_iter());
        encoder.list("inputs", server.inputs.iter().map(String::as_str));
    }
}

/// Refuses a command of the gate that names a script which is not there.
pub(super) fn check_gate(file: &JobFile, job_dir: &Path, problems: &mut Vec<Problem>) {
    let gate = std::iter::once(&file.gate.run).chain(&file.gate.last).chain(&file.gate.coverage);
    for command in gate {
        let found: Result<_, String> = command_inputs(&command.value as &CommandLine, job_dir);
        if let Err(cause) = found {
            problems.push(missing_input(file, command.span(), &cause));
        }
    }
}
