//! Which subtask waits for which.
//!
//! The subtasks of one table share one list of dependencies, so cycles and orders are questions
//! about tables: a cycle through any subtask of a table is one through all of them.

use std::collections::{BTreeMap, BTreeSet};

use longhaul_common::spec::{EDGES_MAX, JobFile, Problem, did_you_mean, find_cycle, id_glob, is_glob};

use super::draft::Drafts;

/// Most subtasks of a cycle that a message names.
const CYCLE_SHOWN: usize = 20;

/// The dependencies of every table's subtasks.
pub(super) struct Order {
    /// Positions of subtasks, sorted, by table.
    pub deps: Vec<Vec<u32>>,
    /// Tables, each after those it depends on.
    pub tables: Vec<usize>,
}

/// Finds what `after` means; `None` when a problem was reported.
pub(super) fn resolve(file: &JobFile, drafts: &Drafts, problems: &mut Vec<Problem>) -> Option<Order> {
    let before = problems.len();
    let deps = dependencies(file, drafts, problems);
    if problems.len() > before {
        return None;
    }
    let tables = file.tables();
    let tables_of = |deps: &Vec<u32>| -> Vec<u32> {
        let tables: BTreeSet<usize> = deps.iter().map(|&node| drafts.nodes[node as usize].table).collect();
        tables.into_iter().map(index).collect()
    };
    let graph: Vec<Vec<u32>> = deps.iter().map(tables_of).collect();
    if let Some(cycle) = find_cycle(&graph) {
        let shown = cycle_text(&cycle, &deps, drafts);
        let span = tables[cycle[0]].work().after.first().map_or(tables[cycle[0]].span(), |after| after.span());
        let message = format!("subtasks wait for each other: {shown}");
        problems.push(file.source.problem(span, message, "remove one of these from an `after`"));
        return None;
    }
    let edges: usize = deps.iter().zip(&drafts.ranges).map(|(deps, range)| deps.len() * range.len()).sum();
    if edges > EDGES_MAX {
        let widest = (0..deps.len()).max_by_key(|&table| deps[table].len() * drafts.ranges[table].len()).unwrap_or(0);
        let message =
            format!("{edges} dependencies; at most {EDGES_MAX} are allowed, and `{}` has most", tables[widest].name());
        let help = "group more files into one subtask, or put one task between the two maps";
        problems.push(file.source.problem(tables[widest].name_span(), message, help));
        return None;
    }
    Some(Order { deps, tables: ordered(&graph) })
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a plan holds at most 1,000,000 nodes")
}

fn dependencies(file: &JobFile, drafts: &Drafts, problems: &mut Vec<Problem>) -> Vec<Vec<u32>> {
    let tables = file.tables();
    let names: BTreeMap<String, usize> = tables.iter().enumerate().map(|(at, table)| (table.name(), at)).collect();
    let ids: BTreeMap<&str, usize> =
        drafts.nodes.iter().enumerate().map(|(at, draft)| (draft.id.as_str(), at)).collect();
    let mut all = Vec::with_capacity(tables.len());
    for (own, table) in tables.iter().enumerate() {
        let mut deps: BTreeSet<u32> = BTreeSet::new();
        for after in table.work().after.iter() {
            let text = after.value.as_str();
            if let Some(&found) = names.get(text) {
                deps.extend(drafts.ranges[found].clone().map(index));
            } else if let Some(&found) = ids.get(text) {
                deps.insert(index(found));
            } else if let (true, Ok(glob)) = (is_glob(text), id_glob(text)) {
                // "Everything else" must not mean oneself or one's siblings.
                let others = drafts.nodes.iter().enumerate().filter(|(_, draft)| draft.table != own);
                let found: Vec<u32> =
                    others.filter(|(_, draft)| glob.is_match(&draft.id)).map(|(at, _)| index(at)).collect();
                if found.is_empty() {
                    let message = format!("`{text}` in the `after` of `{}` matches no subtask", table.work().id.value);
                    problems.push(file.source.problem(after.span(), message, "`longhaul plan` lists the ids"));
                }
                deps.extend(found);
            } else {
                let message = format!("unknown subtask `{text}` in the `after` of `{}`", table.work().id.value);
                let known = ids.keys().copied().chain(names.keys().map(String::as_str));
                let help = match did_you_mean(text, known) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "`longhaul plan` lists the ids".to_owned(),
                };
                problems.push(file.source.problem(after.span(), message, help));
            }
        }
        all.push(deps.into_iter().collect());
    }
    all
}

/// Ids along a cycle of tables: from each to a subtask of the next that it depends on.
fn cycle_text(cycle: &[usize], deps: &[Vec<u32>], drafts: &Drafts) -> String {
    let step = |from: usize, to: usize| {
        let found = deps[from].iter().map(|&node| &drafts.nodes[node as usize]).find(|draft| draft.table == to);
        found.map_or("?", |draft| draft.id.as_str())
    };
    let last = cycle[cycle.len() - 1];
    let before = std::iter::once(last).chain(cycle.iter().copied());
    let mut ids: Vec<&str> = before.zip(cycle).map(|(from, &to)| step(from, to)).collect();
    ids.push(ids[0]);
    if ids.len() > CYCLE_SHOWN {
        ids.splice(CYCLE_SHOWN - 1..ids.len() - 1, ["…"]);
    }
    ids.join(" -> ")
}

/// Positions so that each comes after its dependencies; the smallest first where there is a choice.
fn ordered(deps: &[Vec<u32>]) -> Vec<usize> {
    let mut missing: Vec<usize> = deps.iter().map(Vec::len).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); deps.len()];
    for (at, deps) in deps.iter().enumerate() {
        for &dep in deps {
            dependents[dep as usize].push(at);
        }
    }
    let mut ready: BTreeSet<usize> = (0..deps.len()).filter(|&at| missing[at] == 0).collect();
    let mut order = Vec::with_capacity(deps.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &dependent in &dependents[at] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.insert(dependent);
            }
        }
    }
    order
}
