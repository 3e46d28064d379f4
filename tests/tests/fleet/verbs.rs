//! Every verb with `--server`, on a job that needs a person and on one that is over.

use longhaul_tests::nats::NatsServer;

use crate::job;
use crate::rig::Rig;

#[test]
fn every_verb_answers_for_a_job_on_a_server() {
    if NatsServer::is_missing() {
        return;
    }
    let world = job::world(2);
    // One subtask fails until somebody has mended what is outside of it.
    let mended = world.folder().join("mended");
    let further = format!(
        "[agent.picky]\nkind = \"command\"\nrun = \"test -e {} && echo done > picky.txt\"\n[[task]]\nid = \"picky\"\n\
         write = [\"picky.txt\"]\ninstructions = \"Write it\"\nladder = [\"picky\"]\nattempts = 1\n",
        mended.display()
    );
    job::write(&world, job::EDIT, &further);
    let rig = Rig::new(world, 2);
    rig.expect(3, &["run"]);
    let status = rig.expect(0, &["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).expect("an object");
    let park = status["parked"][0]["park"].to_string();
    assert_eq!(status["counts"]["parked"].as_u64(), Some(1), "{status}");
    rig.expect(2, &["answer", "9999", "nobody asked"]);
    std::fs::write(&mended, "").expect("writable");
    // As `run` ended: what is left waits for a person.
    let still = rig.expect(3, &["watch", "--exit-status"]).stderr;
    assert!(still.contains("goes on only when somebody acts; 1 subtasks wait for a person"), "{still}");
    let mut follower = rig.begin(&["watch"], "watch");
    rig.expect(0, &["answer", park.trim_matches('"'), "it is mended now"]);
    rig.ends(&mut follower, 0, "watch");
    rig.expect(0, &["export"]);
    assert_eq!(rig.world.on_branch("longhaul/goodbye", "picky.txt"), "done");
    for (args, wanted) in [
        (&["status"][..], "3/3"),
        (&["list"][..], "word-f01"),
        (&["list", "--jobs"][..], "goodbye"),
        (&["show", "word-f01"][..], "word-f01"),
        (&["show", "picky"][..], "it is mended now"),
        (&["diff", "word-f01"][..], "+goodbye 1"),
        (&["diff", "--stat"][..], "src/f01.txt"),
        (&["explain", "word-f01"][..], "landed as"),
        (&["watch", "--after", "0"][..], "Landed"),
        (&["report", "--format", "md"][..], "word-f01"),
        (&["report", "--format", "junit"][..], "</testsuites>"),
        (&["verify"][..], "3 subtasks proven landed, 0 findings"),
        (&["workers"][..], "w2"),
    ] {
        let ran = rig.expect(0, args);
        assert!(ran.stdout.contains(wanted), "{args:?} should show {wanted:?}:\n{}", ran.stdout);
    }
    rig.expect(0, &["logs"]);
    rig.expect(0, &["release", "w1"]);
    rig.leave();
}
