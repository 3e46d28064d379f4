//! The job that is run while everything around it breaks: files to change, each by its own
//! subtask with a real program, a real check and a real gate over all of them.

use crate::World;

/// The job's name.
pub const JOB: &str = "chaos";

/// Subtasks that come after all the others.
const LAST: usize = 2;

/// A repository for `subtasks` subtasks, and the job file over it.
pub fn make(subtasks: usize) -> World {
    let files: Vec<(String, String)> =
        (0..maps(subtasks)).map(|n| (path(n), format!("hello {n}\nkeep this line\n"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.push(("list.txt", "words\n"));
    all.push((
        "gate.sh",
        "set -e\nfor f in src/*.txt; do grep -q 'keep this line' \"$f\"; done\n! grep -rq BROKEN src\n",
    ));
    let world = World::new(&all);
    world.job(&format!(
        r#"goal = "Say goodbye while everything breaks"
name = "{JOB}"

[[repo]]
name = "app"
path = "repo"
base = "main"

[agent.edit]
kind = "command"
run = "sleep 0.$(( $$ % 4 + 1 )); sed -i s/hello/goodbye/ {{files}}"
[agent.list-one]
kind = "command"
run = "echo list-one >> list.txt"
[agent.list-two]
kind = "command"
run = "echo list-two >> list.txt"

[[map]]
name = "words"
id = "word-{{stem}}"
files = "src/*.txt"
containing = "hello"
group = "file"
instructions = "Replace hello in {{file}}"
ladder = ["edit"]
check = "! grep -q hello {{files}}"
attempts = 20

[[task]]
id = "list-one"
after = ["word-*"]
write = ["list.txt"]
instructions = "Add a line"
ladder = ["list-one"]
attempts = 20
[[task]]
id = "list-two"
after = ["list-one"]
write = ["list.txt"]
instructions = "Add a line"
ladder = ["list-two"]
attempts = 20

[gate]
run = "sh gate.sh"

[budget]
parallel = 8
"#
    ));
    world
}

fn maps(subtasks: usize) -> usize {
    subtasks.saturating_sub(LAST)
}

fn path(n: usize) -> String {
    format!("src/f{n:03}.txt")
}

/// What the result must hold: path and text of every file.
pub fn expected(subtasks: usize) -> Vec<(String, String)> {
    let mut all: Vec<_> = (0..maps(subtasks)).map(|n| (path(n), format!("goodbye {n}\nkeep this line\n"))).collect();
    all.push(("list.txt".to_owned(), "words\nlist-one\nlist-two\n".to_owned()));
    all
}
