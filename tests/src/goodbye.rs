//! The job that most tests run: every file below `src` says goodbye instead of hello, each by a
//! subtask of its own.

use crate::World;

/// What the job is called.
pub const JOB: &str = "goodbye";

/// The head of its job file.
pub const HEAD: &str = r#"goal = "Say goodbye everywhere"
name = "goodbye"

[[repo]]
name = "app"
path = "repo"
base = "main"
"#;

/// A gate that runs the repository's own script, and room for four attempts.
pub const GATE: &str = r#"
[gate]
run = "sh gate.sh"

[budget]
parallel = 4
"#;

/// Every file still has its second line.
pub const KEPT: &str = "set -e\nfor f in src/*.txt; do grep -q 'keep this line' \"$f\"; done\n";

/// A file of the job.
pub fn path(n: usize) -> String {
    format!("src/f{n:02}.txt")
}

/// A repository of `count` files that say hello, and the script of its gate.
pub fn world(count: usize, gate: &str) -> World {
    let files: Vec<(String, String)> = (0..count).map(|n| (path(n), format!("hello {n}\nkeep this line\n"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.push(("gate.sh", gate));
    World::new(&all)
}

/// The agent, whose `run` is a TOML value, and the map over the files, with further keys of the map.
pub fn words(run: &str, further: &str) -> String {
    format!(
        r#"
[agent.edit]
kind = "command"
run = {run}

[[map]]
name = "words"
id = "word-{{stem}}"
files = "src/*.txt"
containing = "hello"
group = "file"
instructions = "Replace hello in {{file}}"
ladder = ["edit"]
{further}
"#
    )
}
