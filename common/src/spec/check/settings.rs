//! Everything but the subtasks: head, repository, environment, gate, budget, policy.

use std::collections::BTreeMap;

use super::Check;
use crate::JobId;
use crate::hosts::HostPattern;
use crate::spec::{
    ASK_WAIT_MS_MAX, ASK_WAIT_MS_MIN, At, BATCH_MAX, JobFile, PARALLEL_MAX, RepoTable, StringList, TIMEOUT_MS_DEFAULT,
    folder_glob,
};

pub(super) fn check_head(file: &JobFile, check: &mut Check<'_>) {
    check.text("goal", &file.goal);
    if let Some(name) = &file.name
        && let Err(error) = name.parse::<JobId>()
    {
        check.report(name.span(), error.to_string(), "write e.g. \"lazy-locks\"");
    }
    for glob in file.carry.iter() {
        if let Err((message, help)) = folder_glob(glob) {
            check.report(glob.span(), message, help);
        }
    }
    if file.repo.is_empty() {
        check.report(0..0, "no repository: there is no [[repo]]", "add [[repo]] with path = \".\"");
    }
    if let Some(second) = file.repo.get(1) {
        let help = "one repository for now: write one job file for each";
        check.report(second.span(), "a second repository", help);
    }
}

pub(super) fn check_repo(repo: &At<RepoTable>, check: &mut Check<'_>) {
    if let Some(name) = &repo.name {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(fits) {
            let help = "use letters, digits, dashes, dots and underscores";
            check.report(name.span(), format!("not a name of a repository: {:?}", name.value), help);
        }
    }
    for (key, text) in [("path", &repo.path), ("base", &repo.base)] {
        if let Some(text) = text {
            check.text(key, text);
        }
    }
    let env = &repo.env;
    check.globs(&env.cache);
    if let Some(lockfiles) = &env.lockfiles {
        check.globs(lockfiles);
    }
    for derived in &repo.derived {
        check.globs(&derived.paths);
        if derived.paths.is_empty() {
            check.report(derived.span(), "derived files without a path", "name them in `paths`, or remove the table");
        }
    }
    variables(&env.secrets, check);
    variables(&env.pass, check);
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    let mut ports: BTreeMap<&str, &str> = BTreeMap::new();
    for service in &env.services {
        check.text("name", &service.name);
        if names.insert(&service.name, ()).is_some() {
            check.report(
                service.name.span(),
                format!("two services are called `{}`", service.name.value),
                "rename one",
            );
        }
        variables(&service.ports, check);
        for port in service.ports.iter() {
            if let Some(other) = ports.insert(port, &service.name) {
                let message = format!("the port variable `{}` is taken by the service `{other}`", port.value);
                check.report(port.span(), message, "use a variable of its own for each port");
            }
        }
    }
}

fn variables(names: &StringList, check: &mut Check<'_>) {
    for name in names.iter() {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
            let help = "write its name alone, e.g. \"NPM_TOKEN\"; the value stays in the environment";
            check.report(name.span(), format!("not a name of an environment variable: {:?}", name.value), help);
        }
    }
}

/// A secret is for checks and gates; an agent that got it by another way could print it.
pub(super) fn check_secrets(file: &JobFile, check: &mut Check<'_>) {
    for env in file.repo.iter().map(|repo| &repo.env) {
        for secret in env.secrets.iter() {
            if let Some(pass) = env.pass.iter().find(|name| name.value == secret.value) {
                let message = format!("`{}` is a secret, and `pass` gives it to agents", secret.value);
                check.report(pass.span(), message, "remove it from `pass` or from `secrets`");
            }
            for (name, agent) in &file.agent {
                let reference = [format!("${}", secret.value), format!("${{{}}}", secret.value)];
                let given =
                    agent.env.iter().find(|(key, value)| **key == secret.value || reference.contains(&value.value));
                if let Some((_, value)) = given {
                    let message = format!("`{}` is a secret, and the agent `{name}` gets it in its env", secret.value);
                    check.report(
                        value.span(),
                        message,
                        "secrets are for checks and gates; remove it from one of the two",
                    );
                }
            }
        }
    }
}

pub(super) fn check_limits(file: &JobFile, check: &mut Check<'_>) {
    if let Some(batch) = &file.gate.batch {
        between("batch", batch, u64::from(batch.value), 1, u64::from(BATCH_MAX), check);
    }
    if let Some(coverage) = &file.gate.coverage
        && !coverage.words().iter().any(|word| word.contains("{coverage}"))
    {
        let help = "name the file it writes its lcov report to as {coverage}";
        check.report(coverage.span(), "`coverage` in [gate] writes no report".to_owned(), help);
    }
    check.labels(&file.gate.labels);
    check.idle(file.gate.idle_timeout.as_ref(), file.gate.timeout.map_or(TIMEOUT_MS_DEFAULT, |timeout| timeout.0));
    let budget = &file.budget;
    if let Some(parallel) = &budget.parallel {
        between("parallel", parallel, u64::from(parallel.value), 1, u64::from(PARALLEL_MAX), check);
    }
    check.spending(budget.usd.as_ref(), budget.tokens.as_ref());
    if let Some(hours) = &budget.hours {
        check.positive("hours", hours);
    }
    if let Some(attempts) = &budget.attempts {
        between("attempts", attempts, attempts.value, 1, u64::MAX, check);
    }
    let policy = &file.policy;
    if let Some(number) = &policy.max_files {
        between("max_files", number, u64::from(number.value), 1, u64::from(u32::MAX), check);
    }
    if let Some(number) = &policy.diff_lines_max {
        between("diff_lines_max", number, number.value, 1, u64::MAX, check);
    }
    if let Some(number) = &policy.diff_files_max {
        between("diff_files_max", number, u64::from(number.value), 1, u64::from(u32::MAX), check);
    }
    if let Some(wait) = &policy.ask_wait
        && wait.0 > 0
        && !(ASK_WAIT_MS_MIN..=ASK_WAIT_MS_MAX).contains(&wait.0)
    {
        let (least, most) = (ASK_WAIT_MS_MIN / 1_000, ASK_WAIT_MS_MAX / 60_000);
        let message = format!("`ask_wait` must be {least} s to {most} min: an agent that waits holds its slot");
        check.report(wait.span(), message, "write a time between, or \"off\"");
    }
    if let Some(number) = &policy.capsule_tokens {
        between("capsule_tokens", number, number.value, 500, 1_000_000, check);
    }
    for rule in &policy.command {
        if rule.prefix.is_empty() || rule.prefix.iter().any(|word| word.is_empty()) {
            let help = "write the program and its first arguments, e.g. [\"git\", \"push\"]";
            check.report(rule.prefix.span(), "a command rule without its words", help);
        }
    }
    if let Some(protect) = &policy.protect {
        check.globs(protect);
    }
    for host in policy.hosts.iter() {
        if let Err(cause) = host.parse::<HostPattern>() {
            check.report(host.span(), cause, "write a name (\"example.org\", \"*.example.org\") or an address, with :PORT for another than 80 and 443");
        }
    }
    if let Some(host) = policy.hosts.first().filter(|_| !policy.network && policy.setup_network == Some(false)) {
        check.report(
            host.span(),
            "nothing may reach these hosts",
            "set `network = true`, or leave `setup_network` out",
        );
    }
}

impl Check<'_> {
    pub(super) fn positive(&mut self, key: &str, number: &At<f64>) {
        if !(number.value > 0.0 && number.value <= 1e9) {
            let message = format!("`{key}` must be more than zero, not {}", number.value);
            self.report(number.span(), message, "leave it out for no limit");
        }
    }

    /// What the job, or one subtask, may spend.
    pub(super) fn spending(&mut self, usd: Option<&At<f64>>, tokens: Option<&At<u64>>) {
        if let Some(usd) = usd {
            self.positive("usd", usd);
        }
        if let Some(tokens) = tokens {
            between("tokens", tokens, tokens.value, 1, u64::MAX, self);
        }
    }
}

/// Numbers with a smallest and a largest value.
pub(super) fn between<T>(key: &str, at: &At<T>, value: u64, min: u64, max: u64, check: &mut Check<'_>) {
    if value < min {
        check.report(at.span(), format!("`{key}` must be at least {min}, not {value}"), "raise it, or leave it out");
    } else if value > max {
        check.report(at.span(), format!("`{key}` must be at most {max}, not {value}"), "lower it, or leave it out");
    }
}
