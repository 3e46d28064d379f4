//! What a report is made from: answers of the control plane, or of a closed job's files.
//!
//! A status without counts (an old file, a job that never opened) gets them from the rows, so no
//! renderer has to ask twice.

use std::collections::BTreeMap;

use longhaul_proto::{Counts, JobStatus, Receipt, SubtaskRow};

/// Everything the three renderers look at.
#[derive(Clone, Debug, Default)]
pub struct ReportInput {
    /// The job as a whole.
    pub status: JobStatus,
    /// Every subtask, in plan order.
    pub rows: Vec<SubtaskRow>,
    /// One receipt a landing, oldest first.
    pub receipts: Vec<Receipt>,
    /// When the report was made, in milliseconds since the Unix epoch.
    pub generated_ms: i64,
    /// The end of the log of a gate run, by gate id; those without a receipt did not land.
    pub gate_tails: BTreeMap<u64, String>,
}

impl ReportInput {
    /// The job's counts; counted from the rows where the status carries none.
    pub fn counts(&self) -> Counts {
        match &self.status.counts {
            Some(counts) if counts.total > 0 => *counts,
            _ => count(&self.rows),
        }
    }
}

/// Counts `rows` by state. A state this version does not know counts in the total only.
pub fn count(rows: &[SubtaskRow]) -> Counts {
    let mut counts = Counts::default();
    for row in rows {
        counts.total += 1;
        let slot = match row.state.as_str() {
            "waiting" => &mut counts.waiting,
            "ready" => &mut counts.ready,
            "backoff" => &mut counts.backoff,
            "running" => &mut counts.running,
            "landing" => &mut counts.landing,
            "landed" => &mut counts.landed,
            "unchanged" => &mut counts.unchanged,
            "parked" => &mut counts.parked,
            "failed" => &mut counts.failed,
            "skipped" => &mut counts.skipped,
            "cancelled" => &mut counts.cancelled,
            "reverted" => &mut counts.reverted,
            _ => continue,
        };
        *slot += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_rows_when_the_status_has_none() {
        let row = |state: &str| SubtaskRow { state: state.into(), ..SubtaskRow::default() };
        let input = ReportInput {
            rows: vec![row("landed"), row("landed"), row("failed"), row("from-the-future")],
            ..ReportInput::default()
        };
        let counts = input.counts();
        assert_eq!((counts.total, counts.landed, counts.failed), (4, 2, 1));
    }

    #[test]
    fn the_status_wins_over_rows_that_were_limited() {
        let input = ReportInput {
            status: JobStatus {
                counts: Some(Counts { total: 9, landed: 9, ..Counts::default() }),
                ..JobStatus::default()
            },
            ..ReportInput::default()
        };
        assert_eq!(input.counts().landed, 9);
    }
}
