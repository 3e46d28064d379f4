//! Work in progress: saved while an agent works, and gone on with by another worker.

use longhaul_proto::{FailureClass, Wip, Work, assignment, finished};

use crate::world::{World, command, git};

/// Three turns; each says where it is, and the middle one waits until it is allowed to go on.
const AGENT: &str = r#"
    from=$(cat "$LONGHAUL_SESSION/turn" 2>/dev/null || echo 0)
    for turn in 1 2 3; do
        test $turn -gt $from || continue
        echo $turn >> log
        echo $turn > "$LONGHAUL_SESSION/turn"
        test $turn = 2 && mkdir -p cache && echo x > cache/x
        touch -d @$turn "$LONGHAUL_TURN"
        echo "turn $turn of $$"
        test $turn = 2 && until test -e GO; do sleep 0.05; done
    done
    true
"#;

impl World {
    async fn saved(&mut self, wanted: impl Fn(&Wip) -> bool) -> Wip {
        let mut wips = self.sink.wips.subscribe();
        let found = wips.wait_for(|wips| wips.iter().any(&wanted));
        let wips = tokio::time::timeout(std::time::Duration::from_secs(60), found).await.expect("saved in time");
        let wips = wips.expect("the sink lives");
        wips.iter().rev().find(|wip| wanted(wip)).cloned().expect("it was seen")
    }
}

fn agent(world: &World) -> String {
    AGENT.replace("GO", &world.dir.path().join("go").display().to_string())
}

#[tokio::test]
async fn another_worker_goes_on_where_a_killed_one_was() {
    let mut world = World::new(&[("a", "1\n")]);
    world.repo.env = Some(longhaul_proto::RepoEnv { cache: vec!["cache".into()], ..Default::default() });
    world.task.wip_every_ms = 600_000;
    let line = agent(&world);
    let first = world.work(vec![command("echo before > b; echo more > more; false"), command(&line)]);
    world.assign(first).await;
    let store = world.store();
    let log = |wip: &Wip| {
        let commit = longhaul_common::Oid::from_bytes(&wip.commit).expect("an id");
        git(&store, &["show", &format!("{commit}:log")])
    };
    let wip = world.saved(|wip| log(wip) == "1\n2").await;
    assert!((1..=2).contains(&wip.turn), "turns in quick succession are one: {}", wip.turn);
    world.stop().await;
    assert_eq!(wip.rung, 1);
    let commit = longhaul_common::Oid::from_bytes(&wip.commit).expect("an id").to_string();
    assert_eq!(git(&world.store(), &["ls-tree", "--name-only", &commit]), "a\nlog", "no cache, no failed rung");
    assert_eq!(git(&world.store(), &["rev-parse", &format!("{commit}^")]), git(&world.user(), &["rev-parse", "HEAD"]));

    // A worker with a folder of its own.
    world.configure = Box::new(|config| config.root = config.root.with_file_name("second"));
    world.start();
    std::fs::write(world.dir.path().join("go"), "").expect("written");
    let mut second = world.work(vec![command("echo never > b"), command(&line)]);
    let Some(assignment::Kind::Work(Work { wip: of_work, .. })) = &mut second.kind else { panic!("no work") };
    *of_work = Some(wip);
    world.assign(second).await;
    match world.result().await.outcome {
        Some(finished::Outcome::Patch(patch)) => {
            assert_eq!(world.show(&patch.commit, "log"), "1\n2\n3", "whole, and nothing twice");
            assert_eq!(patch.files, ["log"]);
        }
        other => panic!("no patch: {other:?}"),
    }
}

#[tokio::test]
async fn a_worker_that_leaves_saves_before_it_hands_back() {
    let mut world = World::new(&[("a", "1\n")]);
    world.stop().await;
    world.configure = Box::new(|config| config.drain_ms = 100);
    world.start();
    world.task.wip_every_ms = 600_000;
    let work = world.work(vec![command("echo half > a; echo running; sleep 1000")]);
    world.assign(work).await;
    world.heard_line("running").await;
    world.shutdown.drain.cancel();
    match world.result().await.outcome {
        Some(finished::Outcome::Failure(failure)) => assert_eq!(failure.class(), FailureClass::HandedBack),
        other => panic!("not handed back: {other:?}"),
    }
    let wip = world.saved(|_| true).await;
    assert_eq!(world.show(&wip.commit, "a"), "half");
    world.ended().await.expect("drained");
}

#[tokio::test]
async fn a_turn_that_only_thinks_is_saved_too() {
    let mut world = World::new(&[("a", "1\n")]);
    world.task.wip_every_ms = 600_000;
    let line = "echo idea > $LONGHAUL_SESSION/notes; touch $LONGHAUL_TURN; sleep 2; echo 2 > a";
    let base = world.repo.base.clone();
    world.patch(vec![command(line)]).await;
    let wips = world.sink.wips.borrow().clone();
    let first = wips.first().expect("saved before the tree changed");
    assert_eq!(world.show(&first.commit, "a"), "1");
    assert!(first.session.windows(4).any(|bytes| bytes == b"idea") && first.commit != base);
}

#[tokio::test]
async fn nothing_is_saved_where_it_is_not_asked_for_or_nothing_changed() {
    let mut world = World::new(&[("a", "1\n")]);
    let asks = "echo 2 > a; touch $LONGHAUL_TURN; sleep 0.6";
    world.patch(vec![command(asks)]).await;
    assert!(world.sink.wips.borrow().is_empty());
    world.task.wip_every_ms = 100;
    world.run(vec![command("sleep 0.5")]).await;
    assert!(world.sink.wips.borrow().is_empty());
    world.patch(vec![command("echo 2 > a; sleep 1; echo 3 > a; sleep 1")]).await;
    let saved: Vec<String> = world.sink.wips.borrow().iter().map(|wip| world.show(&wip.commit, "a")).collect();
    assert_eq!(saved, ["2", "3"], "each state once");
}
