//! When work in progress is saved, and how.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use longhaul_common::Oid;
use longhaul_proto::{Wip, report};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::session_files;
use crate::commit::{NewResult, StageError, commit, snapshot_aside, without_secrets, write_pack};
use crate::config::Delivery;
use crate::execution::{Execution, limit_of};
use crate::workspace::{Folder, Slot};

/// Time between two looks whether the agent ended a turn.
const TURN_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Longest time one saving may take, its delivery included.
const SAVE_MAX: Duration = Duration::from_secs(120);

/// Longest wait for the last saving before work is handed back.
const LAST_SAVE_MAX: Duration = Duration::from_secs(20);

/// Name of the file by which an agent says that a turn ended.
const TURN: &str = "turn";

/// Saves the work in progress of one attempt.
pub struct Saver {
    saving: Arc<Saving>,
    every: Option<Duration>,
    task: JoinSet<()>,
}

struct Saving {
    execution: Arc<Execution>,
    author: (String, String),
    /// Held while one is being saved.
    state: Mutex<State>,
    asked: std::sync::Mutex<Asked>,
}

/// What is still to be saved.
#[derive(Clone, Copy, Default)]
struct Asked {
    /// A task sees to it.
    running: bool,
    /// Once more when it is done with the one in flight, which may have missed something.
    again: bool,
    rung: u32,
    turns: u32,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Tree and session, as last saved.
    saved: Option<(Oid, blake3::Hash)>,
    turn: u32,
}

struct Taken {
    commit: Oid,
    state: (Oid, blake3::Hash),
    session: Vec<u8>,
    pack: PathBuf,
}

impl Saver {
    /// For an attempt that goes on from `before`; saves every so many milliseconds, 0 is never.
    pub fn new(execution: Arc<Execution>, author: (String, String), every_ms: u64, before: Option<&Wip>) -> Self {
        let state = State {
            saved: before.and_then(|wip| Some((Oid::from_bytes(&wip.tree).ok()?, blake3::hash(&wip.session)))),
            turn: before.map_or(0, |wip| wip.turn),
        };
        let saving = Arc::new(Saving { execution, author, state: Mutex::new(state), asked: Default::default() });
        Self { saving, every: limit_of(every_ms), task: JoinSet::new() }
    }

    /// Where the agent keeps what it wants to find again.
    pub fn session_dir(slot: &Slot) -> PathBuf {
        slot.tmp().join("session")
    }

    /// The file by which an agent says that a turn ended.
    pub fn turn_file(slot: &Slot) -> PathBuf {
        slot.tmp().join(TURN)
    }

    /// Notes that a turn ended. Agents write in that folder as well.
    pub fn note_turn(slot: &Slot, text: &str) -> std::io::Result<()> {
        Folder::at(&slot.tmp())?.write(Path::new(TURN), text.as_bytes())
    }

    /// Saves while an agent runs, for as long as this future is polled.
    pub async fn watch(&mut self, rung: u32) {
        let Some(every) = self.every else { return std::future::pending().await };
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        let mut look = tokio::time::interval(TURN_LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let file = Self::turn_file(&self.saving.execution.slot);
        let mut seen = modified(&file);
        loop {
            let turn_ended = tokio::select! {
                _ = tick.tick() => false,
                _ = look.tick() => {
                    let now = modified(&file);
                    if now == seen {
                        continue;
                    }
                    seen = now;
                    true
                }
            };
            self.ask(rung, turn_ended);
        }
    }

    /// Has it saved: now, or once more after the one in flight.
    fn ask(&mut self, rung: u32, turn_ended: bool) {
        let mut asked = self.saving.asked();
        asked.rung = rung;
        asked.turns += u32::from(turn_ended);
        asked.again = true;
        if !std::mem::replace(&mut asked.running, true) {
            drop(asked);
            while self.task.try_join_next().is_some() {}
            self.task.spawn(Arc::clone(&self.saving).save_as_asked());
        }
    }

    /// Saves after a rung ended; does not wait for it.
    pub fn after_rung(&mut self, rung: u32) {
        if self.every.is_some() {
            self.ask(rung, false);
        }
    }

    /// Saves once more before the work is handed back, and waits for it.
    pub async fn last(&mut self, rung: u32) {
        if self.every.is_none() {
            return;
        }
        if tokio::time::timeout(LAST_SAVE_MAX, Arc::clone(&self.saving).save(rung, 0)).await.is_err() {
            tracing::warn!("the last work in progress could not be saved in time");
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::symlink_metadata(path).and_then(|found| found.modified()).ok()
}

impl Saving {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn save_as_asked(self: Arc<Self>) {
        loop {
            let (rung, turns) = {
                let mut asked = self.asked();
                if !std::mem::replace(&mut asked.again, false) {
                    asked.running = false;
                    return;
                }
                (asked.rung, std::mem::take(&mut asked.turns))
            };
            Arc::clone(&self).save(rung, turns).await;
        }
    }

    /// Saves if tree or session changed since the last time; whatever fails is only told.
    async fn save(self: Arc<Self>, rung: u32, turns_ended: u32) {
        let mut state = self.state.lock().await;
        state.turn += turns_ended;
        let (base, exclusions) = (self.execution.base, self.execution.exclusions());
        let (author, saved, secrets) = (self.author.clone(), state.saved, self.execution.secrets());
        let taken = self.execution.blocking(move |slot| {
            let taken = snapshot_aside(slot, "wip-index", base, &exclusions)?;
            let session = session_files::pack(&Saver::session_dir(slot), &secrets).unwrap_or_else(|error| {
                tracing::warn!(%error, "the session of the agent is not saved with its work in progress");
                Vec::new()
            });
            let state = (taken.tree, blake3::hash(&session));
            if (taken.changes.is_empty() && session.is_empty()) || saved == Some(state) {
                return Ok::<_, StageError>(None);
            }
            without_secrets(slot, &taken.changes, &secrets)?;
            let author = (author.0.as_str(), author.1.as_str());
            let new = NewResult { tree: taken.tree, parent: base, author, message: "wip\n" };
            let made = commit(slot, &new)?;
            let pack = slot.git_dir().join("wip.pack");
            write_pack(slot, made, base, &pack)?;
            Ok(Some(Taken { commit: made, state, session, pack }))
        });
        let taken = match taken.await.map_err(StageError::Broken).and_then(|taken| taken) {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(error) => {
                tracing::info!(?error, "no work in progress could be taken; the next time it may");
                return;
            }
        };
        let wip = Wip {
            commit: taken.commit.to_vec(),
            tree: taken.state.0.to_vec(),
            rung,
            session: taken.session,
            turn: state.turn,
            ..Wip::default()
        };
        let report = self.execution.reporter.report(report::Body::Wip(wip));
        let delivery = Delivery { report, pack: Some(taken.pack), logs: Vec::new() };
        match tokio::time::timeout(SAVE_MAX, self.execution.sink.deliver(delivery)).await {
            Ok(Ok(_)) => state.saved = Some(taken.state),
            Ok(Err(error)) => tracing::info!(%error, "work in progress was not taken"),
            Err(_) => tracing::info!("work in progress was not taken in time"),
        }
    }
}
