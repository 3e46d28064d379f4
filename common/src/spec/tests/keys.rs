use super::{HEAD, TASK, after_head, check};
use crate::spec::load;

#[test]
fn syntax() {
    check("goal = \"x\n", &["1:10: not TOML: ? (help: see https://toml.io for the syntax)"]);
    check("goal = 1\ngoal = 2\n", &["?"]);
    check("[gate]\nrun = 'a'\n[gate]\n", &["?"]);
}

#[test]
fn unknown_keys_with_the_nearest_one() {
    after_head(
        "batc = 3\n[[task]]\nid = 'a'\nladdr = ['rules']\nladder = ['rules']\nzzzzzz = 1\n[polisy]\n",
        &[
            "9:1: unknown key `batc` in [gate] (help: did you mean `batch`?)",
            "12:1: unknown key `laddr` in [[task]] (help: did you mean `ladder`?)",
            "14:1: unknown key `zzzzzz` in [[task]] (help: known here: ?)",
            "15:2: unknown key `polisy` at the top of the file (help: did you mean `policy`?)",
        ],
    );
    let text = HEAD.replace("path = \".\"\n", "path = \".\"\n[repo.env]\nsecret = ['A']\n[[repo.derived]]\npath='a'\n");
    check(&format!("{text}{TASK}"), &["?"]);
}

#[test]
fn missing_keys() {
    check("", &["?"]);
    after_head("[[task]]\nid = 'a'\n[[task]]\nladder = ['rules']\n[[map]]\nid = 'm-{stem}'\n", &["?"]);
}

#[test]
fn wrong_types_are_all_found() {
    after_head(
        "batch = 'many'\ntimeout = 30\n[[task]]\nid = 5\nladder = ['rules']\n[[task]]\nid = 'b'\nladder = [1]\nattempts = -1\ntimeout = '5 weeks'\ncheck = []\n[budget]\nusd = 'x'\n[policy]\nmax_file = '5'\nnetwork = 1\nsandbox = 'on'\nprotect = {}\n",
        &["?"],
    );
    check(&format!("{}{TASK}", HEAD.replace("\"g\"", "7").replace("\"true\"", "''")), &["?"]);
    after_head("[[map]]\nid = 'm-{stem}'\nfiles = ['a', 3]\nladder = ['rules']\ngroup = 'fil'\n[[map]]\nid = 'n-{stem}'\nfiles = 'a'\nladder = ['rules']\ngroup = 0\n", &["?"]);
}

#[test]
fn kinds_of_agents() {
    after_head(
        "[agent.coder]\nkind = 'acp'\ncommand = ['opencode', 'acp']\n[agent.script]\nkind = 'comand'\nrun = 'x'\n[[task]]\nid = 'a'\nladder = ['coder', 'script', 'scrip', 'zz']\n",
        &["?"],
    );
    after_head(&format!("{TASK}[agent.a]\nkind = 'codemod'\nrun = 'x'\n[agent.b]\nkind = 'command'\nrules = 'x'\n[agent.c]\nrun = 'x'\n"), &["?"]);
}

#[test]
fn a_file_that_is_not_there() {
    let path = std::env::temp_dir().join("longhaul-no-such-folder/longhaul.toml");
    let problems = load(&path).expect_err("it does not exist");
    let expected = format!("{}:1:1: there is no job file here (help: run `longhaul init` to write one, or name another file)", path.display());
    assert_eq!(problems.to_string(), expected);
}
