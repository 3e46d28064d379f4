//! Whole job files: what is right stays right, what is cut short never panics.

use std::path::Path;

use super::{HEAD, TASK, parsed};
use crate::spec::{CommandLine, Group, Interval, PROBLEMS_MAX, Period, Size, parse, render, schema};

const DESIGN: &str = r#"goal = "Replace lazy_static with std::sync::LazyLock"
name = "lazy"
carry = ["scripts/**", "lib/*.py"]

[[repo]]
name = "api"
path = "../api"
base = "main"
fix  = "cargo fmt"
[repo.env]
setup    = "cargo fetch"
cache    = ["target"]
services = [{ name = "db", start = ["postgres", "-p", "$PORT"], ready = "pg_isready", ports = ["PORT"], ready_timeout = "10s" }]
secrets  = ["TOKEN"]
pass     = ["CARGO_HOME"]
[[repo.derived]]
paths = ["Cargo.lock"]
regenerate = "cargo update --workspace --offline"

[agent.rules]
kind  = "codemod"
rules = "rules/lazy-lock.yml"
[agent.script]
kind = "command"
run  = ["{job_dir}/migrate.sh"]
timeout = "5m"
env = { MODE = "fast" }

[[task]]
id = "drop-dependency"
after = ["lazy-*", "docs"]
write = ["**/Cargo.toml"]
ladder = ["script"]
attempts = 2
timeout = "1h"
land_with = "alone"
[[map]]
id = "lazy-{stem}"
files = "src/**/*.rs"
exclude = ["src/gen/**"]
containing = 'lazy_static!'
group = "tokens:20_000"
pilot = 5
instructions = "do it"
ladder = ["rules", "script"]
check = "cargo check"
checks = [["cargo", "test"], "true"]
constraints = ["keep the public API"]
left = 'lazy_static!'
labels = ["rust", "big.disk"]
idle_timeout = "5m"
wip_every = "30s"
[[task]]
id = "docs"
ladder = ["script"]
labels = "rust"
wip_every = "off"

[gate]
run = "cargo test --workspace"
final = ["cargo", "test", "--all-features"]
batch = 4
labels = ["gate"]
idle_timeout = "2m"
[budget]
usd = 50
tokens = 20_000_000
hours = 1.5
parallel = 8
attempts = 100
[policy]
sandbox = "workspace-write"
network = false
protect = ["tests/**"]
max_file = "1MiB"
max_files = 10
max_output = "10KB"
capsule_tokens = 4000
"#;

#[test]
fn a_whole_file_is_read() {
    let file = parsed(DESIGN).expect("it is right");
    assert_eq!(file.repo[0].env.services[0].ready_timeout, Some(Period(10_000)));
    let map = &file.map[0];
    assert_eq!((map.group, map.select_name()), (Group::Tokens(20_000), "lazy".to_owned()));
    let names: Vec<_> = file.tables().iter().map(|table| table.name()).collect();
    assert_eq!(names, ["drop-dependency", "lazy", "docs"]);
    let checks: Vec<_> = file.tables()[1].work().all_checks().cloned().collect();
    let argv = CommandLine::Argv(vec!["cargo".to_owned(), "test".to_owned()]);
    assert_eq!(checks, [CommandLine::Shell("cargo check".to_owned()), argv, CommandLine::Shell("true".to_owned())]);
    let (tables, source) = (file.tables(), &file.source);
    let (lazy, docs) = (tables[1].work(), tables[2].work());
    assert_eq!(source.text(), DESIGN);
    assert_eq!(
        (lazy.idle_timeout.map(|at| at.value), lazy.wip_every.map(|at| at.value)),
        (Some(Period(300_000)), Some(Interval(30_000)))
    );
    assert_eq!((docs.labels.len(), docs.wip_every.map(|at| at.value)), (1, Some(Interval(0))));
    assert_eq!((file.carry.len(), file.gate.labels[0].as_str()), (2, "gate"));
    assert_eq!(file.policy.max_file, Some(Size(1 << 20)));
    assert_eq!(&DESIGN[map.files.span()], "\"src/**/*.rs\"");
    assert_eq!(&DESIGN[map.files[0].span()], "\"src/**/*.rs\"");
    assert_eq!(file.budget.usd.as_ref().map(|usd| usd.value), Some(50.0));
}

#[test]
fn the_schema_knows_the_keys() {
    let schema = schema();
    assert_eq!(schema["properties"]["task"]["items"]["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["goal", "gate"]));
    assert_eq!(schema["properties"]["map"]["items"]["required"], serde_json::json!(["id", "files", "ladder"]));
    let text = schema.to_string();
    assert!(!text.contains("null") && !text.contains("$ref"), "{text}");
    assert!(text.contains("Names of agents, cheapest first"), "{text}");
}

#[test]
fn every_problem_counts_and_the_list_ends() {
    let tasks: String = (0..150).map(|n| format!("[[task]]\nid = 't{n}'\nladder = ['nobody']\n")).collect();
    let problems = parse(Path::new("l.toml"), &format!("{HEAD}{tasks}")).expect_err("nobody is no agent");
    assert_eq!((problems.len(), problems.left_out()), (PROBLEMS_MAX, 50));
    assert!(problems.to_string().ends_with("… and 50 more"));
}

#[test]
fn drawn_with_the_line_it_points_at() {
    let text = format!("{HEAD}{}", TASK.replace("rules", "rulez"));
    let problems = parse(Path::new("longhaul.toml"), &text).expect_err("rulez is no agent");
    let expected = concat!(
        "  × unknown agent `rulez` in the ladder of `a`\n",
        "    ╭─[longhaul.toml:11:11]\n",
        " 10 │ id = 'a'\n",
        " 11 │ ladder = ['rulez']\n",
        "    ·           ───────\n",
        "    ╰────\n",
        "  help: did you mean `rules`?\n\n",
    );
    assert_eq!(render(&problems, &text, false, 80), expected);
    assert!(render(&problems, &text, true, 80).contains('\u{1b}'));
    // A source that changed meanwhile still gives the message.
    assert!(render(&problems, "", false, 80).contains("did you mean `rules`?"));
}

#[test]
fn no_text_makes_it_panic() {
    for (cut, _) in DESIGN.char_indices() {
        let _problems_or_file = parsed(&DESIGN[..cut]);
        let _problems_or_file = parsed(&format!("{}{}", &DESIGN[..cut], &DESIGN[cut + 1..]));
    }
}
