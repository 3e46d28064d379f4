//! From the names people use to what a request needs: subtasks by id, glob, map or state.

use globset::Glob;
use longhaul_common::{NodeId, Oid, ParkId};
use longhaul_proto::{ApproveRequest, ParkReason};

use crate::core::{Phase, State};

/// Which subtasks are meant. Empty parts do not restrict; all empty means none.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Ids or globs over ids.
    pub subtasks: Vec<String>,
    /// Name of a map.
    pub map: String,
    /// Names of states.
    pub states: Vec<String>,
}

/// Why nothing was selected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectError {
    /// No such subtask.
    #[error("no subtask is called {wanted:?}{}", hint(near))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Ids that look alike.
        near: Vec<String>,
    },
    /// Nothing matches.
    #[error("no subtask matches; `longhaul list` shows their names and states")]
    Nothing,
    /// No subtask waits there.
    #[error("no subtask is parked under {0}; `longhaul status` shows the parks")]
    NoPark(u64),
    /// It has no landing.
    #[error("{0:?} has not landed, so there is nothing to revert")]
    NotLanded(String),
}

fn hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// The one subtask with this id, or whose id alone begins with it.
pub fn one(state: &State, wanted: &str) -> Result<NodeId, SelectError> {
    if let Some(node) = state.find(wanted) {
        return Ok(node);
    }
    let begins: Vec<NodeId> = state.nodes().filter(|&node| state.node(node).id.starts_with(wanted)).take(4).collect();
    match begins[..] {
        [only] if !wanted.is_empty() => Ok(only),
        _ => {
            let contains = |node: &NodeId| state.node(*node).id.contains(wanted);
            let near = state.nodes().filter(contains).take(3).map(|node| state.node(node).id.clone()).collect();
            Err(SelectError::Unknown { wanted: wanted.to_owned(), near })
        }
    }
}

/// All that match every part of a selection.
pub fn nodes(state: &State, wanted: &Selection) -> Result<Vec<NodeId>, SelectError> {
    let mut found: Vec<NodeId> = if wanted.subtasks.is_empty() { state.nodes().collect() } else { Vec::new() };
    for name in &wanted.subtasks {
        let glob =
            Glob::new(name).ok().filter(|_| name.contains(['*', '?', '[', '{'])).map(|glob| glob.compile_matcher());
        match glob {
            Some(glob) => found.extend(state.nodes().filter(|&node| glob.is_match(&state.node(node).id))),
            None => found.push(one(state, name)?),
        }
    }
    found.sort_unstable();
    found.dedup();
    let nothing_named = wanted.subtasks.is_empty() && wanted.map.is_empty() && wanted.states.is_empty();
    found.retain(|&node| {
        let phase = state.subtask(node).phase().name();
        (wanted.map.is_empty() || state.task(node).map == wanted.map)
            && (wanted.states.is_empty() || wanted.states.iter().any(|name| name == phase))
    });
    if nothing_named || found.is_empty() { Err(SelectError::Nothing) } else { Ok(found) }
}

/// The parks an approval is about: one by id, or pilot parks of a map or of all.
pub fn parks(state: &State, request: &ApproveRequest) -> Vec<ParkId> {
    state
        .nodes()
        .filter_map(|node| {
            let phase = state.subtask(node).phase();
            let Phase::Parked { park, .. } = phase else {
                // Its agent asks, and waits in its slot.
                return state.asks(node).map(|(park, _)| park).filter(|park| park.0 == request.park);
            };
            let pilot = phase.park_reason() == Some(ParkReason::Pilot);
            let meant = *park == ParkId(request.park) && request.park != 0
                || pilot && (request.all || !request.map.is_empty() && state.task(node).map == request.map);
            meant.then_some(*park)
        })
        .collect()
}

/// A landed subtask with its commit on the branch.
pub fn landed_commit(state: &State, wanted: &str) -> Result<(NodeId, Oid), SelectError> {
    let node = one(state, wanted)?;
    match state.subtask(node).phase() {
        Phase::Landed(landed) => Ok((node, landed.commit)),
        _ => Err(SelectError::NotLanded(state.node(node).id.clone())),
    }
}
