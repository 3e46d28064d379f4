//! What a gate worker that lies can do, and what finds it out.

use std::collections::BTreeMap;

use longhaul_common::server::ServerAccess;
use longhaul_proto::{Assignment, Finished, GateResult, Report, Verdict, finished};
use longhaul_tests::fleet::{Extras, FleetSpec, Guard};
use longhaul_tests::nats::NatsServer;

use crate::rig::{HEAD, JOB, Rig, greeting};
use crate::rogue::{Rogue, RogueSpec, finished as finished_report};

const WORK: &str = r#"
[agent.break]
kind = "command"
run = "echo BROKEN >> {files}"

[[map]]
name = "words"
id = "word-{stem}"
files = "src/*.txt"
containing = "hello"
group = "file"
instructions = "Break {file}"
ladder = ["break"]

[gate]
run = "! grep -rq BROKEN src"
"#;

/// Green, without a look.
fn green(gate: &Assignment) -> Report {
    let result = GateResult { verdict: Verdict::Green.into(), ..GateResult::default() };
    let outcome = Finished { outcome: Some(finished::Outcome::Gate(result)), ..Finished::default() };
    finished_report(&gate.job, gate.id, "liar", outcome)
}

#[test]
fn a_lying_gate_lands_what_is_broken_and_gating_again_elsewhere_finds_it() {
    if NatsServer::is_missing() {
        return;
    }
    let world = greeting(2);
    world.job(&format!("{HEAD}{WORK}"));
    let mut guard = Guard::new(&world).expect("a guard");
    guard.worker_by_token(&world, "w1").expect("w1");
    let token = guard.worker_by_token(&world, "liar").expect("the liar");
    let alice = guard.person(&world, "alice", &["submit", "approve", "read"]).expect("alice");
    let seed = guard.seed_file("liar");
    let extras = Extras::guarded(guard).with("w1", &["--gates", "0"]);
    let rig = Rig::start(world, &FleetSpec { workers: 1, ..FleetSpec::default() }, extras);
    let access =
        ServerAccess { url: rig.fleet.url(), ca: Some(rig.ca()), token: Some(token.token), ..ServerAccess::default() };
    let liar = RogueSpec {
        name: "liar",
        access,
        nats: rig.nats().url().replacen("nats://", "tls://", 1),
        seed,
        slots: (0, 1),
        labels: Vec::new(),
        claims: BTreeMap::new(),
        endpoint: String::new(),
    };
    let liar = Rogue::start(liar, Some(green));

    // It lands: the gate's word is what a landing stands on.
    rig.expect(0, Some(&alice), &["run"]);
    assert!(rig.world.on_branch(&rig.world.branch(), "src/f0.txt").contains("BROKEN"));
    // The papers are in order, because the lie is what they say.
    rig.expect(0, Some(&alice), &["verify", JOB]);
    drop(liar);
    // Gated again on a machine one trusts, it is found.
    let again =
        rig.world.longhaul(&["verify", "--rerun", JOB, "--state-dir", &rig.fleet.server.root.display().to_string()]);
    assert_eq!(again.code, 1, "{}\n{}\n{}", again.stdout, again.stderr, rig.tails());
    assert!(again.stdout.contains("RED (exit 1)"), "{}", again.stdout);
    assert!(again.stderr.contains("not green when gated again"), "{}", again.stderr);
}
