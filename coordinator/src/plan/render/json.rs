//! The plan for programs.

use longhaul_common::Oid;
use serde_json::{Value, json};

use super::PlanView;

impl PlanView<'_> {
    /// The plan with waves, critical path and totals. Keys of this document are stable.
    pub fn json(&self) -> Value {
        let plan = self.plan;
        let repo = plan.repo.clone().unwrap_or_default();
        let base = Oid::from_bytes(&repo.base).map(|oid| oid.to_string()).unwrap_or_default();
        let id = |at: &u32| plan.nodes.get(*at as usize).map(|node| node.id.as_str());
        let nodes: Vec<Value> = plan
            .nodes
            .iter()
            .zip(&self.levels)
            .map(|(node, level)| {
                let task = self.task(node);
                let agents: Vec<&str> = task
                    .iter()
                    .flat_map(|task| &task.ladder)
                    .filter_map(|&at| plan.agents.get(at as usize))
                    .map(|agent| agent.name.as_str())
                    .collect();
                json!({
                    "id": node.id,
                    "map": task.map(|task| task.map.as_str()).filter(|map| !map.is_empty()),
                    "state": self.state(node),
                    "ladder": agents,
                    "after": node.deps.iter().filter_map(id).collect::<Vec<_>>(),
                    "files": node.files,
                    "claims": node.claims,
                    "whole_repository": task.is_some_and(|task| task.whole_repository),
                    "labels": task.map(|task| task.labels.as_slice()).unwrap_or_default(),
                    "wave": level + 1,
                    "weight": node.weight,
                    "pilot": node.pilot,
                    "behind_pilot": node.behind_pilot,
                    "key": node.key.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                })
            })
            .collect();
        json!({
            "format": plan.format,
            "job": plan.job,
            "goal": plan.goal,
            "repository": { "name": repo.name, "path": repo.path, "base_name": repo.base_name, "base": base },
            "gate_labels": plan.gate.as_ref().map(|gate| gate.labels.as_slice()).unwrap_or_default(),
            "carried": plan.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
            "subtasks": nodes,
            "waves": self.waves(),
            "critical_path": self.critical_path(),
            "totals": self.totals(),
        })
    }
}
