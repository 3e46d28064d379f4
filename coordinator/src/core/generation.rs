//! Opening a plan: the first one, or an edited one over work that is already done.
//!
//! A node whose key is unchanged keeps its result. If every landed node is still there unchanged,
//! the branch stays where it is; otherwise it starts again from the base and the unchanged
//! patches land anew under the gate, without agents.

use std::collections::BTreeMap;

use longhaul_common::Oid;
use longhaul_common::id::BadOid;
use longhaul_proto::{Carried, CarriedLanded, Plan, PlanOpened, carried};

use super::{Landed, Phase, State};

/// The event that opens `plan` over the state so far.
pub fn open_generation(state: &State, plan: Plan) -> Result<PlanOpened, BadOid> {
    let base = Oid::from_bytes(&plan.repo.as_ref().map(|repo| repo.base.clone()).unwrap_or_default())?;
    let new: BTreeMap<&str, usize> = plan.nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let unchanged = |node| {
        let old = state.node(node);
        new.get(old.id.as_str()).copied().filter(|&at| plan.nodes[at].key == old.key)
    };
    let same_base =
        state.plan().repo.as_ref().is_none_or(|repo| Some(&repo.base) == plan.repo.as_ref().map(|r| &r.base));
    let keep_tip = state.generation() > 0
        && same_base
        && state.nodes().all(|node| match state.subtask(node).phase() {
            Phase::Landed(_) => unchanged(node).is_some(),
            phase if landed_before(phase).is_some() => unchanged(node).is_some(),
            phase => phase.name() != "reverted",
        });
    let mut carried_nodes = Vec::new();
    for node in state.nodes() {
        let Some(at) = unchanged(node) else { continue };
        let what = match state.subtask(node).phase() {
            Phase::Landed(landed) if keep_tip => carried_landed(landed),
            phase if keep_tip && landed_before(phase).is_some() => match landed_before(phase) {
                Some(landed) => carried_landed(landed),
                None => continue,
            },
            Phase::Unchanged if same_base => carried::What::Unchanged(true),
            phase => match phase.candidate() {
                Some(candidate) if candidate.reverts.is_none() => carried::What::Patch((*candidate.patch).clone()),
                _ => continue,
            },
        };
        let node = u32::try_from(at).unwrap_or(u32::MAX);
        carried_nodes.push(Carried { node, what: Some(what) });
    }
    let tip = if keep_tip { state.landing.tip } else { base };
    Ok(PlanOpened {
        generation: state.generation() + 1,
        plan: Some(plan),
        carried: carried_nodes,
        tip: tip.to_vec(),
        asks_without_yes: true,
    })
}

/// A revert on its way has not happened yet: its subtask still counts as landed.
fn landed_before(phase: &Phase) -> Option<&Landed> {
    match phase {
        Phase::Landed(_) => None,
        phase => phase.candidate()?.reverts.as_deref(),
    }
}

fn carried_landed(landed: &Landed) -> carried::What {
    carried::What::Landed(CarriedLanded {
        commit: landed.commit.to_vec(),
        merge: landed.merge.to_vec(),
        gate: landed.gate.0,
        patch: Some((*landed.candidate.patch).clone()),
    })
}
