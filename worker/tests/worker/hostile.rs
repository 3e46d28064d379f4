//! Workspaces that cannot be a patch: each has a defined outcome, and none is a panic.

use std::path::Path;

use longhaul_proto::{FailureClass, Task, finished};

use crate::world::{World, command, sh};

async fn outcome(world: &mut World, line: &str) -> (FailureClass, Vec<String>) {
    match world.run(vec![command(line)]).await {
        finished::Outcome::Failure(failure) => (failure.class(), failure.paths),
        other => panic!("{line}: {other:?}"),
    }
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

#[tokio::test]
async fn results_that_are_no_patch() {
    use FailureClass::Result;
    let mut world = World::new(&[("a", "a\n"), ("dir/b", "b\n")]);
    world.policy.max_file_bytes = 1_000_000;
    world.policy.max_files = 5;
    for (line, class, named) in [
        (
            "git init -q inner; git -C inner -c user.name=x -c user.email=x commit -q --allow-empty -m x",
            Result,
            &["inner"][..],
        ),
        ("git init -q inner; echo x > inner/x", Result, &["inner"]),
        ("mkdir -p n/m; git init -q n/m", Result, &["n/m"]),
        ("ln -s /etc/passwd out", Result, &["out"]),
        ("rm dir/b; ln -s ../../x dir/b", Result, &["dir/b"]),
        ("ln -s .git/config config", Result, &["config"]),
        ("head -c 1000001 /dev/zero > big", Result, &["big"]),
        ("for i in 1 2 3 4 5 6; do echo $i > f$i; done", Result, &["f1", "f2", "f3", "f4", "f5", "f6"]),
        ("printf '<<<<<<< ours\\n=======\\n>>>>>>> theirs\\n' > a", Result, &["a"]),
        ("touch \"$(printf 'bad\\377')\"", Result, &["bad\u{fffd}"]),
    ] {
        assert_eq!(outcome(&mut world, line).await, (class, paths(named)), "{line}");
    }
    // The slot is as good as new after all that.
    let patch = world.patch(vec![command("echo 2 >> a; mkfifo pipe")]).await;
    assert_eq!((world.show(&patch.commit, "a").as_str(), patch.files), ("a\n2", paths(&["a"])));
}

#[tokio::test]
async fn writes_outside_the_footprint_and_on_protected_paths() {
    let mut world =
        World::new(&[("src/a", "a\n"), ("src/[id].ts", "i\n"), ("tests/t", "t\n"), ("other", "o\n"), ("Lock", "1\n")]);
    world.policy.protect = vec!["tests/**".into()];
    world.repo.derived = vec![longhaul_proto::Derived { paths: vec!["Lock".into()], regenerate: None }];
    world.task = Task { write: vec!["src/a".into()], ..Task::default() };
    world.files = vec!["src/[id].ts".into()];
    assert_eq!(
        outcome(&mut world, "echo x > other; mv src/a src/b").await,
        (FailureClass::Footprint, paths(&["other", "src/b"]))
    );
    assert_eq!(
        outcome(&mut world, "echo x > tests/t; echo x > other").await,
        (FailureClass::Protected, paths(&["tests/t"]))
    );
    assert_eq!(outcome(&mut world, "echo x > src/i.ts").await, (FailureClass::Footprint, paths(&["src/i.ts"])));
    let patch = world.patch(vec![command("echo x > 'src/[id].ts'; echo 2 > Lock")]).await;
    assert_eq!(patch.files, ["src/[id].ts"], "a derived file is in no patch and no footprint");
    world.task.write.push("tests/*".into());
    let patch = world.patch(vec![command("echo x > src/a; echo x > tests/t")]).await;
    assert_eq!(patch.protected_touched, ["tests/t"]);
    world.task = Task { whole_repository: true, ..Task::default() };
    assert_eq!(outcome(&mut world, "echo x > tests/t; echo x > other").await.0, FailureClass::Protected);
}

#[tokio::test]
async fn nothing_done_to_the_agents_own_repository_matters() {
    let mut world = World::new(&[("a", "a\n"), ("b", "b\n")]);
    for line in [
        "rm -rf .git",
        "git -c user.name=x -c user.email=x commit -qam x --allow-empty; git update-ref refs/heads/main HEAD",
        "git update-index --assume-unchanged a; git config core.worktree /",
        "rm -rf .git; ln -s /nowhere .git",
        "echo garbage > .git/index; echo '*' > .git/info/exclude",
        "echo '* filter=evil' > .git/info/attributes; git config filter.evil.clean 'echo evil'; git config filter.evil.required true",
    ] {
        let patch = world.patch(vec![command(&format!("({line}); echo 2 >> a"))]).await;
        assert_eq!((world.show(&patch.commit, "a").as_str(), patch.files), ("a\n2", paths(&["a"])), "{line}");
    }
}

#[tokio::test]
async fn a_hook_that_refuses_every_commit_refuses_none_of_ours() {
    let mut world = World::new(&[("a", "a\n")]);
    // Within its boundary an agent can make none.
    world.unconfined();
    let line =
        "git config core.hooksPath .git/hooks; printf '#!/bin/sh\\nexit 1\\n' | tee .git/hooks/pre-commit > .git/hooks/post-commit
        chmod +x .git/hooks/p*-commit; echo 2 >> a; ! git -c user.name=x -c user.email=x commit -qam x";
    let patch = world.patch(vec![command(line)]).await;
    assert_eq!((world.show(&patch.commit, "a").as_str(), patch.files), ("a\n2", paths(&["a"])));
}

#[tokio::test]
async fn what_an_agent_links_or_leaves_in_its_slot_is_not_met_by_the_next() {
    let mut world = World::new(&[("a", "a\n")]);
    let theirs = world.dir.path().join("theirs");
    std::fs::write(&theirs, "theirs").expect("written");
    let link = format!("ln -sf {} $TMPDIR/subtask.json; exit 1", theirs.display());
    let reads = "test -s $LONGHAUL_SUBTASK && echo 2 >> a";
    let patch = world.patch(vec![command(&link), command(reads)]).await;
    assert_eq!(patch.files, ["a"]);
    assert_eq!(std::fs::read_to_string(&theirs).expect("there"), "theirs");

    // As a worker that was killed leaves it.
    let home = world.slot("work-0").join("home");
    std::fs::create_dir_all(home.join("session")).expect("made");
    world.patch(vec![command("echo 3 >> a")]).await;
    assert!(!home.exists(), "the next agent does not get the home of another");
}

#[tokio::test]
async fn submodules_stay_as_they_are() {
    let mut world = World::new(&[("a", "a\n")]);
    let user = world.user();
    crate::world::git(world.dir.path(), &["clone", "-q", "user", "module"]);
    crate::world::git(&user, &["submodule", "--quiet", "add", "../module", "sub"]);
    crate::world::git(&user, &["commit", "-qm", "submodule"]);
    world.pin();
    let patch = world.patch(vec![command("echo 2 >> a; echo x > sub/x")]).await;
    assert_eq!(patch.files, ["a"]);
    assert_eq!(outcome(&mut world, "rm -r sub; echo file > sub").await, (FailureClass::Result, paths(&["sub"])));
}

/// A repository in `folder` whose configuration has git make the file `sign`.
fn trap(folder: &str, sign: &Path) -> String {
    let sign = sign.display();
    format!(
        "git init -q {folder}; git -C {folder} -c user.name=x -c user.email=x commit -q --allow-empty -m x
        printf '#!/bin/sh\\ntouch {sign}\\n' > {folder}/.git/run; chmod +x {folder}/.git/run
        git -C {folder} config core.fsmonitor \"$PWD/{folder}/.git/run\""
    )
}

#[tokio::test]
async fn the_worker_s_own_git_runs_nothing_that_a_repository_in_the_workspace_names() {
    let mut world = World::new(&[("a", "a\n")]);
    let user = world.user();
    crate::world::git(world.dir.path(), &["clone", "-q", "user", "module"]);
    crate::world::git(&user, &["submodule", "--quiet", "add", "../module", "sub"]);
    crate::world::git(&user, &["commit", "-qm", "submodule"]);
    world.pin();
    let sign = world.dir.path().join("ran-outside");
    // Two looks at the workspace: before the fix and after it.
    world.repo.fix = Some(sh("true"));
    for folder in ["inner", "sub"] {
        let made = format!("{}; echo 2 >> a; touch {folder}/x", trap(folder, &sign));
        let ended = world.run(vec![command(&made)]).await;
        assert!(!sign.exists(), "{folder}: {ended:?}");
        match (folder, ended) {
            ("inner", finished::Outcome::Failure(failure)) => assert_eq!(failure.paths, ["inner"]),
            ("sub", finished::Outcome::Patch(patch)) => assert_eq!(patch.files, ["a"]),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_check_s_git_runs_nothing_that_an_agent_configured() {
    let mut world = World::new(&[("a", "a\n"), ("b", "b\n")]);
    // What holds where there is no boundary holds where there are mounts as well.
    world.unconfined();
    let sign = world.dir.path().join("ran-by-the-check");
    world.task.check = vec![sh("git status && git diff --stat && git log -1 && git add -A")];
    let evil = world.dir.path().join("evil");
    let own = format!("git config --file {0}/config core.fsmonitor {0}/run", evil.display());
    let program = format!(
        "mkdir -p {0}; printf '#!/bin/sh\\ntouch {1}\\n' > {0}/run; chmod +x {0}/run",
        evil.display(),
        sign.display()
    );
    for line in [
        format!("cp -r .git/. {0}; {own}; rm {0}/commondir; echo {0} > .git/commondir", evil.display()),
        format!("git config core.fsmonitor {}/run", evil.display()),
        format!("echo '* filter=evil' > .git/info/attributes; git config filter.evil.clean {}/run", evil.display()),
        format!("mv .git {}/git; ln -s {0}/git .git; git config core.fsmonitor {0}/run", evil.display()),
        format!(
            "mv .git .away; git config --file .away/config core.fsmonitor {}/run; echo 'gitdir: .away' > .git",
            evil.display()
        ),
        format!(
            "cp -r .git/objects .git/refs .; git rev-parse HEAD > HEAD; echo none > .git/HEAD
            git config --file config core.fsmonitor {0}/run; git config --file config log.showSignature true
            git config --file config gpg.program {0}/run; echo '/*' > .gitignore",
            evil.display()
        ),
    ] {
        let ended = world.run(vec![command(&format!("{program}; {line}; echo 2 >> a"))]).await;
        assert!(!sign.exists(), "{line}: {ended:?}");
        std::fs::remove_dir_all(&evil).expect("it was made");
    }
}

#[tokio::test]
async fn an_agent_cannot_lead_git_to_a_configuration_of_its_own() {
    let mut world = World::new(&[("a", "a\n")]);
    let line = "for file in config commondir hooks/pre-commit info/attributes; do
            if echo x > .git/$file; then exit 1; fi
        done
        if rm -f .git/commondir || mv .git .away; then exit 1; fi
        git add -A && git -c user.name=x -c user.email=x commit -q --allow-empty -m 'git works' || exit 1
        echo 2 >> a";
    let patch = world.patch(vec![command(line)]).await;
    assert_eq!(patch.files, ["a"]);
}
