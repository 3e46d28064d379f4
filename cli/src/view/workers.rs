//! The workers of a server as a table: who is there, what they can do, what they do, and why one
//! gets nothing.

use longhaul_proto::{WorkerBytes, WorkerList, WorkerRow};

use super::{
    canvas::Canvas,
    line::Line,
    status::joined,
    style::Tone,
    table::{self, Cell},
};
use crate::report::{format, plain};

/// One line a worker, and one more for each that has something to say.
pub fn workers(list: &WorkerList, canvas: &Canvas) -> String {
    if list.workers.is_empty() {
        return "No worker has reported yet: `longhaul worker --name NAME --nats URL --server URL` starts one.\n"
            .to_owned();
    }
    let headings = [
        ("Worker", false),
        ("State", false),
        ("Busy", true),
        ("Gates", true),
        ("Seen", true),
        ("Disk", true),
        ("Labels", false),
    ];
    let rows: Vec<Vec<Cell>> = list.workers.iter().map(|row| cells(row, canvas)).collect();
    let mut lines = table::table(&headings, &rows, canvas);
    for (row, bytes) in list.workers.iter().filter_map(|row| Some((row, row.bytes.as_ref()?))) {
        let line = Line::default().foreign(Tone::Strong, &row.worker).text(Tone::Soft, format!(": {}", parts(bytes)));
        lines.push(line.render(canvas.width, canvas.style()));
    }
    for row in list.workers.iter().filter(|row| !row.reason.is_empty()) {
        let line = Line::default().foreign(Tone::Strong, &row.worker).text(Tone::Soft, ": ");
        lines.push(line.foreign(Tone::Text, &plain::line(&row.reason)).render(canvas.width, canvas.style()));
    }
    for row in list.workers.iter().filter(|row| !row.unreached.is_empty()) {
        let line =
            Line::default().foreign(Tone::Strong, &row.worker).text(Tone::Soft, ": its own service is not used: ");
        lines.push(line.foreign(Tone::Warn, &plain::line(&row.unreached)).render(canvas.width, canvas.style()));
    }
    joined(&lines)
}

fn cells(row: &WorkerRow, canvas: &Canvas) -> Vec<Cell> {
    let seen = match row.seen_ms {
        0 => "never".to_owned(),
        at => format!("{} ago", format::duration(format::between_ms(at, canvas.now_ms))),
    };
    vec![
        Cell::new(Tone::Strong, &row.worker),
        Cell::new(tone(&row.state), &row.state),
        Cell::new(Tone::Text, &format!("{}/{}", row.running, row.work_slots)),
        Cell::new(Tone::Text, &row.gate_slots.to_string()),
        Cell::new(Tone::Text, &seen),
        Cell::new(Tone::Text, &row.bytes.as_ref().map(disk).unwrap_or_default()),
        Cell::new(Tone::Soft, &row.labels.join(" ")),
    ]
}

/// Where its bytes are, and their bounds.
fn parts(bytes: &WorkerBytes) -> String {
    let of = |used: u64, max: u64| match max {
        0 => size(used),
        max => format!("{} of {}", size(used), size(max)),
    };
    format!(
        "slots {}, mirrors {}, outbox {}, free {} ({} kept)",
        of(bytes.slots, bytes.slots_max),
        of(bytes.mirrors, bytes.mirrors_max),
        size(bytes.outbox),
        size(bytes.free),
        size(bytes.free_min)
    )
}

/// What it has taken, and what is free.
fn disk(bytes: &WorkerBytes) -> String {
    let used = bytes.slots + bytes.mirrors + bytes.outbox;
    format!("{} used, {} free", size(used), size(bytes.free))
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1_000.0 && unit + 1 < UNITS.len() {
        amount /= 1_000.0;
        unit += 1;
    }
    if unit == 0 || amount >= 10.0 {
        format!("{amount:.0} {}", UNITS[unit])
    } else {
        format!("{amount:.1} {}", UNITS[unit])
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "present" => Tone::Good,
        "draining" => Tone::Active,
        "refused" | "quarantined" => Tone::Bad,
        _ => Tone::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> WorkerList {
        let row = |worker: &str, state: &str, reason: &str| WorkerRow {
            worker: worker.into(),
            state: state.into(),
            reason: reason.into(),
            labels: vec!["rust".into(), "gate".into()],
            work_slots: 4,
            gate_slots: 1,
            running: 2,
            seen_ms: 1_772_337_900_000,
            bytes: Some(WorkerBytes {
                slots: 1_500_000_000,
                slots_max: 64_000_000_000,
                free: 42_000_000_000,
                free_min: 256_000_000,
                ..WorkerBytes::default()
            }),
            ..WorkerRow::default()
        };
        WorkerList {
            workers: vec![
                row("w1", "present", ""),
                row(
                    "a-worker-with-a-long-name",
                    "quarantined",
                    "everything failed on it: no space left on device in a very long sentence",
                ),
            ],
        }
    }

    #[test]
    fn every_worker_has_a_line_and_a_reason_is_told() {
        let text = workers(&list(), &Canvas::plain(200, 1_772_337_906_000));
        assert!(text.contains("w1") && text.contains("2/4") && text.contains("1.5 GB used, 42 GB free"), "{text}");
        assert!(text.contains("quarantined") && text.contains("everything failed on it"), "{text}");
        assert!(
            text.contains("w1: slots 1.5 GB of 64 GB, mirrors 0 B, outbox 0 B, free 42 GB (256 MB kept)"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 6, "{text}");
    }

    #[test]
    fn a_service_that_is_not_spoken_to_is_told_with_the_reason() {
        let mut list = list();
        list.workers[0].unreached = "http://10.0.0.5:1 is plain text on the network".into();
        let text = workers(&list, &Canvas::plain(200, 1_772_337_906_000));
        assert!(text.contains("w1: its own service is not used: http://10.0.0.5:1 is plain text"), "{text}");
    }

    #[test]
    fn sixty_columns_are_enough() {
        let text = workers(&list(), &Canvas::plain(60, 1_772_337_906_000));
        assert!(text.lines().all(|line| super::super::line::columns(line) <= 60), "{text}");
        assert!(text.contains("w1") && text.contains("present") && text.contains("2/4"), "{text}");
        assert!(workers(&WorkerList::default(), &Canvas::plain(60, 0)).contains("longhaul worker"));
    }
}
