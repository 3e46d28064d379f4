//! The stand-in for ripgrep says what ripgrep says, and agents find it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use longhaul_tests::World;
use longhaul_tests::world::binary;
use serde_json::Value;

/// What ripgrep itself says.
const SAYS: &str = include_str!("ripgrep.txt");

/// The files that [`SAYS`] is about.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("src/a.rs", "fn one() {}\nfn two() { one() }\n"),
        ("src/b.py", "def one():\n    pass\n\nONE = one\n"),
        (".gitignore", "target\n"),
        ("target/x", "one\n"),
        (".conf/y", "one\n"),
        ("bin", "one\0two\n"),
        (".git/HEAD", ""),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    }
    fs::remove_file(dir.path().join(".git/HEAD")).expect("removed");
    dir
}

fn rg(within: &Path, args: &[impl AsRef<std::ffi::OsStr>]) -> Output {
    let links = tempfile::tempdir().expect("a folder");
    symlink(binary(), links.path().join("rg")).expect("linked");
    let mut command = Command::new(links.path().join("rg"));
    command.args(args).current_dir(within).stdin(Stdio::null()).output().expect("it starts")
}

#[test]
fn it_says_what_ripgrep_says() {
    let dir = folder();
    let mut blocks = SAYS.split("\n$ rg ").skip(1).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let (line, rest) = block.split_once("\n= ").expect("a line and a code");
        let mut rest = rest.lines();
        let code: i32 = rest.next().and_then(|code| code.parse().ok()).expect("a code");
        let wanted: Vec<&str> = rest.map(|line| line.strip_prefix("> ").expect("output")).collect();
        let out = rg(dir.path(), &shell_words::split(line).expect("words"));
        let said = String::from_utf8(out.stdout).expect("text").replace('\0', "\\0");
        assert_eq!((out.status.code(), said.lines().collect::<Vec<_>>()), (Some(code), wanted), "rg {line}");
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(code == 2, !errors.is_empty(), "rg {line}: {errors}");
    }
}

#[test]
fn events_are_those_of_ripgrep() {
    let dir = folder();
    let out = rg(dir.path(), &["--json", "two", "src"]);
    let events: Vec<Value> =
        String::from_utf8_lossy(&out.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["begin", "match", "end", "summary"]);
    let found = &events[1]["data"];
    assert_eq!(
        (&found["path"]["text"], &found["line_number"], &found["absolute_offset"]),
        (&"src/a.rs".into(), &2.into(), &12.into())
    );
    assert_eq!(events[3]["data"]["stats"]["matches"], 1);
}

#[test]
fn a_flag_it_has_not_and_an_unknown_type_are_refused_in_words() {
    let dir = folder();
    for (args, words) in [
        (&["--pre", "cat", "one"][..], "unexpected argument '--pre'"),
        (&["-t", "nothing", "one"], "`rg --type-list` names them"),
        (&[], "a pattern is missing"),
    ] {
        let out = rg(dir.path(), args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), said.contains(words)), (Some(2), true), "{args:?}: {said}");
    }
    let help = rg(dir.path(), &["--help"]);
    assert!(
        help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Flags mean what they mean in ripgrep")
    );
}

/// It is the last on their PATH, behind one that is installed.
#[test]
fn agents_find_it_and_checks_do_not() {
    let last = "\"${PATH##*:}/rg\"";
    let world = World::new(&[("main.rs", "fn main() {}\n")]);
    world.job(&format!(
        "goal = 'Search'\nname = 'search'\n[[repo]]\nname = 'app'\npath = 'repo'\n[gate]\nrun = 'true'\n\
         [agent.finder]\nkind = 'command'\nrun = '{last} -n fn main.rs > found.txt'\n\
         [[task]]\nid = 'find'\nladder = ['finder']\ninstructions = 'Find it.'\ncheck = '! test -e {last}'\n"
    ));
    world.expect(0, &["run"]);
    assert_eq!(world.on_branch(&world.branch(), "found.txt"), "1:fn main() {}");
}
