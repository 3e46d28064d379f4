//! Whether a program goes in circles, by what it leaves in the workspace: the same state again and again, or no
//! change for a long time.
//!
//! The calls of its tools are watched where they are told; this sees what no call shows, such as a test
//! that is switched off and on with another command each time. The tree is taken from outside, as for
//! work in progress.

use std::sync::Arc;
use std::time::Instant;

use longhaul_common::Oid;
use tokio::sync::watch;

use crate::agent::stuck::{Limits, Seen, Stuck, Verdict, Watch};
use crate::agent::talk::Uses;
use crate::commit::snapshot_aside;
use crate::execution::Execution;

/// Uses of tools without a change: programs read a lot before they begin, and test a lot before they end.
const UNCHANGED_MAX: u64 = 200;

/// Returns to a state that was there before: `git stash` to try something out is two.
const RETURNS_MAX: u32 = 8;

/// A pause between two looks is so many times as long as the look took.
const PAUSE_FACTOR: u32 = 10;

/// What the workspace is called in the pattern's words.
const WORKSPACE: &str = "the workspace";

struct Circles {
    watch: Watch,
    last: Option<Oid>,
    /// How many uses there were at the last change.
    changed_at: u64,
}

impl Circles {
    fn new() -> Self {
        let limits = Limits { alternations: RETURNS_MAX, ..Limits::default() };
        Self { watch: Watch::new(limits), last: None, changed_at: 0 }
    }

    /// Takes the tree after so many uses.
    fn see(&mut self, uses: u64, tree: Oid) -> Option<Stuck> {
        let last = self.last.replace(tree);
        if last == Some(tree) {
            let unchanged = uses.saturating_sub(self.changed_at);
            let count = u32::try_from(unchanged).unwrap_or(u32::MAX);
            return (unchanged >= UNCHANGED_MAX).then_some(Stuck::NoDiff(count));
        }
        self.changed_at = uses;
        let state = |tree: &Oid| *blake3::hash(&tree.0).as_bytes();
        let seen = Seen::Edited { path: WORKSPACE, before: state(&last?), after: state(&tree) };
        match self.watch.see(seen) {
            Some(Verdict::End(stuck)) => Some(stuck),
            Some(Verdict::Warn(_)) | None => None,
        }
    }

    /// The uses at which it has to be looked whatever they were.
    fn due(&self) -> u64 {
        self.changed_at + UNCHANGED_MAX
    }
}

/// Looks whenever tools were used that may change something; ends with the pattern it finds.
pub(super) async fn found(execution: &Arc<Execution>, mut uses: watch::Receiver<Uses>) -> Stuck {
    let mut circles = Circles::new();
    let mut looked = Uses::default();
    loop {
        let began = Instant::now();
        let (base, exclusions) = (execution.base, execution.exclusions());
        let taken = execution.blocking(move |slot| snapshot_aside(slot, "circles-index", base, &exclusions)).await;
        // What cannot be a tree is refused at the end, with its reason.
        if let Ok(Ok(taken)) = taken
            && let Some(stuck) = circles.see(looked.all, taken.tree)
        {
            return stuck;
        }
        tokio::time::sleep(began.elapsed() * PAUSE_FACTOR).await;
        let due = circles.due();
        let moved = |now: &Uses| now.changing > looked.changing || (now.all >= due && now.all > looked.all);
        let next = uses.wait_for(moved).await.ok().map(|now| *now);
        let Some(next) = next else {
            // Nobody uses any more.
            return std::future::pending().await;
        };
        looked = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_come_back_and_long_standstills_are_found() {
        let tree = |number: u8| Oid([number; 20]);
        let mut circles = Circles::new();
        // On and on, with a step back now and then.
        for uses in 0..100 {
            let number = u8::try_from(uses / 2 % 50).expect("small");
            assert_eq!(circles.see(uses, tree(number)), None, "{uses}");
        }
        assert_eq!(circles.see(100 + UNCHANGED_MAX, tree(200)), None, "a change, however late");
        assert_eq!(circles.due(), 100 + 2 * UNCHANGED_MAX);
        assert_eq!(circles.see(circles.due() - 1, tree(200)), None);
        assert_eq!(circles.see(circles.due(), tree(200)), Some(Stuck::NoDiff(200)));

        let mut circles = Circles::new();
        let stuck: Vec<Option<Stuck>> = (0..10).map(|at| circles.see(at, tree(u8::from(at % 2 == 0)))).collect();
        assert_eq!(stuck.iter().position(Option::is_some), Some(9), "{stuck:?}");
        assert_eq!(stuck[9].as_ref().map(Stuck::name), Some("alternating-edits"));
    }
}
