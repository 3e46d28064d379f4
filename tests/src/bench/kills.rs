//! How long a SIGKILL costs: of a worker, until its work runs elsewhere; of the coordinator, until
//! its next process hands out something new. Real processes, real commands.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use longhaul_common::layout::{JobLayout, Layout};
use longhaul_coordinator::core::Event;
use longhaul_proto as pb;
use longhaul_tests::World;
use longhaul_tests::fleet::{Fleet, FleetSpec};

use super::noop_worker::now_micros;
use super::submit;
use super::table::Row;

/// Leases that are looked at, in seconds, side by side: the usual one, and a short one.
const LEASES: [u64; 2] = [30, 6];

/// Open subtasks of the coordinator that is killed.
const OPEN: usize = 10_000;

/// How long a coordinator stays away in the second case: longer than any first pause of a worker.
const AWAY: Duration = Duration::from_secs(12);

const ROUNDS: usize = 3;
const WAIT_MAX: Duration = Duration::from_secs(90);

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

const JOB: &str = "killed";

struct Site {
    // Ended before its folder goes.
    fleet: Fleet,
    world: World,
    job: JobLayout,
}

impl Site {
    /// A fleet with a job of `count` subtasks that each run a command.
    fn start(spec: &FleetSpec, count: usize, script: impl Fn(&Path) -> String) -> anyhow::Result<Self> {
        let world = World::new(&[("file", "text\n")]);
        let base: longhaul_common::Oid = world.git(&["rev-parse", "HEAD"]).parse()?;
        let pack = submit::pack(world.folder(), &world.repo(), &base.to_vec())?;
        let fleet = Fleet::start(&world, spec)?;
        let run = pb::CommandLine {
            argv: ["sh", "-c", &script(world.folder())].map(str::to_owned).to_vec(),
            ..pb::CommandLine::default()
        };
        let agent = pb::CommandAgent { run: Some(run), ..pb::CommandAgent::default() };
        let mut plan = submit::plan(base.to_vec(), JOB, count, false, 64);
        plan.agents[0].kind = Some(pb::agent::Kind::Command(agent));
        plan.tasks[0].timeout_ms = 120_000;
        let gate = pb::CommandLine { argv: vec!["true".to_owned()], ..pb::CommandLine::default() };
        plan.gate = Some(pb::GateSpec { run: Some(gate), batch: 8, timeout_ms: 60_000, ..pb::GateSpec::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(submit::submit(&fleet.url(), plan, &pack))?;
        let job = Layout::new(&fleet.server.root).job(&JOB.parse()?);
        Ok(Self { fleet, world, job })
    }
}

fn now_ms() -> i64 {
    i64::try_from(now_micros() / 1_000).unwrap_or(i64::MAX)
}

/// From a worker's SIGKILL until the command of its subtask runs on another.
pub fn worker() -> anyhow::Result<Vec<Row>> {
    longhaul_common::tls::install();
    let mut sites = Vec::new();
    for lease in LEASES {
        let spec = FleetSpec { workers: 2, slots: 2, lease: format!("{lease}s"), ..FleetSpec::default() };
        // Each start of the command leaves its time, in nanoseconds.
        let script = |folder: &Path| format!("date +%s%N >> {}; sleep 100", folder.join("starts").display());
        let mut site = Site::start(&spec, 1, script)?;
        let starts = site.world.folder().join("starts");
        wait_starts(&starts, 1)?;
        let assigned = |event: &Event| match event {
            Event::Assigned(assigned) => Some(assigned.worker.clone()),
            _ => None,
        };
        let (name, ..) = submit::wait_for(&site.job, 0, WAIT_MAX, assigned)?;
        let victim = site.fleet.workers.iter_mut().find(|worker| worker.name == name).context("a worker of ours")?;
        victim.process.as_mut().context("it runs")?.kill()?;
        sites.push((lease, site, starts, now_micros()));
    }
    let mut rows = Vec::new();
    for (lease, site, starts, killed) in sites {
        let started = wait_starts(&starts, 2)?;
        let took = (started as f64 - killed as f64) / 1e6;
        rows.push(Row::figure(
            &format!("worker's SIGKILL to its work running elsewhere, lease {lease} s"),
            format!("{took:.1} s (lease {:+.1} s)", took - lease as f64),
            "lease + 2 s",
        ));
        drop(site);
    }
    Ok(rows)
}

/// Waits for so many starts; gives the time of the last, in microseconds.
fn wait_starts(file: &Path, count: usize) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(line) = text.lines().nth(count - 1).filter(|_| text.ends_with('\n')) {
            return Ok(line.parse::<u64>()? / 1_000);
        }
        anyhow::ensure!(begun.elapsed() < WAIT_MAX, "the command was not started in time");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What one restart took, in milliseconds from the start of the new process.
#[derive(Clone, Copy)]
struct Restart {
    serves: i64,
    dispatches: i64,
}

/// From the coordinator's SIGKILL to the first new assignment, at once restarted; after a longer
/// absence; and with the NATS server and its store gone as well.
pub fn coordinator() -> anyhow::Result<Vec<Row>> {
    longhaul_common::tls::install();
    let spec = FleetSpec { workers: 2, slots: 4, ..FleetSpec::default() };
    let mut site = Site::start(&spec, OPEN, |_| "sleep 0.3".to_owned())?;
    let assigned = |event: &Event| matches!(event, Event::Assigned(assigned) if assigned.attempt > 32).then_some(());
    submit::wait_for(&site.job, 0, WAIT_MAX, assigned)?;
    let mut rows = Vec::new();
    let cases = [
        ("restarted at once", Duration::ZERO, false, ROUNDS),
        ("after 12 s away", AWAY, false, 1),
        ("NATS and its store lost too", Duration::ZERO, true, ROUNDS),
    ];
    for (words, away, wipe, rounds) in cases {
        let mut found: Vec<Restart> = Vec::new();
        for _ in 0..rounds {
            found.push(restart(&mut site, away, wipe)?);
        }
        found.sort_by_key(|restart| restart.dispatches);
        let middle = found[found.len() / 2];
        let worst = found.last().map_or(0, |restart| restart.dispatches);
        rows.push(Row::figure(
            &format!("coordinator's SIGKILL, 10,000 open subtasks, {words}: first new dispatch"),
            format!(
                "{} ms after its process starts ({} ms after it serves; {worst} ms at worst)",
                middle.dispatches,
                middle.dispatches - middle.serves
            ),
            "≤ 1 s",
        ));
    }
    Ok(rows)
}

fn restart(site: &mut Site, away: Duration, wipe: bool) -> anyhow::Result<Restart> {
    site.fleet.server.process.as_mut().context("it runs")?.kill()?;
    if wipe {
        site.fleet.nats.kill();
        site.fleet.nats.wipe()?;
        site.fleet.nats.restart()?;
    }
    let after = longhaul_coordinator::checkpoint::recover_read_only(&site.job)?.state.seq();
    std::thread::sleep(away);
    let begun = now_ms();
    site.fleet.server.begin(&site.world)?;
    let serves = now_ms() - begun;
    let assigned = |event: &Event| matches!(event, Event::Assigned(_)).then_some(());
    let ((), seq, at) = submit::wait_for(&site.job, after, WAIT_MAX, assigned)?;
    // Some work, so that the next round meets a fleet in full swing.
    let more = |event: &Event| matches!(event, Event::Unchanged(_)).then_some(());
    submit::wait_for(&site.job, seq, WAIT_MAX, more)?;
    Ok(Restart { serves, dispatches: at - begun })
}
