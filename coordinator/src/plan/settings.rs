//! Repository, tasks, gate, budget and policy as the plan carries them, defaults filled in.

use std::path::Path;

use jiff::Zoned;
use longhaul_common::layout::repo_key;
use longhaul_common::spec::{
    ASK_WAIT_MS_DEFAULT, ATTEMPTS_DEFAULT, At, BATCH_DEFAULT, BREAKER_DEFAULT, CAPSULE_TOKENS_DEFAULT, CommandDecision,
    CommandRuleTable, EnvTable, JobFile, LOCKFILES_DEFAULT, MAX_FILE_BYTES_DEFAULT, MAX_FILES_DEFAULT,
    MAX_OUTPUT_BYTES_DEFAULT, PARALLEL_MAX, Period, READY_TIMEOUT_MS_DEFAULT, Sandbox, ServiceTable, StringList,
    TIMEOUT_MS_DEFAULT, Table, TestsRule, TimeOfDay, UnchangedRule, WIP_EVERY_MS_DEFAULT, Work, path_globs,
    protect_default,
};
use longhaul_proto as proto;

use super::base::Base;
use super::judging::judging;
use super::models;

fn strings(list: &StringList) -> Vec<String> {
    list.iter().map(|text| text.value.clone()).collect()
}

fn timeout_ms(timeout: Option<Period>) -> u64 {
    timeout.map_or(TIMEOUT_MS_DEFAULT, |timeout| timeout.0)
}

fn idle_ms(idle: Option<&At<Period>>) -> u64 {
    idle.map_or(0, |idle| idle.value.0)
}

/// As written; else only where a command or a model may work longer than from one save to the next. Codemods
/// take seconds and have nothing to go on from.
fn wip_every_ms(work: &Work<'_>, agents: &[proto::Agent]) -> u64 {
    if let Some(every) = work.wip_every {
        return every.value.0;
    }
    let goes_on = |name: &str| {
        use proto::agent::Kind;
        let found = agents.iter().find(|agent| agent.name == name);
        let kind = found.and_then(|agent| agent.kind.as_ref());
        matches!(kind, Some(Kind::Command(_) | Kind::Model(_) | Kind::Acp(_) | Kind::Codex(_)))
    };
    let long = timeout_ms(work.timeout) > WIP_EVERY_MS_DEFAULT;
    if long && work.ladder.iter().any(|name| goes_on(name)) { WIP_EVERY_MS_DEFAULT } else { 0 }
}

pub(super) fn repo(file: &JobFile, base: &Base, host: Option<&str>, trusted: Vec<String>) -> proto::Repo {
    let table = &file.repo[0];
    let derived = table.derived.iter().map(|derived| proto::Derived {
        paths: strings(&derived.paths),
        regenerate: Some(derived.regenerate.to_proto()),
    });
    proto::Repo {
        key: match host {
            None => repo_key(&base.path),
            // The folder's name stays the last part of what is hashed.
            Some(host) => repo_key(&Path::new(host).join(base.path.strip_prefix("/").unwrap_or(&base.path))),
        },
        name: base.name.clone(),
        path: base.path.to_string_lossy().into_owned(),
        base_name: base.base_name.clone(),
        base: base.commit.to_vec(),
        fix: table.fix.as_ref().map(|fix| fix.to_proto()),
        env: Some(env(&table.env, base)),
        derived: derived.collect(),
        trusted,
    }
}

fn env(table: &EnvTable, base: &Base) -> proto::RepoEnv {
    let lockfiles = match &table.lockfiles {
        Some(named) => {
            let globs = path_globs(named.iter().map(|glob| glob.value.as_str()));
            base.entries.iter().filter(|entry| globs.is_match(&entry.path)).map(|entry| entry.path.clone()).collect()
        }
        None => {
            let usual = |path: &str| LOCKFILES_DEFAULT.contains(&path.rsplit('/').next().unwrap_or(path));
            base.entries.iter().filter(|entry| usual(&entry.path)).map(|entry| entry.path.clone()).collect()
        }
    };
    proto::RepoEnv {
        setup: table.setup.as_ref().map(|setup| setup.to_proto()),
        cache: strings(&table.cache),
        services: table.services.iter().map(|service| self::service(service)).collect(),
        secrets: strings(&table.secrets),
        lockfiles,
        pass_env: strings(&table.pass),
    }
}

fn service(table: &ServiceTable) -> proto::Service {
    proto::Service {
        name: table.name.value.clone(),
        start: Some(table.start.to_proto()),
        ready: table.ready.as_ref().map(|ready| ready.to_proto()),
        stop: table.stop.as_ref().map(|stop| stop.to_proto()),
        ports: strings(&table.ports),
        ready_timeout_ms: table.ready_timeout.map_or(READY_TIMEOUT_MS_DEFAULT, |period| period.0),
    }
}

pub(super) fn task(table: Table<'_>, agents: &[proto::Agent]) -> proto::Task {
    let work = table.work();
    let text = |text: Option<&At<String>>| text.map(|text| text.value.clone()).unwrap_or_default();
    let rung = |name: &str| agents.iter().position(|agent| agent.name == name).and_then(|at| u32::try_from(at).ok());
    proto::Task {
        id: work.id.value.clone(),
        map: match table {
            Table::Task(_) => String::new(),
            Table::Map(map) => map.select_name(),
        },
        instructions: text(work.instructions),
        ladder: work.ladder.iter().filter_map(|name| rung(&name.value)).collect(),
        check: work.all_checks().map(|check| check.to_proto()).collect(),
        write: work.write.map(strings).unwrap_or_default(),
        whole_repository: matches!(table, Table::Task(_)) && work.write.is_none(),
        left: text(work.left),
        max_attempts: work.attempts.map_or(ATTEMPTS_DEFAULT, |attempts| attempts.value),
        timeout_ms: timeout_ms(work.timeout),
        land_with: text(work.land_with),
        constraints: strings(work.constraints),
        labels: strings(work.labels),
        idle_timeout_ms: idle_ms(work.idle_timeout),
        wip_every_ms: wip_every_ms(&work, agents),
        tokens_max: work.budget.and_then(|budget| budget.tokens.as_ref()).map_or(0, |tokens| tokens.value),
        usd_micros_max: work.budget.and_then(|budget| budget.usd.as_ref()).map_or(0, |usd| scaled(usd.value, 1e6)),
        wall_ms_max: work.budget.and_then(|budget| budget.hours.as_ref()).map_or(0, |hours| scaled(hours.value, 3.6e6)),
        additive: false,
        split: work.split.map_or(0, |split| split.value),
        tests_may_change: work.tests.is_some_and(|tests| tests.value == TestsRule::MayChange),
        may_be_unchanged: work.unchanged.is_some_and(|unchanged| unchanged.value == UnchangedRule::MayBe),
    }
}

pub(super) fn gate(file: &JobFile) -> proto::GateSpec {
    proto::GateSpec {
        run: Some(file.gate.run.to_proto()),
        r#final: file.gate.last.as_ref().map(|last| last.to_proto()),
        batch: file.gate.batch.as_ref().map_or(BATCH_DEFAULT, |batch| batch.value),
        timeout_ms: timeout_ms(file.gate.timeout),
        labels: strings(&file.gate.labels),
        idle_timeout_ms: idle_ms(file.gate.idle_timeout.as_ref()),
        coverage: file.gate.coverage.as_ref().map(|coverage| coverage.to_proto()),
    }
}

/// Rounded up: a limit someone set must not become "no limit".
fn scaled(number: f64, factor: f64) -> u64 {
    (number * factor).ceil().max(1.0) as u64
}

/// With `fleet`, the workers bound what runs at once, not the cores of this machine.
pub(super) fn budget(file: &JobFile, fleet: bool) -> proto::Budget {
    let budget = &file.budget;
    let cores = || std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let breaker = budget.breaker.as_ref().map_or(BREAKER_DEFAULT, |breaker| breaker.value);
    proto::Budget {
        usd_micros: budget.usd.as_ref().map_or(0, |usd| scaled(usd.value, 1e6)),
        tokens: budget.tokens.as_ref().map_or(0, |tokens| tokens.value),
        wall_ms: budget.hours.as_ref().map_or(0, |hours| scaled(hours.value, 3.6e6)),
        parallel: match &budget.parallel {
            Some(parallel) => parallel.value,
            None if fleet => PARALLEL_MAX,
            None => cores(),
        },
        attempts: budget.attempts.as_ref().map_or(0, |attempts| attempts.value),
        deadline_ms: budget.deadline.as_ref().map_or(0, |at| next_time(at.value, &Zoned::now()).unwrap_or_default()),
        breaker_failed: breaker.failed,
        breaker_of: breaker.of,
    }
}

/// The next time that a clock shows a time of day, in milliseconds since the Unix epoch. An error
/// is a date beyond the calendar.
pub fn next_time(at: TimeOfDay, now: &Zoned) -> Result<i64, jiff::Error> {
    let today = now.with().hour(at.hour()).minute(at.minute()).second(0).subsec_nanosecond(0).build()?;
    let next = if today > *now { today } else { today.tomorrow()? };
    Ok(next.timestamp().as_millisecond())
}

pub(super) fn policy(file: &JobFile, base: &Base) -> proto::Policy {
    let policy = &file.policy;
    proto::Policy {
        protect: policy.protect.as_ref().map_or_else(|| protected(file, base), strings),
        max_file_bytes: policy.max_file.map_or(MAX_FILE_BYTES_DEFAULT, |size| size.0),
        max_files: policy.max_files.as_ref().map_or(MAX_FILES_DEFAULT, |files| files.value),
        max_output_bytes: policy.max_output.map_or(MAX_OUTPUT_BYTES_DEFAULT, |size| size.0),
        capsule_tokens: policy.capsule_tokens.as_ref().map_or(CAPSULE_TOKENS_DEFAULT, |tokens| tokens.value),
        sandbox: match policy.sandbox {
            Sandbox::WorkspaceWrite => proto::Sandbox::WorkspaceWrite,
            Sandbox::ReadOnly => proto::Sandbox::ReadOnly,
            Sandbox::DangerFullAccess => proto::Sandbox::DangerFullAccess,
        }
        .into(),
        network: policy.network,
        hosts: strings(&policy.hosts),
        setup_offline: policy.setup_network == Some(false),
        models: models::rules(file),
        ask_wait_ms: policy.ask_wait.as_ref().map_or(ASK_WAIT_MS_DEFAULT, |wait| wait.0),
        diff_lines_max: policy.diff_lines_max.as_ref().map_or(0, |lines| lines.value),
        diff_files_max: policy.diff_files_max.as_ref().map_or(0, |files| files.value),
        commands: policy.command.iter().map(|rule| command_rule(rule)).collect(),
        judging: judging(file, base),
    }
}

fn command_rule(rule: &CommandRuleTable) -> proto::CommandRule {
    let decide = match rule.decide.value {
        CommandDecision::Allow => proto::CommandDecision::Allow,
        CommandDecision::Ask => proto::CommandDecision::Ask,
        CommandDecision::Deny => proto::CommandDecision::Deny,
    };
    proto::CommandRule { prefix: strings(&rule.prefix), decide: decide.into() }
}

/// The usual paths, and the files of the repository that the gate names.
fn protected(file: &JobFile, base: &Base) -> Vec<String> {
    let mut protect: Vec<String> = protect_default().collect();
    let usual = path_globs(protect.iter().map(String::as_str));
    let gate = std::iter::once(&file.gate.run).chain(&file.gate.last).chain(&file.gate.coverage);
    for word in gate.flat_map(|command| command.words()) {
        let path = word.trim_matches(['"', '\'', ';', '(', ')', '&']);
        let path = path.strip_prefix("./").unwrap_or(path);
        let literal = globset::escape(path);
        if base.has(path) && !usual.is_match(path) && !protect.contains(&literal) {
            protect.push(literal);
        }
    }
    protect
}
