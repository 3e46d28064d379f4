//! Landing with the real binary: culprits, derived files, groups, protected paths, red bases.

use longhaul_tests::{World, leftovers};

use crate::job::{greeting, greeting_job};

#[test]
fn a_job_lands_on_a_branch_with_receipts_and_leaves_the_checkout_alone() {
    let world = greeting(6);
    world.write("src/f00.txt", "the user is editing this\n");
    let ran = world.expect(0, &["run"]);
    let branch = world.branch();
    assert_eq!(branch, "longhaul/goodbye");
    for n in 0..6 {
        assert_eq!(world.on_branch(&branch, &format!("src/f{n:02}.txt")), format!("goodbye {n}\nkeep this line"));
    }
    assert_eq!(world.git(&["status", "--porcelain"]), "M src/f00.txt", "{}", ran.stderr);
    let author = world.git(&["log", "-1", "--format=%an <%ae>", &branch]);
    assert_eq!(author, "Ada <ada@example.org>");
    let receipts = world.git(&["ls-tree", "-r", "--name-only", "refs/longhaul/goodbye/receipts"]);
    assert!(receipts.contains("receipts/") && receipts.contains("gates/"), "{receipts}");
    let verified = world.expect(0, &["verify", "--rerun"]);
    assert!(verified.stdout.contains("6 subtasks proven landed, 0 findings") && !verified.stdout.contains("RED"));
    assert_eq!(leftovers::of_finished(&world), Vec::<String>::new());
    // Running it again repeats nothing.
    let attempts = world.status()["attempts"].clone();
    world.expect(0, &["run"]);
    assert_eq!(world.status()["attempts"], attempts);
}

#[test]
fn a_culprit_is_parked_with_the_gates_words_and_the_innocent_land() {
    let world = greeting(6);
    world.job(&greeting_job("s/hello 3/BROKEN 3/;s/hello/goodbye/"));
    let ran = world.expect(3, &["run"]);
    let status = world.status();
    assert_eq!(
        (status["counts"]["landed"].as_u64(), status["counts"]["parked"].as_u64()),
        (Some(5), Some(1)),
        "{}",
        ran.stderr
    );
    let why = world.expect(0, &["explain", "word-f03"]);
    assert!(why.stdout.contains("the gate is red with its change and green without it"), "{}", why.stdout);
    let capsule = world.expect(0, &["show", "word-f03", "--capsule"]);
    assert!(capsule.stdout.contains("Last failure: gate"), "{}", capsule.stdout);
    let verified = world.expect(0, &["verify", "--rerun"]);
    assert!(!verified.stdout.contains("RED"), "{}", verified.stdout);
}

#[test]
fn a_red_base_stops_the_job_before_any_attempt() {
    let world = greeting(3);
    world.commit(&[("src/f01.txt", "BROKEN\nkeep this line\n")], "break it");
    let ran = world.expect(1, &["run"]);
    assert!(ran.stderr.contains("the gate is red on the base"), "{}", ran.stderr);
    assert_eq!(world.status()["attempts"].as_u64(), Some(0));
    assert_eq!(world.git(&["for-each-ref", "refs/heads/longhaul"]), "");
}

#[test]
fn derived_files_are_regenerated_at_landing_and_belong_to_no_patch() {
    let world = World::new(&[
        ("parts/a.txt", "old a\n"),
        ("parts/b.txt", "old b\n"),
        ("all.lock", "old a\nold b\n"),
        ("gate.sh", "cat parts/*.txt | cmp - all.lock\n"),
    ]);
    world.job(
        r#"goal = "renew the parts"
name = "derived"
[[repo]]
name = "app"
path = "repo"
base = "main"
[[repo.derived]]
paths = ["all.lock"]
regenerate = "cat parts/*.txt > all.lock"
[agent.edit]
kind = "command"
run = ["sh", "-c", "sed -i s/old/new/ parts/$(basename $1) && echo mess >> all.lock", "edit", "{files}"]
[[map]]
id = "part-{stem}"
files = "parts/*.txt"
group = "file"
ladder = ["edit"]
[gate]
run = "sh gate.sh"
"#,
    );
    let ran = world.expect(0, &["run"]);
    assert_eq!(world.on_branch("longhaul/derived", "all.lock"), "new a\nnew b", "{}", ran.stderr);
    let subtask = world.git(&["log", "--format=%s", "--no-merges", "main..longhaul/derived", "--", "all.lock"]);
    assert!(subtask.lines().all(|line| line.contains("erived")), "{subtask}");
    world.expect(0, &["verify", "--rerun"]);
}

#[test]
fn a_group_that_breaks_callers_until_all_are_in_lands_as_one() {
    let world = World::new(&[
        ("provider.txt", "name=old\n"),
        ("consumer.txt", "uses=old\n"),
        ("gate.sh", "test \"$(cut -d= -f2 provider.txt)\" = \"$(cut -d= -f2 consumer.txt)\"\n"),
    ]);
    world.job(
        r#"goal = "rename old to new"
name = "group"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.provider]
kind = "command"
run = "sed -i s/old/new/ provider.txt"
[agent.consumer]
kind = "command"
run = "grep -q new provider.txt && sed -i s/old/new/ consumer.txt"
[[task]]
id = "provider"
write = ["provider.txt"]
ladder = ["provider"]
land_with = "rename"
[[task]]
id = "consumer"
after = ["provider"]
write = ["consumer.txt"]
ladder = ["consumer"]
land_with = "rename"
[gate]
run = "sh gate.sh"
"#,
    );
    let ran = world.expect(0, &["run"]);
    assert_eq!(world.on_branch("longhaul/group", "consumer.txt"), "uses=new", "{}", ran.stderr);
    assert_eq!(world.status()["landings"].as_u64(), Some(1), "both in one landing");
}

#[test]
fn what_must_not_land_unseen_is_parked_or_failed_by_name() {
    let world = World::new(&[("src/a.txt", "a\n"), ("tests/t.txt", "assert\n"), ("gate.sh", "true\n")]);
    world.job(
        r#"goal = "do what is not allowed"
name = "hostile"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.outside]
kind = "command"
run = "echo x > elsewhere.txt"
[agent.tests]
kind = "command"
run = "echo weaker > tests/t.txt"
[agent.link]
kind = "command"
run = "ln -s /etc/passwd src/link"
[agent.nothing]
kind = "command"
run = "true"
[agent.commits]
kind = "command"
run = "echo mine >> src/a.txt && git add -A && git -c user.name=x -c user.email=x@x commit -qm mine"
[[task]]
id = "outside"
write = ["src/**"]
ladder = ["outside"]
attempts = 1
[[task]]
id = "tests"
ladder = ["tests"]
[[task]]
id = "link"
write = ["src/link"]
ladder = ["link"]
attempts = 1
[[task]]
id = "nothing"
write = ["src/none.txt"]
ladder = ["nothing"]
unchanged = "may-be"
[[task]]
id = "commits"
write = ["src/a.txt"]
ladder = ["commits"]
[gate]
run = "sh gate.sh"
[policy]
protect = ["tests/**"]
"#,
    );
    world.expect(3, &["run"]);
    let rows = world.expect(0, &["list", "hostile", "--json"]);
    let state = |id: &str| {
        let row = rows.stdout.lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).expect("listed");
        let row: serde_json::Value = serde_json::from_str(row).expect("an object");
        (row["state"].as_str().unwrap_or_default().to_owned(), row["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(state("outside").0, "parked");
    assert!(state("outside").1.contains("elsewhere.txt"), "{:?}", state("outside"));
    assert_eq!(state("tests").0, "parked");
    assert!(state("tests").1.contains("tests/t.txt"), "{:?}", state("tests"));
    assert_eq!(state("link").0, "parked");
    assert_eq!(state("nothing").0, "unchanged");
    assert_eq!(state("commits").0, "landed", "what it did to its .git does not matter");
    assert_eq!(world.on_branch("longhaul/hostile", "src/a.txt"), "a\nmine");
}
