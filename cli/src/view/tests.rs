//! What all pages promise: they fit the screen, they let nothing hostile through, they say what a
//! person needs.

use longhaul_proto::{
    AttemptRow, Capsule, Counts, Explanation, JobStatus, ParkRow, ReceiptRow, SubtaskDetail, SubtaskList, SubtaskRow,
    Timing,
};

use super::{
    canvas::Canvas,
    line,
    live::Live,
    status::{explanation, jobs, status, subtask, subtasks},
    style::Style,
    summary::summary,
};
use crate::report::{
    fixture::{self, HOSTILE, START_MS},
    plain,
};

const WIDTHS: [usize; 6] = [20, 33, 40, 60, 100, 200];
const NOW_MS: i64 = START_MS + 734_000;

fn detail(text: &str) -> SubtaskDetail {
    let many = || vec![text.to_owned(); 50];
    SubtaskDetail {
        row: fixture::job(10, 1, 2).rows.into_iter().next(),
        instructions: text.repeat(30),
        files: many(),
        claims: many(),
        attempts: vec![
            AttemptRow {
                attempt: 3,
                at_ms: START_MS,
                worker: text.into(),
                outcome: "failed".into(),
                class: "check".into(),
                message: text.into(),
                timing: Some(Timing { total_ms: 61_000, ..Timing::default() }),
                logs: many(),
                ..AttemptRow::default()
            };
            3
        ],
        receipt: Some(ReceiptRow { command: text.into(), flaky: true, unproven: true, ..ReceiptRow::default() }),
        capsule: Some(Capsule { tokens: 812, decisions: many(), next: text.into(), ..Capsule::default() }),
        remarks: many(),
    }
}

fn listed(rows: &[SubtaskRow]) -> SubtaskList {
    SubtaskList { rows: rows.to_vec(), total: rows.len() as u32 }
}

/// Every page, for texts that try to break it.
fn pages(canvas: &Canvas) -> Vec<(&'static str, String)> {
    let hostile = fixture::hostile();
    let mut running = fixture::running(9);
    for row in &mut running.running {
        row.line = format!("{HOSTILE}{}", "👩‍👩‍👧 世界 ❤️ ".repeat(40));
        row.subtask = format!("{}{HOSTILE}", row.subtask);
    }
    running.warnings = vec![HOSTILE.repeat(20)];
    let explained = Explanation {
        subtask: HOSTILE.into(),
        state: "parked".into(),
        causes: vec![HOSTILE.repeat(9); 40],
        next: vec!["longhaul approve 7".into(); 3],
    };
    vec![
        ("status", status(&running, canvas)),
        ("status of a hostile job", status(&hostile.status, canvas)),
        ("list", jobs(&[running.clone(), hostile.status.clone()], canvas)),
        ("subtasks", subtasks(&listed(&hostile.rows), canvas)),
        ("subtask", subtask(&detail(HOSTILE), canvas)),
        ("explanation", explanation(&explained, canvas)),
        ("summary", summary(&hostile.status, HOSTILE, &hostile.rows, canvas)),
        ("live", Live::new(canvas.style()).frame(&running, canvas.now_ms, canvas.width, 30).join("\n")),
    ]
}

/// Whether a line fits, or is a command to be copied whole.
fn fits(text: &str, columns: usize) -> bool {
    let command = text.trim_start().trim_start_matches("Next ").starts_with("longhaul ");
    command || line::columns(text) <= columns
}

#[test]
fn every_page_fits_every_width_and_stays_plain() {
    for columns in WIDTHS {
        let plain_canvas = Canvas::plain(columns, NOW_MS);
        let coloured = Canvas { colour: true, ..plain_canvas.clone() };
        for ((name, page), (_, painted)) in pages(&plain_canvas).into_iter().zip(pages(&coloured)) {
            for text in page.lines() {
                assert!(!text.contains(char::is_control), "{name} at {columns}: {text:?}");
                assert!(fits(text, columns), "{name} at {columns}: {text:?}");
            }
            assert_eq!(page.lines().count(), painted.lines().count(), "{name} at {columns}");
            for text in painted.lines() {
                assert!(!text.contains("\u{1b}[31m|"), "{name} lets colours through");
                assert!(fits(&plain::text(text), columns), "{name} at {columns}: {text:?}");
            }
        }
    }
}

#[test]
fn a_frame_never_has_more_lines_than_rows() {
    let mut status = fixture::running(40);
    status.gates = vec![status.gates[0].clone(); 5];
    for rows in 0..70 {
        for columns in [20, 80] {
            let frame = Live::new(Style::plain()).frame(&status, NOW_MS, columns, rows);
            assert!(frame.len() <= rows, "{rows} rows, {} lines", frame.len());
            assert!(rows < 3 || frame.len() >= rows.min(3 + 40), "{rows} rows, {} lines", frame.len());
        }
    }
    let empty = Live::new(Style::plain()).frame(&JobStatus::default(), 0, 80, 20);
    assert_eq!(empty.len(), 3);
}

#[test]
fn a_frame_shows_what_runs_and_what_waits() {
    let frame = Live::new(Style::plain()).frame(&fixture::running(3), NOW_MS, 120, 20).join("\n");
    for needed in [
        "Running lazy-lock-20260301",
        "3 running",
        "about 8m 00s left",
        "agent lazy-module_00",
        "12m 14s SLOW  Compiling api v0.3.1",
        "RETRY 2",
        "Gate batch 12m 14s over 8 subtasks",
        "Parked lazy-module_11  longhaul retry lazy-module_11  conflict in",
    ] {
        assert!(frame.contains(needed), "{needed:?} is missing in\n{frame}");
    }
    let short = Live::new(Style::plain()).frame(&fixture::running(30), NOW_MS, 120, 10).join("\n");
    assert!(short.contains("and 27 more running"), "{short}");
    let one = Live::new(Style::plain()).frame(&fixture::running(3), NOW_MS, 60, 1);
    assert!(one[0].contains("Progress") && one[0].contains("/60"), "{one:?}");
}

#[test]
fn a_pilot_hints_at_its_approval() {
    let mut status = fixture::running(1);
    status.parked = vec![ParkRow {
        subtask: "lazy-a".into(),
        park: 7,
        reason: "pilot".into(),
        text: "waits for a yes".into(),
        ..ParkRow::default()
    }];
    let frame = Live::new(Style::plain()).frame(&status, NOW_MS, 100, 20).join("\n");
    assert!(frame.contains("Parked lazy-a  longhaul approve 7  waits for a yes"), "{frame}");
}

#[test]
fn the_summary_has_only_what_needs_a_person() {
    let input = fixture::job(60, 1, 6);
    let text = summary(&input.status, &input.status.branch, &input.rows, &Canvas::plain(110, NOW_MS));
    for needed in [
        "      FAILED 2× check failed: `cargo check` exited with 101",
        "             lazy-module_07, lazy-module_37",
        "     Partial 51 of 60 subtasks landed in 1h 12m for $0.98",
        "      Branch longhaul/lazy-lock-20260301 at ",
        "        Next longhaul retry lazy-module_07 lazy-module_37",
        "             longhaul diff --stat",
    ] {
        assert!(text.contains(needed), "{needed:?} is missing in\n{text}");
    }
    assert!(!text.contains("lazy-module_00"), "what landed is not listed");
}

#[test]
fn commands_are_never_cut() {
    let input = fixture::job(60, 1, 6);
    let text = summary(&input.status, "", &input.rows, &Canvas::plain(20, NOW_MS));
    assert!(text.contains("longhaul retry lazy-module_07 lazy-module_37\n"), "{text}");
    let frame = Live::new(Style::plain()).frame(&fixture::running(1), NOW_MS, 50, 20).join("\n");
    assert!(!frame.contains("longhaul "), "{frame}");
}

#[test]
fn a_perfect_run_is_a_few_lines() {
    let status = JobStatus {
        job: "j".into(),
        phase: "done".into(),
        counts: Some(Counts { total: 3, landed: 3, ..Counts::default() }),
        branch: "longhaul/j".into(),
        ..JobStatus::default()
    };
    let text = summary(&status, "longhaul/j", &[], &Canvas::plain(80, NOW_MS));
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.contains("        Done All 3 subtasks landed"));
}

#[test]
fn large_lists_stay_bounded() {
    let input = fixture::job(100_000, 5, 64);
    let canvas = Canvas::plain(100, NOW_MS);
    assert!(summary(&input.status, "", &input.rows, &canvas).lines().count() < 50);
    let text = subtasks(&listed(&input.rows), &canvas);
    assert!(text.ends_with("and 99,000 more; --json has all\n"));
    assert!(status(&input.status, &canvas).lines().count() < 60);
}

#[test]
fn empty_answers_are_sentences() {
    let canvas = Canvas::plain(80, NOW_MS);
    assert!(jobs(&[], &canvas).starts_with("No jobs here."));
    assert_eq!(subtasks(&listed(&[]), &canvas), "No subtasks match.\n");
    assert!(summary(&JobStatus::default(), "", &[], &canvas).contains("The job has no subtasks."));
    assert!(!status(&JobStatus::default(), &canvas).is_empty());
}
