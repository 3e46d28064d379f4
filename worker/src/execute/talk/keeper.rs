//! Keeps a program's own session, so that another worker goes on with it: when it says that something
//! was done, and a little later again, for programs write down what they said afterwards.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longhaul_common::price::Tokens;

use crate::agent::talk::{Kept, OnProgress, Progress, keep};
use crate::process::Secrets;
use crate::wip::Saver;
use crate::workspace::Slot;

/// Shortest time between two savings for a tool while a turn runs.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// Time between two looks at what the program wrote down since.
const AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the session of a program is; it is kept in the slot.
pub(super) struct Keeper {
    pub home: PathBuf,
    /// The parts of its home that are its sessions; none for a program nobody knows.
    pub parts: &'static [&'static str],
    pub slot: Arc<Slot>,
    pub secrets: Secrets,
    /// What earlier attempts used of it.
    pub before: Tokens,
    pub last: Mutex<Last>,
}

/// What was last known of the session.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    id: String,
    used: Tokens,
    at: Option<Instant>,
}

impl Keeper {
    /// To be told of progress.
    pub(super) fn on_progress(self: &Arc<Self>) -> OnProgress {
        let own = Arc::clone(self);
        Box::new(move |progress, id, used| own.told(progress, id, used))
    }

    fn told(&self, progress: Progress, id: &str, used: Tokens) {
        let recent = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.id.clear();
            last.id.push_str(id);
            last.used = used;
            last.at.is_some_and(|at| at.elapsed() < KEEP_EVERY)
        };
        if progress == Progress::Tool && recent {
            return;
        }
        let kept = self.keep();
        if kept
            && progress == Progress::Turn
            && let Err(error) = Saver::note_turn(&self.slot, id)
        {
            tracing::info!(%error, "the end of a turn is not noted");
        }
    }

    /// Keeps what there is now. Blocks.
    fn keep(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.parts.is_empty() || last.id.is_empty() {
            return false;
        }
        last.at = Some(Instant::now());
        let kept = Kept::new(&last.id, &self.slot.ws(), self.before.plus(last.used));
        // Under the lock: two at once would leave the list of one with the files of the other.
        match keep(kept, &self.home, self.parts, &Saver::session_dir(&self.slot), &self.secrets) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "a session is not kept; the next time it may");
                false
            }
        }
    }

    /// Keeps it again and again; never ends.
    pub(super) async fn keep_on(keeper: Option<Arc<Self>>) {
        let Some(keeper) = keeper else { return std::future::pending().await };
        loop {
            tokio::time::sleep(AGAIN_EVERY).await;
            let own = Arc::clone(&keeper);
            let _kept = tokio::task::spawn_blocking(move || own.keep()).await;
        }
    }
}
