//! Words into the work of real programs, and its end before its time.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use longhaul_tests::leftovers;
use serde_json::{Value, json};

use super::rig::{ALL, CODEX, Coder, Rig, of};

/// What a person says.
const WORDS: &str = "go to the left";

/// A command that is at work until it is let go, and what is done once somebody said otherwise.
fn works(coder: &Coder<'_>) -> String {
    let waits = (coder.call)("echo one > one.txt; while ! test -e go; do sleep 0.1; done");
    let left = (coder.call)("echo left > two.txt");
    let done = json!({"text": "done"});
    // Twice: Claude Code says what came of the first command and the words in one message.
    json!({"steps": [waits, done], "cases": [{"when": WORDS, "steps": [left, left, done]}]}).to_string()
}

fn start(rig: &Rig) -> Child {
    rig.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn ends(events: &[Value]) -> Vec<&str> {
    of(events, "turn_ended").iter().filter_map(|ended| ended["end"]["end"].as_str()).collect()
}

/// Says the words, and sees them on their way to the program.
fn told_in_its_turn(rig: &Rig) {
    let mut attached = rig.world.command(&["attach", "edit"]);
    let mut attached = attached.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(attached.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.next().is_some(), "it says that it listens");
    rig.world.expect(0, &["steer", "edit", WORDS]);
    assert!(lines.any(|line| line.contains(WORDS)), "they do not arrive");
    attached.kill().expect("it runs, or did");
    attached.wait().expect("it ends");
}

#[test]
fn words_of_a_person_reach_every_program_at_work() {
    for coder in ALL {
        let Some(rig) = Rig::new(coder, &works(coder)) else { return };
        let mut run = start(&rig);
        let workspace = rig.at_work();
        if coder.install == "codex" {
            // It takes them into its turn, once what runs has ended.
            told_in_its_turn(&rig);
            std::fs::write(workspace.join("go"), "").expect("written");
        } else {
            rig.world.expect(0, &["steer", "edit", WORDS]);
        }
        let ended = run.wait().expect("it ends");
        let events = rig.events();
        assert!(ended.success(), "{}: {events:?}", coder.install);
        let told = of(&events, "told");
        assert!(told.iter().any(|told| told["steers"] == true && told["text"] == WORDS), "{events:?}");
        let wanted: &[&str] = if coder.install == "codex" { &["done"] } else { &["cancelled", "done"] };
        assert_eq!(ends(&events), wanted, "{}: {events:?}", coder.install);
        assert_eq!(rig.landed("two.txt"), "left", "{}", coder.install);
    }
}

#[test]
fn every_program_that_is_cancelled_leaves_nothing_behind() {
    for coder in ALL {
        let Some(rig) = Rig::new(coder, &works(coder)) else { return };
        let mut run = start(&rig);
        rig.at_work();
        rig.world.expect(0, &["cancel", "edit"]);
        assert!(!run.wait().expect("it ends").success(), "{}", coder.install);
        assert_eq!(leftovers::wait_for_none(&rig.world), Vec::<String>::new(), "{}", coder.install);
        // Each knows how to end a turn.
        assert_eq!(ends(&rig.events()), ["cancelled"], "{}", coder.install);
    }
}

#[test]
fn codex_tells_what_its_patches_change() {
    let patch = "*** Begin Patch\n*** Add File: one.txt\n+one\n*** End Patch\n";
    let script = json!({"turns": [[{"tool": "apply_patch", "input": patch}, {"text": "done"}]]});
    let Some(rig) = Rig::new(&CODEX, &script.to_string()) else { return };
    rig.run();
    assert_eq!(rig.landed("one.txt"), "one");
    let events = rig.events();
    let diffs = of(&events, "diff");
    let diff = diffs.last().and_then(|diff| diff["diff"].as_str()).unwrap_or_default();
    assert!(diff.contains("b/one.txt") && diff.contains("+one"), "{events:?}");
}
