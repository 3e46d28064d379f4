//! What a hub is told about its process.

use std::sync::Arc;

use futures::stream::BoxStream;
use longhaul_common::JobId;
use longhaul_proto::TraceLine;

use crate::core::{LEASE_MS, Millis};
use crate::upkeep::UpkeepSettings;

/// What the worker in the process of a hub has to say of an assignment: its last lines and those to come;
/// `None` when it does not execute it.
pub type Output = Arc<dyn Fn(&JobId, u64) -> Option<BoxStream<'static, TraceLine>> + Send + Sync>;

/// Settings of a hub.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Closed jobs kept in memory for reading.
    pub closed_cached_max: usize,
    /// Silence after which a worker has lost its leases.
    pub lease_ms: Millis,
    /// How the disk is kept bounded.
    pub upkeep: UpkeepSettings,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self { closed_cached_max: 8, lease_ms: LEASE_MS, upkeep: UpkeepSettings::default() }
    }
}
