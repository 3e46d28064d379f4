//! A conversation and its process, side by side: the one ends with the other.

use std::path::PathBuf;
use std::time::Duration;

use longhaul_common::price::Tokens;
use tokio_util::sync::CancellationToken;

use crate::agent::acp::{self, Acp};
use crate::agent::codex::{self, Codex};
use crate::agent::stuck::Stuck;
use crate::agent::talk::{CANCEL_MAX, EXIT_MAX, Kept, Setting, TalkError, TurnEnd, Witness};
use crate::process::ProcessOutcome;
use crate::process::talk::Talk;

/// Which client.
pub(super) enum Kind {
    Acp(Acp),
    Codex(Codex),
}

impl Kind {
    /// With the folders that its program writes its own record to.
    pub fn with_homes<'a>(self, homes: impl Iterator<Item = &'a PathBuf>) -> Self {
        match self {
            Self::Codex(codex) => Self::Codex(Codex { homes: homes.cloned().collect(), ..codex }),
            other => other,
        }
    }
}

/// How a session and its process ended.
pub(super) struct Ended {
    pub said: Result<TurnEnd, TalkError>,
    pub process: ProcessOutcome,
    /// The process was ended by us, once the session was over.
    pub stopped: bool,
    pub used: Tokens,
    /// Why it was ended early: it went in circles.
    pub stuck: Option<Stuck>,
}

/// A conversation that is about to begin.
pub(super) struct Talking {
    pub setting: Setting,
    pub kind: Kind,
    pub kept: Option<Kept>,
    pub talk: Talk,
    pub stop: CancellationToken,
}

impl Talking {
    /// How the conversation ended, how the process did, and whether it had to be ended.
    pub async fn until_both_end<E>(
        self,
        process: impl Future<Output = Result<ProcessOutcome, E>>,
        kill: &CancellationToken,
        witness: &mut Witness,
    ) -> (Result<TurnEnd, TalkError>, Result<ProcessOutcome, E>, bool) {
        let Self { setting, kind, kept, talk, stop } = self;
        let talking = async {
            match kind {
                Kind::Acp(acp) => acp::converse(talk, setting, acp, witness).await,
                Kind::Codex(codex) => {
                    let used_before = kept.map(|kept| kept.used).unwrap_or_default();
                    codex::converse(talk, setting, Codex { used_before, ..codex }, witness).await
                }
            }
        };
        // One that does not notice is dropped: the process must be gone within two seconds.
        let talking = async {
            let mut talking = Box::pin(talking);
            tokio::select! {
                said = &mut talking => said,
                () = stopped(&stop) => Err(TalkError::Cancelled),
            }
        };
        let (mut process, mut talking) = (std::pin::pin!(process), Box::pin(talking));
        tokio::select! {
            biased;
            said = &mut talking => {
                // Its input ends with the conversation: it has a moment to exit by itself.
                drop(talking);
                let grace = if said.is_ok() { EXIT_MAX } else { Duration::ZERO };
                if let Ok(outcome) = tokio::time::timeout(grace, &mut process).await {
                    return (said, outcome, false);
                }
                kill.cancel();
                (said, process.await, true)
            }
            // What it wrote before it ended is still read.
            outcome = &mut process => (talking.await, outcome, false),
        }
    }
}

/// A little after a session was told to stop.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(CANCEL_MAX + CANCEL_MAX / 2).await;
}
