//! Small jobs to write down.

use std::path::Path;
use std::process::Command;

use longhaul_common::layout::{JobLayout, Layout};
use longhaul_coordinator::checkpoint::{FileStore, Store, recover};
use longhaul_coordinator::core::{Event, State, open_generation};
use longhaul_proto::{Assigned, JobOpened, LeaseExpired, Node, Plan, Record, Repo, Task};

pub fn layout(root: &Path) -> JobLayout {
    Layout::new(root).job(&"sample".parse().expect("a name"))
}

fn plan(nodes: u32) -> Plan {
    Plan {
        job: "sample".into(),
        repo: Some(Repo { base: vec![7; 20], ..Repo::default() }),
        tasks: vec![Task { max_attempts: 3, ..Task::default() }],
        nodes: (0..nodes)
            .map(|at| Node {
                id: format!("n{at}"),
                key: vec![1; 32],
                claims: vec![format!("f{at}")],
                ..Node::default()
            })
            .collect(),
        ..Plan::default()
    }
}

/// A job with an open plan, durable.
pub fn opened(layout: &JobLayout, nodes: u32) -> (State, FileStore) {
    let (recovered, mut store) = recover(layout).expect("opens");
    let mut state = recovered.state;
    let job = Event::JobOpened(JobOpened { job: "sample".into() });
    write(&mut state, &mut store, vec![job]);
    let opened = open_generation(&state, plan(nodes)).expect("a base");
    write(&mut state, &mut store, vec![Event::PlanOpened(opened)]);
    (state, store)
}

fn write(state: &mut State, store: &mut FileStore, events: Vec<Event>) {
    let records = records(state, events);
    store.append(&records).expect("appended");
    store.sync().expect("synced");
}

fn records(state: &mut State, events: Vec<Event>) -> Vec<Record> {
    let number = |event| {
        let seq = state.seq() + 1;
        let at_ms = state.now_ms() + 5;
        state.apply(seq, at_ms, &event).expect("applies");
        Record { seq, at_ms, event: Some(event) }
    };
    events.into_iter().map(number).collect()
}

/// The next `count` records: subtasks assigned and lost in turn.
pub fn next_records(state: &mut State, count: u32) -> Vec<Record> {
    let mut all = Vec::new();
    for _ in 0..count {
        let live = state.attempts().iter().next().map(|(id, live)| (id.0, live.node.0));
        let event = match live {
            Some((attempt, node)) => {
                Event::LeaseExpired(LeaseExpired { attempt, node, why: "sample".into(), handed_back: false })
            }
            None => {
                let attempt = state.spend.attempts + 1;
                let node =
                    u32::try_from(attempt % 5).expect("small") % u32::try_from(state.nodes().count()).expect("small");
                Event::Assigned(Assigned {
                    attempt,
                    node,
                    worker: "w".into(),
                    base: vec![7; 20],
                    ..Assigned::default()
                })
            }
        };
        all.extend(records(state, vec![event]));
    }
    all
}

/// Appends and syncs `count` more records.
pub fn append(state: &mut State, store: &mut FileStore, count: u32) {
    let records = next_records(state, count);
    store.append(&records).expect("appended");
    store.sync().expect("synced");
}

/// Mounts a small file system in memory; false where that is not allowed.
pub fn mount_tmpfs(at: &Path, size: &str) -> bool {
    let options = format!("size={size}");
    run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &at.display().to_string()])
}

pub fn unmount(at: &Path) {
    assert!(run("umount", &[&at.display().to_string()]));
}

pub fn run(program: &str, args: &[&str]) -> bool {
    let done = Command::new(program)
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

/// Writes until nothing more fits.
pub fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("creatable");
    while file.write_all(&[0; 512]).is_ok() {}
}
