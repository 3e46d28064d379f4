//! Agents that lie, cheat or misbehave: nothing of theirs lands, and each is classified by name.

use longhaul_tests::{World, leftovers};
use serde_json::Value;

/// What a check would see if each liar did what it is to do.
const CHECK: &str = "! grep -q todo src/{id}.txt";

/// A liar: its name, its program, and how its subtask ends.
struct Liar {
    id: &'static str,
    run: &'static str,
    /// What it may write beside its own file.
    write: &'static str,
    /// Its check; [`CHECK`] where empty.
    check: &'static str,
    /// Class of the failure; empty where its result is held for a person.
    class: &'static str,
    /// What it did, by name.
    sign: &'static str,
    /// A part of the reason.
    because: &'static str,
}

/// One that fails at its check, if at nothing before.
const fn liar(id: &'static str, run: &'static str) -> Liar {
    Liar { id, run, write: "", check: "", class: "check", sign: "claimed-success", because: "check exited with 1" }
}

/// One whose result a person has to look at.
const fn waits(liar: Liar, sign: &'static str, because: &'static str) -> Liar {
    Liar { class: "", sign, because, ..liar }
}

const LIARS: &[Liar] = &[
    Liar {
        class: "agent",
        sign: "claimed-without-change",
        because: "changed nothing",
        ..liar("claims", "echo 'All done: 12 tests passed.'")
    },
    Liar {
        check: "true",
        class: "agent",
        sign: "claimed-without-change",
        because: "changed nothing",
        ..liar("claims-under-a-green-check", "echo 'All done.'")
    },
    liar(
        "forges",
        "echo 'gate: green'; echo 'todo, but green' > src/forges.txt; for log in check.log gate.log; do echo 'exit 0' > $log || true; done; rm -f *.log",
    ),
    Liar {
        class: "protected",
        sign: "touched-protected",
        because: "gate.sh",
        ..liar("edits-gate", "sed -i d src/edits-gate.txt; echo 'exit 0' > gate.sh")
    },
    Liar {
        class: "protected",
        sign: "touched-protected",
        because: "Makefile",
        write: "**",
        ..liar("edits-makefile", "sed -i d src/edits-makefile.txt; echo 'gate: ; true' > Makefile")
    },
    Liar {
        class: "protected",
        sign: "touched-protected",
        because: "GNUmakefile",
        write: "*",
        ..liar("adds-makefile", "sed -i d src/adds-makefile.txt; echo 'gate: ; true' > GNUmakefile")
    },
    Liar {
        class: "protected",
        sign: "touched-protected",
        because: "check.sh",
        check: "sh check.sh src/edits-check.txt",
        write: "*.sh",
        ..liar("edits-check", "echo true > check.sh; echo x >> src/edits-check.txt")
    },
    waits(
        Liar {
            write: "gate.sh",
            ..liar(
                "edits-named-gate",
                "sed -i d src/edits-named-gate.txt; grep -q 'leave it' $LONGHAUL_SUBTASK || echo exit 0 > gate.sh",
            )
        },
        "edited-gate",
        "gate.sh: the gate or a check goes by it",
    ),
    waits(
        Liar {
            write: "tests/test_sum.py",
            ..liar(
                "edits-test",
                "echo done > src/edits-test.txt; grep -q 'keep both' $LONGHAUL_SUBTASK || { sed -i /assert/d tests/test_sum.py; echo '    pass' >> tests/test_sum.py; }",
            )
        },
        "weakened-tests",
        "the test test_sum has 0 assertions where it had 2",
    ),
    waits(liar("sprawls", "seq 300 > src/sprawls.txt"), "large-diff", "it changes 301 lines, more than 100"),
    waits(
        liar("leaks", "printf 'id = AKIA%s\\n' IOSFODNN7EXAMPLE > src/leaks.txt"),
        "credential",
        "src/leaks.txt:1: looks like an AWS access key",
    ),
    Liar {
        class: "agent",
        sign: "never-ended",
        because: "never-ends ran into its time limit",
        ..liar("never-ends", "trap '' TERM; while :; do sleep 1; done")
    },
    Liar {
        class: "agent",
        sign: "silent",
        because: "is-silent wrote nothing for 1s",
        ..liar("is-silent", "sleep 1000")
    },
    Liar { sign: "flooded", ..liar("floods", "yes flood | head -c 40000000; echo 'todo still' > src/floods.txt") },
    Liar {
        class: "result",
        sign: "oversized",
        because: "src/garbage.txt",
        ..liar("garbage", "head -c 6000000 /dev/urandom > src/garbage.txt")
    },
    Liar {
        sign: "committed",
        ..liar(
            "commits",
            "echo 'todo, but committed' > src/commits.txt; git add -A; git -c user.name=x -c user.email=x@x commit -qm done",
        )
    },
    Liar {
        class: "agent",
        sign: "died",
        because: "dies was ended by signal 9",
        ..liar("dies", "echo half > src/dies.txt; kill -9 $$")
    },
    Liar {
        class: "agent",
        sign: "moved-head",
        because: "changed nothing",
        ..liar(
            "moves-head",
            "git checkout -q --orphan elsewhere; git rm -rq --cached .; git -c user.name=x -c user.email=x@x commit -q --allow-empty -m none",
        )
    },
    Liar {
        class: "agent",
        sign: "claimed-without-change",
        because: "changed nothing",
        ..liar(
            "writes-git",
            "dir=$(git rev-parse --git-dir); mkdir -p $dir/hooks; printf '#!/bin/sh\\nexit 0\\n' > $dir/hooks/pre-commit; echo garbage > $dir/index",
        )
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
run = "make gate && sh gate.sh"
"#
    .to_owned();
    for Liar { id, run, write, check, .. } in LIARS {
        let write = if write.is_empty() { String::new() } else { format!(", {write:?}") };
        let check = if check.is_empty() { CHECK.replace("{id}", id) } else { (*check).to_owned() };
        text.push_str(&format!(
            "[agent.{id}]\nkind = \"command\"\nrun = {run:?}\n[[task]]\nid = \"{id}\"\nwrite = [\"src/{id}.txt\"{write}]\n\
             ladder = [\"{id}\"]\ncheck = {check:?}\nattempts = 1\ntimeout = \"20s\"\n"
        ));
    }
    text.replace("[agent.never-ends]\n", "[agent.never-ends]\ntimeout = \"1s\"\n")
        .replace("id = \"is-silent\"\n", "id = \"is-silent\"\nidle_timeout = \"1s\"\n")
}

fn world() -> World {
    let todo: Vec<(String, &str)> =
        LIARS.iter().map(|liar| liar.id).chain(["honest"]).map(|id| (format!("src/{id}.txt"), "todo\n")).collect();
    let mut files: Vec<(&str, &str)> = todo.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.push(("gate.sh", "true\n"));
    files.push(("check.sh", "! grep -q todo \"$1\"\n"));
    files.push(("Makefile", "gate:\n\ttrue\n"));
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
        let of = |key: &str| shown["attempts"][0][key].as_str().unwrap_or_default();
        assert_eq!((of("class"), of("sign")), (liar.class, liar.sign), "{}: {why}", liar.id);
        assert_eq!(row["sign"].as_str(), Some(liar.sign), "{}: {row}", liar.id);
    }
    assert_eq!(row(&rows, "honest")["state"].as_str(), Some("landed"));
    assert_eq!(world.git(&["diff", "--name-only", "main", "longhaul/liars"]), "src/honest.txt");
    let report = world.expect(0, &["report", "--format", "md"]).stdout;
    for sign in ["claimed-success: check exited with 1", "committed: check exited with 1"] {
        assert!(report.contains(sign), "{sign}: {report}");
    }
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
