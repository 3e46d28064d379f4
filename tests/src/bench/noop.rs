//! A real coordinator over the in-memory bus, with a worker that does nothing: every message
//! encoded, every result acknowledged after its durable record.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use longhaul_common::bus::{Bus, MemoryBus, Message, Subject};
use longhaul_common::layout::Layout;
use longhaul_coordinator::coordinator::{Coordinator, Job};
use longhaul_coordinator::results::{Delivery, Results};
use longhaul_proto as pb;
use longhaul_proto::{assignment, finished, from_worker, report, to_worker};
use prost::Message as _;

/// A repository of one file, in a folder that a benchmark may fill.
pub fn repository(folder: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let repo = folder.join("repo");
    std::fs::create_dir_all(&repo)?;
    std::fs::write(repo.join("file"), "text\n")?;
    git(&repo, &["init", "-q", "-b", "main"])?;
    git(&repo, &["add", "-A"])?;
    git(&repo, &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "start"])?;
    let head = git(&repo, &["rev-parse", "HEAD"])?;
    let head: longhaul_common::Oid = head.trim().parse()?;
    Ok((repo, head.to_vec()))
}

pub fn git(repo: &Path, args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new("git").arg("-C").arg(repo).args(args).output()?;
    anyhow::ensure!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A folder on the disk this is built on, not in memory.
pub fn folder() -> anyhow::Result<tempfile::TempDir> {
    let exe = std::env::current_exe()?;
    let base = exe.parent().context("a folder")?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(base)?)
}

/// `count` nodes; each depends on the one before when `chained`.
pub fn plan(repo: &Path, base: Vec<u8>, count: usize, chained: bool, parallel: u32) -> pb::Plan {
    let agent = pb::Agent { name: "noop".into(), kind: Some(pb::agent::Kind::Command(pb::CommandAgent::default())) };
    let node = |at: usize| pb::Node {
        id: format!("n{at}"),
        deps: if chained && at > 0 { vec![u32::try_from(at - 1).unwrap_or(0)] } else { Vec::new() },
        claims: vec![format!("f{at}")],
        key: (at as u64).to_be_bytes().to_vec(),
        weight: 1,
        ..pb::Node::default()
    };
    pb::Plan {
        format: pb::FORMAT,
        job: "bench".into(),
        goal: "nothing".into(),
        repo: Some(pb::Repo { path: repo.display().to_string(), base, ..pb::Repo::default() }),
        agents: vec![agent],
        tasks: vec![pb::Task { id: "t".into(), ladder: vec![0], max_attempts: 1, ..pb::Task::default() }],
        nodes: (0..count).map(node).collect(),
        gate: Some(pb::GateSpec { batch: 8, ..pb::GateSpec::default() }),
        budget: Some(pb::Budget { parallel, ..pb::Budget::default() }),
        author_name: "b".into(),
        author_email: "b@b".into(),
        ..pb::Plan::default()
    }
}

/// Runs a plan of no-ops to its end; the time from the first dispatch on.
pub fn run(count: usize, chained: bool, parallel: u32) -> anyhow::Result<(Duration, u64)> {
    let folder = folder()?;
    let (repo, base) = repository(folder.path())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let layout = Layout::new(folder.path().join("state"));
        let mut job = Job::open(&layout, &"bench".parse()?)?;
        job.open_plan(plan(&repo, base, count, chained, parallel))?;
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
        let inbox = bus.subscribe(&Subject::worker("w"));
        let begun = Instant::now();
        let mut coordinator = job.start(&layout, Arc::clone(&bus))?;
        let worker = tokio::spawn(work(inbox, coordinator.results.clone()));
        say_present(bus.as_ref(), parallel)?;
        wait_closed(&mut coordinator).await?;
        let took = begun.elapsed();
        worker.abort();
        let state = coordinator.stop().await?;
        anyhow::ensure!(state.counts().unchanged as usize == count, "{:?}", state.counts());
        let bytes = std::fs::read_dir(layout.job(&"bench".parse()?).journal())?
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .sum();
        Ok((took, bytes))
    })
}

fn say_present(bus: &dyn Bus, parallel: u32) -> anyhow::Result<()> {
    let presence = pb::Presence {
        worker: "w".into(),
        work_slots: parallel,
        gate_slots: 1,
        protocol: pb::PROTOCOL,
        ..pb::Presence::default()
    };
    let message = pb::FromWorker { message: Some(from_worker::Message::Presence(presence)) };
    let payload = message.encode_to_vec().into();
    bus.publish(Message { subject: Subject::presence("w"), id: String::new(), payload })?;
    Ok(())
}

async fn wait_closed(coordinator: &mut Coordinator) -> anyhow::Result<()> {
    while !coordinator.pulse.borrow().closed {
        coordinator.pulse.changed().await?;
    }
    Ok(())
}

async fn work(mut inbox: longhaul_common::bus::Subscription, results: Results) {
    while let Some(incoming) = inbox.next().await {
        let Ok(pb::ToWorker { message: Some(to_worker::Message::Assign(assignment)) }) =
            pb::ToWorker::decode(incoming.taken())
        else {
            continue;
        };
        let outcome = match assignment.kind {
            Some(assignment::Kind::Gate(_)) => finished::Outcome::Gate(pb::GateResult {
                verdict: pb::Verdict::Green.into(),
                ..pb::GateResult::default()
            }),
            _ => finished::Outcome::Unchanged(pb::Unchanged::default()),
        };
        let finished = pb::Finished { outcome: Some(outcome), ..pb::Finished::default() };
        let report = pb::Report {
            job: assignment.job,
            id: assignment.id,
            worker: "w".into(),
            body: Some(report::Body::Finished(finished)),
        };
        let results = results.clone();
        tokio::spawn(async move {
            drop(results.deliver(Delivery { report, pack: None, logs: Vec::new() }).await);
        });
    }
}
