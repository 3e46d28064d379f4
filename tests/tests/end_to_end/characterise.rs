//! Tests of today's behaviour, landed before the change.

use longhaul_tests::World;

const JOB: &str = r#"goal = "Greet otherwise"
name = "greet"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.writer]
kind = "command"
run = ["sh", "{job_dir}/agent.sh"]
[[task]]
id = "goodbye"
write = ["greet.sh"]
ladder = ["writer"]
instructions = "Say goodbye"
characterise = true
attempts = 1
[gate]
run = "for t in tests/*.sh; do sh $t || exit 1; done"
"#;

/// A repository whose gate runs its tests, with an agent that writes `test` first and then the change.
fn world(test: &str) -> World {
    let world = World::new(&[("greet.sh", "echo hello $1\n"), ("tests/none.sh", "true\n")]);
    let agent = format!(
        "set -e\nif [ ! -e tests/greet.sh ]; then\n\
        grep -q '\"about\":\\[\"greet.sh\"\\]' \"$LONGHAUL_SUBTASK\"\n{test}\nelse\n\
        grep -q 'sh greet.sh' tests/greet.sh\necho 'echo goodbye $1' > greet.sh\nfi\n"
    );
    world.write("../agent.sh", &agent);
    world.job(JOB);
    world
}

#[test]
fn the_tests_land_first_and_the_change_stands_on_them() {
    let world = world("echo 'test \"$(sh greet.sh x | cut -d\" \" -f2)\" = x' > tests/greet.sh");
    let shown = world.expect(0, &["plan"]).stdout;
    assert!(shown.contains("characterise-goodbye"), "{shown}");
    world.expect(0, &["run"]);
    let log = world.git(&["log", "--no-merges", "--reverse", "--format=%s", &format!("main..{}", world.branch())]);
    let order: Vec<&str> = log.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(order, ["characterise-goodbye", "goodbye"], "{log}");
}

#[test]
fn tests_that_fail_today_and_changes_of_sources_do_not_land() {
    for (test, why) in [
        ("echo 'test \"$(sh greet.sh)\" = goodbye' > tests/greet.sh", "gate"),
        ("echo 'echo goodbye' > greet.sh", "footprint"),
    ] {
        let world = world(test);
        assert_ne!(world.longhaul(&["run"]).code, 0, "{test}");
        let status = world.status();
        assert_eq!(status["counts"]["landed"], 0, "{status}");
        assert_eq!(status["counts"]["waiting"], 1, "the change waits for its tests: {status}");
        assert_eq!(status["parked"][0]["reason"], why, "{status}");
    }
}
