//! A worker that has no store on its disk: mirrors, and the job's own files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use longhaul_common::layout::repo_key;
use longhaul_proto::{Assignment, FailureClass, Gate, Patch, RepoEnv, Verdict, assignment, finished};
use longhaul_worker::DiskLimits;

use crate::world::{World, command, git, job, sh};

fn remote(mut assignment: Assignment) -> Assignment {
    assignment.store = "store.git".into();
    assignment
}

impl World {
    fn mirror(&self) -> PathBuf {
        self.root().join("mirrors").join(format!("{}.git", repo_key(&self.user())))
    }

    async fn remote_patch(&mut self, line: &str) -> Patch {
        let assignment = remote(self.work(vec![command(line)]));
        self.assign(assignment).await;
        match self.result().await.outcome {
            Some(finished::Outcome::Patch(patch)) => patch,
            other => panic!("no patch: {other:?}"),
        }
    }
}

fn packed(world: &World) -> u64 {
    let out = git(&world.mirror(), &["count-objects", "-v"]);
    let line = out.lines().find_map(|line| line.strip_prefix("in-pack: ")).expect("counted");
    line.parse().expect("a number")
}

#[tokio::test]
async fn only_differences_are_fetched_and_refs_keep_them() {
    let files: Vec<(String, String)> = (0..40).map(|n| (format!("f{n}"), format!("{n}\n"))).collect();
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut world = World::new(&borrowed);
    world.as_fleet(|_| {}).await;
    let patch = world.remote_patch("echo 2 > f0").await;
    assert_eq!(world.show(&patch.commit, "f0"), "2");
    let first = packed(&world);
    assert_eq!(first, 42, "commit, tree and 40 files");
    world.remote_patch("echo 3 > f0").await;
    assert_eq!(packed(&world), first, "what is there is not fetched again");
    let base = world.commit(&[("f1", "changed\n")]);
    let patch = world.remote_patch("cat f1 > f0").await;
    assert_eq!(world.show(&patch.commit, "f0"), "changed");
    let more = packed(&world) - first;
    assert!((3..=4).contains(&more), "a commit, a tree, a file, and maybe what one is told as a difference to: {more}");
    git(&world.mirror(), &["rev-parse", "--verify", &format!("refs/longhaul/{}/{base}", job())]);
    world.present(|found| found.warm.len() == 1).await;
    assert_eq!(
        git(&world.mirror(), &["for-each-ref", "refs/tags", "refs/heads"]),
        "",
        "nothing that was not asked for"
    );
}

#[tokio::test]
async fn a_damaged_or_missing_mirror_is_made_anew() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|_| {}).await;
    world.remote_patch("echo 2 > a").await;
    for damage in [
        "rm -rf objects",
        "echo garbage > HEAD; rm -rf refs",
        "rm -rf .",
        "for p in objects/pack/*; do chmod u+w $p; echo garbage > $p; done",
    ] {
        let done = std::process::Command::new("sh").args(["-c", damage]).current_dir(world.mirror()).status();
        done.expect("runs");
        // What a damaged pack holds is only found out when it is read: then the next time is whole.
        let mut tries = 0;
        loop {
            let assignment = remote(world.work(vec![command("echo 3 > a")]));
            world.assign(assignment).await;
            match world.result().await.outcome {
                Some(finished::Outcome::Patch(_)) => break,
                Some(finished::Outcome::Failure(failure)) if failure.class() == FailureClass::Infrastructure => {
                    tries += 1;
                    assert!(tries < 2, "{damage}: {failure:?}");
                }
                other => panic!("{damage}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn leftovers_of_a_killed_fetch_are_not_in_the_way() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|_| {}).await;
    world.remote_patch("echo 2 > a").await;
    world.stop().await;
    let base = world.commit(&[("a", "new\n")]);
    let reference = world.mirror().join(format!("refs/longhaul/{}/{base}", job()));
    std::fs::create_dir_all(reference.parent().expect("has one")).expect("made");
    for left in [reference.clone(), reference.with_extension("lock"), world.mirror().join("packed-refs.lock")] {
        std::fs::write(left, "").expect("written");
    }
    let gone = world.root().join("mirrors/.gone-x");
    std::fs::create_dir(&gone).expect("made");
    world.start();
    let patch = world.remote_patch("cat a > b").await;
    assert_eq!(world.show(&patch.commit, "b"), "new");
    assert!(!reference.with_extension("lock").exists() && !gone.exists());
}

#[tokio::test]
async fn idle_mirrors_go_when_all_are_over_the_limit() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|config| config.disk = DiskLimits { mirrors_bytes_max: 1, ..DiskLimits::default() }).await;
    world.repo.key = "one".into();
    world.remote_patch("echo 2 > a").await;
    let one = world.root().join("mirrors/one.git");
    assert!(one.exists(), "the one in use stays");
    world.repo.key = "two".into();
    world.remote_patch("echo 2 > a").await;
    assert!(!one.exists() && world.root().join("mirrors/two.git").exists());
    world.repo.key = "one".into();
    let patch = world.remote_patch("echo 3 > a").await;
    assert_eq!(world.show(&patch.commit, "a"), "3", "a slot of a mirror that went works again");
}

#[tokio::test]
async fn a_full_disk_takes_idle_slots_and_mirrors_first() {
    let mut world = World::new(&[("a", "1\n")]);
    world.as_fleet(|_| {}).await;
    world.remote_patch("echo 2 > a").await;
    world.present(|found| found.holding.is_empty()).await;
    assert!(world.slot("work-0").join("ws/a").exists() && world.mirror().exists());
    world.as_fleet(|config| config.disk = DiskLimits { free_min_bytes: u64::MAX, ..DiskLimits::default() }).await;
    world.present(|found| !found.disk_low.is_empty()).await;
    assert!(!world.slot("work-0").join("ws").exists());
    assert!(!world.mirror().exists());
}

#[tokio::test]
async fn the_jobs_files_are_checked_out_once_and_old_ones_go() {
    let mut world = World::new(&[("a", "1\n")]);
    world.unconfined();
    world.as_fleet(|_| {}).await;
    let user = world.user();
    let mut folders = Vec::new();
    for round in ["one", "two"] {
        git(&user, &["checkout", "-q", "--orphan", round]);
        git(&user, &["rm", "-rfq", "--cached", "."]);
        std::fs::create_dir_all(user.join("bin")).expect("made");
        std::fs::write(user.join("bin/run.sh"), format!("#!/bin/sh\necho {round} > a\n")).expect("written");
        std::fs::set_permissions(user.join("bin/run.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
        git(&user, &["add", "bin"]);
        git(&user, &["commit", "-qm", "files"]);
        let files = git(&user, &["rev-parse", "HEAD"]);
        git(&world.store(), &["fetch", "-q", "origin", "+refs/heads/*:refs/heads/*"]);
        let mut assignment = remote(world.work(vec![command("{job_dir}/bin/run.sh")]));
        assignment.files_commit = files.parse::<longhaul_common::Oid>().expect("an id").to_vec();
        assignment.job_dir = "/nowhere".into();
        world.assign(assignment).await;
        let Some(finished::Outcome::Patch(patch)) = world.result().await.outcome else { panic!("no patch") };
        assert_eq!(world.show(&patch.commit, "a"), round);
        let folder = world.root().join("jobs").join(job().as_str()).join(files);
        let mode = std::fs::metadata(folder.join("bin/run.sh")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o555);
        folders.push(folder);
        world.present(|found| found.holding.is_empty()).await;
    }
    // Whatever changed them meanwhile, they are the job's when they are used.
    let script = folders[1].join("bin/run.sh");
    std::fs::remove_file(&script).expect("removed");
    std::fs::write(&script, "#!/bin/sh\necho evil > a\n").expect("written");
    std::fs::write(folders[1].join("more"), "").expect("written");
    let of_files = |world: &World, mut assignment: Assignment| {
        let files = git(&world.user(), &["rev-parse", "HEAD"]);
        assignment.files_commit = files.parse::<longhaul_common::Oid>().expect("an id").to_vec();
        remote(assignment)
    };
    let work = world.work(vec![command("{job_dir}/bin/run.sh")]);
    world.assign(of_files(&world, work)).await;
    let Some(finished::Outcome::Patch(patch)) = world.result().await.outcome else { panic!("no patch") };
    assert_eq!(world.show(&patch.commit, "a"), "two");
    assert!(!folders[1].join("more").exists());
    // A gate has its own, and looks again before it runs.
    world.repo.env = Some(RepoEnv { setup: Some(sh("rm -f {job_dir}/bin/run.sh")), ..RepoEnv::default() });
    let gate = world.assignment(assignment::Kind::Gate(Gate { run: Some(sh("true")), ..Gate::default() }));
    world.assign(of_files(&world, gate)).await;
    let Some(finished::Outcome::Gate(result)) = world.result().await.outcome else { panic!("no verdict") };
    assert!(result.verdict() == Verdict::Inconclusive && result.reason.contains("were changed"), "{result:?}");
    assert!(script.exists());
    assert!(!folders[0].exists() && folders[1].exists());
}

#[tokio::test]
async fn what_the_server_lacks_or_cannot_name_is_the_machines_failure() {
    let mut world = World::new(&[("a", "1\n")]);
    for store in ["store.git", "../store.git"] {
        if store.starts_with('.') {
            world.as_fleet(|_| {}).await;
        }
        let mut assignment = world.work(vec![command("true")]);
        assignment.store = store.into();
        world.assign(assignment).await;
        let Some(finished::Outcome::Failure(failure)) = world.result().await.outcome else { panic!("no failure") };
        assert_eq!(failure.class(), FailureClass::Infrastructure);
        let wanted = if store.starts_with('.') { "cannot name a repository" } else { "--server" };
        assert!(failure.message.contains(wanted), "{}", failure.message);
    }
}
