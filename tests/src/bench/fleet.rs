//! A thousand simulated workers on one real `longhaul serve`: what they cost it while there is
//! nothing to do, and while 20,000 no-ops are handed out among them.
//!
//! The thousand are one process over one connection, each with its own subject, consumer, presence
//! every two seconds and four slots; see `noop_worker`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use longhaul_common::bus::Bus as _;
use longhaul_common::bus::Subject;
use longhaul_common::bus::nats::{NatsBus, NatsRole};
use longhaul_common::layout::Layout;
use longhaul_coordinator::core::Event;
use longhaul_proto as pb;
use longhaul_tests::World;
use longhaul_tests::fleet::{Fleet, FleetSpec};

use super::noop_worker::{NoopWorkers, config};
use super::submit;
use super::table::Row;

const WORKERS: usize = 1_000;
const SLOTS: u32 = 4;
const COUNT: usize = 20_000;

/// How long the idle fleet is looked at.
const IDLE: Duration = Duration::from_secs(6);

/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(120);

pub fn run() -> anyhow::Result<Vec<Row>> {
    longhaul_common::tls::install();
    let world = World::new(&[("file", "text\n")]);
    let base: longhaul_common::Oid = world.git(&["rev-parse", "HEAD"]).parse()?;
    let pack = submit::pack(world.folder(), &world.repo(), &base.to_vec())?;
    let fleet = Fleet::start(&world, &FleetSpec { workers: 0, ..FleetSpec::default() })?;
    let pid = fleet.server.process.as_ref().context("it runs")?.id();
    let layout = Layout::new(&fleet.server.root);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let alone = Used::of(pid)?;
    let workers = runtime.block_on(appear(&fleet))?;
    // A job of one subtask for a worker that is not there: every presence reaches a driver.
    let mut waiting = submit::plan(base.to_vec(), "waiting", 1, false, 1);
    waiting.tasks[0].labels = vec!["nowhere".to_owned()];
    runtime.block_on(submit::submit(&fleet.url(), waiting, &pack))?;
    let before = Used::of(pid)?;
    std::thread::sleep(IDLE);
    let idle = Used::of(pid)?;
    let parallel = u32::try_from(WORKERS)? * SLOTS;
    let plan = submit::plan(base.to_vec(), "many", COUNT, false, parallel);
    runtime.block_on(submit::submit(&fleet.url(), plan, &pack))?;
    let job = layout.job(&"many".parse()?);
    submit::wait_for(&job, 0, WAIT_MAX, |event| matches!(event, Event::JobClosed(_)).then_some(()))?;
    let busy = Used::of(pid)?;
    let took = submit::span(&job)?;
    let on: std::collections::BTreeSet<String> = longhaul_coordinator::checkpoint::read_records(&job, 0)?
        .into_iter()
        .filter_map(|record| match record.event {
            Some(Event::Assigned(pb::Assigned { worker, .. })) => Some(worker),
            _ => None,
        })
        .collect();
    drop(workers.end()?);
    let seconds = |ticks: Duration| ticks.as_secs_f64();
    let percent = 100.0 * seconds(idle.cpu - before.cpu) / IDLE.as_secs_f64();
    let rate = COUNT as f64 / took.as_secs_f64();
    Ok(vec![
        Row::figure(
            "1,000 workers idle: the coordinator",
            format!("{} MiB at most (alone {}), {percent:.0} % of a core", idle.peak_mib, alone.peak_mib),
            "–",
        ),
        Row::figure(
            "20,000 no-ops on 1,000 workers: the coordinator",
            format!(
                "{rate:.0} tasks/s, {} MiB at most, {:.1} s of CPU ({:.0} µs a task), {} workers had some",
                busy.peak_mib,
                seconds(busy.cpu - idle.cpu),
                seconds(busy.cpu - idle.cpu) * 1e6 / COUNT as f64,
                on.len()
            ),
            "–",
        ),
    ])
}

/// Starts the workers and returns when each has been heard.
async fn appear(fleet: &Fleet) -> anyhow::Result<NoopWorkers> {
    let bus = NatsBus::connect(config(&fleet.nats.url(), NatsRole::Worker("ear".parse()?))).await?;
    let mut presences = bus.subscribe(&Subject::presences());
    bus.subscribed().await;
    let workers = NoopWorkers::start(&fleet.nats.url(), &fleet.url(), "s", WORKERS, SLOTS)?;
    let mut heard = std::collections::BTreeSet::new();
    let begun = Instant::now();
    while heard.len() < WORKERS {
        let left = WAIT_MAX.saturating_sub(begun.elapsed());
        let said = tokio::time::timeout(left, presences.next()).await.context("not all workers appeared")?;
        heard.extend(said.and_then(|said| said.subject.worker_name().map(str::to_owned)));
    }
    Ok(workers)
}

/// What a process has used so far.
#[derive(Clone, Copy)]
struct Used {
    cpu: Duration,
    peak_mib: u64,
}

impl Used {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name in brackets come the third field and those after it.
        let after = stat.rsplit_once(") ").context("a process")?.1;
        let field = |at: usize| after.split(' ').nth(at - 3).and_then(|text| text.parse::<u64>().ok());
        // Linux counts them in hundredths of a second for every architecture.
        let ticks = field(14).context("user time")? + field(15).context("system time")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("peak memory")?;
        let kib: u64 = peak.trim().split(' ').next().unwrap_or_default().parse()?;
        Ok(Self { cpu: Duration::from_millis(ticks * 10), peak_mib: kib / 1024 })
    }
}
