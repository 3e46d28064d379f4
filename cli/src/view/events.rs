//! One line for one event of a job: a verb by kind, then the event's own sentence.
//!
//! The same line serves a pipe (with its time, uncut) and the region above the live view (cut to
//! the screen). An event this version does not know is shown under its own name rather than lost.

use longhaul_proto::WatchEvent;

use super::{canvas::Canvas, line::Line, style::Tone};
use crate::report::{format, plain};

/// Subtasks named where an event has no sentence.
const NAMED_MAX: usize = 4;

/// The verb of an event and how it is toned.
fn verb(event: &WatchEvent) -> (Tone, &str) {
    match (event.event.as_str(), event.next.as_str()) {
        ("attempt_failed" | "member_conflicted" | "member_rejected", "retry") => (Tone::Warn, "Retry"),
        ("attempt_failed" | "member_conflicted" | "member_rejected", "park") => (Tone::Warn, "Parked"),
        ("attempt_failed" | "member_conflicted" | "member_rejected", "fail") => (Tone::Bad, "Failed"),
        ("attempt_failed", _) => (Tone::Warn, "Attempt"),
        ("member_conflicted", _) => (Tone::Warn, "Conflict"),
        ("member_rejected", _) => (Tone::Bad, "Rejected"),
        ("job_opened", _) => (Tone::Active, "Opened"),
        ("plan_opened", _) => (Tone::Active, "Planned"),
        ("gate_asked" | "gate_done", _) => (Tone::Active, "Gate"),
        ("assigned", _) => (Tone::Active, "Started"),
        ("lease_expired" | "gate_lost", _) => (Tone::Warn, "Lost"),
        ("delivered", _) => (Tone::Good, "Delivered"),
        ("unchanged", _) => (Tone::Good, "Unchanged"),
        ("parked", _) => (Tone::Warn, "Parked"),
        ("woken", _) => (Tone::Active, "Woken"),
        ("asked", _) => (Tone::Warn, "Asks"),
        ("told", _) => (Tone::Active, "Told"),
        ("batch_opened" | "batch_merged" | "batch_sealed" | "batch_closed", _) => (Tone::Soft, "Batch"),
        ("land_intent", _) => (Tone::Soft, "Landing"),
        ("landed", _) => (Tone::Good, "Landed"),
        ("staged", _) => (Tone::Soft, "Staged"),
        ("node_closed", _) => (Tone::Bad, "Closed"),
        ("job_paused", _) => (Tone::Warn, "Paused"),
        ("job_resumed", _) => (Tone::Active, "Resumed"),
        ("retired", _) => (Tone::Warn, "Retired"),
        ("retried", _) => (Tone::Active, "Retried"),
        ("job_closed", _) => (Tone::Strong, "Finished"),
        ("exported", _) => (Tone::Good, "Exported"),
        ("revert_asked", _) => (Tone::Warn, "Reverting"),
        ("limits_changed", _) => (Tone::Active, "Limits"),
        ("spare_kept", _) => (Tone::Soft, "Spare"),
        ("held", _) => (Tone::Warn, "Held"),
        ("spend_settled", _) => (Tone::Soft, "Settled"),
        ("recovered", _) => (Tone::Warn, "Recovered"),
        ("landing_halted", _) => (Tone::Bad, "Halted"),
        ("audited", _) => (Tone::Soft, "Asked"),
        ("wip_saved", _) => (Tone::Soft, "Saved"),
        ("worker_quarantined", _) => (Tone::Bad, "Quarantine"),
        ("worker_released", _) => (Tone::Active, "Released"),
        (other, _) => (Tone::Text, other),
    }
}

/// Whether an event is worth a line by default; the others are steps on the way to one that is.
pub fn is_notable(event: &WatchEvent) -> bool {
    !matches!(
        event.event.as_str(),
        "assigned"
            | "audited"
            | "batch_merged"
            | "batch_opened"
            | "batch_sealed"
            | "delivered"
            | "gate_asked"
            | "land_intent"
            | "spare_kept"
            | "spend_settled"
            | "staged"
            | "wip_saved"
    )
}

/// The line for `event`: on a terminal cut to its width, elsewhere whole and with its time in front.
/// Nothing for an event without a name.
pub fn line(event: &WatchEvent, canvas: &Canvas) -> Option<String> {
    if event.event.is_empty() {
        return None;
    }
    let line = build(event, canvas.width);
    if canvas.terminal {
        return Some(line.render(canvas.width, canvas.style()));
    }
    let at = canvas.style().paint(Tone::Soft, &format::local(event.at_ms, &canvas.zone));
    Some(format!("{at} {}", line.render(usize::MAX, canvas.style())))
}

fn build(event: &WatchEvent, columns: usize) -> Line {
    let (tone, verb) = verb(event);
    let line = Line::verb(tone, verb, columns);
    let text = plain::line(&event.text);
    if !text.is_empty() {
        return line.text(Tone::Text, text);
    }
    let names = event.subtasks.iter().map(String::as_str);
    let line = line.text(Tone::Text, format::some_of(names, NAMED_MAX, plain::line));
    match event.commit.as_str() {
        "" => line,
        commit => line.text(Tone::Soft, " ").foreign(Tone::Soft, &format::short(commit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, next: &str, text: &str) -> WatchEvent {
        WatchEvent {
            event: name.into(),
            next: next.into(),
            text: text.into(),
            subtasks: (1..=6).map(|n| format!("s{n}")).collect(),
            at_ms: 1_772_337_906_000,
            ..WatchEvent::default()
        }
    }

    fn shown(event: &WatchEvent) -> String {
        line(event, &Canvas::plain(usize::MAX, 0)).expect("it has a name")
    }

    #[test]
    fn verbs_follow_the_kind_and_what_comes_next() {
        let cases = [
            (made("landed", "", "batch 3: 8 subtasks"), "      Landed batch 3: 8 subtasks"),
            (made("attempt_failed", "retry", "a: check failed"), "       Retry a: check failed"),
            (made("attempt_failed", "park", "a: x"), "      Parked a: x"),
            (made("member_rejected", "fail", "a: x"), "      Failed a: x"),
            (made("gate_done", "", "4 is green"), "        Gate 4 is green"),
            (made("landed", "", ""), "      Landed s1, s2, s3, s4, and 2 more"),
            (made("a_later_event", "", "what it says"), "a_later_event what it says"),
        ];
        for (event, expected) in cases {
            assert_eq!(shown(&event), expected);
        }
    }

    #[test]
    fn one_plain_line_whatever_the_text() {
        let one = shown(&made("landed", "", crate::report::fixture::HOSTILE));
        assert!(!one.contains(char::is_control), "{one:?}");
        for columns in [20, 60, 200] {
            let long = made("landed", "", &"世界 ".repeat(200));
            let cut = line(&long, &Canvas::plain(columns, 0)).expect("it has a name");
            assert!(super::super::line::columns(&cut) <= columns);
        }
    }

    #[test]
    fn logs_have_the_time_in_front() {
        let log = Canvas { terminal: false, ..Canvas::plain(1_000, 0) };
        let line = line(&made("landed", "", "x"), &log);
        assert_eq!(line.as_deref(), Some("2026-03-01 04:05:06 UTC       Landed x"));
    }

    #[test]
    fn steps_on_the_way_are_not_notable() {
        assert!(is_notable(&made("landed", "", "")) && is_notable(&made("a_later_event", "", "")));
        assert!(!is_notable(&made("assigned", "", "")));
    }
}
