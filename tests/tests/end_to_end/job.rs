//! Jobs that several tests run.

use longhaul_tests::World;

/// A job of `count` subtasks, each changing its own file, with a gate that looks at all of them.
pub fn greeting(count: usize) -> World {
    let files: Vec<(String, String)> =
        (0..count).map(|n| (format!("src/f{n:02}.txt"), format!("hello {n}\nkeep this line\n"))).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    all.push((
        "gate.sh",
        "set -e\nfor f in src/*.txt; do grep -q 'keep this line' \"$f\"; done\n! grep -rq BROKEN src\n",
    ));
    let world = World::new(&all);
    world.job(&greeting_job("s/hello/goodbye/"));
    world
}

/// The job file of [`greeting`], with another edit.
pub fn greeting_job(edit: &str) -> String {
    format!(
        r#"goal = "Say goodbye everywhere"
name = "goodbye"

[[repo]]
name = "app"
path = "repo"
base = "main"

[agent.edit]
kind = "command"
run = ["sed", "-i", "{edit}", "{{files}}"]

[[map]]
name = "words"
id = "word-{{stem}}"
files = "src/*.txt"
containing = "hello"
group = "file"
instructions = "Replace hello in {{file}}"
ladder = ["edit"]
check = "! grep -q hello src/none"

[gate]
run = "sh gate.sh"

[budget]
parallel = 4
"#
    )
}
