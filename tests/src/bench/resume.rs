//! Resuming a job of 100,000 subtasks, half of them done, from its journal and from a snapshot.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use longhaul_common::layout::Layout;
use longhaul_coordinator::checkpoint::{Store as _, recover, recover_read_only};
use longhaul_coordinator::core::{Event, open_generation};
use longhaul_proto as pb;

use super::noop;
use super::table::Row;

const COUNT: usize = 100_000;

pub fn run() -> anyhow::Result<Vec<Row>> {
    let folder = noop::folder()?;
    let layout = Layout::new(folder.path());
    let job = layout.job(&"bench".parse()?);
    write_history(&job)?;
    let journal = in_child(folder.path())?;
    let (recovered, mut store) = recover(&job)?;
    store.snapshot(&recovered.state)?;
    drop((recovered, store));
    let snapshot = in_child(folder.path())?;
    Ok(vec![
        Row::figure("resume of 100,000 subtasks from the journal", journal, "≤ 1 s, ≤ 300 MiB"),
        Row::figure("resume of 100,000 subtasks from a snapshot", snapshot, "≤ 1 s, ≤ 300 MiB"),
    ])
}

fn write_history(job: &longhaul_common::layout::JobLayout) -> anyhow::Result<()> {
    let (recovered, mut store) = recover(job)?;
    let mut state = recovered.state;
    let plan = noop::plan(std::path::Path::new("/nowhere"), vec![7; 20], COUNT, false, 256);
    let opened = open_generation(&state, plan)?;
    let mut events = vec![Event::JobOpened(pb::JobOpened { job: "bench".into() }), Event::PlanOpened(opened)];
    for at in 0..COUNT / 2 {
        let (attempt, node) = (at as u64 + 1, u32::try_from(at)?);
        events.push(Event::Assigned(pb::Assigned {
            attempt,
            node,
            worker: "w".into(),
            base: vec![7; 20],
            ..pb::Assigned::default()
        }));
        events.push(Event::Unchanged(pb::AttemptUnchanged { attempt, node, ..pb::AttemptUnchanged::default() }));
    }
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let seq = state.seq() + 1;
        state.apply(seq, 1_000 + seq as i64, &event)?;
        records.push(pb::Record { seq, at_ms: 1_000 + seq as i64, event: Some(event) });
    }
    store.append(&records)?;
    store.sync()?;
    Ok(())
}

/// In a process of its own, so that its memory is only the job's.
fn in_child(folder: &std::path::Path) -> anyhow::Result<String> {
    let out = Command::new(std::env::current_exe()?).arg("__resume").arg(folder).output()?;
    anyhow::ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Recovers the job in a folder and prints time and peak memory.
pub fn child(folder: Option<OsString>) -> anyhow::Result<()> {
    let layout = Layout::new(std::path::PathBuf::from(folder.context("a folder")?));
    let begun = Instant::now();
    let recovered = recover_read_only(&layout.job(&"bench".parse()?))?;
    let took = begun.elapsed();
    anyhow::ensure!(recovered.state.counts().unchanged as usize == COUNT / 2);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    let kib: u64 = peak.split(' ').next().unwrap_or_default().parse()?;
    println!("{:.2} s, {} MiB ({} records replayed)", took.as_secs_f64(), kib / 1024, recovered.replayed);
    Ok(())
}
