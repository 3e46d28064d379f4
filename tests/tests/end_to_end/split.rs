//! A subtask that its agent has split.

use longhaul_tests::World;

const JOB: &str = r#"goal = "Number the files"
name = "number"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.writer]
kind = "command"
run = ["sh", "{job_dir}/agent.sh"]
[[task]]
id = "number"
write = ["*.txt"]
ladder = ["writer"]
instructions = "Put a number into each file"
split = 3
attempts = 1
[gate]
run = "true"
"#;

/// The whole is split into two; each part writes its file, and the whole then writes the third.
const AGENT: &str = r#"set -e
if grep -q 'Of this, do only your part' "$LONGHAUL_SUBTASK"; then
  for name in a b; do
    if grep -q "number-$name" "$LONGHAUL_SUBTASK"; then echo 1 > $name.txt; fi
  done
elif grep -q 1 a.txt; then
  test -z "$LONGHAUL_SPLIT"
  grep -q 1 b.txt
  echo 1 > c.txt
else
  echo lost > a.txt
  cat > "$LONGHAUL_SPLIT" <<'END'
PARTS
END
fi
"#;

fn world(parts: &str) -> World {
    let world = World::new(&[("a.txt", "0\n"), ("b.txt", "0\n"), ("c.txt", "0\n")]);
    world.write("../agent.sh", &AGENT.replace("PARTS", parts));
    world.job(JOB);
    world
}

#[test]
fn parts_land_first_and_the_whole_finishes_what_they_left() {
    let world = world(
        r#"{"parts": [{"name": "a", "instructions": "the first", "paths": ["a.txt"]},
                      {"name": "b", "instructions": "the second", "paths": ["b.txt"]}]}"#,
    );
    let shown = world.expect(0, &["run"]).stderr;
    assert!(shown.contains("number into 2 parts"), "{shown}");
    let log = world.git(&["log", "--no-merges", "--format=%s", &format!("main..{}", world.branch())]);
    let mut landed: Vec<&str> = log.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(landed[0], "number", "{log}");
    landed.sort_unstable();
    assert_eq!(landed, ["number", "number-a", "number-b"], "{log}");
    for file in ["a.txt", "b.txt", "c.txt"] {
        assert_eq!(world.git(&["show", &format!("{}:{file}", world.branch())]).trim(), "1", "{file}");
    }
    let detail = world.expect(0, &["show", "number"]).stdout;
    assert!(detail.contains("split"), "{detail}");
    // The same job file again is no other plan.
    let again = world.expect(0, &["run"]);
    assert!(again.stderr.contains("3 of 3 subtasks are done"), "{}", again.stderr);
    world.expect(0, &["verify"]);
}

#[test]
fn what_it_may_not_be_split_into_is_said_and_nothing_lands() {
    for (parts, words) in [
        (r#"{"parts": [{"name": "a", "instructions": "x"}]}"#, "2 to 3 are expected"),
        (r#"{"parts": [{"name": "a"#, "split.json: control character"),
        (
            r#"{"parts": [{"name": "a", "instructions": "x", "paths": ["../x"]}, {"name": "b", "instructions": "y"}]}"#,
            "which the subtask may not",
        ),
    ] {
        let world = world(parts);
        assert_ne!(world.longhaul(&["run"]).code, 0, "{parts}");
        let status = world.status();
        assert_eq!((&status["counts"]["landed"], &status["counts"]["parked"]), (&0.into(), &1.into()), "{status}");
        let text = status["parked"][0]["text"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{text}");
    }
}
