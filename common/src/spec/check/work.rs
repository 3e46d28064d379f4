//! One `[[task]]` or `[[map]]` by itself.

use super::{Check, settings::between};
use crate::spec::suggest::next_step;
use crate::spec::table::PLACEHOLDERS;
use crate::spec::{
    ATTEMPTS_MAX, At, ID_BYTES_MAX, LADDER_MAX, MapTable, SPLIT_PARTS_MAX, TIMEOUT_MS_DEFAULT, Table, WIP_EVERY_MS_MIN,
    placeholders,
};

pub(super) fn check_table(table: Table<'_>, check: &mut Check<'_>) {
    let work = table.work();
    match table {
        Table::Task(_) => id(work.id, check),
        Table::Map(map) => check_map(map, check),
    }
    if work.ladder.is_empty() {
        check.report(
            work.ladder.span(),
            format!("the ladder of `{}` is empty", work.id.value),
            "name at least one agent",
        );
    }
    if let Some(first) = work.ladder.get(LADDER_MAX) {
        check.report(first.span(), format!("a ladder of more than {LADDER_MAX} agents"), "keep the ones that matter");
    }
    if let Some(write) = work.write {
        check.globs(write);
        if write.is_empty() {
            let help = "name what it may write, or leave `write` out";
            check.report(work.id.span(), format!("`{}` may write nothing: `write` is empty", work.id.value), help);
        }
    }
    for (key, text) in [("instructions", work.instructions), ("land_with", work.land_with)] {
        if let Some(text) = text {
            check.text(key, text);
        }
    }
    for constraint in work.constraints.iter() {
        check.text("constraints", constraint);
    }
    if let Some(left) = work.left {
        check.regex("left", left);
    }
    check.labels(work.labels);
    check.idle(work.idle_timeout, work.timeout.map_or(TIMEOUT_MS_DEFAULT, |timeout| timeout.0));
    if let Some(every) = work.wip_every
        && (1..WIP_EVERY_MS_MIN).contains(&every.0)
    {
        let message = format!("`wip_every` must be at least {} s", WIP_EVERY_MS_MIN / 1_000);
        check.report(every.span(), message, "raise it, or write \"off\"");
    }
    if let Some(budget) = work.budget {
        check.spending(budget.usd.as_ref(), budget.tokens.as_ref());
        if let Some(hours) = &budget.hours {
            check.positive("hours", hours);
        }
    }
    if let Some(split) = work.split {
        between("split", split, u64::from(split.value), 2, u64::from(SPLIT_PARTS_MAX), check);
    }
    if let Some(attempts) = work.attempts {
        between("attempts", attempts, u64::from(attempts.value), 1, u64::from(ATTEMPTS_MAX), check);
    }
}

/// Whether a character may stand in an id: it must survive a shell, a ref name and a report.
pub fn id_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '+' | '@' | '=' | '#')
}

fn id(id: &At<String>, check: &mut Check<'_>) {
    if id.contains(['{', '}']) {
        let help = "placeholders are for the id of a [[map]]; write the id out";
        check.report(id.span(), format!("the id {:?} of a task holds a placeholder", id.value), help);
    } else {
        plain_id(id, &id.value, "an id", check);
    }
}

fn plain_id(at: &At<String>, text: &str, what: &str, check: &mut Check<'_>) {
    if text.is_empty() || text.starts_with('-') || !text.chars().all(id_char) {
        let help = "use letters, digits and - _ . / : + @ = #, and start with no dash";
        check.report(at.span(), format!("not {what}: {:?}", at.value), help);
    } else if text.len() > ID_BYTES_MAX {
        check.report(
            at.span(),
            format!("{what} of {} bytes; at most {ID_BYTES_MAX} are allowed", text.len()),
            "shorten it",
        );
    }
}

fn check_map(map: &At<MapTable>, check: &mut Check<'_>) {
    match placeholders(&map.id) {
        Err(_) => check.report(
            map.id.span(),
            format!("a brace without its partner in the id {:?}", map.id.value),
            "write e.g. \"lazy-{stem}\"",
        ),
        Ok(found) => {
            let mut fixed = map.id.value.clone();
            for (range, name) in found.iter().rev() {
                if !PLACEHOLDERS.contains(name) {
                    let help = next_step(name, PLACEHOLDERS.iter().copied(), "use {stem}");
                    check.report(
                        map.id.span(),
                        format!("unknown placeholder {{{name}}} in the id {:?}", map.id.value),
                        help,
                    );
                }
                fixed.replace_range(range.clone(), "x");
            }
            plain_id(&map.id, &fixed, "an id", check);
        }
    }
    if let Some(name) = &map.name {
        plain_id(name, name, "a name", check);
    }
    if map.files.is_empty() {
        check.report(
            map.files.span(),
            format!("the map `{}` names no files", map.id.value),
            "write a glob, e.g. \"src/**/*.rs\"",
        );
    }
    check.globs(&map.files);
    check.globs(&map.exclude);
    if let Some(containing) = &map.containing {
        check.regex("containing", containing);
    }
    if let Some(pilot) = &map.pilot {
        between("pilot", pilot, u64::from(pilot.value), 1, u64::from(u32::MAX), check);
    }
}
