//! Values that parse and make no sense.

use super::{HEAD, TASK, after_head, check};

#[test]
fn names_and_references() {
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\n[[task]]\nid = 'a'\nladder = ['rule']\n",
        &[
            "13:6: duplicate id `a`: line 10 has it already (help: rename one of the two)",
            "14:11: unknown agent `rule` in the ladder of `a` (help: did you mean `rules`?)",
        ],
    );
    after_head(
        "[[task]]\nid = 'drop'\nladder = []\nafter = ['dorp2', 'x*', 'drop']\n",
        &[
            "11:10: the ladder of `drop` is empty (help: name at least one agent)",
            "12:10: unknown subtask `dorp2` in the `after` of `drop` (help: known here: drop)",
            "12:19: `x*` matches no subtask (help: see the ids of the tasks; `*` matches any text)",
        ],
    );
    after_head(
        "[[map]]\nid = 'lazy-{stem}'\nfiles='*'\nladder = ['rules']\n[[map]]\nid = 'lazy-{dir}'\nfiles='*'\nladder = ['rules']\n[[task]]\nid='t'\nladder=['rules']\nafter=['lazy-main', 'lazy-*', 'lzy', 'other-1']\n",
        &[
            "14:6: duplicate name `lazy`: line 10 has it already (help: give the map a `name` of its own)",
            "20:31: unknown subtask `lzy` in the `after` of `t` (help: did you mean `lazy`?)",
            "20:38: unknown subtask `other-1` in the `after` of `t` (help: known here: lazy, t)",
        ],
    );
}

#[test]
fn cycles_are_named_node_by_node() {
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['b']\n[[task]]\nid = 'b'\nladder = ['rules']\nafter = ['c']\n[[map]]\nid = 'c-{stem}'\nname = 'c'\nfiles = '*'\nladder = ['rules']\nafter = ['a']\n",
        &["12:10: subtasks wait for each other: a -> b -> c -> a (help: remove one of these from an `after`)"],
    );
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['a']\n",
        &["12:10: subtasks wait for each other: a -> a (help: remove one of these from an `after`)"],
    );
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['c-x']\n[[map]]\nid = 'c-{stem}'\nfiles = '*'\nladder = ['rules']\nafter = ['a']\n",
        &["12:10: subtasks wait for each other: a -> c -> a (help: remove one of these from an `after`)"],
    );
    // Everything else first: a glob never means the subtask itself.
    after_head("[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['*']\n[[task]]\nid = 'b'\nladder = ['rules']\n", &[]);
}

#[test]
fn paths_outside_the_repository() {
    after_head(
        &format!(
            "{TASK}write = [\n'/etc/passwd',\n'../other/**',\n'src/../../x',\n'C:\\x',\n'~/x',\n'./src',\n'src/',\n'!a',\n'',\n'a[',\n'.git/config',\n'src/**']\n"
        ),
        &[
            "13:1: \"/etc/passwd\" lies outside the repository: it starts at the root of the file system (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "14:1: \"../other/**\" lies outside the repository: it goes up with `..` (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "15:1: \"src/../../x\" lies outside the repository: it goes up with `..` (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "16:1: \"C:\\\\x\" lies outside the repository: it starts with a drive letter (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "17:1: \"~/x\" lies outside the repository: it starts at a home folder (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "18:1: \"./src\" matches no path: paths here do not start with `./` (help: leave out the `./`: \"src\")",
            "19:1: \"src/\" matches no file: it names a folder (help: for all files in it write \"src/**\")",
            "20:1: \"!a\" is a negation, which globs here do not have (help: leave files of a map out with `exclude`; elsewhere name what is meant)",
            "21:1: an empty path (help: write a glob such as \"src/**\", or leave it out)",
            "22:1: not a glob: \"a[\": unclosed character class; missing ']' (help: see the brackets, e.g. \"src/**/*.{js,ts}\")",
            "23:1: \".git/config\" is part of git's own folder (help: name files that git tracks)",
        ],
    );
    let text = HEAD.replace("path = \".\"\n", "path = \".\"\n[repo.env]\ncache = ['/tmp']\nlockfiles = ['../x']\n[[repo.derived]]\npaths = '/x'\nregenerate = 'x'\n");
    check(
        &format!("{text}{TASK}[policy]\nprotect = ['..']\n"),
        &[
            "5:10: \"/tmp\" lies outside the repository: it starts at the root of the file system (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "6:14: \"../x\" lies outside the repository: it goes up with `..` (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "8:9: \"/x\" lies outside the repository: it starts at the root of the file system (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "19:12: \"..\" lies outside the repository: it goes up with `..` (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
        ],
    );
}

#[test]
fn hosts() {
    let help =
        "write a name (\"example.org\", \"*.example.org\") or an address, with :PORT for another than 80 and 443";
    check(
        &format!(
            "{HEAD}{TASK}[policy]\nhosts = ['ok.example', 'https://x', '127.1', 'a:0']\nsetup_network = false\nsandbox = 'off'\n"
        ),
        &[
            "13:10: nothing may reach these hosts (help: set `network = true`, or leave `setup_network` out)",
            &format!("13:24: `https://x` has no port after its colon (help: {help})"),
            &format!("13:37: `127.1` is neither a name nor a whole address (help: {help})"),
            &format!("13:46: `a:0` has no port after its colon (help: {help})"),
        ],
    );
}

#[test]
fn maps() {
    after_head(
        "[[map]]\nid = 'lazy-{stm}'\nfiles = []\nexclude = ['/x']\ncontaining = 'a('\nladder = ['rules']\npilot = 0\nleft = '['\n[[map]]\nid = 'b-{stem'\nfiles = '../*'\nladder = ['rules']\nwrite = []\n",
        &[
            "10:6: unknown placeholder {stm} in the id \"lazy-{stm}\" (help: did you mean `stem`?)",
            "11:9: the map `lazy-{stm}` names no files (help: write a glob, e.g. \"src/**/*.rs\")",
            "12:12: \"/x\" lies outside the repository: it starts at the root of the file system (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
            "13:14: `containing` is not a regular expression: unclosed group (help: see https://docs.rs/regex for the syntax; escape with a backslash in 'single quotes')",
            "15:9: `pilot` must be at least 1, not 0 (help: raise it, or leave it out)",
            "16:8: `left` is not a regular expression: unclosed character class (help: see https://docs.rs/regex for the syntax; escape with a backslash in 'single quotes')",
            "18:6: `b-{stem` may write nothing: `write` is empty (help: name what it may write, or leave `write` out)",
            "18:6: a brace without its partner in the id \"b-{stem\" (help: write e.g. \"lazy-{stem}\")",
            "19:9: \"../*\" lies outside the repository: it goes up with `..` (help: write it relative to the root of the repository, e.g. \"src/**/*.rs\")",
        ],
    );
    after_head(
        "[[task]]\nid = 'a-{n}'\nladder = ['rules']\n[[task]]\nid = 'a b'\nladder = ['rules']\n",
        &[
            "10:6: the id \"a-{n}\" of a task holds a placeholder (help: placeholders are for the id of a [[map]]; write the id out)",
            "13:6: not an id: \"a b\" (help: use letters, digits and - _ . / : + @ = #, and start with no dash)",
        ],
    );
}

#[test]
fn secrets_stay_with_checks() {
    let text = HEAD.replace(
        "path = \".\"\n",
        "path = \".\"\n[repo.env]\nsecrets = ['NPM_TOKEN', 'a=b', 'OK']\npass = ['NPM_TOKEN']\n",
    );
    check(
        &format!(
            "{text}{TASK}[agent.s]\nkind='command'\nrun='x'\n[agent.s.env]\nNPM_TOKEN = '1'\n[agent.t]\nkind='command'\nrun='x'\n[agent.t.env]\nTOKEN = '${{OK}}'\n"
        ),
        &[
            "5:25: not a name of an environment variable: \"a=b\" (help: write its name alone, e.g. \"NPM_TOKEN\"; the value stays in the environment)",
            "6:9: `NPM_TOKEN` is a secret, and `pass` gives it to agents (help: remove it from `pass` or from `secrets`)",
            "19:13: `NPM_TOKEN` is a secret, and the agent `s` gets it in its env (help: secrets are for checks and gates; remove it from one of the two)",
            "24:9: `OK` is a secret, and the agent `t` gets it in its env (help: secrets are for checks and gates; remove it from one of the two)",
        ],
    );
}

#[test]
fn repositories_and_limits() {
    check(
        &HEAD.replace("[[repo]]\npath = \".\"\n", ""),
        &[
            "1:1: no repository: there is no [[repo]] (help: add [[repo]] with path = \".\")",
            "1:1: nothing to do: there is no [[task]] and no [[map]] (help: add one)",
        ],
    );
    after_head(
        &format!("{TASK}[[repo]]\nname = 'other'\n"),
        &["12:1: a second repository (help: one repository for now: write one job file for each)"],
    );
    after_head(
        &format!(
            "batch = 0\n{TASK}attempts = 1000\n[budget]\nparallel = 0\nusd = -1\nhours = 0\n[policy]\ncapsule_tokens = 5\n"
        ),
        &[
            "9:9: `batch` must be at least 1, not 0 (help: raise it, or leave it out)",
            "13:12: `attempts` must be at most 100, not 1000 (help: lower it, or leave it out)",
            "15:12: `parallel` must be at least 1, not 0 (help: raise it, or leave it out)",
            "16:7: `usd` must be more than zero, not -1 (help: leave it out for no limit)",
            "17:9: `hours` must be more than zero, not 0 (help: leave it out for no limit)",
            "19:18: `capsule_tokens` must be at least 500, not 5 (help: raise it, or leave it out)",
        ],
    );
    check(
        &format!("{}{TASK}", HEAD.replace("\"g\"\n", "' '\nname = 'Bad Name'\n")),
        &[
            "1:8: `goal` is empty (help: write it, or leave the key out)",
            "2:8: not a job name: \"Bad Name\" (lower-case letters, digits and dashes, at most 64) (help: write e.g. \"lazy-locks\")",
        ],
    );
}

#[test]
fn labels_and_idle_limits() {
    after_head(
        &format!(
            "labels = ['gate', 'a b']\nidle_timeout = '30m'\n{TASK}labels = ['']\nidle_timeout = '1h'\ntimeout = '1h'\nwip_every = '5ms'\n[[task]]\nid = 'b'\nladder = ['rules']\nlabels = '-x'\nwip_every = 'never'\nidle_timeout = 5\n"
        ),
        &[
            "9:19: not a label: \"a b\" (help: use letters, digits and - _ . , e.g. \"rust\" or \"gpu\")",
            "10:16: `idle_timeout` is no shorter than `timeout`, which ends it first (help: make it shorter, or raise `timeout`)",
            "14:11: not a label: \"\" (help: use letters, digits and - _ . , e.g. \"rust\" or \"gpu\")",
            "15:16: `idle_timeout` is no shorter than `timeout`, which ends it first (help: make it shorter, or raise `timeout`)",
            "17:13: `wip_every` must be at least 1 s (help: raise it, or write \"off\")",
            "21:10: not a label: \"-x\" (help: use letters, digits and - _ . , e.g. \"rust\" or \"gpu\")",
            "22:13: `wip_every`: not a duration: \"never\" (help: write a number and a unit, e.g. \"30s\" or \"5m\", or \"off\")",
            "23:16: `idle_timeout`: the number 5 where a duration such as \"30m\" belongs (help: write a number and a unit, e.g. \"90s\", \"30m\", \"2h\" or \"1h30m\")",
        ],
    );
}

#[test]
fn coverage_names_the_report_it_writes() {
    after_head(
        &format!("coverage = 'make cov'\n{TASK}"),
        &[
            "9:12: `coverage` in [gate] writes no report (help: name the file it writes its lcov report to as {coverage})",
        ],
    );
    after_head(&format!("coverage = ['cov', '--out={{coverage}}']\n{TASK}"), &[]);
}

#[test]
fn carried_files_lie_in_the_job_folder() {
    check(
        &format!("carry = ['/etc/*', '../x', 'scripts/**', 'scripts/']\n{HEAD}{TASK}"),
        &[
            "1:10: \"/etc/*\" lies outside the job file's folder: it starts at the root of the file system (help: write it relative to the job file's folder, e.g. \"scripts/**\")",
            "1:20: \"../x\" lies outside the job file's folder: it goes up with `..` (help: write it relative to the job file's folder, e.g. \"scripts/**\")",
            "1:42: \"scripts/\" matches no file: it names a folder (help: for all files in it write \"scripts/**\")",
        ],
    );
}
