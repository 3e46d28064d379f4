//! `docs/security.md` names a test for each threat: every one of them exists.

use std::path::{Path, PathBuf};

/// Below each of these folders a test may be.
const SOURCES: &[&str] = &["common", "coordinator", "worker", "cli", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut open: Vec<PathBuf> = SOURCES.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    found
}

/// Whether `place::name` is a test: a function of that name after `#[test]` or `#[tokio::test…]`, in
/// a file whose path ends in `place`.
fn exists(sources: &[(PathBuf, String)], named: &str) -> bool {
    let Some((place, name)) = named.rsplit_once("::") else { return false };
    let ending = format!("{place}.rs");
    let function = format!("fn {name}(");
    sources.iter().filter(|(path, _)| path.ends_with(&ending)).any(|(_, text)| {
        let Some(at) = text.find(&function) else { return false };
        let before: Vec<&str> = text[..at].lines().rev().take(3).map(str::trim).collect();
        before.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_the_threat_model_names_exists() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).expect("there");
    let sources = sources();
    let mut named = Vec::new();
    for row in
        text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |") && !line.starts_with("| ---"))
    {
        let last = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        let tests: Vec<&str> = last.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        assert!(!tests.is_empty() || last.trim() == "stated", "no test, and not \"stated\": {row}");
        named.extend(tests.into_iter().map(str::to_owned));
    }
    assert!(named.len() > 40, "the tables are read wrong: {}", named.len());
    let missing: Vec<&String> = named.iter().filter(|name| !exists(&sources, name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that are not there: {missing:#?}");
}
