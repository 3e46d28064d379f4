//! What the three renderings promise together: nothing lost, nothing hostile let through, bounded.

use quick_xml::{Reader, events::Event};

use super::{ReportInput, fixture, html, junit, markdown};

/// Element names in document order, after checking that the document is well-formed.
fn elements(xml: &str) -> Vec<String> {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(legal), "a character XML cannot hold");
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut names = Vec::new();
    let mut depth = 0_i64;
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(tag) => {
                depth += 1;
                for attribute in tag.attributes() {
                    let attribute = attribute.expect("a well-formed attribute");
                    attribute.unescape_value().expect("known entities");
                }
                names.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
            }
            Event::Empty(tag) => {
                assert!(tag.attributes().all(|attribute| attribute.is_ok()));
                names.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    names
}

fn count(names: &[String], name: &str) -> usize {
    names.iter().filter(|found| *found == name).count()
}

#[test]
fn junit_has_a_case_for_every_subtask() {
    let input = fixture::job(60, 3, 6);
    let xml = junit(&input);
    let names = elements(&xml);
    assert_eq!(count(&names, "testsuites"), 1);
    assert_eq!(count(&names, "testsuite"), 3);
    assert_eq!(count(&names, "testcase"), 60);
    let counts = input.counts();
    assert_eq!(count(&names, "failure"), (counts.failed + counts.parked) as usize);
    assert_eq!(count(&names, "skipped"), counts.skipped as usize);
    assert!(xml.contains("message=\"failed: check failed: `cargo check` exited with 101\""));
}

#[test]
fn a_pilot_waiting_for_a_yes_is_no_failure() {
    let mut input = fixture::job(60, 1, 6);
    for park in &mut input.status.parked {
        park.reason = "pilot".into();
    }
    let names = elements(&junit(&input));
    assert_eq!(count(&names, "failure"), input.counts().failed as usize);
}

#[test]
fn hostile_text_stays_text() {
    let input = fixture::hostile();
    let names = elements(&junit(&input));
    assert_eq!(count(&names, "script"), 0);

    let page = html(&input);
    assert!(!page.contains("<script"), "markup came through");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}') && !page.contains('\u{0}'));
    assert!(page.contains("&lt;script&gt;"), "the text is shown");
    assert!(page.contains("{{ 7*7 }}"), "the text is no template");

    let text = markdown(&input);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    for line in text.lines().filter(|line| line.contains("<script")) {
        assert!(line.contains('`') || !line.starts_with('#'), "{line}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("# ")).count(), 1 + 1, "{text}");
}

#[test]
fn an_empty_job_renders_everywhere() {
    let input = ReportInput::default();
    assert!(html(&input).contains("The job has no subtasks."));
    assert!(markdown(&input).starts_with("# The job has no subtasks.\n"));
    assert_eq!(elements(&junit(&input)), ["testsuites"]);
}

#[test]
fn a_hundred_thousand_subtasks_stay_one_page() {
    let input = fixture::job(100_000, 400, 64);
    let page = html(&input);
    assert!(page.len() < 1_000_000, "{} bytes of HTML", page.len());
    assert!(page.contains("class=\"landed\" d=\"M"), "bands instead of bars");
    let text = markdown(&input);
    assert!(text.len() < 120_000, "{} bytes of Markdown", text.len());
    assert!(text.lines().count() < 500);
    assert!(text.contains("subtasks landed. Summed up by map, with the 20 largest changes"));
    assert_eq!(count(&elements(&junit(&input)), "testcase"), 100_000);
}

#[test]
fn distinct_reasons_and_long_texts_stay_bounded() {
    let mut input = fixture::job(20_000, 1_000, 4);
    for (n, row) in input.rows.iter_mut().enumerate() {
        row.state = "failed".into();
        row.reason = format!("{n} {}", "<x>".repeat(5_000));
        row.id = format!("{n}{}", "<y>".repeat(500));
    }
    input.status.counts = None;
    input.gate_tails = (0..100).map(|gate| (gate, "<z>".repeat(50_000))).collect();
    let page = html(&input);
    assert!(page.len() < 1_000_000, "{} bytes of HTML", page.len());
    assert!(page.contains("19,960 further reasons with 19,960 subtasks are not shown here"));
}

#[test]
fn five_hundred_bars_with_long_names_stay_bounded() {
    let mut input = fixture::job(500, 5, 20);
    for row in &mut input.rows {
        row.id = format!("{}{}", row.id, "'\"".repeat(200));
        row.reason = "<&>".repeat(400);
    }
    let page = html(&input);
    assert!(page.len() < 1_000_000, "{} bytes of HTML", page.len());
    assert_eq!(page.matches("<rect").count(), 480 + 4, "one bar for each that started");
}

#[test]
fn the_page_says_what_a_person_needs() {
    let input = fixture::job(60, 1, 6);
    for page in [html(&input), markdown(&input)] {
        for needed in [
            "subtasks landed in 1h 12m for $",
            "longhaul retry lazy-module_07 lazy-module_37 --job lazy-lock-20260301",
            "cargo test --workspace",
            "flaky",
            "unproven",
            "lazy-module_00",
        ] {
            assert!(page.contains(needed), "{needed:?} is missing");
        }
    }
}

#[test]
fn the_page_fetches_nothing() {
    let page = html(&fixture::job(60, 1, 6));
    for outside in ["http://", "https://", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn nonsense_times_do_not_panic() {
    let mut input = fixture::job(40, 2, 4);
    for (n, row) in input.rows.iter_mut().enumerate() {
        row.started_ms = [i64::MAX, 1, -5, i64::MIN][n % 4];
        row.finished_ms = [i64::MIN, i64::MAX, 0, 7][n % 4];
        row.spent_ms = u64::MAX;
        row.lines_added = u64::MAX;
    }
    assert!(html(&input).contains("</html>"));
    assert!(junit(&input).ends_with("</testsuites>\n"));
}
