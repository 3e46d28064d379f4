//! Tests that a change makes say less: deleted, skipped, or with fewer assertions.
//!
//! Pure: what was and what is, to findings. A test that moved, in a file or between files of one
//! change, is the same test. It errs towards a finding, which a person looks at; what it cannot see
//! is an assertion that was made weaker without one going away, a row that went from a table of
//! cases, and a library's assertions that nobody told it of (docs/budgets.md lists what it knows).

mod assertion;
mod cases;
mod language;
mod mark;
mod module;
mod skip;
#[cfg(test)]
mod tricks;

use std::collections::BTreeMap;

use cases::{Case, Cases};
pub use language::TestLanguage;

/// Larger files are generated: they are not parsed.
pub const FILE_BYTES_MAX: usize = 512 << 10;

/// Findings named one by one.
pub const FINDINGS_MAX: usize = 50;

/// A file before and after a change; `None` where it is not.
#[derive(Clone, Debug, Default)]
pub struct SourceChange {
    /// From the repository's root.
    pub path: String,
    /// What was there.
    pub before: Option<String>,
    /// What is there.
    pub after: Option<String>,
}

/// What became of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakening {
    /// It is gone.
    Deleted,
    /// It does not run any more, or not always, or not to its end.
    Skipped,
    /// Tests are kept from being looked for.
    Uncollected,
    /// It asserts less often.
    Assertions {
        /// So often before.
        before: usize,
        /// So often now.
        after: usize,
    },
}

/// A test that says less than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file it was in.
    pub path: String,
    /// Its name; empty for assertions outside of tests.
    pub test: String,
    /// What became of it.
    pub what: Weakening,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, test, what } = self;
        let name = if test.is_empty() { "code outside of tests".to_owned() } else { format!("the test {test}") };
        match what {
            Weakening::Deleted => write!(f, "{path}: {name} was deleted"),
            Weakening::Skipped => write!(f, "{path}: {name} is skipped now"),
            Weakening::Uncollected => write!(f, "{path}: some tests are not collected now"),
            Weakening::Assertions { before, after } => {
                write!(f, "{path}: {name} has {after} assertions where it had {before}")
            }
        }
    }
}

/// Everything a change weakens, in the order of its files.
pub fn weakened(changes: &[SourceChange]) -> Vec<Finding> {
    let parsed: Vec<(&SourceChange, Cases, Cases)> = changes
        .iter()
        .filter_map(|change| {
            let language = TestLanguage::of(&change.path)?;
            let read = |text: &Option<String>| match text {
                Some(text) if text.len() <= FILE_BYTES_MAX => cases::cases(language, &change.path, text),
                _ => Cases::default(),
            };
            Some((change, read(&change.before), read(&change.after)))
        })
        .collect();
    // Whatever is new may be what is missing elsewhere; each stands for one.
    let mut arrived: Vec<(&Case, bool)> = Vec::new();
    for (change, before, after) in &parsed {
        let collected = TestLanguage::of(&change.path).is_some_and(|language| language.collects(&change.path));
        let known = counted(before);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for case in &after.tests {
            let number = seen.entry(&case.name).or_default();
            *number += 1;
            if *number > known.get(case.name.as_str()).copied().unwrap_or_default() {
                arrived.push((case, collected && case.is_collected));
            }
        }
    }
    let mut findings = Vec::new();
    for ((change, before, after), is_left_out) in parsed.iter().zip(module::left_out(&parsed)) {
        let mut still: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        after.tests.iter().rev().for_each(|case| still.entry(&case.name).or_default().push(case));
        let is_looked_into = TestLanguage::of(&change.path).is_some_and(|language| language.collects(&change.path));
        for case in &before.tests {
            let same = still.get_mut(case.name.as_str()).and_then(Vec::pop);
            let was_collected = is_looked_into && case.is_collected;
            let now = same.map(|same| (same, is_looked_into && same.is_collected));
            let now = now.or_else(|| moved(case, &mut arrived));
            let finding = |what| Finding { path: change.path.clone(), test: case.name.clone(), what };
            let lost = now.is_some_and(|(_, collected)| was_collected && !collected && !case.is_skipped);
            let what = if lost { Some(Weakening::Skipped) } else { compare(case, now.map(|(now, _)| now)) };
            findings.extend(what.map(finding));
        }
        let is_new = |text: &String| !before.uncollected.contains(text);
        if is_left_out || says_what_runs(change, before) && after.uncollected.iter().any(is_new) {
            findings.push(Finding { path: change.path.clone(), test: String::new(), what: Weakening::Uncollected });
        }
        let total = |cases: &Cases| cases.outside + cases.tests.iter().map(|case| case.assertions).sum::<usize>();
        if after.outside < before.outside && total(after) < total(before) && change.after.is_some() {
            let what = Weakening::Assertions { before: before.outside, after: after.outside };
            findings.push(Finding { path: change.path.clone(), test: String::new(), what });
        }
    }
    findings.truncate(FINDINGS_MAX);
    findings
}

/// Whether what keeps tests from being looked for has any to keep: a condition on a file only where it
/// had tests, a setting wherever settings were.
fn says_what_runs(change: &SourceChange, before: &Cases) -> bool {
    match TestLanguage::of(&change.path) {
        Some(TestLanguage::Rust | TestLanguage::Go) => {
            !before.tests.is_empty() || before.modules.iter().any(|module| module.is_of_tests)
        }
        _ => change.before.is_some() || change.path.ends_with("conftest.py"),
    }
}

fn counted(cases: &Cases) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    cases.tests.iter().for_each(|case| *counts.entry(case.name.as_str()).or_default() += 1);
    counts
}

/// A test that arrived with the name or the body of one that is gone, and whether its file is looked into.
fn moved<'a>(gone: &Case, arrived: &mut Vec<(&'a Case, bool)>) -> Option<(&'a Case, bool)> {
    let by_body = arrived.iter().position(|(case, _)| case.body == gone.body);
    let at = by_body.or_else(|| arrived.iter().position(|(case, _)| case.name == gone.name))?;
    Some(arrived.swap_remove(at))
}

fn compare(before: &Case, now: Option<&Case>) -> Option<Weakening> {
    match now {
        // Nothing was said by it.
        None if before.is_skipped => None,
        None => Some(Weakening::Deleted),
        Some(now) if !before.is_skipped && (now.is_skipped || now.skips > before.skips) => Some(Weakening::Skipped),
        Some(now) if now.assertions < before.assertions => {
            Some(Weakening::Assertions { before: before.assertions, after: now.assertions })
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test of each language; `{}` is the place of its body, `{s}` of what makes it skipped.
    struct Sample {
        path: &'static str,
        shape: &'static str,
        name: &'static str,
        assertion: &'static str,
        other: &'static str,
        skip: &'static str,
    }

    const SAMPLES: &[Sample] = &[
        Sample {
            path: "src/lib.rs",
            shape: "fn helper() -> u8 { 1 }\n#[cfg(test)]\nmod tests {\n    #[test]\n{s}    fn adds() {\n{}\n    }\n}\n",
            name: "adds",
            assertion: "assert_eq!(add(1, 2), 3);",
            other: "let x = 1;",
            skip: "#[ignore = \"slow\"]\n",
        },
        Sample {
            path: "tests/test_a.py",
            shape: "import pytest\nclass TestA:\n{s}    def test_adds(self):\n        x = 1\n{}\n",
            name: "test_adds",
            assertion: "        assert add(1, 2) == 3",
            other: "        y = 2",
            skip: "    @pytest.mark.skip\n",
        },
        Sample {
            path: "src/a.test.ts",
            shape: "describe('a', () => {\n  it{s}('adds', () => {\n{}\n  });\n});\n",
            name: "adds",
            assertion: "expect(add(1, 2)).toBe(3);",
            other: "const x: number = 1;",
            skip: ".skip",
        },
        Sample {
            path: "a_test.go",
            shape: "package a\nfunc TestAdds(t *testing.T) {\n{s}\n{}\n}\n",
            name: "TestAdds",
            assertion: "if add(1, 2) != 3 { t.Errorf(\"no\") }",
            other: "x := 1",
            skip: "t.Skip(\"later\")",
        },
        Sample {
            path: "src/ATest.java",
            shape: "class ATest {\n  @Test\n{s}  void adds() {\n{}\n  }\n}\n",
            name: "adds",
            assertion: "assertEquals(3, add(1, 2));",
            other: "int x = 1;",
            skip: "  @Disabled(\"slow\")\n",
        },
    ];

    impl Sample {
        fn text(&self, body: &[&str], skipped: bool) -> String {
            self.shape.replace("{s}", if skipped { self.skip } else { "" }).replace("{}", &body.join("\n"))
        }

        fn change(&self, before: Option<String>, after: Option<String>) -> Vec<Weakening> {
            let change = SourceChange { path: self.path.to_owned(), before, after };
            let findings = weakened(&[change]);
            assert!(findings.iter().all(|finding| finding.test == self.name), "{findings:?}");
            findings.into_iter().map(|finding| finding.what).collect()
        }
    }

    #[test]
    fn in_every_language_a_test_that_says_less_is_found() {
        for sample in SAMPLES {
            let (path, one, other) = (sample.path, sample.assertion, sample.other);
            let before = || Some(sample.text(&[one, one], false));
            assert_eq!(sample.change(before(), before()), [], "{path}: nothing changed");
            assert_eq!(sample.change(before(), Some(sample.text(&[one, other, one, one], false))), [], "{path}: more");
            let fewer = Weakening::Assertions { before: 2, after: 1 };
            assert_eq!(sample.change(before(), Some(sample.text(&[one, other], false))), [fewer], "{path}");
            assert_eq!(sample.change(before(), Some(sample.text(&[one, one], true))), [Weakening::Skipped], "{path}");
            assert_eq!(sample.change(before(), Some(String::new())), [Weakening::Deleted], "{path}");
            assert_eq!(sample.change(before(), None), [Weakening::Deleted], "{path}");
            let was_skipped = || Some(sample.text(&[one], true));
            // What a body skips may run at other times; what is marked said nothing.
            let gone = if path.ends_with(".go") { vec![Weakening::Deleted] } else { Vec::new() };
            assert_eq!(sample.change(was_skipped(), None), gone, "{path}");
            assert_eq!(sample.change(was_skipped(), Some(sample.text(&[one], false))), [], "{path}: it runs again");
        }
    }

    #[test]
    fn a_renamed_or_moved_test_is_the_same_test() {
        for sample in SAMPLES {
            let text = sample.text(&[sample.assertion], false);
            let renamed = text.replace(sample.name, &format!("{}_again", sample.name));
            assert_eq!(sample.change(Some(text.clone()), Some(renamed)), [], "{}", sample.path);
            let gone = SourceChange { path: sample.path.to_owned(), before: Some(text.clone()), after: None };
            let come = SourceChange { path: format!("x/{}", sample.path), before: None, after: Some(text) };
            assert_eq!(weakened(&[gone.clone(), come.clone()]), []);
            assert_eq!(weakened(&[come, gone]), []);
        }
    }

    #[test]
    fn helpers_that_assert_less_are_found_and_what_is_no_test_is_not() {
        let rust = |before: &str, after: &str| {
            let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
            weakened(&[SourceChange { path: "tests/a.rs".into(), before, after }])
        };
        let found = rust("fn check(x: u8) { assert!(x > 1); }", "fn check(x: u8) {}");
        assert_eq!(found[0].to_string(), "tests/a.rs: code outside of tests has 0 assertions where it had 1");
        assert_eq!(rust("fn f() { g(); }", ""), []);
        let text = Some("def test_a():\n    assert 1".to_owned());
        assert_eq!(weakened(&[SourceChange { path: "notes.md".into(), before: text, after: None }]), []);
    }

    #[test]
    fn an_assertion_that_is_always_true_is_none() {
        let [rust, python, typescript, ..] = SAMPLES else { panic!("samples") };
        let hollow =
            [(rust, "assert!(true);"), (python, "        assert True"), (typescript, "expect(true).toBe(true);")];
        for (sample, line) in hollow {
            let (before, after) = (sample.text(&[sample.assertion], false), sample.text(&[line], false));
            let fewer = Weakening::Assertions { before: 1, after: 0 };
            assert_eq!(sample.change(Some(before), Some(after)), [fewer], "{}", sample.path);
        }
    }

    #[test]
    fn a_skipped_suite_skips_its_tests() {
        let [rust, _, typescript, _, java] = SAMPLES else { panic!("samples") };
        let cases = [
            (rust, "#[cfg(test)]", "#[cfg(any())]"),
            (typescript, "describe(", "describe.skip("),
            (java, "class ATest", "@Disabled class ATest"),
        ];
        for (sample, from, to) in cases {
            let before = sample.text(&[sample.assertion], false);
            let after = before.replace(from, to);
            assert_eq!(sample.change(Some(before), Some(after)), [Weakening::Skipped], "{}", sample.path);
        }
    }
}
