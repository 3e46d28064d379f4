//! Landings whose gate says which lines it executed.

use longhaul_tests::World;
use serde_json::Value;

/// A task that adds two lines to its own file.
fn task(name: &str) -> String {
    format!(
        "[agent.{name}]\nkind = 'command'\nrun = 'printf \"x = 2\\ny = 3\\n\" >> {name}.py'\n\
        [[task]]\nid = 'fix-{name}'\nwrite = ['{name}.py']\nladder = ['{name}']\ninstructions = 'fix it'\n"
    )
}

/// Two tasks, landed one by one, and the script that measures what they changed.
fn world(measure: &str) -> World {
    let world = World::new(&[("a.py", "a = 1\n"), ("b.py", "b = 1\n"), ("measure.sh", measure)]);
    let head = "goal = 'Fix both'\nname = 'fixed'\n[[repo]]\nname = 'app'\npath = 'repo'\nbase = 'main'\n\
        [gate]\nrun = 'true'\nbatch = 1\ncoverage = ['sh', 'measure.sh', '{coverage}']\n";
    world.job(&format!("{head}{}{}", task("a"), task("b")));
    world
}

fn receipt(world: &World, id: &str) -> Value {
    let shown = world.expect(0, &["show", id, "--json"]).stdout;
    serde_json::from_str::<Value>(&shown).expect("JSON")["receipt"].clone()
}

#[test]
fn a_landing_is_proven_only_where_every_changed_line_was_executed() {
    let lines = "printf 'SF:%s/a.py\\nDA:1,1\\nDA:2,1\\nDA:3,4\\nend_of_record\\n' \"$PWD\" > \"$1\"\n\
        printf 'SF:b.py\\nDA:1,1\\nDA:2,1\\nDA:3,0\\nend_of_record\\n' >> \"$1\"\n";
    let world = world(lines);
    world.expect(0, &["run"]);
    let (a, b) = (receipt(&world, "fix-a"), receipt(&world, "fix-b"));
    assert_eq!((&a["unproven"], &a["coverage"]["lines"]), (&false.into(), &2.into()), "{a}");
    assert_eq!((&b["unproven"], &b["coverage"]["first"][0]), (&true.into(), &"b.py:3".into()), "{b}");
    let why = "1 of 2 changed lines of code were not executed: b.py:3";
    for (args, wanted) in [
        (&["show", "fix-a"][..], "all changed lines of code were executed (2)"),
        (&["show", "fix-b"][..], why),
        (&["status"][..], "1 of 2 landings proven"),
        (&["verify"][..], "2 receipts verified (1 proven by coverage)"),
        (&["report", "--format", "md"][..], why),
    ] {
        let said = world.expect(0, args).stdout;
        assert!(said.contains(wanted), "{args:?} should say {wanted:?}:\n{said}");
    }
}

#[test]
fn what_is_no_report_proves_nothing_and_stops_nothing() {
    for (measure, why) in [
        ("echo '<coverage/>' > \"$1\"\n", "line 1 is no record of lcov"),
        ("printf 'SF:a.py\\nDA:2,1\\nDA:3,1\\n' > \"$1\"\n", "it ends or goes on within the record of a.py"),
        ("true\n", "No such file"),
        ("ln -s /etc/passwd \"$1\"\n", "it is no file"),
        ("exit 7\n", "the coverage program exited with 7"),
        ("printf 'SF:c.py\\nDA:1,1\\nend_of_record\\n' > \"$1\"\n", "1 changed files of code are in no record: a.py"),
    ] {
        let world = world(measure);
        world.expect(0, &["run"]);
        let receipt = receipt(&world, "fix-a");
        assert_eq!(receipt["unproven"], true, "{receipt}");
        let said = world.expect(0, &["show", "fix-a"]).stdout;
        // A sentence may be wrapped.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{measure:?} should say {why:?}:\n{said}");
    }
}
