//! The invariants of a job, checked from its journal and its git store alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, ensure};
use longhaul_common::git::Store;
use longhaul_common::layout::{JobLayout, Layout, repo_key};
use longhaul_common::{JobId, Oid};
use longhaul_coordinator::checkpoint::read_records;
use longhaul_coordinator::core::{Event, JobPhase, State};
use longhaul_coordinator::landing::{Refs, read_receipts, verify};
use longhaul_proto::{GatePurpose, Record, Verdict};

/// What the journal and the store showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Proven {
    /// Records of the journal.
    pub records: usize,
    /// Attempts that were assigned.
    pub attempts: usize,
    /// Leases that ran out.
    pub expired: usize,
    /// Later results kept as spares.
    pub spares: usize,
    /// Landings.
    pub landings: usize,
}

/// Checks a job that ended; `files` is what its result must hold.
pub fn check(state_dir: &Path, job: &str, files: &[(String, String)]) -> anyhow::Result<Proven> {
    let layout = Layout::new(state_dir);
    let id: JobId = job.parse()?;
    let records = read_records(&layout.job(&id), 0)?;
    let state = replay(&records)?;
    ensure!(
        matches!(state.job_phase(), JobPhase::Closed { .. }),
        "the job is {:?}, with {:?}",
        state.job_phase(),
        state.counts()
    );
    let counts = state.counts();
    ensure!(counts.landed == counts.total, "not everything landed: {counts:?}");
    let proven = check_order(&records)?;
    check_logs(&layout.job(&id), &records)?;
    check_git(&layout, &state, &records, files)?;
    Ok(proven)
}

/// Applies every record, with the core's own invariants after each.
fn replay(records: &[Record]) -> anyhow::Result<State> {
    let mut state = State::default();
    for (at, record) in records.iter().enumerate() {
        ensure!(record.seq == at as u64 + 1, "record {} stands where {} belongs", record.seq, at + 1);
        let event = record.event.as_ref().context("a record without an event")?;
        state.apply(record.seq, record.at_ms, event).with_context(|| format!("record {}", record.seq))?;
        state.assert_invariants();
    }
    Ok(state)
}

/// Who got what, who answered, what was gated before it landed, and that nothing landed twice.
fn check_order(records: &[Record]) -> anyhow::Result<Proven> {
    let mut proven = Proven { records: records.len(), ..Proven::default() };
    let mut assigned = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut gates = BTreeMap::new();
    let mut green = BTreeSet::new();
    let mut batches: BTreeMap<u64, (Vec<u32>, Vec<u8>)> = BTreeMap::new();
    let mut landed = BTreeSet::new();
    let mut seen_ms = 0;
    for record in records {
        ensure!(record.at_ms >= seen_ms, "record {} goes back in time", record.seq);
        seen_ms = record.at_ms;
        match record.event.as_ref().context("a record without an event")? {
            Event::Assigned(event) => {
                proven.attempts += 1;
                let before = assigned.insert(event.attempt, event.node);
                ensure!(before.is_none(), "attempt {} was assigned twice", event.attempt);
            }
            Event::Delivered(event) => {
                ensure!(assigned.get(&event.attempt) == Some(&event.node), "{} was never assigned", event.attempt);
                ensure!(answered.insert((event.attempt, "delivered")), "{} was delivered twice", event.attempt);
            }
            Event::SpareKept(event) => {
                proven.spares += 1;
                ensure!(answered.insert((event.attempt, "spare")), "{} was kept twice", event.attempt);
            }
            Event::LeaseExpired(_) => proven.expired += 1,
            Event::GateAsked(event) => drop(gates.insert(event.gate, (event.purpose(), event.commit.clone()))),
            Event::GateDone(event) => {
                let (purpose, commit) = gates.remove(&event.gate).context("a verdict of a gate nobody asked for")?;
                let verdict = event.result.as_ref().map(longhaul_proto::GateResult::verdict);
                if purpose == GatePurpose::Batch && verdict == Some(Verdict::Green) {
                    green.insert(commit);
                }
            }
            Event::BatchOpened(event) => drop(batches.insert(event.batch, (event.members.clone(), Vec::new()))),
            Event::BatchMerged(event) => {
                let batch = batches.get_mut(&event.batch).context("a merge of no batch")?;
                batch.1.clone_from(&event.merge);
            }
            Event::MemberConflicted(event) => {
                if let Some(batch) = batches.get_mut(&event.batch) {
                    batch.0.retain(|&node| node != event.node);
                }
            }
            Event::Landed(event) => {
                proven.landings += 1;
                ensure!(green.contains(&event.commit), "batch {} landed without a green gate", event.batch);
                let (members, merge) = batches.get(&event.batch).context("a landing of no batch")?;
                ensure!(*merge == event.commit, "batch {} landed as another commit", event.batch);
                for node in members {
                    ensure!(landed.insert(*node), "subtask {node} landed twice");
                }
            }
            _ => {}
        }
    }
    Ok(proven)
}

/// Every verdict that was recorded has the log that was recorded with it.
fn check_logs(layout: &JobLayout, records: &[Record]) -> anyhow::Result<()> {
    for record in records {
        let Some(Event::GateDone(event)) = &record.event else { continue };
        let hash = event.result.as_ref().map(|result| result.log_hash.clone()).unwrap_or_default();
        if hash.is_empty() {
            continue;
        }
        let log = layout.gate_log(event.gate).with_context(|| format!("the log of gate {} is lost", event.gate))?;
        let found = blake3::hash(&std::fs::read(log)?);
        ensure!(found.as_bytes().as_slice() == hash, "the log of gate {} is not the one it judged by", event.gate);
    }
    Ok(())
}

fn check_git(layout: &Layout, state: &State, records: &[Record], files: &[(String, String)]) -> anyhow::Result<()> {
    let repo = state.plan().repo.clone().unwrap_or_default();
    let key = if repo.key.is_empty() { repo_key(repo.path.as_ref()) } else { repo.key.clone() };
    let store = Store::open_own(&layout.store(&key))?;
    let refs = Refs::of(state.job());
    let tip = store.reference(&refs.integration(state.generation()))?.context("there is no branch")?;
    ensure!(tip == state.landing.tip, "the branch is at {tip}, the journal says {}", state.landing.tip);
    let receipts = read_receipts(&store, &refs)?;
    let report = verify(&store, Oid::from_bytes(&repo.base)?, tip, &receipts)?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    ensure!(report.subtasks == state.counts().total as usize, "{} proven", report.subtasks);
    let journaled: Vec<String> = records
        .iter()
        .filter_map(|record| match &record.event {
            Some(Event::Landed(event)) => Oid::from_bytes(&event.commit).ok().map(|oid| oid.to_string()),
            _ => None,
        })
        .collect();
    let chained: Vec<String> = report.merges.iter().map(ToString::to_string).collect();
    ensure!(journaled == chained, "the branch holds {chained:?}, the journal {journaled:?}");
    let tree = store.tree_of(tip)?;
    for (path, text) in files {
        let entry = store.entry(tree, path)?.with_context(|| format!("{path} is lost"))?;
        let found = String::from_utf8_lossy(&store.blob(entry.oid)?).into_owned();
        ensure!(found == *text, "{path} holds {found:?}");
    }
    let fsck =
        std::process::Command::new("git").arg("-C").arg(store.path()).args(["fsck", "--connectivity-only"]).output()?;
    ensure!(fsck.status.success(), "git fsck: {}", String::from_utf8_lossy(&fsck.stderr));
    Ok(())
}
