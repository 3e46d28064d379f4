//! The sled index of a job: what a search would otherwise replay the journal for.
//!
//! sled 0.34.7 loses flushed data on a power cut (measured), so nothing is here that the journal
//! does not hold: whenever the index is missing, damaged, of another format or behind, it is
//! rebuilt. Where the oldest records are retired, a rebuilt one knows of the time before them what
//! the oldest snapshot does (docs/recovery.md). It holds the attempts of each subtask with what they
//! used, and which subtask an attempt belongs to.

use std::path::Path;

use longhaul_common::layout::JobLayout;
use longhaul_common::{AttemptId, NodeId, sign};
use longhaul_proto::{AttemptRow, FailureClass, Plan, Record, Timing, Usage};
use prost::Message as _;

use super::snapshot::{list_snapshots, read_snapshot};
use super::{CheckpointError, FILE_FORMAT, journal};
use crate::core::{Event, State};

/// Records applied in one sled batch.
const BATCH: usize = 512;

/// Why the index could not be used. It is never the end: the caller goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// sled's word.
    #[error("the index cannot be used: {0}")]
    Sled(#[from] sled::Error),
    /// The journal behind it could not be read.
    #[error(transparent)]
    Journal(#[from] CheckpointError),
}

/// The open index.
#[derive(Clone)]
pub struct Index {
    db: sled::Db,
    attempts: sled::Tree,
    /// Keys of the rows by attempt, for reports that come when its node is forgotten.
    rows: sled::Tree,
    nodes: sled::Tree,
}

/// Whether the folder is locked by another: sled 0.34 says so in words only.
fn is_held(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

impl Index {
    /// Opens the index and brings it up to the journal; a damaged or foreign one is thrown away.
    pub fn open(layout: &JobLayout) -> Result<Self, IndexError> {
        let path = layout.index();
        let index = match Self::open_at(&path) {
            Ok(index) if index.usable(layout) => index,
            Ok(index) => {
                drop(index);
                Self::start_anew(&path)?
            }
            // Another process holds it: not damage.
            Err(IndexError::Sled(sled::Error::Io(error))) if is_held(&error) => {
                return Err(IndexError::Sled(sled::Error::Io(error)));
            }
            Err(_) => Self::start_anew(&path)?,
        };
        index.catch_up(layout)?;
        Ok(index)
    }

    fn start_anew(path: &Path) -> Result<Self, IndexError> {
        if path.exists() {
            std::fs::remove_dir_all(path).map_err(CheckpointError::io("remove", path))?;
        }
        Self::open_at(path)
    }

    fn open_at(path: &Path) -> Result<Self, IndexError> {
        let db = sled::Config::new().path(path).cache_capacity(16 << 20).open()?;
        Ok(Self { attempts: db.open_tree("attempts")?, rows: db.open_tree("rows")?, nodes: db.open_tree("nodes")?, db })
    }

    fn usable(&self, layout: &JobLayout) -> bool {
        let number = |key: &str| self.number(key);
        let format = number("format");
        let ahead = number("seq").unwrap_or(0)
            > journal::read(&layout.journal(), u64::MAX, |_| Ok(())).map_or(0, |tail| tail.last_seq);
        format.is_none_or(|format| format == u64::from(FILE_FORMAT)) && !ahead
    }

    fn number(&self, key: &str) -> Option<u64> {
        let bytes = self.db.get(key).ok().flatten()?;
        Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }

    /// The last record it contains.
    pub fn seq(&self) -> u64 {
        self.number("seq").unwrap_or(0)
    }

    fn catch_up(&self, layout: &JobLayout) -> Result<(), IndexError> {
        self.db.insert("format", &u64::from(FILE_FORMAT).to_be_bytes())?;
        if let Some(first) = journal::first_seq(&layout.journal())?.filter(|&first| first > self.seq() + 1) {
            self.bridge(layout, first)?;
        }
        let mut batch = Vec::with_capacity(BATCH);
        let mut failed = None;
        journal::read(&layout.journal(), self.seq(), |record| {
            batch.push(record);
            if batch.len() == BATCH {
                failed = failed.take().or(self.apply(&batch).err());
                batch.clear();
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err)?;
        self.apply(&batch)
    }

    /// Records between what it has and the journal's first are retired: what the oldest snapshot
    /// behind them holds is all that is left to know, the names of subtasks before all.
    fn bridge(&self, layout: &JobLayout, first: u64) -> Result<(), IndexError> {
        let mut found = None;
        for (seq, path) in list_snapshots(&layout.snapshots())? {
            if found.is_none() && seq + 1 >= first {
                found = read_snapshot(&path)?;
            }
        }
        let state = found.unwrap_or_default();
        // Where a plan was opened between, records before that are of another plan's numbers.
        let mut opened = None;
        journal::read(&layout.journal(), first - 1, |record| {
            if record.seq <= state.seq() && matches!(record.event, Some(Event::PlanOpened(_))) {
                opened = opened.or(Some(record.seq));
            }
            Ok(())
        })?;
        self.note_plan(state.plan())?;
        self.note_state(&state)?;
        self.db.insert("seq", &(opened.unwrap_or(first) - 1).to_be_bytes())?;
        Ok(())
    }

    /// Attempts are filed by subtask name: numbers change with the plan.
    fn note_plan(&self, plan: &Plan) -> Result<(), IndexError> {
        for (at, node) in plan.nodes.iter().enumerate() {
            self.nodes.insert((at as u64).to_be_bytes(), node.id.as_bytes())?;
        }
        Ok(())
    }

    /// What a state still knows of attempts; rows that are there say more.
    fn note_state(&self, state: &State) -> Result<(), IndexError> {
        let mut rows: Vec<(NodeId, AttemptRow)> = Vec::new();
        let row = |id: AttemptId, worker: &str, base: String, outcome: &str| AttemptRow {
            attempt: id.0,
            worker: worker.to_owned(),
            base,
            outcome: outcome.to_owned(),
            ..AttemptRow::default()
        };
        for (&id, lost) in state.lost_attempts() {
            rows.push((lost.node, row(id, &lost.worker, lost.base.to_string(), "lost")));
        }
        for node in state.nodes() {
            let subtask = state.subtask(node);
            let result = subtask.phase().candidate().map(|candidate| (candidate, "delivered"));
            let spares = subtask.spares.iter().map(|candidate| (candidate, "spare"));
            for (candidate, outcome) in result.into_iter().chain(spares) {
                let made = row(candidate.attempt, &candidate.worker, hex(&candidate.patch.base), outcome);
                rows.push((node, AttemptRow { commit: hex(&candidate.patch.commit), ..made }));
            }
        }
        for (&id, live) in state.attempts() {
            let running = row(id, &live.worker, live.base.to_string(), "running");
            rows.push((live.node, AttemptRow { at_ms: live.since_ms, ..running }));
        }
        // A revert, and what an earlier generation left, are of no attempt.
        for (node, row) in rows.into_iter().filter(|(_, row)| row.attempt > 0) {
            if self.attempts.get(self.attempt_key(node.0, row.attempt)?)?.is_none() {
                self.put_attempt(node.0, &row)?;
            }
        }
        Ok(())
    }

    /// Notes records behind those it has; older ones are passed over.
    pub fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        let seq = self.seq();
        for record in records.iter().filter(|record| record.seq > seq) {
            if let Some(event) = &record.event {
                self.note(record.at_ms, event)?;
            }
        }
        if let Some(last) = records.last().filter(|last| last.seq > seq) {
            self.db.insert("seq", &last.seq.to_be_bytes())?;
        }
        Ok(())
    }

    fn note(&self, at_ms: i64, event: &Event) -> Result<(), IndexError> {
        match event {
            Event::PlanOpened(opened) => {
                opened.plan.iter().try_for_each(|plan| self.note_plan(plan))?;
            }
            Event::Assigned(event) => {
                let row = AttemptRow {
                    attempt: event.attempt,
                    at_ms,
                    worker: event.worker.clone(),
                    base: hex(&event.base),
                    outcome: "running".to_owned(),
                    ..AttemptRow::default()
                };
                self.put_attempt(event.node, &row)?;
            }
            Event::Delivered(event) => {
                let commit = event.patch.as_ref().map(|patch| hex(&patch.commit)).unwrap_or_default();
                let end = AttemptRow { commit, ..ended("delivered", event.timing, event.usage) };
                self.end_attempt(event.node, event.attempt, end)?;
            }
            Event::Held(event) => {
                let commit = event.patch.as_ref().map(|patch| hex(&patch.commit)).unwrap_or_default();
                let sign = event.patch.as_ref().map(|patch| sign::plain(&patch.sign).to_owned()).unwrap_or_default();
                let end = AttemptRow { commit, sign, ..ended("held", event.timing, event.usage) };
                self.end_attempt(event.node, event.attempt, end)?;
            }
            Event::SpendSettled(event) => self.settle(event.attempt, event.usage)?,
            Event::SpareKept(event) => {
                self.end_attempt(event.node, event.attempt, ended("spare", None, event.usage))?;
            }
            Event::Unchanged(event) => {
                self.end_attempt(event.node, event.attempt, ended("unchanged", event.timing, event.usage))?;
            }
            Event::AttemptFailed(event) => {
                let failure = event.failure.clone().unwrap_or_default();
                let outcome = if failure.class() == FailureClass::Asked { "asked" } else { "failed" };
                let end = AttemptRow {
                    class: crate::view::class_name(failure.class()).to_owned(),
                    sign: sign::plain(&failure.sign).to_owned(),
                    message: failure.message,
                    ..ended(outcome, event.timing, event.usage)
                };
                self.end_attempt(event.node, event.attempt, end)?;
            }
            Event::Split(event) => {
                for (at, node) in event.nodes.iter().enumerate() {
                    self.nodes.insert((u64::from(event.first) + at as u64).to_be_bytes(), node.id.as_bytes())?;
                }
                self.end_attempt(event.node, event.attempt, ended("split", event.timing, event.usage))?;
            }
            Event::LeaseExpired(event) => {
                let end = AttemptRow { message: event.why.clone(), ..ended("lost", None, None) };
                self.end_attempt(event.node, event.attempt, end)?;
            }
            // What still ran for it was told to stop; its late report adds what it used.
            Event::NodeClosed(event) => self.cancel_running(event.node, &event.reason)?,
            _ => {}
        }
        Ok(())
    }

    /// What an attempt used is known after it ended without a report.
    fn settle(&self, attempt: u64, usage: Option<Usage>) -> Result<(), IndexError> {
        if let Some(key) = self.rows.get(attempt.to_be_bytes())? {
            self.change(&key, attempt, |row| row.usage = usage)?;
        }
        Ok(())
    }

    fn cancel_running(&self, node: u32, reason: &str) -> Result<(), IndexError> {
        let id = self.nodes.get(u64::from(node).to_be_bytes())?.unwrap_or_default();
        for row in self.attempts_of(&String::from_utf8_lossy(&id))? {
            if row.outcome == "running" {
                let end = AttemptRow { message: reason.to_owned(), ..ended("cancelled", None, None) };
                self.end_attempt(node, row.attempt, end)?;
            }
        }
        Ok(())
    }

    fn attempt_key(&self, node: u32, attempt: u64) -> Result<Vec<u8>, IndexError> {
        let id = self.nodes.get(u64::from(node).to_be_bytes())?.unwrap_or_default();
        Ok([id.as_ref(), b"\0", &attempt.to_be_bytes()].concat())
    }

    fn put_attempt(&self, node: u32, row: &AttemptRow) -> Result<(), IndexError> {
        let key = self.attempt_key(node, row.attempt)?;
        self.rows.insert(row.attempt.to_be_bytes(), key.as_slice())?;
        self.attempts.insert(key, row.encode_to_vec())?;
        Ok(())
    }

    /// Writes the end of an attempt over its beginning.
    fn end_attempt(&self, node: u32, attempt: u64, end: AttemptRow) -> Result<(), IndexError> {
        self.change(&self.attempt_key(node, attempt)?, attempt, |row| {
            let AttemptRow { at_ms, worker, base, logs, .. } = std::mem::take(row);
            *row = AttemptRow { attempt, at_ms, worker, base, logs, ..end };
        })
    }

    fn change(&self, key: &[u8], attempt: u64, change: impl FnOnce(&mut AttemptRow)) -> Result<(), IndexError> {
        let old = self.attempts.get(key)?;
        let mut row = old.and_then(|bytes| AttemptRow::decode(bytes.as_ref()).ok()).unwrap_or_default();
        row.attempt = attempt;
        change(&mut row);
        self.rows.insert(attempt.to_be_bytes(), key)?;
        self.attempts.insert(key, row.encode_to_vec())?;
        Ok(())
    }

    /// All attempts of a subtask over all generations, oldest first.
    pub fn attempts_of(&self, subtask: &str) -> Result<Vec<AttemptRow>, IndexError> {
        let prefix = [subtask.as_bytes(), b"\0"].concat();
        let mut rows = Vec::new();
        for item in self.attempts.scan_prefix(prefix) {
            rows.extend(AttemptRow::decode(item?.1.as_ref()).ok());
        }
        Ok(rows)
    }
}

/// How an attempt ended.
fn ended(outcome: &str, timing: Option<Timing>, usage: Option<Usage>) -> AttemptRow {
    AttemptRow { outcome: outcome.to_owned(), timing, usage, ..AttemptRow::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
