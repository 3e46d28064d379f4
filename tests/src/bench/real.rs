//! The same 1,000 subtasks with a real command, a real diff and a durable landing, through the
//! real worker, split into their parts.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use longhaul_common::bus::{Bus, MemoryBus};
use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::coordinator::Job;
use longhaul_coordinator::core::Event;
use longhaul_coordinator::results::{self, Results};
use longhaul_proto as pb;
use longhaul_worker::{Delivery, ResultSink, Scope, Shutdown, SinkError, WorkerConfig};
use tokio_util::sync::CancellationToken;

use super::landings::large_repository;
use super::noop;
use super::table::Row;

const COUNT: usize = 1_000;

struct Sink(Results);

impl ResultSink for Sink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<pb::Ack, SinkError>> {
        Box::pin(async move {
            let Delivery { report, pack, logs } = delivery;
            let taken = self.0.deliver(results::Delivery { report, pack, logs }).await;
            taken.map_err(|error| SinkError::Unavailable(error.to_string()))
        })
    }
}

pub fn run() -> anyhow::Result<Vec<Row>> {
    let folder = noop::folder()?;
    let (repo, base) = large_repository(folder.path())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let layout = Layout::new(folder.path().join("state"));
    let took = runtime.block_on(async {
        let mut job = Job::open(&layout, &"bench".parse()?)?;
        job.open_plan(plan(&repo, base.to_vec()))?;
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
        let begun = Instant::now();
        let mut coordinator = job.start(&layout, Arc::clone(&bus))?;
        let stop = CancellationToken::new();
        let shutdown = Shutdown { drain: CancellationToken::new(), stop: stop.clone() };
        let shim = vec![std::env::current_exe()?.into_os_string(), "__shim".into()];
        let config = WorkerConfig { work_slots: 2, slot_bytes_max: 0, ..WorkerConfig::new("w", layout.worker(), shim) };
        let sink = Arc::new(Sink(coordinator.results.clone()));
        let worker = tokio::spawn(longhaul_worker::run(config, Scope::Job("bench".parse()?), bus, sink, shutdown));
        while !coordinator.pulse.borrow().closed {
            coordinator.pulse.changed().await?;
        }
        let took = begun.elapsed();
        stop.cancel();
        worker.await??;
        let state = coordinator.stop().await?;
        anyhow::ensure!(state.counts().landed as usize == COUNT, "{:?}", state.counts());
        anyhow::Ok(took)
    })?;
    rows(&layout, took)
}

fn plan(repo: &std::path::Path, base: Vec<u8>) -> pb::Plan {
    let mut plan = noop::plan(repo, base, COUNT, false, 2);
    let run = pb::CommandLine {
        argv: ["sed", "-i", "s/pub fn/pub const fn/", "{files}"].map(String::from).to_vec(),
        ..pb::CommandLine::default()
    };
    let agent = pb::CommandAgent { run: Some(run), ..pb::CommandAgent::default() };
    plan.agents[0].kind = Some(pb::agent::Kind::Command(agent));
    plan.gate = Some(pb::GateSpec {
        run: Some(pb::CommandLine { argv: vec!["true".into()], ..pb::CommandLine::default() }),
        batch: 32,
        timeout_ms: 60_000,
        ..pb::GateSpec::default()
    });
    plan.tasks[0].timeout_ms = 60_000;
    for (at, node) in plan.nodes.iter_mut().enumerate() {
        let file = format!("src/m{:02}/file{at:04}.rs", at % 96);
        node.files = vec![file.clone()];
        node.claims = vec![file];
    }
    plan
}

fn rows(layout: &Layout, took: std::time::Duration) -> anyhow::Result<Vec<Row>> {
    let mut sum = pb::Timing::default();
    let (mut attempts, mut gates, mut gate_ms, mut landings) = (0_u64, 0_u64, 0, 0_u64);
    for record in read_records(&layout.job(&"bench".parse()?), 0)? {
        match record.event {
            Some(Event::Delivered(event)) => {
                let timing = event.timing.unwrap_or_default();
                attempts += 1;
                sum.slot_ms += timing.slot_ms;
                sum.agent_ms += timing.agent_ms;
                sum.commit_ms += timing.commit_ms;
                sum.total_ms += timing.total_ms;
            }
            Some(Event::GateDone(event)) => (gates, gate_ms) = (gates + 1, gate_ms + event.duration_ms),
            Some(Event::Landed(_)) => landings += 1,
            _ => {}
        }
    }
    let mean = |total: u64| format!("{:.1} ms", total as f64 / attempts.max(1) as f64);
    let whole = format!("{:.1} ms", took.as_secs_f64() * 1e3 / COUNT as f64);
    let gate = format!("{:.0} ms, {gates} gates, {landings} landings", gate_ms as f64 / gates.max(1) as f64);
    Ok(vec![
        Row::figure("1,000 real subtasks on 2 slots, wall time each", whole, "–"),
        Row::figure("… of an attempt: slot ready", mean(sum.slot_ms), "–"),
        Row::figure("… agent (a process through the shim)", mean(sum.agent_ms), "–"),
        Row::figure("… commit built from outside, pack", mean(sum.commit_ms), "–"),
        Row::figure("… the whole attempt until its delivery", mean(sum.total_ms), "–"),
        Row::figure("… a gate run, merge and landing around it", gate, "–"),
    ])
}
