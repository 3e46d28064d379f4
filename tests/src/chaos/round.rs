//! One round: a fleet, a job, the faults of a seed, the job's end, the proof.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use longhaul_common::JobId;
use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::recover_read_only;
use longhaul_coordinator::core::{JobPhase, State};

use rustix::process::Signal;

use super::check::{Proven, check};
use super::faults::{Fault, Plan, Step};
use super::job;
use super::timeline::{Timeline, Turn};
use crate::fleet::{Fleet, FleetSpec, Member, SmallDisk};
use crate::proxy::Mischief;
use crate::{World, leftovers};

/// How long a job may take once all faults ended.
const CALM_MAX: Duration = Duration::from_secs(120);

/// How often the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a process may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(20);

/// Bytes of a small disk: enough for the job, soon full.
const DISK_BYTES: u64 = 96 << 20;

/// What a round is.
#[derive(Clone, Copy, Debug)]
pub struct RoundSpec {
    /// Of everything drawn.
    pub seed: u64,
    /// Of the job.
    pub subtasks: usize,
    /// To be survived, at most: the job may be done before.
    pub faults: usize,
    /// In the fleet.
    pub workers: usize,
}

/// How a round went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was done to it, in order, with the time since its start.
    pub log: Vec<String>,
    /// What was proven after it.
    pub proven: Proven,
    /// From the submission to the job's end.
    pub took: Duration,
}

/// Runs a round. The error of one that fails holds the seed and everything that was done to it.
pub fn round(spec: RoundSpec) -> anyhow::Result<Outcome> {
    let world = job::make(spec.subtasks);
    let mut log = Vec::new();
    let result = run(&world, spec, &mut log);
    result.map_err(|error| {
        let kept = world.keep();
        anyhow::anyhow!(
            "seed {} failed: {error:#}\nfaults:\n  {}\neverything is kept in {}\nagain: make chaos SEED={} SUBTASKS={} FAULTS={}",
            spec.seed,
            log.join("\n  "),
            kept.display(),
            spec.seed,
            spec.subtasks,
            spec.faults
        )
    })
}

fn run(world: &World, spec: RoundSpec, log: &mut Vec<String>) -> anyhow::Result<Outcome> {
    let disks = match SmallDisk::possible() {
        Ok(()) => true,
        Err(reason) => {
            log.push(format!("no disk is filled: {reason}"));
            false
        }
    };
    let fleet_spec = FleetSpec {
        workers: spec.workers,
        slots: 2,
        lease: "6s".to_owned(),
        proxied: true,
        disk_bytes: if disks { DISK_BYTES } else { 0 },
    };
    let head = world.git(&["rev-parse", "HEAD"]);
    let mut fleet = Fleet::start(world, &fleet_spec)?;
    let url = fleet.url();
    let submitted = world.longhaul(&["run", "--server", &url, "--detach", "--yes"]);
    ensure!(submitted.code == 0, "the job was not taken: {} {}", submitted.stdout, submitted.stderr);
    let begun = Instant::now();
    let plan = Plan { members: spec.workers + 1, faults: spec.faults, disks };
    let mut faults = Timeline::new(plan.draw(spec.seed), begun);
    while !is_over(&fleet)? {
        let Some(due) = faults.turn() else { break };
        std::thread::sleep(due.at.saturating_duration_since(Instant::now()));
        log.push(format!("{:6} ms: {}", begun.elapsed().as_millis(), due.turn));
        match due.turn {
            Turn::Begin(step) => suffer(world, &mut fleet, step, spec.seed)?,
            Turn::End(fault) => heal_one(world, &mut fleet, fault)?,
        }
    }
    for fault in faults.open() {
        heal_one(world, &mut fleet, fault)?;
    }
    heal(world, &mut fleet)?;
    log.push(format!("{:6} ms: calm", begun.elapsed().as_millis()));
    wait_over(world, &mut fleet)?;
    let took = begun.elapsed();
    end(&mut fleet)?;
    let state_dir = settled_state(world, &fleet)?;
    let proven = check(&state_dir, job::JOB, &job::expected(spec.subtasks))?;
    for worker in &fleet.workers {
        let outbox = worker.disk.as_ref().map_or_else(|| worker.root.clone(), |disk| disk.seen(&worker.root));
        let left = leftovers::entries(&outbox.join("outbox"));
        ensure!(left.is_empty(), "{} ended with undelivered results: {left:?}", worker.name);
    }
    drop(fleet);
    let left = leftovers::wait_for_none(world);
    ensure!(left.is_empty(), "processes were left behind: {left:?}");
    ensure!(world.git(&["rev-parse", "HEAD"]) == head, "the user's checkout moved");
    ensure!(world.git(&["status", "--porcelain"]).is_empty(), "the user's checkout was touched");
    Ok(Outcome { log: log.clone(), proven, took })
}

fn member(fleet: &mut Fleet, at: usize) -> anyhow::Result<&mut Member> {
    fleet.members().nth(at).with_context(|| format!("there is no member {at}"))
}

/// Begins a fault.
fn suffer(world: &World, fleet: &mut Fleet, step: Step, seed: u64) -> anyhow::Result<()> {
    match step.fault {
        Fault::Kill(at) => member(fleet, at)?.process.as_mut().context("it runs")?.kill()?,
        Fault::Terminate(at) => member(fleet, at)?.process.as_mut().context("it runs")?.signal(Signal::TERM)?,
        Fault::Hold(at) => member(fleet, at)?.process.as_mut().context("it runs")?.hold(true)?,
        Fault::CutNats(at) => member(fleet, at)?.to_nats.as_ref().context("proxied")?.partition(),
        Fault::CutServer(at) => member(fleet, at)?.to_server.as_ref().context("proxied")?.partition(),
        Fault::DropNats(at) => member(fleet, at)?.to_nats.as_ref().context("proxied")?.cut(),
        Fault::DelayNats(at) => member(fleet, at)?.to_nats.as_ref().context("proxied")?.set(|settings| {
            (settings.delay, settings.jitter) = (Duration::from_millis(20), step.lasts / 20);
            settings.seed = seed;
        }),
        Fault::GarbleNats(at) => member(fleet, at)?.to_nats.as_ref().context("proxied")?.set(|settings| {
            settings.mischief = Some(Mischief { drop: 150, duplicate: 250, reorder: 250 });
            settings.seed = seed;
        }),
        Fault::WipeNats => fleet.nats.kill(),
        Fault::HoldNats => fleet.nats.signal(Signal::STOP)?,
        Fault::FillDisk(at) => member(fleet, at)?.disk.as_ref().context("a small disk")?.fill()?,
        Fault::JumpClock(at, seconds) => member(fleet, at)?.jump_clock(world, seconds * 1000)?,
    }
    Ok(())
}

fn heal_one(world: &World, fleet: &mut Fleet, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::Kill(at) => member(fleet, at)?.launch(world)?,
        Fault::Terminate(at) => {
            let member = member(fleet, at)?;
            // Whoever has not left by then is killed in the middle of leaving.
            member.process.as_mut().context("it ran")?.kill()?;
            member.launch(world)?;
        }
        Fault::Hold(at) => member(fleet, at)?.process.as_mut().context("it runs")?.hold(false)?,
        Fault::CutServer(at) => member(fleet, at)?.to_server.as_ref().context("proxied")?.heal(),
        Fault::DropNats(_) => {}
        Fault::CutNats(at) | Fault::DelayNats(at) | Fault::GarbleNats(at) => {
            member(fleet, at)?.to_nats.as_ref().context("proxied")?.heal();
        }
        Fault::WipeNats => {
            fleet.nats.wipe()?;
            fleet.nats.restart()?;
        }
        Fault::HoldNats => fleet.nats.signal(Signal::CONT)?,
        Fault::FillDisk(at) => member(fleet, at)?.disk.as_ref().context("a small disk")?.free()?,
        // A clock that was off stays so: it is the jump that hurts, and there may be another.
        Fault::JumpClock(..) => {}
    }
    Ok(())
}

/// Everybody is there again.
fn heal(world: &World, fleet: &mut Fleet) -> anyhow::Result<()> {
    for member in fleet.members() {
        let gone = match member.process.as_mut() {
            Some(process) => process.ended()?.is_some(),
            None => true,
        };
        if gone {
            member.launch(world)?;
        }
    }
    Ok(())
}

fn state_dir(fleet: &Fleet) -> std::path::PathBuf {
    let root = &fleet.server.root;
    fleet.server.disk.as_ref().map_or_else(|| root.clone(), |disk| disk.seen(root))
}

/// The job's state as its files have it; `None` while they are being written.
fn state(fleet: &Fleet) -> Option<State> {
    let job: JobId = job::JOB.parse().ok()?;
    recover_read_only(&Layout::new(state_dir(fleet)).job(&job)).ok().map(|recovered| recovered.state)
}

fn is_over(fleet: &Fleet) -> anyhow::Result<bool> {
    Ok(state(fleet).is_some_and(|state| matches!(state.job_phase(), JobPhase::Closed { .. })))
}

fn wait_over(world: &World, fleet: &mut Fleet) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_over(fleet)? {
        for member in fleet.members() {
            if let Some(status) = member.process.as_mut().map(|process| process.ended()).transpose()?.flatten() {
                let log = member.log(world);
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                bail!("{} ended by itself with {status}:\n{}", member.name, tail.join("\n"));
            }
        }
        if begun.elapsed() > CALM_MAX {
            let url = fleet.url();
            let said: Vec<String> = [&["status"][..], &["workers"], &["explain", "list-two"], &["list"]]
                .map(|verb| world.longhaul(&[&["--server", &url], verb].concat()))
                .map(|ran| format!("{}{}", ran.stdout, ran.stderr))
                .into();
            bail!("the job did not end within {} s of calm:\n{}", CALM_MAX.as_secs(), said.join("\n"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Ends the workers, then the coordinator, as an operator would.
fn end(fleet: &mut Fleet) -> anyhow::Result<()> {
    let workers: Vec<usize> = (1..=fleet.workers.len()).collect();
    for at in workers.into_iter().chain([0]) {
        let member = member(fleet, at)?;
        if let Some(mut process) = member.process.take() {
            let status = process.end(END_MAX)?;
            ensure!(status.success(), "{} ended with {status}", member.name);
        }
    }
    Ok(())
}

/// The coordinator's state, on a disk that stays.
fn settled_state(world: &World, fleet: &Fleet) -> anyhow::Result<std::path::PathBuf> {
    match &fleet.server.disk {
        None => Ok(fleet.server.root.clone()),
        Some(disk) => {
            let copied: &Path = &world.folder().join("settled");
            disk.copy_out(copied)?;
            Ok(copied.to_owned())
        }
    }
}
