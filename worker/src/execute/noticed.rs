//! What an agent did beside its work, and what its word is worth.
//!
//! None of it changes what a result is: that is the workspace, whatever its agent says, commits or
//! prints. It gives a failure its name, so that a person sees at once who claimed, flooded or
//! committed; and an agent that says that it is done and changed nothing is believed only where
//! something else says so too.

use std::path::Path;

use longhaul_common::sign::Sign;
use longhaul_proto::{FailureClass, agent};

use super::Attempt;
use crate::failure::{failure, with_sign};
use crate::session::Told;
use crate::workspace::Folder;

/// Bytes of a head that are looked at.
const HEAD_BYTES_MAX: u64 = 4 << 10;

impl Attempt {
    /// What the agent that just ended did; its logs are those behind the first so many.
    pub(super) async fn notice(&self, logs: usize) -> Option<Sign> {
        let kept = self.execution.assignment.policy.as_ref().map_or(0, |policy| policy.max_output_bytes);
        if kept > 0 && self.execution.logs().iter().skip(logs).any(|log| log.bytes > kept) {
            return Some(Sign::Flooded);
        }
        let base = self.execution.base.to_string();
        let look = move |slot: &crate::workspace::Slot| {
            // Part by part and without links: it is the agent's to write.
            let head = Folder::at(&slot.ws()).and_then(|ws| ws.read(Path::new(".git/HEAD"), HEAD_BYTES_MAX));
            let head = String::from_utf8_lossy(&head.unwrap_or_default()).trim().to_owned();
            let is_commit = head.len() == base.len() && head.bytes().all(|byte| byte.is_ascii_hexdigit());
            match (head == base, is_commit) {
                (true, _) => None,
                (false, true) => Some(Sign::Committed),
                (false, false) => Some(Sign::MovedHead),
            }
        };
        self.execution.blocking(look).await.ok().flatten()
    }

    /// What does not hold although its agent ended well, by its name.
    pub(super) fn claimed(&self, told: Told) -> Told {
        match told {
            Told::Refused(failure) if failure.sign.is_empty() => {
                let sign = self.noticed.unwrap_or(Sign::ClaimedSuccess);
                Told::Refused(Box::new(with_sign(*failure, sign)))
            }
            told => told,
        }
    }

    /// Whether nothing had to be changed, where nothing was. An agent's word is not enough.
    pub(super) fn believed_unchanged(&self) -> Told {
        let changed = self.good.as_ref().is_some_and(|good| !good.changes.is_empty());
        let looked_for = self.left.is_some() && !self.work.files.is_empty();
        if changed || looked_for || self.work.may_be_unchanged || (self.is_codemod() && !self.partial) {
            return Told::Done;
        }
        let why = if self.is_codemod() { " and passed over files (its trace names them)" } else { "" };
        let message = format!(
            "the agent {} ended well{why} and changed nothing; where that may be right, give the files and what to \
             look for in them (`left`), or say unchanged = \"may-be\"",
            self.running
        );
        let sign = self.noticed.unwrap_or(Sign::ClaimedWithoutChange);
        Told::Refused(Box::new(with_sign(failure(FailureClass::Agent, message), sign)))
    }

    /// Whether the rung that ran last does the same to the same files whenever it runs.
    fn is_codemod(&self) -> bool {
        let rung = self.work.ladder.get(self.rung as usize);
        rung.is_some_and(|agent| matches!(agent.kind, Some(agent::Kind::Codemod(_))))
    }
}
