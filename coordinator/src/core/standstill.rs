//! Whether anything can happen by itself: what a job waits for, and until when.

use longhaul_common::NodeId;

use super::{BaseGate, JobPhase, Millis, Phase, State, Step, deadline};

impl State {
    /// Ready or waiting for a time, and not held back by their own group.
    fn any_can_run(&self) -> bool {
        let ready = self.derived.ready.iter().map(|(_, node)| *node);
        ready.chain(self.derived.backoff.iter().map(|(_, node)| *node)).any(|node| self.group_ready(node))
    }

    /// Whether nothing can happen any more without a person: neither live work, nor anything to
    /// hand out, nor a time to wait for.
    pub fn is_stuck(&self) -> bool {
        let counts = self.counts();
        let closed =
            counts.landed + counts.unchanged + counts.failed + counts.skipped + counts.cancelled + counts.reverted;
        let without_gates = self.landing.halted.is_some() && self.landing.lost.are_too_many();
        if closed == counts.total && !self.landing.blocked && !without_gates {
            // Only the final gate is between here and the end.
            return false;
        }
        let resting = self.landing.batch.is_none() || self.landing.blocked;
        let quiet = self.attempts.is_empty() && self.landing.gates.is_empty() && resting;
        let halted = self.landing.halted.is_some() || self.landing.blocked;
        let paused = matches!(self.job_phase, JobPhase::Paused { .. });
        let idle = self.derived.doomed.is_empty() && !self.any_can_run();
        let base_open = self.landing.base_gate == BaseGate::Open;
        quiet
            && (halted || counts.landing == 0 || self.landing_idle())
            && ((idle && !base_open) || paused || (base_open && without_gates))
    }

    /// Whether there is nothing to land: only incomplete groups wait.
    pub(super) fn landing_idle(&self) -> bool {
        let landing = &self.landing;
        let empty = landing.batch.is_none() && landing.queue.is_empty() && landing.segments.is_empty();
        empty && self.complete_group().is_none() && !self.pending_stage()
    }

    fn pending_stage(&self) -> bool {
        let order = self.groups.values().flat_map(|group| &group.order);
        order.into_iter().any(|&node| matches!(self.subtask(node).phase(), Phase::Delivered { staged: None, .. }))
    }

    /// The earliest time after `now` at which something becomes due by itself. What is due already
    /// waits for something else (a slot, a worker), and looking again would not bring it about.
    pub fn next_due_ms(&self, now: Millis) -> Option<Millis> {
        let landing = &self.landing;
        let backoff = self.derived.backoff.range((now + 1, NodeId(0))..).next().map(|(at, _)| *at);
        let gate = landing.batch.as_ref().and_then(|batch| match batch.step {
            Step::NeedsGate { not_before_ms } => Some(not_before_ms),
            _ => None,
        });
        let lone = (landing.lone_tries > 0).then_some(landing.lone_not_before_ms);
        let lost = (landing.lost.in_a_row > 0).then_some(landing.lost.not_before_ms);
        let provider = self.providers.next_ms(now);
        let deadline = deadline::next_ms(self);
        [backoff, gate, lone, lost, provider, deadline, self.fleet.next_expiry()]
            .into_iter()
            .flatten()
            .filter(|&at| at > now)
            .min()
    }
}
