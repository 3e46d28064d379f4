//! Which of the lines that a batch changed its gate executed, by the job's own coverage program.
//!
//! A landing is proven only where every changed line that is code was executed, and there is one. What
//! nobody measured proves nothing: a changed file of code that is in no record, a report that cannot be
//! read, a program that failed. Tests need no record: they are what executes.

mod lcov;
mod lines;

pub use lcov::Lcov;
pub use lines::{Added, added};

use ast_grep_core::Language as _;
use ast_grep_language::SupportLang;
use globset::{Glob, GlobSet, GlobSetBuilder};
use longhaul_common::spec::TEST_PATHS;
use longhaul_proto::Coverage;

/// Lines and files that are named; more are counted.
pub const NAMED_MAX: usize = 20;

/// What a report says of added lines; `roots` are names of the folder that was measured.
pub fn judge(added: &Added, report: &Lcov, roots: &[String]) -> Coverage {
    let tests = test_paths();
    let mut found = Coverage::default();
    let mut named = Vec::new();
    for (path, numbers) in added {
        let Some(lines) = report.of(roots, path) else {
            if is_code(path) && !tests.is_match(path) {
                found.unmeasured += 1;
                named.push(path.clone());
            }
            continue;
        };
        for number in numbers {
            let Some(&executed) = lines.get(number) else { continue };
            found.lines += 1;
            if !executed {
                found.not_executed += 1;
                named.push(format!("{path}:{number}"));
            }
        }
    }
    named.truncate(NAMED_MAX);
    found.first = named;
    found
}

/// Whether it is of a language that is executed. What git quotes may be anything.
fn is_code(path: &str) -> bool {
    use SupportLang::{Css, Html, Json, Markdown, Yaml};
    let executed = |language| !matches!(language, Css | Html | Json | Markdown | Yaml);
    path.starts_with('"') || SupportLang::from_path(path).is_some_and(executed)
}

fn test_paths() -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in TEST_PATHS.iter().filter_map(|glob| Glob::new(glob).ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

#[cfg(test)]
mod test {
    use super::*;

    fn judged(report: &str, files: &[(&str, &[u32])]) -> Coverage {
        let added = files.iter().map(|(path, lines)| ((*path).to_owned(), lines.to_vec())).collect();
        judge(&added, &Lcov::parse(report).expect("a report"), &["/ws".to_owned()])
    }

    const REPORT: &str = "SF:/ws/src/a.rs\nDA:1,4\nDA:2,0\nDA:5,1\nend_of_record\n";

    #[test]
    fn what_was_not_executed_and_what_nobody_measured_is_named() {
        let found = judged(REPORT, &[("src/a.rs", &[1, 2, 3, 5]), ("src/b.py", &[1]), ("README.md", &[1])]);
        assert_eq!((found.lines, found.not_executed, found.unmeasured), (3, 1, 1));
        assert_eq!(found.first, ["src/a.rs:2", "src/b.py"]);
        let found = judged(REPORT, &[("src/a.rs", &[1, 5]), ("tests/b.rs", &[1]), ("x.json", &[4])]);
        assert_eq!((found.lines, found.not_executed, found.unmeasured), (2, 0, 0));
        let found = judged(REPORT, &[("\"odd\\tname.rs\"", &[1])]);
        assert_eq!((found.lines, found.unmeasured), (0, 1));
    }

    #[test]
    fn names_are_bounded_and_counts_are_not() {
        let many: String = (1..=90).map(|line| format!("DA:{line},0\n")).collect();
        let lines: Vec<u32> = (1..=90).collect();
        let found = judged(&format!("SF:a.rs\n{many}end_of_record\n"), &[("a.rs", &lines)]);
        assert_eq!((found.not_executed, found.first.len()), (90, NAMED_MAX));
    }
}
