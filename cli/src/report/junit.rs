//! The job as JUnit XML, so that a build server shows subtasks where it shows tests.
//!
//! One suite a map (subtasks outside any map form a suite named like the job), one case a subtask,
//! in plan order, without limit. What failed is a failure; so is what is parked, except a subtask
//! behind a pilot: work a person expected is not there, and a green mark would hide it. Everything
//! else that did not land is skipped, with its state as the message.
//!
//! XML 1.0 has no way to write most control characters; they become U+FFFD.

use std::{collections::BTreeMap, fmt::Write};

use longhaul_proto::SubtaskRow;

use super::{ReportInput, format, group::Outcome, plain};

/// Characters of a reason kept in a message.
const MESSAGE_CHARS: usize = 2_000;

/// The report of `input` as a JUnit XML document.
pub fn junit(input: &ReportInput) -> String {
    let parks: BTreeMap<&str, (&str, &str)> = input
        .status
        .parked
        .iter()
        .map(|park| (park.subtask.as_str(), (park.reason.as_str(), park.text.as_str())))
        .collect();
    let mut suites: Vec<(&str, Vec<Case<'_>>)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &input.rows {
        let name = if row.map.is_empty() { input.status.job.as_str() } else { row.map.as_str() };
        let at = *index.entry(name).or_insert_with(|| {
            suites.push((name, Vec::new()));
            suites.len() - 1
        });
        let park = parks.get(row.id.as_str()).copied().unwrap_or_default();
        suites[at].1.push(Case { row, verdict: verdict(row, park) });
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = Totals::of(suites.iter().flat_map(|(_, cases)| cases));
    open(&mut out, "testsuites", &input.status.job, &all, "");
    for (name, cases) in &suites {
        suite(&mut out, input, name, cases);
    }
    out.push_str("</testsuites>\n");
    out
}

enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Case<'a> {
    row: &'a SubtaskRow,
    verdict: Verdict,
}

fn verdict(row: &SubtaskRow, (park_reason, park_text): (&str, &str)) -> Verdict {
    let reason = if row.reason.is_empty() { park_text } else { &row.reason };
    let message = || match reason {
        "" => row.state.clone(),
        reason => format!("{}: {}", row.state, format::clip(&plain::text(reason), MESSAGE_CHARS)),
    };
    match Outcome::of(&row.state) {
        Outcome::Landed | Outcome::Unchanged => Verdict::Passed,
        Outcome::Failed => Verdict::Failed(message()),
        Outcome::Parked if park_reason != "pilot" => Verdict::Failed(message()),
        Outcome::Parked | Outcome::Dropped | Outcome::Open => Verdict::Skipped(message()),
    }
}

#[derive(Default)]
struct Totals {
    tests: u64,
    failures: u64,
    skipped: u64,
    spent_ms: u64,
}

impl Totals {
    fn of<'a>(cases: impl Iterator<Item = &'a Case<'a>>) -> Self {
        let mut totals = Self::default();
        for case in cases {
            totals.tests += 1;
            totals.spent_ms = totals.spent_ms.saturating_add(case.row.spent_ms);
            match case.verdict {
                Verdict::Passed => {}
                Verdict::Failed(_) => totals.failures += 1,
                Verdict::Skipped(_) => totals.skipped += 1,
            }
        }
        totals
    }
}

fn open(out: &mut String, element: &str, name: &str, totals: &Totals, more: &str) {
    let Totals { tests, failures, skipped, spent_ms } = totals;
    put(
        out,
        format_args!(
            "<{element} name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" \
             skipped=\"{skipped}\" time=\"{}\"{more}>\n",
            escape(name),
            seconds(*spent_ms),
        ),
    );
}

fn suite(out: &mut String, input: &ReportInput, name: &str, cases: &[Case<'_>]) {
    let started = format::utc(input.status.started_ms).replace(' ', "T").replace('Z', "");
    let stamp = match input.status.started_ms {
        ms if ms > 0 => format!(" timestamp=\"{}\"", escape(&started)),
        _ => String::new(),
    };
    open(out, "testsuite", name, &Totals::of(cases.iter()), &stamp);
    out.push_str("<properties>\n");
    let properties = [
        ("longhaul.job", &input.status.job),
        ("longhaul.phase", &input.status.phase),
        ("longhaul.branch", &input.status.branch),
        ("longhaul.tip", &input.status.tip),
    ];
    for (name, value) in properties {
        put(out, format_args!("<property name=\"{name}\" value=\"{}\"/>\n", escape(value)));
    }
    out.push_str("</properties>\n");
    for case in cases {
        one_case(out, name, case);
    }
    out.push_str("</testsuite>\n");
}

fn one_case(out: &mut String, suite: &str, case: &Case<'_>) {
    let row = case.row;
    let (name, class, time) = (escape(&row.id), escape(suite), seconds(row.spent_ms));
    put(out, format_args!("<testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\">\n"));
    match &case.verdict {
        Verdict::Passed => {}
        Verdict::Failed(message) => {
            put(out, format_args!("<failure type=\"{}\" message=\"{}\"/>\n", escape(&row.state), escape(message)))
        }
        Verdict::Skipped(message) => {
            put(out, format_args!("<skipped message=\"{}\"/>\n", escape(message)));
        }
    }
    let printed = system_out(row);
    if !printed.is_empty() {
        put(out, format_args!("<system-out>{}</system-out>\n", escape(&printed)));
    }
    out.push_str("</testcase>\n");
}

fn system_out(row: &SubtaskRow) -> String {
    let facts = [("agent", &row.agent), ("commit", &row.commit), ("merge", &row.merge)];
    let mut words: Vec<String> = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {}", plain::line(value)))
        .collect();
    if row.attempts > 1 {
        words.push(format!("attempts {}", row.attempts));
    }
    words.join(", ")
}

fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a string cannot fail");
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// `text` for XML content and double-quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => put(&mut out, format_args!("&#{};", u32::from(c))),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}
