//! What a graph draws: a subtask, or a whole map that would fill the picture.

use std::collections::{BTreeMap, BTreeSet};

use super::{COLLAPSE_ABOVE, PlanView, deps};

/// A box.
pub(super) struct Unit {
    /// Lines of its label.
    pub label: Vec<String>,
    /// The state of all its subtasks, or `mixed`.
    pub state: String,
    /// Whether a person's yes comes before it.
    pub behind_pilot: bool,
    /// Whether it is on the critical path.
    pub critical: bool,
}

/// The boxes of a plan and the arrows between them, from a dependency to what waits for it.
pub(super) fn units(view: &PlanView<'_>) -> (Vec<Unit>, BTreeSet<(usize, usize)>) {
    let plan = view.plan;
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    plan.nodes.iter().for_each(|node| *sizes.entry(node.task).or_default() += 1);
    let mut units: Vec<Unit> = Vec::new();
    let mut collapsed: BTreeMap<u32, usize> = BTreeMap::new();
    let mut unit_of = Vec::with_capacity(plan.nodes.len());
    let critical: BTreeSet<usize> = view.critical.iter().copied().collect();
    for (at, node) in plan.nodes.iter().enumerate() {
        let size = sizes[&node.task];
        if size > COLLAPSE_ABOVE
            && let Some(&unit) = collapsed.get(&node.task)
        {
            let shown = &mut units[unit];
            if shown.state != view.state(node) {
                "mixed".clone_into(&mut shown.state);
            }
            shown.critical |= critical.contains(&at);
            unit_of.push(unit);
            continue;
        }
        let label = if size > COLLAPSE_ABOVE {
            collapsed.insert(node.task, units.len());
            let task = view.task(node);
            let name = task.map_or(String::new(), |task| match (task.map.as_str(), task.additive) {
                ("", _) => task.id.clone(),
                (map, true) => format!("characterise {map}"),
                (map, false) => map.to_owned(),
            });
            vec![name, format!("{size} subtasks")]
        } else {
            vec![node.id.clone()]
        };
        unit_of.push(units.len());
        let behind_pilot = node.behind_pilot && size <= COLLAPSE_ABOVE;
        units.push(Unit { label, state: view.state(node).to_owned(), behind_pilot, critical: critical.contains(&at) });
    }
    let mut arrows = BTreeSet::new();
    for at in 0..plan.nodes.len() {
        arrows.extend(deps(plan, at).map(|dep| (unit_of[dep], unit_of[at])).filter(|(from, to)| from != to));
    }
    (units, arrows)
}
