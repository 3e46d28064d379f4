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

/// Spells commands for one job.
#[derive(Clone, Copy, Debug)]
pub struct Commands<'a> {
    /// The job's phase: what is offered for open subtasks depends on it.
    pub phase: &'a str,
    /// The job to name, for pages read away from its folder; empty to leave it to the reader's.
    pub job: &'a str,
}

impl Commands<'_> {
    /// Commands for one group of subtasks that did not land, the most useful last.
    pub fn for_reason(&self, reason: &Reason<'_>) -> Vec<String> {
        let Some(first) = reason.rows.first() else { return Vec::new() };
        let on_first = |verb: &str| self.subtask(&format!("{verb} {}", shell_word(&first.id)));
        let mut next = match (reason.outcome, reason.state, reason.park_reason) {
            (Outcome::Failed, ..) => vec![on_first("logs"), self.retry(reason)],
            (Outcome::Parked, _, "pilot") => vec![self.approve(reason)],
            (Outcome::Parked, _, "approval") => {
                let yes = reason.parks.first().map(|park| self.subtask(&format!("approve {park}")));
                std::iter::once(on_first("diff")).chain(yes).collect()
            }
            (Outcome::Parked, _, "ask") => self.answers(reason),
            (Outcome::Parked, _, "gate" | "attempts" | "protected" | "footprint" | "disk") => {
                vec![on_first("logs"), self.retry(reason)]
            }
            (Outcome::Parked, ..) | (Outcome::Dropped, "reverted", _) => {
                vec![on_first("explain"), self.retry(reason)]
            }
            (Outcome::Dropped, "cancelled", _) => vec![self.retry(reason)],
            (Outcome::Dropped, ..) => vec![on_first("explain")],
            (Outcome::Open, ..) => match self.phase {
                "paused" | "stopped" => vec![self.job("resume")],
                "running" | "draining" => vec![on_first("explain"), self.job("watch")],
                _ => vec![on_first("explain")],
            },
            (Outcome::Landed | Outcome::Unchanged, ..) => Vec::new(),
        };
        next.retain(|command| fits(command));
        next
    }

    /// Commands for what an agent asked: one answer is for all who ask the same.
    fn answers(&self, reason: &Reason<'_>) -> Vec<String> {
        let Some(park) = reason.parks.first() else { return Vec::new() };
        let scope = if reason.parks.len() > 1 { " --scope job" } else { "" };
        match reason.asks {
            "question" => vec![self.subtask(&format!("answer {park} TEXT{scope}"))],
            "" => vec![self.subtask(&format!("answer {park} TEXT"))],
            _ => ["reject", "approve"].map(|verb| self.subtask(&format!("{verb} {park}{scope}"))).to_vec(),
        }
    }

    /// Commands for failed subtasks whose ids are not at hand.
    pub fn for_failed(&self) -> Vec<String> {
        vec![self.job("list --state failed"), self.subtask("retry --where state=failed")]
    }

    /// Commands for the job as a whole once it stopped: how to go on, look at and take what landed.
    pub fn for_job(&self, landed: u64, exported: bool) -> Vec<String> {
        let mut next = Vec::new();
        if matches!(self.phase, "paused" | "stopped") {
            next.push(self.job("resume"));
        }
        if landed > 0 {
            next.push(self.subtask("diff --stat"));
            next.push(self.job("report"));
            if !exported {
                next.push(self.job("export"));
            }
        }
        next
    }

    fn retry(&self, reason: &Reason<'_>) -> String {
        if reason.rows.len() <= NAMED_MAX {
            let ids: Vec<String> = reason.rows.iter().map(|row| shell_word(&row.id)).collect();
            let named = self.subtask(&format!("retry {}", ids.join(" ")));
            if fits(&named) {
                return named;
            }
        }
        let state = shell_word(&format!("state={}", reason.state));
        match only_map(reason) {
            Some(map) => {
                let map = shell_word(&format!("map={map}"));
                self.subtask(&format!("retry --where {map} --where {state}"))
            }
            None => self.subtask(&format!("retry --where {state}")),
        }
    }

    fn approve(&self, reason: &Reason<'_>) -> String {
        match (only_map(reason), reason.parks.as_slice()) {
            (Some(map), _) => self.subtask(&format!("approve --map {}", shell_word(map))),
            (None, [park]) => self.subtask(&format!("approve {park}")),
            (None, _) => self.subtask("approve --all"),
        }
    }

    /// A verb whose only argument is a job.
    fn job(&self, verb: &str) -> String {
        match self.job {
            "" => format!("longhaul {verb}"),
            job => format!("longhaul {verb} {}", shell_word(job)),
        }
    }

    /// A verb that takes subtasks, and the job as an option.
    fn subtask(&self, verb: &str) -> String {
        match self.job {
            "" => format!("longhaul {verb}"),
            job => format!("longhaul {verb} --job {}", shell_word(job)),
        }
    }
}

fn fits(command: &str) -> bool {
    command.chars().count() <= COMMAND_CHARS_MAX
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
            asks: "",
            parks: (1..=rows.len() as u64).collect(),
            rows: rows.iter().collect(),
        }
    }

    fn failed(rows: &[SubtaskRow], job: &str) -> Vec<String> {
        Commands { phase: "partial", job }.for_reason(&reason(Outcome::Failed, "failed", "", rows))
    }

    #[test]
    fn few_are_named_many_are_selected() {
        assert_eq!(failed(&rows(2, "m"), ""), ["longhaul logs t0", "longhaul retry t0 t1"]);
        assert_eq!(failed(&rows(9, "m"), "")[1], "longhaul retry --where map=m --where state=failed");
        assert_eq!(failed(&rows(9, ""), "")[1], "longhaul retry --where state=failed");
    }

    #[test]
    fn a_page_read_elsewhere_names_the_job() {
        assert_eq!(failed(&rows(1, ""), "j")[1], "longhaul retry t0 --job j");
        let stopped = Commands { phase: "stopped", job: "j" };
        assert_eq!(stopped.for_job(0, false), ["longhaul resume j"]);
        assert_eq!(
            stopped.for_failed(),
            ["longhaul list --state failed j", "longhaul retry --where state=failed --job j"]
        );
    }

    #[test]
    fn each_park_has_its_way_out() {
        let last = |park, map| {
            let rows = rows(1, map);
            let next =
                Commands { phase: "running", job: "" }.for_reason(&reason(Outcome::Parked, "parked", park, &rows));
            next.last().cloned().expect("a parked subtask has a next command")
        };
        assert_eq!(last("pilot", "m"), "longhaul approve --map m");
        assert_eq!(last("pilot", ""), "longhaul approve 1");
        assert_eq!(last("protected", "m"), "longhaul retry t0");
        assert_eq!(last("disk", "m"), "longhaul retry t0");
        assert_eq!(last("a reason of a later version", "m"), "longhaul retry t0");
    }

    #[test]
    fn a_hostile_id_is_one_quoted_word() {
        let mut evil = rows(1, "m");
        evil[0].id = "x; rm -rf ~ <script>".into();
        assert_eq!(failed(&evil, "")[1], "longhaul retry 'x; rm -rf ~ <script>'");
    }

    #[test]
    fn an_endless_id_is_selected_by_its_state() {
        let mut endless = rows(1, "");
        endless[0].id = "x".repeat(10_000);
        assert_eq!(failed(&endless, ""), ["longhaul retry --where state=failed"]);
    }

    #[test]
    fn what_landed_can_be_looked_at_and_taken() {
        let done = Commands { phase: "done", job: "" };
        assert_eq!(done.for_job(3, true), ["longhaul diff --stat", "longhaul report"]);
        assert_eq!(done.for_job(3, false)[2], "longhaul export");
    }
}
