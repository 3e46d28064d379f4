//! Names that refer to each other: agents in ladders, subtasks in `after`.

use std::collections::BTreeMap;

use super::Check;
use crate::spec::parse::Found;
use crate::spec::suggest::next_step;
use crate::spec::{AgentKind, JobFile, Table, find_cycle, id_glob, is_glob, placeholders};

pub(super) fn check_ladders(file: &JobFile, found: &Found, check: &mut Check<'_>) {
    for table in file.tables() {
        for rung in table.work().ladder.iter() {
            if !found.agents.contains(&rung.value) {
                let names = found.agents.iter().map(String::as_str);
                let help = next_step(&rung.value, names, "declare it as [agent.NAME]");
                check.report(
                    rung.span(),
                    format!("unknown agent `{}` in the ladder of `{}`", rung.value, table.work().id.value),
                    help,
                );
            }
        }
    }
}

/// Rules alone write no tests.
pub(super) fn check_characterise(file: &JobFile, check: &mut Check<'_>) {
    for table in file.tables() {
        let work = table.work();
        let Some(wanted) = work.characterise.filter(|wanted| wanted.value) else { continue };
        let rules = |name: &str| file.agent.get(name).is_some_and(|agent| agent.kind.value == AgentKind::Codemod);
        if work.ladder.iter().all(|rung| rules(&rung.value)) {
            let message = format!("no agent in the ladder of `{}` writes tests", work.id.value);
            check.report(wanted.span(), message, "add an agent that is no codemod, or leave `characterise` out");
        }
    }
}

pub(super) fn check_names(file: &JobFile, found: &Found, check: &mut Check<'_>) {
    let tables = file.tables();
    if tables.is_empty() && found.complete {
        check.report(0..0, "nothing to do: there is no [[task]] and no [[map]]", "add one");
    }
    let names = unique_names(&tables, check);
    if !found.complete {
        return;
    }
    let mut deps: Vec<Vec<u32>> = vec![Vec::new(); tables.len()];
    let before = check.problems.len();
    for (index, table) in tables.iter().enumerate() {
        for after in table.work().after.iter() {
            match targets(&after.value, index, &tables, &names) {
                Ok(found) => deps[index].extend(found),
                Err(Some((message, help))) => check.report(after.span(), message, help),
                Err(None) => {
                    let message =
                        format!("unknown subtask `{}` in the `after` of `{}`", after.value, table.work().id.value);
                    let known = names.keys().map(String::as_str);
                    check.report(after.span(), message, next_step(&after.value, known, "there is no other subtask"));
                }
            }
        }
    }
    if check.problems.len() == before
        && let Some(cycle) = find_cycle(&deps)
    {
        let shown: Vec<String> = cycle.iter().chain(cycle.first()).map(|&index| tables[index].name()).collect();
        let span = tables[cycle[0]].work().after.first().map_or(0..0, |after| after.span());
        let message = format!("subtasks wait for each other: {}", shown.join(" -> "));
        check.report(span, message, "remove one of these from an `after`");
    }
}

/// The tables by what `after` may call them; a name that two claim is reported.
fn unique_names(tables: &[Table<'_>], check: &mut Check<'_>) -> BTreeMap<String, usize> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let name = table.name();
        let Some(&first) = names.get(&name) else {
            names.insert(name, index);
            continue;
        };
        let line = check.source.problem(tables[first].name_span(), "", "").line;
        let (what, help) = match table {
            Table::Task(_) => ("id", "rename one of the two"),
            Table::Map(_) => ("name", "give the map a `name` of its own"),
        };
        check.report(table.name_span(), format!("duplicate {what} `{name}`: line {line} has it already"), help);
    }
    names
}

type Unknown = Option<(String, String)>;

/// The tables an entry of `after` stands for. An entry that only the expanded ids of a map can
/// answer stands for that map, which has the same cycles as any of its subtasks.
fn targets(
    after: &str,
    own: usize,
    tables: &[Table<'_>],
    names: &BTreeMap<String, usize>,
) -> Result<Vec<u32>, Unknown> {
    let index = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    if let Some(&found) = names.get(after) {
        return Ok(vec![index(found)]);
    }
    if !is_glob(after) {
        let maps =
            tables.iter().enumerate().filter(|(_, table)| matches!(table, Table::Map(map) if may_give(&map.id, after)));
        let found: Vec<u32> = maps.map(|(at, _)| index(at)).collect();
        return match found[..] {
            [] => Err(None),
            [one] => Ok(vec![one]),
            // Only one of them can have it; which one is known after expansion.
            _ => Ok(Vec::new()),
        };
    }
    let glob = id_glob(after).map_err(Some)?;
    let mut found = Vec::new();
    let mut maps = false;
    for (at, table) in tables.iter().enumerate() {
        maps |= matches!(table, Table::Map(_));
        if at != own && glob.is_match(table.name()) {
            found.push(index(at));
        }
    }
    if found.is_empty() && !maps {
        let help = "see the ids of the tasks; `*` matches any text".to_owned();
        return Err(Some((format!("`{after}` matches no subtask"), help)));
    }
    // A glob that matches a map's name need not match its ids; expansion decides about those.
    found.retain(|&at| matches!(tables[at as usize], Table::Task(_)));
    Ok(found)
}

/// Whether a map's id pattern can become `id`.
fn may_give(pattern: &str, id: &str) -> bool {
    let Ok(found) = placeholders(pattern) else { return true };
    let mut regex = String::from("^");
    let mut from = 0;
    for (range, _) in found {
        regex.push_str(&regex::escape(&pattern[from..range.start]));
        regex.push_str(".+");
        from = range.end;
    }
    regex.push_str(&regex::escape(&pattern[from..]));
    regex.push('$');
    regex::Regex::new(&regex).is_ok_and(|regex| regex.is_match(id))
}
