//! The job of these tests: files to change, with parts that wait for a file outside.

use longhaul_tests::World;

/// A repository of `count` files that say hello.
pub fn world(count: usize) -> World {
    let files: Vec<(String, String)> = (0..count).map(|n| (path(n), format!("hello {n}\nkeep this line\n"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.push(("gate.sh", "set -e\nfor f in src/*.txt; do grep -q 'keep this line' \"$f\"; done\n"));
    World::new(&all)
}

/// A file of it.
pub fn path(n: usize) -> String {
    format!("src/f{n:02}.txt")
}

/// The job over it; `edit` is the shell line that changes one file, `further` what comes besides.
pub fn write(world: &World, edit: &str, further: &str) {
    world.job(&format!(
        r#"goal = "Say goodbye everywhere"
name = "goodbye"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.edit]
kind = "command"
run = '''{edit}'''
[[map]]
name = "words"
id = "word-{{stem}}"
files = "src/*.txt"
containing = "hello"
group = "file"
instructions = "Replace hello in {{file}}"
ladder = ["edit"]
{further}
[gate]
run = "sh gate.sh"
[budget]
parallel = 4
"#
    ));
}

/// Changes a file.
pub const EDIT: &str = "sed -i s/hello/goodbye/ {files}";

/// Changes a file once [`open`] was called; gives up after a minute.
pub fn edit_behind_a_door(world: &World) -> String {
    let door = world.folder().join("door");
    format!(
        "echo at the door; for n in $(seq 600); do test -e {0} && break; sleep 0.1; done; test -e {0}; {EDIT}",
        door.display()
    )
}

/// Lets [`edit_behind_a_door`] go on.
pub fn open(world: &World) {
    std::fs::write(world.folder().join("door"), "").expect("writable");
}

/// Every file is changed on the branch.
pub fn check(world: &World, count: usize) {
    let branch = world.branch();
    for n in 0..count {
        assert_eq!(world.on_branch(&branch, &path(n)), format!("goodbye {n}\nkeep this line"));
    }
}
