//! The one sentence that answers "how did it go?", shared by the reports and the final summary.

use longhaul_proto::{Counts, JobStatus};

use super::format;

/// What landed of how many, in how long, at what cost; then what else became of the rest.
pub fn headline(status: &JobStatus, counts: &Counts) -> String {
    if counts.total == 0 {
        return "The job has no subtasks.".to_owned();
    }
    let mut sentence = format!(
        "{} {} in {} {}",
        share(counts),
        if counts.landed == 1 && counts.total > 1 { "has landed" } else { "landed" },
        format::duration(status.elapsed_ms),
        at_cost(status),
    );
    let rest = rest(counts);
    if !rest.is_empty() {
        sentence.push_str(": ");
        sentence.push_str(&rest);
    }
    sentence.push('.');
    sentence
}

fn share(counts: &Counts) -> String {
    let total = format::plural(counts.total.into(), "subtask");
    match (counts.landed, counts.total) {
        (1, 1) => "The one subtask".to_owned(),
        (0, _) => format!("None of {total}"),
        (landed, all) if landed == all => format!("All {total}"),
        (landed, _) => format!("{} of {total}", format::count(landed.into())),
    }
}

fn at_cost(status: &JobStatus) -> String {
    match (status.usd_micros, status.tokens) {
        (0, 0) => "at no model cost".to_owned(),
        (0, tokens) => format!("for {} tokens", format::tokens(tokens)),
        (micros, _) => format!("for {}", format::usd(micros)),
    }
}

fn rest(counts: &Counts) -> String {
    let open = counts.waiting + counts.ready + counts.running + counts.landing + counts.backoff;
    let parts = [
        (counts.unchanged, if counts.unchanged == 1 { "needed no change" } else { "needed no changes" }),
        (counts.failed, "failed"),
        (counts.parked, if counts.parked == 1 { "is parked" } else { "are parked" }),
        (counts.skipped, if counts.skipped == 1 { "was skipped" } else { "were skipped" }),
        (counts.cancelled, if counts.cancelled == 1 { "was cancelled" } else { "were cancelled" }),
        (counts.reverted, if counts.reverted == 1 { "was reverted" } else { "were reverted" }),
        (open, if open == 1 { "is still open" } else { "are still open" }),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", format::count((*n).into())))
        .collect();
    match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(usd_micros: u64) -> JobStatus {
        JobStatus { elapsed_ms: 4_320_000, usd_micros, ..JobStatus::default() }
    }

    #[test]
    fn one_sentence_whatever_happened() {
        let all = Counts { total: 60, landed: 60, ..Counts::default() };
        assert_eq!(headline(&status(3_420_000), &all), "All 60 subtasks landed in 1h 12m for $3.42.");
        let some = Counts { total: 60, landed: 52, unchanged: 3, failed: 4, parked: 1, ..Counts::default() };
        assert_eq!(
            headline(&status(0), &some),
            "52 of 60 subtasks landed in 1h 12m at no model cost: \
             3 needed no changes, 4 failed and 1 is parked."
        );
        let none = Counts { total: 2, waiting: 2, ..Counts::default() };
        assert_eq!(
            headline(&status(0), &none),
            "None of 2 subtasks landed in 1h 12m at no model cost: 2 are still open."
        );
        assert_eq!(headline(&status(0), &Counts::default()), "The job has no subtasks.");
    }
}
