//! A subtask split in the state.

use std::sync::Arc;

use longhaul_proto as pb;

use super::ApplyError;
use super::books::Books;
use crate::core::split;
use crate::core::state::State;
use crate::core::subtask::{Phase, Subtask};
use crate::core::transition::Move;

impl State {
    /// Opens the parts of a node, which waits for them.
    pub(super) fn split_off(&mut self, event: &pb::Split) -> Result<(), ApplyError> {
        let node = self.known(event.node)?;
        let class = pb::FailureClass::Split.into();
        self.end_attempt(event.attempt, node, Books { usage: event.usage, timing: event.timing, class });
        self.shift(node, Move::Split, Phase::Waiting)?;
        split::add(Arc::make_mut(&mut self.plan), node.index(), &event.tasks, &event.nodes);
        self.subtasks.extend(event.nodes.iter().map(|_| Subtask::new(Phase::Ready, 0)));
        let subtask = &mut self.subtasks[node.index()];
        subtask.missing += u32::try_from(event.nodes.len()).unwrap_or(u32::MAX);
        (subtask.infra, subtask.losses, subtask.provider_waits) = (0, 0, 0);
        subtask.wip = None;
        self.rebuild()?;
        Ok(())
    }
}
