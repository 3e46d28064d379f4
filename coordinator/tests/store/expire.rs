//! Attempts of jobs that closed long ago are forgotten; everything else stays.

use std::path::PathBuf;

use longhaul_common::layout::{JobLayout, Layout};
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::checkpoint::{Store as _, read_records, recover};
use longhaul_coordinator::core::{Event, Phase, State, open_generation};
use longhaul_coordinator::hub::JobCard;
use longhaul_coordinator::job::Job;
use longhaul_coordinator::upkeep::{UpkeepSettings, expire, once};
use longhaul_proto as pb;

use crate::world::{Attempt, World, random};

const DAY: i64 = 24 * 3_600_000;

fn plan(job: &str, base: Oid) -> pb::Plan {
    pb::Plan {
        job: job.into(),
        repo: Some(pb::Repo { key: "r".into(), base: base.to_vec(), ..pb::Repo::default() }),
        tasks: vec![pb::Task { max_attempts: 3, ..pb::Task::default() }],
        nodes: vec![pb::Node { id: "n".into(), key: vec![1; 32], claims: vec!["f".into()], ..pb::Node::default() }],
        ..pb::Plan::default()
    }
}

/// A job whose first attempt gave this commit and which was then cancelled, or goes on.
fn job(world: &World, name: &str, attempt: &Attempt, closed_ms: Option<i64>) -> JobLayout {
    let layout = Layout::new(world.folder.path());
    let id: JobId = name.parse().expect("a name");
    let card = JobCard { job: name.into(), source_path: PathBuf::from("/x"), created_ms: 1 };
    card.keep(&layout).expect("kept");
    let files = layout.job(&id);
    let (recovered, mut store) = recover(&files).expect("opens");
    let mut state = recovered.state;
    let opened = open_generation(&State::default(), plan(name, world.base)).expect("a base");
    let base = world.base.to_vec();
    let patch = pb::Patch {
        commit: attempt.commit.to_vec(),
        tree: attempt.tree.to_vec(),
        base: base.clone(),
        ..pb::Patch::default()
    };
    let mut events = vec![
        Event::JobOpened(pb::JobOpened { job: name.into() }),
        Event::PlanOpened(opened),
        Event::Assigned(pb::Assigned { attempt: 1, node: 0, worker: "w".into(), base, ..pb::Assigned::default() }),
        Event::Delivered(pb::Delivered { attempt: 1, node: 0, patch: Some(patch), ..pb::Delivered::default() }),
    ];
    if closed_ms.is_some() {
        let outcome = pb::Outcome::Cancelled.into();
        events.push(Event::NodeClosed(pb::NodeClosed { node: 0, outcome, reason: "x".into() }));
        events
            .push(Event::JobClosed(pb::JobClosed { outcome: pb::JobOutcome::Cancelled.into(), reason: String::new() }));
    }
    for event in events {
        let (seq, at_ms) = (state.seq() + 1, closed_ms.unwrap_or(1).max(state.now_ms()));
        state.apply(seq, at_ms, &event).expect("applies");
        store.append(&[pb::Record { seq, at_ms, event: Some(event) }]).expect("appended");
    }
    store.sync().expect("synced");
    store.snapshot(&state).expect("a snapshot");
    std::fs::create_dir_all(files.logs(1)).expect("a folder");
    std::fs::write(files.logs(1).join("01-agent.log"), "said\n").expect("written");
    std::fs::create_dir_all(files.root().join("capsules")).expect("a folder");
    std::fs::write(files.capsules(1), "{\"attempt\":1,\"capsule\":{}}\n").expect("written");
    files
}

#[test]
fn attempts_of_jobs_closed_long_ago_go_and_nothing_else() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let old = world.attempt(1, &[("shared.txt", b"shared\n"), ("old.txt", &random(1, 500))]);
    let young = world.attempt(2, &[("shared.txt", b"shared\n"), ("young.txt", &random(2, 500))]);
    let open = world.attempt(3, &[("open.txt", &random(3, 500))]);
    for (number, attempt) in [&old, &young, &open].into_iter().enumerate() {
        world.import(number as u64, attempt).expect("imported");
    }
    world.forget_recent();
    let now = 100 * DAY;
    let old_job = job(&world, "old", &old, Some(now - 31 * DAY));
    let young_job = job(&world, "young", &young, Some(now - 29 * DAY));
    job(&world, "open", &open, None);
    let layout = Layout::new(world.folder.path());
    let records = read_records(&old_job, 0).expect("readable").len();
    assert_eq!(expire(&layout, now, 40 * DAY).expect("looked"), [], "nobody's time is over");
    let done = expire(&layout, now, 30 * DAY).expect("done");
    assert_eq!(done.iter().map(|done| done.jobs.clone()).collect::<Vec<_>>(), [["old"]]);
    assert!(done[0].objects >= 3, "{done:?}");
    assert!(!world.has(old.commit));
    assert!(world.whole(young.commit) && world.whole(open.commit) && world.whole(world.base));
    world.fsck();
    assert!(!old_job.logs(1).exists() && !old_job.capsules(1).exists());
    assert!(young_job.logs(1).is_dir() && young_job.capsules(1).is_file());
    assert_eq!(read_records(&old_job, 0).expect("readable").len(), records, "the journal stays");
    assert_eq!(expire(&layout, now, 30 * DAY).expect("again"), [], "once is enough");
    let later = expire(&layout, now + 2 * DAY, 30 * DAY).expect("done");
    assert_eq!(later[0].jobs, ["young"]);
    assert!(!world.has(young.commit) && world.whole(open.commit));
}

#[test]
fn a_job_that_cannot_be_read_keeps_everything() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let old = world.attempt(1, &[("old.txt", &random(1, 500))]);
    world.import(1, &old).expect("imported");
    world.forget_recent();
    job(&world, "old", &old, Some(DAY));
    let other = job(&world, "other", &old, None);
    for folder in [other.journal(), other.snapshots()] {
        for entry in std::fs::read_dir(folder).expect("there").flatten() {
            std::fs::write(entry.path(), "damaged").expect("written");
        }
    }
    assert!(expire(&Layout::new(world.folder.path()), 100 * DAY, DAY).is_err());
    assert!(world.whole(old.commit));
}

#[test]
fn a_next_generation_does_again_what_was_forgotten() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let here = world.attempt(1, &[("f", &random(1, 500))]);
    let gone = world.attempt(2, &[("f", &random(2, 500))]);
    world.import(1, &here).expect("imported");
    let layout = Layout::new(world.folder.path());
    for (name, attempt, carried) in [("here", &here, true), ("gone", &gone, false)] {
        job(&world, name, attempt, None);
        let mut opened = Job::open(&layout, &name.parse().expect("a name")).expect("opens");
        opened.open_plan(pb::Plan { goal: "another".into(), ..plan(name, world.base) }).expect("opened");
        let state = opened.state();
        let node = state.nodes().next().expect("a node");
        let delivered = matches!(state.subtask(node).phase(), Phase::Delivered { .. } | Phase::Landing { .. });
        assert_eq!(delivered, carried, "{name}: {:?}", state.subtask(node).phase());
    }
}

#[test]
fn once_leaves_a_sound_store() {
    let world = World::new(&[("base.txt", b"base\n")]);
    let open = world.attempt(1, &[("f", &random(1, 500))]);
    world.import(1, &open).expect("imported");
    job(&world, "open", &open, None);
    once(&Layout::new(world.folder.path()), &UpkeepSettings::default());
    assert!(world.whole(open.commit));
    world.fsck();
}
