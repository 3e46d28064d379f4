//! The next command a person can run: the one place that knows how the verbs are spelled.
//!
//! A command names the subtasks while there are few of them, then their map, then their state, so
//! that it fits a line. Ids are quoted for the shell; a command that an id makes longer than
//! [`COMMAND_CHARS_MAX`] is left out rather than cut, because half a command does something else.

use super::{
    group::{Outcome, Reason},
    plain::shell_word,
};

/// Most ids or parks named in one command.
const NAMED_MAX: usize = 4;
/// Longest command offered.
const COMMAND_CHARS_MAX: usize = 300;

/// Commands for one group of subtasks that did not land, the most useful last.
pub fn for_reason(reason: &Reason<'_>, phase: &str) -> Vec<String> {
    let mut next = commands(reason, phase);
    next.retain(|command| fits(command));
    next
}

fn fits(command: &str) -> bool {
    command.chars().count() <= COMMAND_CHARS_MAX
}

fn commands(reason: &Reason<'_>, phase: &str) -> Vec<String> {
    let Some(first) = reason.rows.first() else { return Vec::new() };
    let id = shell_word(&first.id);
    match (reason.outcome, reason.state, reason.park_reason) {
        (Outcome::Failed, ..) => vec![format!("longhaul logs {id}"), retry(reason)],
        (Outcome::Parked, _, "pilot") => vec![format!("longhaul diff {id}"), approve(reason)],
        (Outcome::Parked, _, "protected" | "footprint") => {
            vec![format!("longhaul diff {id}"), approve(reason)]
        }
        (Outcome::Parked, _, "disk") => vec!["longhaul resume".to_owned()],
        (Outcome::Parked, _, "gate" | "attempts") => {
            vec![format!("longhaul logs {id}"), retry(reason)]
        }
        (Outcome::Parked, ..) => vec![format!("longhaul explain {id}"), retry(reason)],
        (Outcome::Dropped, "cancelled", _) => vec![retry(reason)],
        (Outcome::Dropped, "reverted", _) => vec![format!("longhaul show {id}"), retry(reason)],
        (Outcome::Dropped, ..) => vec![format!("longhaul explain {id}")],
        (Outcome::Open, ..) => open(phase, &id),
        (Outcome::Landed | Outcome::Unchanged, ..) => Vec::new(),
    }
}

/// Commands for the job as a whole once it stopped: how to look at and take what landed.
pub fn for_job(phase: &str, landed: u64) -> Vec<String> {
    let mut next = Vec::new();
    if matches!(phase, "paused" | "stopped") {
        next.push("longhaul resume".to_owned());
    }
    if landed > 0 {
        next.push("longhaul review".to_owned());
        next.push("longhaul export".to_owned());
    }
    next
}

fn open(phase: &str, id: &str) -> Vec<String> {
    match phase {
        "paused" | "stopped" => vec!["longhaul resume".to_owned()],
        "running" | "draining" => vec![format!("longhaul explain {id}"), "longhaul watch".to_owned()],
        _ => vec![format!("longhaul explain {id}")],
    }
}

fn retry(reason: &Reason<'_>) -> String {
    if reason.rows.len() <= NAMED_MAX {
        let ids: Vec<String> = reason.rows.iter().map(|row| shell_word(&row.id)).collect();
        let named = format!("longhaul retry {}", ids.join(" "));
        if fits(&named) {
            return named;
        }
    }
    let state = shell_word(reason.state);
    match only_map(reason) {
        Some(map) => format!("longhaul retry --map {} --state {state}", shell_word(map)),
        None => format!("longhaul retry --state {state}"),
    }
}

fn approve(reason: &Reason<'_>) -> String {
    let pilot = reason.park_reason == "pilot";
    match only_map(reason) {
        Some(map) if pilot => return format!("longhaul approve --map {}", shell_word(map)),
        None if pilot && reason.parks.len() > NAMED_MAX => {
            return "longhaul approve --all".to_owned();
        }
        _ => {}
    }
    match reason.parks.first() {
        Some(park) => format!("longhaul approve {park}"),
        None => "longhaul approve --all".to_owned(),
    }
}

/// The map all rows are of, where there is exactly one.
fn only_map<'a>(reason: &Reason<'a>) -> Option<&'a str> {
    let map = reason.rows.first()?.map.as_str();
    (!map.is_empty() && reason.rows.iter().all(|row| row.map == map)).then_some(map)
}

#[cfg(test)]
mod tests {
    use longhaul_proto::SubtaskRow;

    use super::*;

    fn rows(n: usize, map: &str) -> Vec<SubtaskRow> {
        let row = |i| SubtaskRow { id: format!("t{i}"), map: map.into(), ..SubtaskRow::default() };
        (0..n).map(row).collect()
    }

    fn reason<'a>(outcome: Outcome, state: &'a str, park: &'a str, rows: &'a [SubtaskRow]) -> Reason<'a> {
        Reason {
            outcome,
            state,
            text: String::new(),
            park_reason: park,
            parks: (1..=rows.len() as u64).collect(),
            rows: rows.iter().collect(),
        }
    }

    #[test]
    fn few_are_named_many_are_selected() {
        let (few, many, mixed) = (rows(2, "m"), rows(9, "m"), rows(9, ""));
        let of = |rows| for_reason(&reason(Outcome::Failed, "failed", "", rows), "partial");
        assert_eq!(of(&few), ["longhaul logs t0", "longhaul retry t0 t1"]);
        assert_eq!(of(&many)[1], "longhaul retry --map m --state failed");
        assert_eq!(of(&mixed)[1], "longhaul retry --state failed");
    }

    #[test]
    fn each_park_has_its_way_out() {
        let few = rows(1, "m");
        let last = |park| {
            let next = for_reason(&reason(Outcome::Parked, "parked", park, &few), "running");
            next.last().cloned().expect("a parked subtask has a next command")
        };
        assert_eq!(last("pilot"), "longhaul approve --map m");
        assert_eq!(last("protected"), "longhaul approve 1");
        assert_eq!(last("disk"), "longhaul resume");
        assert_eq!(last("conflict"), "longhaul retry t0");
        assert_eq!(last("a reason of a later version"), "longhaul retry t0");
    }

    #[test]
    fn a_hostile_id_is_one_quoted_word() {
        let mut evil = rows(1, "m");
        evil[0].id = "x; rm -rf ~ <script>".into();
        let next = for_reason(&reason(Outcome::Failed, "failed", "", &evil), "partial");
        assert_eq!(next[1], "longhaul retry 'x; rm -rf ~ <script>'");
    }

    #[test]
    fn an_endless_id_is_selected_by_its_state() {
        let mut endless = rows(1, "");
        endless[0].id = "x".repeat(10_000);
        let next = for_reason(&reason(Outcome::Failed, "failed", "", &endless), "partial");
        assert_eq!(next, ["longhaul retry --state failed"]);
    }

    #[test]
    fn a_stopped_job_is_resumed() {
        assert_eq!(for_job("stopped", 0), ["longhaul resume"]);
        assert_eq!(for_job("done", 3), ["longhaul review", "longhaul export"]);
    }
}
