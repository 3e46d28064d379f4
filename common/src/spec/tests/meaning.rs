use super::{HEAD, TASK, after_head, check};

#[test]
fn names_and_references() {
    after_head("[[task]]\nid = 'a'\nladder = ['rules']\n[[task]]\nid = 'a'\nladder = ['rule']\n", &["?"]);
    after_head("[[task]]\nid = 'drop'\nladder = []\nafter = ['dorp2', 'x*', 'drop']\n", &["?"]);
    after_head(
        "[[map]]\nid = 'lazy-{stem}'\nfiles='*'\nladder = ['rules']\n[[map]]\nid = 'lazy-{dir}'\nfiles='*'\nladder = ['rules']\n[[task]]\nid='t'\nladder=['rules']\nafter=['lazy-main', 'lazy-*', 'lzy', 'other-1']\n",
        &["?"],
    );
}

#[test]
fn cycles_are_named_node_by_node() {
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['b']\n[[task]]\nid = 'b'\nladder = ['rules']\nafter = ['c']\n[[map]]\nid = 'c-{stem}'\nname = 'c'\nfiles = '*'\nladder = ['rules']\nafter = ['a']\n",
        &["?"],
    );
    after_head("[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['a']\n", &["?"]);
    after_head(
        "[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['c-x']\n[[map]]\nid = 'c-{stem}'\nfiles = '*'\nladder = ['rules']\nafter = ['a']\n",
        &["?"],
    );
    // Everything else first: a glob never means the subtask itself.
    after_head("[[task]]\nid = 'a'\nladder = ['rules']\nafter = ['*']\n[[task]]\nid = 'b'\nladder = ['rules']\n", &[]);
}

#[test]
fn paths_outside_the_repository() {
    after_head(
        &format!("{TASK}write = [\n'/etc/passwd',\n'../other/**',\n'src/../../x',\n'C:\\x',\n'~/x',\n'./src',\n'src/',\n'!a',\n'',\n'a[',\n'.git/config',\n'src/**']\n"),
        &["?"],
    );
    let text = HEAD.replace("path = \".\"\n", "path = \".\"\n[repo.env]\ncache = ['/tmp']\nlockfiles = ['../x']\n[[repo.derived]]\npaths = '/x'\nregenerate = 'x'\n");
    check(&format!("{text}{TASK}[policy]\nprotect = ['..']\n"), &["?"]);
}

#[test]
fn maps() {
    after_head(
        "[[map]]\nid = 'lazy-{stm}'\nfiles = []\nexclude = ['/x']\ncontaining = 'a('\nladder = ['rules']\npilot = 0\nleft = '['\n[[map]]\nid = 'b-{stem'\nfiles = '../*'\nladder = ['rules']\nwrite = []\n",
        &["?"],
    );
    after_head("[[task]]\nid = 'a-{n}'\nladder = ['rules']\n[[task]]\nid = 'a b'\nladder = ['rules']\n", &["?"]);
}

#[test]
fn secrets_stay_with_checks() {
    let text = HEAD.replace("path = \".\"\n", "path = \".\"\n[repo.env]\nsecrets = ['NPM_TOKEN', 'a=b', 'OK']\npass = ['NPM_TOKEN']\n");
    check(
        &format!("{text}{TASK}[agent.s]\nkind='command'\nrun='x'\n[agent.s.env]\nNPM_TOKEN = '1'\n[agent.t]\nkind='command'\nrun='x'\n[agent.t.env]\nTOKEN = '${{OK}}'\n"),
        &["?"],
    );
}

#[test]
fn repositories_and_limits() {
    check(&HEAD.replace("[[repo]]\npath = \".\"\n", ""), &["?"]);
    after_head(&format!("{TASK}[[repo]]\nname = 'other'\n"), &["?"]);
    after_head(&format!("batch = 0\n{TASK}attempts = 1000\n[budget]\nparallel = 0\nusd = -1\nhours = 0\n[policy]\ncapsule_tokens = 5\n"), &["?"]);
    check(&format!("{}{TASK}", HEAD.replace("\"g\"\n", "' '\nname = 'Bad Name'\n")), &["?"]);
}
