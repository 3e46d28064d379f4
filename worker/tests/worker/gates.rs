//! Verdicts.

use longhaul_common::Oid;
use longhaul_proto::{CommandLine, Derived, Gate, RepoEnv, Service, Verdict, assignment};

use crate::world::{World, git, sh};

fn run(line: &str) -> Gate {
    Gate { run: Some(sh(line)), ..Gate::default() }
}

#[tokio::test]
async fn each_end_has_its_verdict() {
    use Verdict::{Green, Inconclusive, Red};
    let mut world = World::new(&[("a", "1\n")]);
    for (line, verdict, code) in [
        ("echo fine; test -n \"$CI\"", Green, 0),
        ("echo broken; exit 3", Red, 3),
        ("kill -SEGV $$", Red, 139),
        ("kill -KILL $$", Inconclusive, 137),
        ("sh -c 'kill -TERM $$'", Inconclusive, 143),
    ] {
        let result = world.gate(run(line)).await;
        assert_eq!((result.verdict(), result.exit_code), (verdict, code), "{line}: {result:?}");
        assert_eq!(result.log_hash.len(), 32);
    }
    let missing = CommandLine { argv: vec!["/no/such/gate".into()], ..CommandLine::default() };
    let result = world.gate(Gate { run: Some(missing), ..Gate::default() }).await;
    assert_eq!(result.verdict(), Inconclusive);
    let result = world.gate(Gate { timeout_ms: 100, ..run("sleep 1000") }).await;
    assert_eq!((result.verdict(), result.reason.as_str()), (Inconclusive, "ran into its time limit"));
    world.repo.env = Some(RepoEnv { setup: Some(sh("echo no network >&2; exit 1")), ..RepoEnv::default() });
    let result = world.gate(run("true")).await;
    assert_eq!((result.verdict(), result.log_tail.as_str()), (Inconclusive, "no network"));
    assert!(result.reason.contains("SETUP"), "{}", result.reason);
}

#[tokio::test]
async fn a_gate_knows_what_changed() {
    let mut world = World::new(&[("a", "1\n")]);
    let gate = Gate {
        changed_files: vec!["a b".into(), "c".into()],
        compare_base: "abc".into(),
        ..run("for f in {changed_files}; do echo \"[$f]\"; done; echo {base}")
    };
    assert_eq!(world.gate(gate).await.log_tail, "[a b]\n[c]\nabc\n");
}

#[tokio::test]
async fn derived_files_are_regenerated_as_a_commit_of_their_own() {
    let mut world = World::new(&[("a", "1\n"), ("lock/x", "old\n"), (".gitignore", "made\n")]);
    let derived = |line: &str| Derived { paths: vec!["lock/**".into()], regenerate: Some(sh(line)) };
    world.repo.derived =
        vec![derived("echo new > lock/x; echo y > lock/y; echo stray > a; echo stray > stray; echo made > made")];
    let gate = Gate {
        regenerate: true,
        author_name: "Ada".into(),
        ..run("test $(cat lock/x) = new && test $(cat a) = 1 && test ! -e stray && test ! -e made")
    };
    let result = world.gate(gate.clone()).await;
    assert_eq!(result.verdict(), Verdict::Green, "{result:?}");
    assert_eq!(result.derived_files, ["lock/x", "lock/y"]);
    let commit = Oid::from_bytes(&result.derived_commit).expect("an id").to_string();
    let base = Oid::from_bytes(&world.repo.base).expect("an id");
    let shown = git(&world.store(), &["show", "-s", "--format=%P|%T|%s", &commit]);
    let tree = Oid::from_bytes(&result.derived_tree).expect("an id");
    assert_eq!(shown, format!("{base}|{tree}|longhaul: regenerate derived files"));

    world.repo.derived = vec![derived("true")];
    let result = world.gate(Gate { regenerate: true, ..run("test $(cat lock/x) = old") }).await;
    assert_eq!((result.verdict(), result.derived_commit), (Verdict::Green, Vec::new()));
    world.repo.derived = vec![derived("echo cannot; exit 2")];
    let result = world.gate(gate).await;
    assert_eq!((result.verdict(), result.exit_code, result.log_tail.as_str()), (Verdict::Red, 2, "cannot\n"));
}

#[tokio::test]
async fn services_run_on_their_own_ports_while_the_gate_does() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    let stopped = world.dir.path().join("stopped");
    let service = |start: &str, ready: &str| Service {
        name: "db".into(),
        start: Some(sh(start)),
        ready: Some(sh(ready)),
        stop: Some(sh(&format!("echo stopped > {}", stopped.display()))),
        ports: vec!["DB_PORT".into()],
        ready_timeout_ms: 30_000,
    };
    let env = |service| Some(RepoEnv { services: vec![service], ..RepoEnv::default() });
    world.repo.env = env(service("echo \"$DB_PORT\" > \"$TMPDIR/up\"; exec sleep 1000", "test -f \"$TMPDIR/up\""));
    let result = world.gate(run("test \"$(cat $TMPDIR/up)\" = \"$DB_PORT\" && test \"$DB_PORT\" -gt 0")).await;
    assert_eq!(result.verdict(), Verdict::Green, "{result:?}");
    assert!(stopped.exists());
    std::fs::remove_file(&stopped).expect("removed");
    world.repo.env = env(service("echo cannot start; exit 1", "false"));
    let result = world.gate(run("true")).await;
    assert_eq!((result.verdict(), result.log_tail.as_str()), (Verdict::Inconclusive, "cannot start"));
    assert!(stopped.exists(), "also when a service does not become ready");

    std::fs::remove_file(&stopped).expect("removed");
    world.repo.env = env(service("exec sleep 1000", "true"));
    let gate = world.assignment(assignment::Kind::Gate(run("echo running; exec sleep 1000")));
    let id = gate.id;
    world.assign(gate).await;
    world.heard_line("running").await;
    world.cancel(id).await;
    world.result().await;
    assert!(stopped.exists(), "also when it is cancelled");
}

#[tokio::test]
async fn coverage_that_cannot_be_measured_leaves_the_verdict() {
    let mut world = World::new(&[("a", "1\n")]);
    let gate = |coverage: &str, base: &str| Gate {
        coverage: Some(sh(coverage)),
        compare_base: base.into(),
        ..run("mkdir -p $TMPDIR/coverage.lcov/left")
    };
    let good = "printf 'SF:a\\nend_of_record\\n' > {coverage}";
    let base = Oid::from_bytes(&world.repo.base).expect("an id").to_string();
    for (coverage, base, words) in [
        (good, "0123456789012345678901234567890123456789", "0123456789"),
        ("ln -s /dev/zero {coverage}", base.as_str(), "it is no file"),
        ("mkfifo {coverage}", base.as_str(), "it is no file"),
    ] {
        let result = world.gate(gate(coverage, base)).await;
        assert_eq!(result.verdict(), Verdict::Green, "{coverage}: {result:?}");
        let why = result.coverage.expect("measured").inconclusive;
        assert!(why.contains(words), "{coverage}: {why}");
    }
}
