//! House rules, as a test.

use std::path::{Path, PathBuf};

/// No file of ours is longer; tests and generated code included.
const LINES_MAX: usize = 750;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn files(ends: &[&str]) -> Vec<(PathBuf, String)> {
    let out = std::process::Command::new("git")
        .arg("-C")
        .arg(root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git");
    let names = String::from_utf8_lossy(&out.stdout).into_owned();
    let wanted = names.split('\0').filter(|name| ends.iter().any(|end| name.ends_with(end)));
    wanted.filter_map(|name| Some((name.into(), std::fs::read_to_string(root().join(name)).ok()?))).collect()
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let sources = files(&[".rs"]);
    assert!(sources.len() > 100, "the list of files is wrong: {}", sources.len());
    for (path, text) in &sources {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
        let generated = path.starts_with("examples");
        assert!(generated || text.starts_with("//!"), "{} does not begin with a module doc", path.display());
    }
}

#[test]
fn nothing_is_left_undone_in_the_open() {
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let words: Vec<String> = macros.into_iter().chain(["FIXME", "#[ignore]"].map(str::to_owned)).collect();
    for (path, text) in files(&[".rs"]) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} contains {word}", path.display());
        }
    }
}

#[test]
fn the_architecture_stays_on_one_page_and_links_lead_somewhere() {
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("there");
    assert!(architecture.lines().count() <= 200);
    for (path, text) in files(&[".md"]) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let place = root().join(path.parent().unwrap_or(Path::new("")));
            assert!(place.join(target).exists(), "{}: dead link {link}", path.display());
        }
    }
}
