//! What is enforced is said: before, while and after a job runs, and by `doctor`.

use std::process::{Command, Stdio};

use longhaul_tests::World;
use longhaul_tests::world::{Ran, binary};
use serde_json::Value;

use crate::world::{As, machine};

const JOB: &str = "goal = 'Change'\nname = 'change'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
    [gate]\nrun = 'true'\n[agent.script]\nkind = 'command'\nrun = 'echo new > file'\n\
    [[task]]\nid = 'change'\nwrite = ['file']\nladder = ['script']\n";

/// Takes the namespaces from whoever is started in it.
const POOR: &str =
    "for kind in user mnt net pid; do echo 0 > /proc/sys/user/max_${kind}_namespaces || exit 99; done; exec \"$@\"";

fn world() -> World {
    let world = World::new(&[("file", "old\n")]);
    world.job(JOB);
    world
}

fn is_whole() -> bool {
    machine(As::Itself)["not_enforced"] == ""
}

/// The binary on a machine that grants no namespaces; `None` where none such can be had.
fn poor(world: &World, args: &[&str], require: bool) -> Option<Ran> {
    let has_poor = |line: &str| {
        Command::new("unshare").args(["-Ur", "sh", "-c", line, "sh", "true"]).stderr(Stdio::null()).status()
    };
    if !has_poor(POOR).is_ok_and(|status| status.success()) {
        eprintln!("skipped: no machine without namespaces can be had here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", POOR, "sh"]).arg(binary()).args(args);
    let own = world.command(args);
    command.envs(own.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(world.folder());
    if require {
        command.env("LONGHAUL_WORKER__SANDBOX", "require");
    }
    let out = command.stdin(Stdio::null()).output().expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some(Ran { code: out.status.code().unwrap_or(-1), stdout: text(out.stdout), stderr: text(out.stderr) })
}

/// What `status` and the report say when all is over.
fn said_afterwards(world: &World) -> [String; 2] {
    let written = world.expect(0, &["report"]).stdout;
    let page = written.lines().find(|line| line.ends_with(".md")).expect("one for people");
    [world.status()["warnings"].to_string(), std::fs::read_to_string(page).expect("written")]
}

#[test]
fn a_job_without_a_sandbox_says_so_also_when_it_is_over() {
    let world = world();
    world.expect(0, &["run", "--sandbox", "off"]);
    for said in said_afterwards(&world) {
        assert!(said.contains("did not enforce everything: the worker runs with --sandbox off"), "{said}");
    }
    let journal = world.expect(0, &["watch", "--after", "0"]).stdout;
    assert_eq!(journal.matches("does not enforce everything").count(), 1, "once for a worker: {journal}");
}

#[test]
fn a_job_in_a_whole_sandbox_has_nothing_to_say() {
    if !is_whole() {
        eprintln!("skipped: this machine does not grant all of it");
        return;
    }
    let world = world();
    world.expect(0, &["run", "--sandbox", "require"]);
    for said in said_afterwards(&world) {
        assert!(!said.contains("not enforce"), "{said}");
    }
}

#[test]
fn what_a_machine_does_not_grant_is_refused_when_required_and_said_otherwise() {
    let world = world();
    let Some(refused) = poor(&world, &["run", "--sandbox", "require"], false) else { return };
    assert_eq!(refused.code, 6, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("namespaces") && refused.stderr.contains("longhaul doctor"), "{}", refused.stderr);
    assert!(world.git(&["for-each-ref", "refs/heads/longhaul/"]).is_empty(), "nothing ran");
    let ran = poor(&world, &["run"], false).expect("as before");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for said in said_afterwards(&world) {
        assert!(said.contains("did not enforce namespaces ("), "{said}");
    }
}

fn checks(ran: &Ran) -> Vec<(String, bool, String)> {
    let found: Value = serde_json::from_str(&ran.stdout).expect("one object");
    let rows = found["checks"].as_array().expect("rows").iter();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "check"), row["good"] == true, text(row, "text"))).collect()
}

#[test]
fn doctor_shows_each_layer_and_each_limit() {
    let world = world();
    let rows = checks(&world.longhaul(&["doctor", "--json"]));
    let row = |name: &str| rows.iter().find(|(check, ..)| check == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
    for layer in ["namespaces", "network namespace", "landlock", "seccomp"] {
        let (_, good, text) = row(layer);
        assert!(*good && text.contains("not granted") != is_whole(), "{layer}: {text}");
    }
    let (_, _, limits) = row("limits");
    assert!(limits.contains("memory ") && !limits.contains("memory no limit"), "{limits}");
    let Some(poor_one) = poor(&world, &["doctor", "--json"], true) else { return };
    assert_eq!(poor_one.code, 1, "{}", poor_one.stderr);
    let layers = checks(&poor_one);
    let bad: Vec<&str> = layers.iter().filter(|(_, good, _)| !good).map(|(name, ..)| name.as_str()).collect();
    assert_eq!(bad, ["namespaces", "network namespace"], "{layers:?}");
}

#[test]
fn memory_has_a_limit_that_a_setting_changes() {
    let world = World::new(&[("file", "old\n")]);
    // Doubles a variable until it is ended.
    world.job(
        &JOB.replace("echo new > file", "x=0123456789abcdef; while :; do x=$x$x; done")
            .replace("ladder", "attempts = 1\nladder"),
    );
    let mut command = world.command(&["run"]);
    command.env("LONGHAUL_WORKER__ATTEMPT_MEMORY", "64m");
    let out = command.output().expect("the binary starts");
    assert!(!out.status.success());
    let shown = world.expect(0, &["show", "change"]).stdout;
    // Sizes are in powers of ten.
    assert!(shown.contains("in memory, at most 61 MiB are allowed"), "{shown}");
}
