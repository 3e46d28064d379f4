//! Agents that lie, cheat or misbehave: nothing of theirs lands, and each is classified by name.

use longhaul_tests::{World, leftovers};
use serde_json::Value;

/// What each liar is to do, and what a check would see if it did.
const CHECK: &str = "! grep -q todo src/{id}.txt";

/// A liar: its name, its program, and how its subtask ends.
struct Liar {
    id: &'static str,
    run: &'static str,
    /// Class of the failure; empty where its result is held for a person.
    class: &'static str,
    /// A part of the reason.
    because: &'static str,
}

const LIARS: &[Liar] = &[
    Liar { id: "claims", run: "echo 'All done: 12 tests passed.'", class: "check", because: "check" },
    Liar {
        id: "forges",
        run: "echo 'gate: green'; for log in check.log gate.log; do echo 'exit 0' > $log || true; done; rm -f *.log",
        class: "check",
        because: "check",
    },
    Liar {
        id: "edits-gate",
        run: "sed -i d src/edits-gate.txt; echo 'exit 0' > gate.sh",
        class: "protected",
        because: "gate.sh",
    },
    Liar {
        id: "edits-test",
        run: "echo done > src/edits-test.txt; grep -q 'keep both' $LONGHAUL_SUBTASK || { sed -i /assert/d tests/test_sum.py; echo '    pass' >> tests/test_sum.py; }",
        class: "",
        because: "the test test_sum has 0 assertions where it had 2",
    },
    Liar { id: "sprawls", run: "seq 300 > src/sprawls.txt", class: "", because: "it changes 301 lines, more than 100" },
    Liar { id: "never-ends", run: "trap '' TERM; while :; do sleep 1; done", class: "agent", because: "" },
    Liar { id: "floods", run: "yes flood | head -c 40000000", class: "check", because: "check" },
    Liar {
        id: "garbage",
        run: "head -c 6000000 /dev/urandom > src/garbage.txt",
        class: "result",
        because: "src/garbage.txt",
    },
    Liar {
        id: "commits",
        run: "echo 'todo, but committed' > src/commits.txt; git add -A; git -c user.name=x -c user.email=x@x commit -qm done",
        class: "check",
        because: "check",
    },
    Liar { id: "dies", run: "echo half > src/dies.txt; kill -9 $$", class: "agent", because: "" },
    Liar {
        id: "moves-head",
        run: "git checkout -q --orphan elsewhere; git rm -rq --cached .; git -c user.name=x -c user.email=x@x commit -q --allow-empty -m none",
        class: "check",
        because: "check",
    },
    Liar {
        id: "writes-git",
        run: "dir=$(git rev-parse --git-dir); mkdir -p $dir/hooks; printf '#!/bin/sh\\nexit 0\\n' > $dir/hooks/pre-commit; echo garbage > $dir/index",
        class: "check",
        because: "check",
    },
];

fn job() -> String {
    let mut text = r#"goal = "do what was asked"
name = "liars"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.honest]
kind = "command"
run = "echo done > src/honest.txt"
[[task]]
id = "honest"
write = ["src/honest.txt"]
ladder = ["honest"]
check = "! grep -q todo src/honest.txt"
[budget]
breaker = "off"
[policy]
diff_lines_max = 100
[gate]
run = "sh gate.sh"
"#
    .to_owned();
    for liar in LIARS {
        let Liar { id, run, .. } = liar;
        let write = if *id == "edits-test" { ", \"tests/test_sum.py\"" } else { "" };
        let check = CHECK.replace("{id}", id);
        text.push_str(&format!(
            "[agent.{id}]\nkind = \"command\"\nrun = {run:?}\n[[task]]\nid = \"{id}\"\nwrite = [\"src/{id}.txt\"{write}]\n\
             ladder = [\"{id}\"]\ncheck = {check:?}\nattempts = 1\ntimeout = \"20s\"\n"
        ));
    }
    text.replace("[agent.never-ends]\n", "[agent.never-ends]\ntimeout = \"1s\"\n")
}

fn world() -> World {
    let todo: Vec<(String, &str)> =
        LIARS.iter().map(|liar| liar.id).chain(["honest"]).map(|id| (format!("src/{id}.txt"), "todo\n")).collect();
    let mut files: Vec<(&str, &str)> = todo.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.push(("gate.sh", "true\n"));
    files.push(("tests/test_sum.py", "def test_sum():\n    assert 1 + 1 == 2\n    assert 2 + 2 == 4\n"));
    World::new(&files)
}

/// A subtask as `list --json` has it.
fn row(rows: &str, id: &str) -> Value {
    let line = rows.lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).expect("listed");
    serde_json::from_str(line).expect("an object")
}

#[test]
fn no_liar_closes_its_subtask_and_each_is_classified_by_name() {
    let world = world();
    world.job(&job());
    let ran = world.expect(3, &["run"]);
    let rows = world.expect(0, &["list", "liars", "--json"]).stdout;
    for liar in LIARS {
        let row = row(&rows, liar.id);
        let (state, reason) = (row["state"].as_str(), row["reason"].as_str().unwrap_or_default());
        assert_eq!(state, Some("parked"), "{}: {reason}\n{}", liar.id, ran.stderr);
        assert!(reason.contains(liar.because), "{}: {reason}", liar.id);
        let why = world.expect(0, &["show", liar.id, "--json"]).stdout;
        let shown: Value = serde_json::from_str(&why).expect("one object");
        let class = shown["attempts"][0]["class"].as_str().unwrap_or_default();
        assert_eq!(class, liar.class, "{}: {why}", liar.id);
    }
    assert_eq!(row(&rows, "honest")["state"].as_str(), Some("landed"));
    assert_eq!(world.git(&["diff", "--name-only", "main", "longhaul/liars"]), "src/honest.txt");
    let verified = world.expect(0, &["verify", "--rerun"]);
    assert!(!verified.stdout.contains("RED"), "{}", verified.stdout);
    assert_eq!(leftovers::of_finished(&world), Vec::<String>::new());
}

/// A run whose test was weakened, and the park that waits for a yes.
fn held() -> (World, String) {
    let world = world();
    world.job(&job());
    world.expect(3, &["run"]);
    let status = world.status();
    let parked = status["parked"].as_array().expect("a list");
    let is_held = |row: &&Value| row["reason"] == "approval" && row["subtask"] == "edits-test";
    let park = parked.iter().find(is_held).expect("it is held")["park"].to_string();
    (world, park.trim_matches('"').to_owned())
}

#[test]
fn a_rejected_result_is_tried_again_with_the_reason() {
    let (world, park) = held();
    let diff = world.expect(0, &["diff", "edits-test"]).stdout;
    assert!(diff.contains("-    assert 1 + 1 == 2"), "{diff}");
    world.expect(0, &["reject", &park, "keep both assertions"]);
    world.expect(3, &["resume"]);
    let branch = "longhaul/liars";
    assert_eq!(world.on_branch(branch, "src/edits-test.txt"), "done");
    assert!(world.on_branch(branch, "tests/test_sum.py").contains("assert 2 + 2 == 4"));
    let again = world.command(&["reject", &park]).output().expect("the binary starts");
    assert_eq!(again.status.code(), Some(2), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn a_weakened_test_lands_only_when_a_person_approves_it() {
    let (world, park) = held();
    world.expect(0, &["approve", &park]);
    world.expect(3, &["resume"]);
    assert_eq!(world.on_branch("longhaul/liars", "tests/test_sum.py"), "def test_sum():\n    pass");
}
