//! Unknown, missing and mistyped keys.

use super::{HEAD, TASK, after_head, check};
use crate::spec::load;

#[test]
fn syntax() {
    check(
        "goal = \"x\n",
        &["1:10: not TOML: invalid basic string, expected `\"` (help: see https://toml.io for the syntax)"],
    );
    check(
        "goal = 1\ngoal = 2\n",
        &["2:1: not TOML: duplicate key (help: keep one of the two; a table that repeats is written [[like this]])"],
    );
    check(
        "[gate]\nrun = 'a'\n[gate]\n",
        &["3:2: not TOML: duplicate key (help: keep one of the two; a table that repeats is written [[like this]])"],
    );
}

#[test]
fn unknown_keys_with_the_nearest_one() {
    after_head(
        "batc = 3\n[[task]]\nid = 'a'\nladdr = ['rules']\nladder = ['rules']\nzzzzzz = 1\n[polisy]\n",
        &[
            "9:1: unknown key `batc` in [gate] (help: did you mean `batch`?)",
            "12:1: unknown key `laddr` in [[task]] (help: did you mean `ladder`?)",
            "14:1: unknown key `zzzzzz` in [[task]] (help: known here: id, after, write, ladder, instructions, check, checks, timeout, attempts, land_with, constraints, left and 8 more)",
            "15:2: unknown key `polisy` at the top of the file (help: did you mean `policy`?)",
        ],
    );
    let text = HEAD.replace("path = \".\"\n", "path = \".\"\n[repo.env]\nsecret = ['A']\n[[repo.derived]]\npath='a'\n");
    check(
        &format!("{text}{TASK}"),
        &[
            "5:1: unknown key `secret` in [repo.env] (help: did you mean `secrets`?)",
            "6:1: missing key `paths` in [[repo.derived]] (help: add `paths`: Globs of the files.)",
            "6:1: missing key `regenerate` in [[repo.derived]] (help: add `regenerate`: Makes them again.)",
            "7:1: unknown key `path` in [[repo.derived]] (help: did you mean `paths`?)",
        ],
    );
}

#[test]
fn missing_keys() {
    check(
        "",
        &[
            "1:1: missing key `gate` at the top of the file (help: add `gate`: What an integrated change must pass before it lands.)",
            "1:1: missing key `goal` at the top of the file (help: add `goal`: What the job is for, in a sentence; every agent reads it.)",
            "1:1: no repository: there is no [[repo]] (help: add [[repo]] with path = \".\")",
            "1:1: nothing to do: there is no [[task]] and no [[map]] (help: add one)",
        ],
    );
    after_head(
        "[[task]]\nid = 'a'\n[[task]]\nladder = ['rules']\n[[map]]\nid = 'm-{stem}'\n",
        &[
            "9:1: missing key `ladder` in [[task]] (help: add `ladder`: Names of agents, cheapest first; the next one gets what the last one left.)",
            "11:1: missing key `id` in [[task]] (help: add `id`: Name of the subtask, unique in the file.)",
            "13:1: missing key `files` in [[map]] (help: add `files`: Globs of the files, relative to the repository.)",
            "13:1: missing key `ladder` in [[map]] (help: add `ladder`: Names of agents, cheapest first; the next one gets what the last one left.)",
        ],
    );
}

#[test]
fn wrong_types_are_all_found() {
    after_head(
        "batch = 'many'\ntimeout = 30\n[[task]]\nid = 5\nladder = ['rules']\n[[task]]\nid = 'b'\nladder = [1]\nattempts = -1\ntimeout = '5 weeks'\ncheck = []\n[budget]\nusd = 'x'\n[policy]\nmax_file = '5'\nnetwork = 1\nsandbox = 'on'\nprotect = {}\n",
        &[
            "9:9: `batch`: invalid type: string \"many\", expected a whole number (help: Largest number of subtasks gated together; 8 when left out.)",
            "10:11: `timeout`: the number 30 where a duration such as \"30m\" belongs (help: write a number and a unit, e.g. \"90s\", \"30m\", \"2h\" or \"1h30m\")",
            "12:6: `id`: invalid type: integer `5`, expected a string (help: Name of the subtask, unique in the file.)",
            "16:11: `ladder`: invalid type: integer `1`, expected a string (help: Names of agents, cheapest first; the next one gets what the last one left.)",
            "17:12: `attempts`: invalid value: integer `-1`, expected a whole number (help: How often it may be tried; 3 when left out.)",
            "18:11: `timeout`: not a duration: \"5 weeks\" (help: write a number and a unit, e.g. \"90s\", \"30m\", \"2h\" or \"1h30m\")",
            "19:9: `check`: an empty command (help: name the program first, or leave the key out)",
            "21:7: `usd`: invalid type: string \"x\", expected a number (help: US dollars.)",
            "23:12: `max_file`: not a size: \"5\" (help: write a number and a unit, e.g. \"500KB\", \"5MB\" or \"1GiB\")",
            "24:11: `network`: invalid type: integer `1`, expected a boolean (help: Whether agents, checks and gates reach the hosts below; false when left out: no network at all.)",
            "25:11: `sandbox`: unknown variant `on`, expected one of `read-only`, `workspace-write`, `danger-full-access`, `off` (help: \"read-only\", \"workspace-write\" (default) or \"danger-full-access\".)",
            "26:11: `protect`: invalid type: a table, expected a string or an array of strings (help: Globs of paths no patch may touch unless its subtask names them; tests, CI and what the gate names when left out.)",
        ],
    );
    check(
        &format!("{}{TASK}", HEAD.replace("\"g\"", "7").replace("\"true\"", "''")),
        &[
            "1:8: `goal`: invalid type: integer `7`, expected a string (help: What the job is for, in a sentence; every agent reads it.)",
            "8:7: `run`: an empty command (help: write a shell line, or leave the key out)",
        ],
    );
    after_head(
        "[[map]]\nid = 'm-{stem}'\nfiles = ['a', 3]\nladder = ['rules']\ngroup = 'fil'\n[[map]]\nid = 'n-{stem}'\nfiles = 'a'\nladder = ['rules']\ngroup = 0\n",
        &[
            "11:15: `files`: invalid type: integer `3`, expected a string (help: Globs of the files, relative to the repository.)",
            "13:9: `group`: not a group: \"fil\" (help: write \"file\", \"directory\", a number of files, or \"tokens:20000\")",
            "18:9: `group`: a group of 0 files (help: write \"file\", \"directory\", a number of files, or \"tokens:20000\")",
        ],
    );
}

#[test]
fn kinds_of_agents() {
    after_head(
        "[agent.coder]\nkind = 'modell'\nprofile = 'gpt'\n[agent.script]\nkind = 'comand'\nrun = 'x'\n[[task]]\nid = 'a'\nladder = ['coder', 'script', 'scrip', 'zz']\n",
        &[
            "10:8: unknown kind of agent \"modell\" (agent `coder`) (help: did you mean `model`?)",
            "13:8: unknown kind of agent \"comand\" (agent `script`) (help: did you mean `command`?)",
            "17:30: unknown agent `scrip` in the ladder of `a` (help: did you mean `script`?)",
            "17:39: unknown agent `zz` in the ladder of `a` (help: known here: coder, rules, script)",
        ],
    );
    after_head(
        &format!(
            "{TASK}[agent.a]\nkind = 'codemod'\nrun = 'x'\n[agent.b]\nkind = 'command'\nrules = 'x'\n[agent.c]\nrun = 'x'\n"
        ),
        &[
            "13:8: missing key `rules` in the codemod `a` (help: add `rules`: the file of ast-grep rules, relative to the job file)",
            "14:7: `run` means nothing for a codemod (agent `a`) (help: remove it, or use kind = \"command\", \"acp\" or \"codex\")",
            "16:8: missing key `run` in the command `b` (help: add `run`: a shell line, or a program and its arguments)",
            "17:9: `rules` means nothing for a command (agent `b`) (help: remove it, or use kind = \"codemod\")",
            "18:1: missing key `kind` in [agent.c] (help: add `kind`: \"codemod\" (ast-grep rules), \"command\" (any program), \"model\" (Longhaul's own loop around a model), \"acp\" (an agent that speaks the Agent Client Protocol) or \"codex\" (Codex through its App Server).)",
        ],
    );
}

#[test]
fn a_file_that_is_not_there() {
    let path = std::env::temp_dir().join("longhaul-no-such-folder/longhaul.toml");
    let problems = load(&path).expect_err("it does not exist");
    let expected = format!(
        "{}:1:1: there is no job file here (help: run `longhaul init` to write one, or name another file)",
        path.display()
    );
    assert_eq!(problems.to_string(), expected);
}
