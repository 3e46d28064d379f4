//! What real programs ask leave for is answered by the job's policy, or by a person.

use serde_json::json;

use super::questions::Running;
use super::rig::{ASKING, CLAUDE, CODEX, Coder, GEMINI, Rig, is_whole, of};

/// Commands that begin so are not run.
const NO_TOUCH: &str = "[[policy.command]]\nprefix = ['touch']\ndecide = 'deny'\n";

#[test]
fn every_program_that_asks_is_held_to_the_rules_about_commands() {
    for coder in ASKING {
        let (denied, allowed) = ((coder.call)("touch denied.txt"), (coder.call)("echo one > one.txt"));
        // Some end their turn with the no, and are told to go on.
        let script = json!({"turns": [[denied, allowed, {"text": "done"}], [allowed, {"text": "done"}]]});
        let Some(rig) = Rig::with(coder, &script.to_string(), NO_TOUCH) else { return };
        rig.run();
        let files = rig.world.git(&["ls-tree", "--name-only", &rig.world.branch()]);
        assert!(files.contains("one.txt") && !files.contains("denied"), "{}: {files}", coder.install);
        let events = rig.events();
        is_whole(&events);
        let answers = of(&events, "permission_answered");
        let said =
            |answer: &str| answers.iter().find(|said| said["answer"] == answer).map(|said| said["why"].to_string());
        assert!(said("reject").is_some_and(|why| why.contains("touch")), "{}: {events:?}", coder.install);
        assert!(said("allow").is_some(), "{}: {events:?}", coder.install);
    }
}

#[test]
fn no_program_that_asks_does_what_the_job_rejects() {
    for coder in ASKING {
        let table = format!("{}permissions = {{ execute = \"reject\" }}\n", coder.table);
        let coder = Coder { table: &table, ..*coder };
        let script = json!({"turns": [[(coder.call)("echo one > one.txt"), {"text": "done"}], [{"text": "done"}]]});
        let Some(rig) = Rig::new(&coder, &script.to_string()) else { return };
        let out = rig.command(&["run"]).output().expect("it starts");
        assert!(!out.status.success(), "{}: the check finds nothing that was made", coder.install);
        let events = rig.events();
        let answers = of(&events, "permission_answered");
        assert!(
            !answers.is_empty() && answers.iter().all(|said| said["answer"] == "reject"),
            "{}: {events:?}",
            coder.install
        );
        assert_eq!(answers[0]["why"], "permissions.execute", "{}", coder.install);
    }
}

#[test]
fn codex_uses_the_tools_of_the_job_where_there_are_rules_about_commands() {
    // Models that it knows find tools of servers by a search; others are told of each.
    let coder = Coder { table: "kind = \"codex\"\nmodel = \"mock-model\"\n", ..CODEX };
    let motto = json!({"tool": "motto", "namespace": "mcp__motto", "args": {}});
    let script = json!({"turns": [[motto, (coder.call)("echo one > one.txt"), {"text": "done"}]]});
    let Some(rig) = Rig::with(&coder, &script.to_string(), NO_TOUCH) else { return };
    rig.run();
    let events = rig.events();
    let asked: Vec<&str> = of(&events, "permission_asked").iter().filter_map(|asked| asked["kind"].as_str()).collect();
    assert!(asked.contains(&"other") && asked.contains(&"execute"), "{events:?}");
    let requests = rig.model.requests().expect("recorded");
    let told = requests.iter().any(|request| String::from_utf8_lossy(&request.body).contains("plain words"));
    assert!(told, "the tool's answer reaches the model: {events:?}");
}

#[test]
fn a_person_answers_a_program_that_waits() {
    for coder in [&CODEX, &CLAUDE, &GEMINI] {
        let table = format!("{}permissions = {{ execute = \"ask\" }}\n", coder.table);
        let coder = Coder { table: &table, ..*coder };
        let script = json!({"turns": [[(coder.call)("echo one > one.txt"), {"text": "done"}]]}).to_string();
        let Some(rig) = Rig::with(&coder, &script, "[policy]\nask_wait = \"30m\"\n") else { return };
        let mut running = Running::new(rig.command(&["run"]));
        while let Some(park) = running.next("approve") {
            assert_eq!(rig.world.status()["parked"][0]["waiting"], true, "{}", coder.install);
            rig.world.expect(0, &["approve", &park]);
        }
        let (code, said) = running.ends();
        let logs = rig.world.longhaul(&["logs", "edit"]);
        assert_eq!(code, Some(0), "{}: {said}\n{}", coder.install, logs.stdout);
        assert_eq!((rig.landed("one.txt").as_str(), &rig.world.status()["attempts"]), ("one", &1.into()));
        let events = rig.events();
        is_whole(&events);
        let told = of(&events, "person_answered");
        let told = told.first().and_then(|told| told["answer"].as_str()).unwrap_or_default();
        assert!(told.contains("allows"), "{}: {events:?}", coder.install);
    }
}
