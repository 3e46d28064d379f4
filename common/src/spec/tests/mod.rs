//! What each mistake in a job file is answered with: line, column, cause and next step.

mod budget;
mod keys;
mod meaning;
mod models;
mod whole;

use std::path::Path;

use super::{JobFile, parse};

/// Eight lines every job needs; tests add from line 9 on.
const HEAD: &str = r#"goal = "g"
[[repo]]
path = "."
[agent.rules]
kind = "codemod"
rules = "r.yml"
[gate]
run = "true"
"#;

/// A task for tests that are about something else.
const TASK: &str = "[[task]]\nid = 'a'\nladder = ['rules']\n";

fn parsed(text: &str) -> Result<JobFile, Vec<String>> {
    parse(Path::new("longhaul.toml"), text)
        .map_err(|problems| problems.iter().map(|p| p.to_string().replacen("longhaul.toml:", "", 1)).collect())
}

/// Asserts the problems of a whole file, in order.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = parsed(text).err().unwrap_or_default();
    assert_eq!(found, expected, "\nof\n{text}");
}

/// As [`check`], for lines after [`HEAD`].
#[track_caller]
fn after_head(text: &str, expected: &[&str]) {
    check(&format!("{HEAD}{text}"), expected);
}
