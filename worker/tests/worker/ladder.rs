//! Subtasks from assignment to patch.

use longhaul_common::Oid;
use longhaul_proto::{FailureClass, RepoEnv, finished};

use crate::world::{World, codemod, command, git, sh};

const SWAP: &str = "id: swap\nlanguage: rust\nrule: { pattern: old($A) }\nfix: new($A)\n";

#[tokio::test]
async fn a_patch_is_one_commit_on_the_base() {
    let mut world = World::new(&[("src/a.rs", "fn main() { old(1); }\n"), ("b.txt", "b\n")]);
    world.files = vec!["src/a.rs".into()];
    let patch = world.patch(vec![codemod(SWAP)]).await;
    assert_eq!(patch.files, ["src/a.rs"]);
    assert_eq!((patch.lines_added, patch.lines_removed, patch.agent.as_str()), (1, 1, "rules"));
    assert_eq!(world.show(&patch.commit, "src/a.rs"), "fn main() { new(1); }");
    let commit = Oid::from_bytes(&patch.commit).expect("an id").to_string();
    let shown = git(&world.store(), &["show", "-s", "--format=%P|%an|%ae|%B", &commit]);
    let base = Oid::from_bytes(&world.repo.base).expect("an id");
    assert_eq!(
        shown,
        format!("{base}|Ada Evil|ada@example.org|s1: Do it\n\nJob-Id: job-1\nSubtask-Id: s1\nAttempt: 1\nAgent: rules")
    );
}

#[tokio::test]
async fn the_next_rung_gets_what_the_last_one_left() {
    let mut world = World::new(&[("a.rs", "fn main() { old(1); }\n"), ("b.rs", "// old(2)\n")]);
    world.files = vec!["a.rs".into(), "b.rs".into()];
    world.task.left = "old\\(".into();
    let told = "grep -q 'left work' \"$LONGHAUL_SUBTASK\" && grep -qF '+fn main() { new(1); }' \"$LONGHAUL_SUBTASK\"";
    let finish = command(&format!("{told} && grep -q new a.rs && sed -i s/old/new/ {{files}}"));
    let patch = world.patch(vec![codemod(SWAP), finish]).await;
    assert_eq!((patch.files.len(), patch.agent.as_str()), (2, "script"));
    assert_eq!(world.show(&patch.commit, "b.rs"), "// new(2)");

    let failure = world.failure(vec![codemod(SWAP)]).await;
    assert_eq!((failure.class(), failure.paths), (FailureClass::Agent, vec!["b.rs".to_owned()]));
}

#[tokio::test]
async fn a_command_is_told_what_the_repository_tells_agents_where_it_may_write() {
    let files =
        [("AGENTS.md", "Root words.\n"), ("sub/AGENTS.md", "Near words.\n"), ("other/AGENTS.md", "Not these.\n")];
    let mut world = World::new(&files);
    (world.task.write, world.task.whole_repository) = (vec!["sub/x.rs".into()], false);
    let patch = world.patch(vec![command("mkdir -p sub && cp \"$LONGHAUL_SUBTASK\" sub/x.rs")]).await;
    let told: serde_json::Value = serde_json::from_str(&world.show(&patch.commit, "sub/x.rs")).expect("JSON");
    let root = serde_json::json!({"path": "AGENTS.md", "text": "Root words.\n"});
    let near = serde_json::json!({"path": "sub/AGENTS.md", "text": "Near words.\n"});
    assert_eq!(told["agents_md"], serde_json::json!([root, near]));
}

#[tokio::test]
async fn a_failed_check_fails_and_what_checks_leave_is_in_no_patch() {
    let mut world = World::new(&[("a", "1\n")]);
    world.task.check = vec![sh("echo junk > dropped; echo 3 >> a; grep -q 2 a")];
    let failure = world.failure(vec![command("echo 0 > a")]).await;
    assert_eq!((failure.class(), failure.sign.as_str()), (FailureClass::Check, "claimed-success"));
    let patch = world.patch(vec![command("echo 9 > a"), command("echo 2 >> a")]).await;
    assert_eq!(world.show(&patch.commit, "a"), "9\n2");
    assert_eq!(patch.files, ["a"]);
    world.task.check = vec![sh("test \"$(cat a)\" = 1")];
    world.task.may_be_unchanged = true;
    assert!(matches!(world.run(vec![command("true")]).await, finished::Outcome::Unchanged(_)));
}

#[tokio::test]
async fn an_agent_that_changed_nothing_is_believed_only_where_something_else_says_so() {
    let mut world = World::new(&[("a.rs", "fn main() {}\n")]);
    world.task.check = vec![sh("true")];
    world.files = vec!["a.rs".into()];
    let failure = world.failure(vec![command("echo All done")]).await;
    assert_eq!((failure.class(), failure.sign.as_str()), (FailureClass::Agent, "claimed-without-change"));
    assert!(failure.message.contains("unchanged = \"may-be\""), "{}", failure.message);
    // The next rung is told, and its work counts.
    let told = "grep -q 'changed nothing' \"$LONGHAUL_SUBTASK\" && echo '// done' >> a.rs";
    let patch = world.patch(vec![command("true"), command(told)]).await;
    assert_eq!(patch.files, ["a.rs"]);
    assert!(matches!(world.run(vec![codemod(SWAP)]).await, finished::Outcome::Unchanged(_)), "a codemod");
    world.commit(&[("a.rs", "fn main() {}\n\0")]);
    let failure = world.failure(vec![codemod(SWAP)]).await;
    assert_eq!(failure.sign, "claimed-without-change", "a codemod that could not read it");
    assert!(failure.message.contains("passed over files"), "{}", failure.message);
    world.commit(&[("a.rs", "fn main() {}\n")]);
    world.task.left = "old".into();
    assert!(matches!(world.run(vec![command("true")]).await, finished::Outcome::Unchanged(_)), "nothing is left");
    world.files.clear();
    let failure = world.failure(vec![command("true")]).await;
    assert_eq!(failure.sign, "claimed-without-change", "nobody looked anywhere");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_the_set_up_s_fault_and_named() {
    let mut world = World::new(&[("a", "1\n"), ("inner.sh", "no-such-program\n")]);
    for program in ["no-such-program --fast", "./scripts/missing.sh"] {
        let failure = world.failure(vec![command(program)]).await;
        assert_eq!((failure.class(), failure.sign.as_str()), (FailureClass::Setup, "not-started"), "{program}");
        assert!(failure.message.contains(program.split(' ').next().expect("a word")), "{}", failure.message);
    }
    for line in ["test -f a && exit 127", "sh inner.sh"] {
        let failure = world.failure(vec![command(line)]).await;
        assert_eq!((failure.class(), failure.sign.as_str()), (FailureClass::Agent, "died"), "{line}");
    }
}

#[tokio::test]
async fn a_failed_agent_leaves_nothing_to_the_next() {
    let mut world = World::new(&[("a", "1\n")]);
    let patch = world.patch(vec![command("echo half > a; exit 1"), command("echo 2 >> a")]).await;
    assert_eq!(world.show(&patch.commit, "a"), "1\n2");
    let failure = world.failure(vec![command("echo why >&2; exit 4")]).await;
    assert_eq!((failure.class(), failure.detail.as_str()), (FailureClass::Agent, "why"));
}

#[tokio::test]
async fn fix_runs_on_changed_files_and_its_drift_is_dropped() {
    let mut world = World::new(&[("a", "x  1\ny\nz  1\n"), ("b", "x  1\n")]);
    world.repo.fix = Some(sh("test '{changed_files}' = a && sed -i 's/  / /' a b && echo made > c"));
    let patch = world.patch(vec![command("sed -i 's/^y/y  2/' a")]).await;
    assert_eq!(patch.files, ["a"]);
    assert_eq!(world.show(&patch.commit, "a"), "x  1\ny 2\nz  1");
}

#[tokio::test]
async fn agents_see_their_subtask_and_never_a_secret() {
    let mut world = World::new(&[("a b", "1\n")]);
    world.files = vec!["a b".into()];
    // The process's own environment cannot be changed safely here; USER stands for a secret.
    world.repo.env = Some(RepoEnv { secrets: vec!["PATH".into()], cache: vec!["c".into()], ..RepoEnv::default() });
    world.task.check = vec![sh("test -n \"$CI\"; printenv PATH >/dev/null")];
    let agent = "/usr/bin/cat > in; /usr/bin/cmp in \"$LONGHAUL_SUBTASK\" || exit 1; /usr/bin/printenv PATH && exit 2; /usr/bin/test -z \"$CI\" || exit 3; \
                 /usr/bin/grep -q '\"subtask\":\"s1\"' in || exit 4; /usr/bin/rm in; echo 2 > {file}; /usr/bin/mkdir -p c; echo kept > c/x";
    let patch = world.patch(vec![command(agent)]).await;
    assert_eq!(patch.files, ["a b"], "neither the cache nor a dropping is in the patch");
    let patch = world.patch(vec![command("/usr/bin/test -f c/x && echo 3 > {files}")]).await;
    assert_eq!(world.show(&patch.commit, "a b"), "3");
}

#[tokio::test]
async fn setup_runs_once_for_its_lockfile_and_is_in_no_patch() {
    let mut world = World::new(&[("a", "1\n"), ("Cargo.lock", "1\n")]);
    world.unconfined();
    let count = world.dir.path().join("count");
    let line = format!("echo run >> {}; mkdir -p deps; echo touched > a; touch deps/x", count.display());
    world.repo.env = Some(RepoEnv { setup: Some(sh(&line)), cache: vec!["deps".into()], ..RepoEnv::default() });
    let runs = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    for expected in [1, 1] {
        let patch = world.patch(vec![command("test -f deps/x && cat a && echo 2 >> a")]).await;
        assert_eq!((world.show(&patch.commit, "a").as_str(), runs()), ("1\n2", expected));
    }
    world.commit(&[("Cargo.lock", "2\n")]);
    world.patch(vec![command("echo 2 >> a")]).await;
    assert_eq!(runs(), 2);
    world.repo.env = Some(RepoEnv { setup: Some(sh("exit 1")), ..RepoEnv::default() });
    assert_eq!(world.failure(vec![command("true")]).await.class(), FailureClass::Setup);
    let logs = world.sink.logs.lock().expect("no test panics with it");
    let trace = logs.iter().rev().find(|(name, _)| name.ends_with("-setup.trace.jsonl.zst"));
    assert!(trace.is_some_and(|(_, text)| text.contains("setup exited with 1")), "{logs:?}");
}

#[tokio::test]
async fn time_limits_and_unreadable_rules_are_the_agents_failure() {
    let mut world = World::new(&[("a.rs", "fn f() {}\n")]);
    let bad = world
        .failure(vec![codemod("id: a\nlanguage: rust\nrule: { pattern: x }\nfix: y\n---\nid: b\nlanguage: klingon\n")])
        .await;
    assert_eq!(bad.class(), FailureClass::Agent);
    assert!(bad.message.contains("rules.yml, document 2"), "{}", bad.message);
    world.task.timeout_ms = 300;
    let slow = world.failure(vec![command("sleep 1000")]).await;
    assert_eq!(slow.class(), FailureClass::Agent);
    assert!(slow.message.contains("time limit"), "{}", slow.message);
}
