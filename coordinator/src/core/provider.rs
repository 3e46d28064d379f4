//! Providers whose limit was reached: whatever needs one waits until its time.
//!
//! Which agents need which provider is learnt from their reports. A park is part of the state: it
//! survives restarts and ends once, at the provider's own time.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::NodeId;
use longhaul_proto::Failure;
use serde::{Deserialize, Serialize};

use super::{Millis, State};

/// Longest time a provider is waited for on its own word.
pub const PARK_MS_MAX: Millis = 8 * 24 * 3_600_000;

/// Shortest wait: a provider that names a time in the past is not asked again at once.
pub const PARK_MS_MIN: Millis = 1_000;

/// A provider and what was learnt of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Provider {
    /// Not asked before; 0 when it has no limit in force.
    pub until_ms: Millis,
    /// Names of the agents that ran into its limit.
    pub agents: BTreeSet<String>,
}

/// All that ever reached a limit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Providers(BTreeMap<String, Provider>);

/// Until when a limit is waited for.
pub(super) fn until(failure: &Failure, now: Millis) -> Millis {
    failure.until_ms.clamp(now + PARK_MS_MIN, now + PARK_MS_MAX)
}

impl Providers {
    /// Notes a limit that an agent ran into.
    pub(super) fn limited(&mut self, failure: &Failure, until_ms: Millis) {
        let provider = self.0.entry(failure.provider.clone()).or_default();
        provider.until_ms = provider.until_ms.max(until_ms);
        if !failure.agent.is_empty() {
            provider.agents.insert(failure.agent.clone());
        }
    }

    /// Those that are waited for now, by name.
    pub fn parked(&self, now: Millis) -> impl Iterator<Item = (&str, &Provider)> {
        let parked = self.0.iter().filter(move |(_, provider)| provider.until_ms > now);
        parked.map(|(name, provider)| (name.as_str(), provider))
    }

    /// When the next one may be asked again.
    pub(super) fn next_ms(&self, now: Millis) -> Option<Millis> {
        self.parked(now).map(|(_, provider)| provider.until_ms).min()
    }
}

impl State {
    /// The provider a node has to wait for now, and until when.
    pub fn provider_awaited(&self, node: NodeId, now: Millis) -> Option<(&str, Millis)> {
        let needs = |provider: &Provider| {
            let ladder = &self.task(node).ladder;
            ladder.iter().any(|&agent| provider.agents.contains(&self.plan.agents[agent as usize].name))
        };
        let awaited = self.providers.parked(now).filter(|(_, provider)| needs(provider));
        awaited.map(|(name, provider)| (name, provider.until_ms)).max_by_key(|(_, until)| *until)
    }
}
