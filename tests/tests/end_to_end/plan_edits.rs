//! Editing the plan and running again, and steering from a second terminal.

use std::io::{BufRead as _, BufReader};

use longhaul_tests::World;

use crate::job::{greeting, greeting_job};

#[test]
fn an_edited_plan_repeats_only_what_changed() {
    let world = greeting(4);
    world.expect(0, &["run"]);
    let before = world.status();
    let extra = greeting_job("s/hello/goodbye/")
        + r#"
[agent.note]
kind = "command"
run = "echo done > NOTE"
[[task]]
id = "note"
after = ["words"]
write = ["NOTE"]
ladder = ["note"]
"#;
    world.job(&extra);
    let planned = world.expect(0, &["plan"]);
    assert!(planned.stdout.contains("note"), "{}", planned.stdout);
    assert_eq!(world.status()["generation"], before["generation"], "plan changes nothing");
    world.expect(0, &["run"]);
    let after = world.status();
    assert_eq!(after["generation"].as_u64(), Some(2));
    assert_eq!(after["attempts"].as_u64(), before["attempts"].as_u64().map(|count| count + 1), "only the new one ran");
    assert_eq!(world.on_branch("longhaul/goodbye", "NOTE"), "done");
    world.expect(0, &["verify"]);
}

#[test]
fn a_changed_agent_runs_its_subtasks_again_from_the_base() {
    let world = greeting(3);
    world.expect(0, &["run"]);
    world.job(&greeting_job("s/hello/farewell/"));
    world.expect(0, &["run"]);
    let branches = world.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/longhaul/"]);
    assert_eq!(branches, "longhaul/goodbye\nlonghaul/goodbye-r1", "the first result is not overwritten");
    assert_eq!(world.on_branch("longhaul/goodbye-r1", "src/f00.txt"), "farewell 0\nkeep this line");
}

#[test]
fn a_pilot_waits_for_a_yes_given_from_another_terminal() {
    let world = greeting(5);
    world.job(&greeting_job("s/hello/goodbye/").replace("group = \"file\"", "group = \"file\"\npilot = 2"));
    world.expect(3, &["run"]);
    assert_eq!(world.status()["counts"]["landed"].as_u64(), Some(2));
    let approved = world.expect(0, &["approve", "--map", "words"]);
    assert!(approved.stdout.contains("3 subtasks"), "{}", approved.stdout);
    world.expect(0, &["resume"]);
    assert_eq!(world.status()["counts"]["landed"].as_u64(), Some(5));
}

#[test]
fn yes_beforehand_runs_through() {
    let world = greeting(4);
    world.job(&greeting_job("s/hello/goodbye/").replace("group = \"file\"", "group = \"file\"\npilot = 1"));
    world.expect(0, &["run", "--yes"]);
    assert_eq!(world.status()["counts"]["landed"].as_u64(), Some(4));
}

#[test]
fn a_second_terminal_sees_and_steers_a_running_job() {
    let world = World::new(&[("a.txt", "a\n"), ("b.txt", "b\n"), ("gate.sh", "true\n")]);
    let fifo = world.folder().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    world.job(&format!(
        r#"goal = "wait for a word"
name = "steered"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.wait]
kind = "command"
run = "cat {} > a.txt"
[agent.other]
kind = "command"
run = "echo c >> b.txt"
[[task]]
id = "waiting"
write = ["a.txt"]
ladder = ["wait"]
[[task]]
id = "after"
after = ["waiting"]
write = ["b.txt"]
ladder = ["other"]
[gate]
run = "sh gate.sh"
"#,
        fifo.display()
    ));
    let run = world.start(&["run", "--json"]);
    // Opening the pipe for writing returns when the agent reads it: it is running now.
    let mut go = std::fs::OpenOptions::new().write(true).open(&fifo).expect("the agent opens it");
    let status = world.status();
    assert_eq!((status["live"].as_bool(), status["counts"]["running"].as_u64()), (Some(true), Some(1)));
    let why = world.expect(0, &["explain", "after"]);
    assert!(why.stdout.contains("waits for waiting"), "{}", why.stdout);
    world.expect(0, &["pause", "--reason", "lunch"]);

    let busy = world.longhaul(&["run"]);
    assert_eq!(busy.code, 2, "{}", busy.stderr);
    assert!(busy.stderr.contains("another process"), "{}", busy.stderr);
    let mut watch = world.start(&["watch", "--after", "0"]);
    let mut seen = BufReader::new(watch.stdout.take().expect("piped")).lines();
    assert!(seen.next().is_some(), "the watcher is connected");
    std::io::Write::write_all(&mut go, b"said\n").expect("read");
    drop(go);
    let out = run.wait_with_output().expect("ended");
    // An open watch does not keep the runner from ending, and ends with it.
    assert!(seen.any(|line| line.expect("text").contains("Landed")));
    assert!(watch.wait().expect("ended").success());
    assert_eq!(out.status.code(), Some(130), "paused: {}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(world.status()["counts"]["landed"].as_u64(), Some(1), "what ran was finished and landed");
    world.expect(0, &["resume"]);
    assert_eq!(world.on_branch("longhaul/steered", "b.txt"), "b\nc");
}

#[test]
fn a_parked_subtask_is_retried_with_a_remark_and_a_landed_one_reverted() {
    let world = World::new(&[("a.txt", "a\n"), ("gate.sh", "true\n")]);
    world.job(
        r#"goal = "needs a hint"
name = "hint"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.listen]
kind = "command"
run = "grep -q 'say please' $LONGHAUL_SUBTASK && echo thanks > a.txt"
[[task]]
id = "ask"
write = ["a.txt"]
ladder = ["listen"]
attempts = 1
[gate]
run = "sh gate.sh"
"#,
    );
    world.expect(3, &["run"]);
    let retried = world.expect(0, &["retry", "--where", "state=parked", "--remark", "say please"]);
    assert!(retried.stdout.contains("ask"), "{}", retried.stdout);
    world.expect(0, &["resume"]);
    assert_eq!(world.on_branch("longhaul/hint", "a.txt"), "thanks");
    world.expect(0, &["revert", "ask", "--reason", "changed my mind"]);
    world.expect(0, &["resume"]);
    assert_eq!(world.on_branch("longhaul/hint", "a.txt"), "a");
    world.expect(0, &["verify", "--rerun"]);
    assert!(world.expect(2, &["revert", "ask"]).stderr.contains("has not landed"));
}
