//! Searching the workspace: by ripgrep where it is installed, else by its libraries in process.

use std::ffi::OsString;
use std::path::Path;

use grep_regex::RegexMatcherBuilder;
use grep_searcher::{BinaryDetection, SearcherBuilder, sinks};
use ignore::WalkBuilder;
use ignore::overrides::OverrideBuilder;
use serde::Deserialize;

use super::place::Place;

/// Lines found that are given.
const LINES_MAX: usize = 500;

/// Longest line given, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// Larger files are passed over, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Arguments of a search.
#[derive(Debug, Deserialize)]
pub struct Search {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
}

/// Whether ripgrep is there to be run.
pub fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("rg").is_file())
}

/// The command line of ripgrep for a search.
pub fn argv(place: &Place, search: &Search) -> Result<Vec<OsString>, String> {
    let path = place.to_read(search.path.as_deref().unwrap_or("."))?;
    let columns = format!("--max-columns={LINE_BYTES_MAX}");
    let fixed = ["rg", "--line-number", "--with-filename", "--no-heading", "--color=never", "--sort=path", "--hidden"];
    let mut argv: Vec<OsString> = fixed.map(OsString::from).to_vec();
    argv.extend(["--glob=!.git".into(), "--max-columns-preview".into(), columns.into()]);
    argv.extend(search.glob.iter().map(|glob| format!("--glob={glob}").into()));
    argv.extend(["--regexp".into(), search.pattern.clone().into(), "--".into()]);
    argv.push(
        path.strip_prefix(place.root())
            .ok()
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
            .into(),
    );
    Ok(argv)
}

/// The same in process.
pub fn search(place: &Place, search: &Search) -> Result<String, String> {
    let matcher = RegexMatcherBuilder::new()
        .line_terminator(Some(b'\n'))
        .build(&search.pattern)
        .map_err(|error| format!("not a regular expression: {error}"))?;
    let from = place.to_read(search.path.as_deref().unwrap_or("."))?;
    let mut overrides = OverrideBuilder::new(place.root());
    for glob in search.glob.iter().map(String::as_str).chain(["!.git"]) {
        overrides.add(glob).map_err(|error| format!("not a glob: {error}"))?;
    }
    let overrides = overrides.build().map_err(|error| format!("not a glob: {error}"))?;
    let mut walk = WalkBuilder::new(&from);
    walk.hidden(false).follow_links(false).require_git(false).git_global(false).parents(false);
    walk.max_filesize(Some(FILE_BYTES_MAX)).overrides(overrides).sort_by_file_path(Path::cmp);
    let mut searcher = SearcherBuilder::new().binary_detection(BinaryDetection::quit(0)).line_number(true).build();
    let (mut lines, mut more) = (Vec::new(), false);
    for entry in walk.build().flatten() {
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let name = place.shown(entry.path());
        let found = sinks::Lossy(|number, line| {
            more = lines.len() == LINES_MAX;
            if !more {
                lines.push(format!(
                    "{name}:{number}:{}",
                    longhaul_common::text::clip_head(line.trim_end(), LINE_BYTES_MAX)
                ));
            }
            Ok(!more)
        });
        // A file that cannot be read has nothing to be found in.
        let _unreadable = searcher.search_path(&matcher, entry.path(), found);
        if more {
            break;
        }
    }
    if lines.is_empty() {
        return Ok("nothing found".to_owned());
    }
    if more {
        lines.push(format!("[more than {LINES_MAX} lines; search for less]"));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(place: &Place, json: &str) -> Result<String, String> {
        search(place, &serde_json::from_str(json).expect("arguments"))
    }

    #[test]
    fn lines_are_found_where_they_are() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = Place::new(dir.path(), dir.path()).expect("there");
        for (path, text) in [
            ("src/a.rs", "fn one() {}\nfn two() {}\n"),
            ("src/b.py", "def one(): pass\n"),
            (".hidden", "one\n"),
            (".gitignore", "target\n"),
            ("target/x", "one\n"),
        ] {
            place.write(path, text).expect("written");
        }
        std::fs::write(dir.path().join("bin"), b"one\0").expect("written");
        std::fs::create_dir(dir.path().join(".git")).expect("made");
        std::fs::write(dir.path().join(".git/config"), "one").expect("written");
        assert_eq!(
            found(&place, r#"{"pattern":"\\bone\\b"}"#).expect("found"),
            ".hidden:1:one\nsrc/a.rs:1:fn one() {}\nsrc/b.py:1:def one(): pass"
        );
        assert_eq!(found(&place, r#"{"pattern":"one","glob":"*.py"}"#).expect("found"), "src/b.py:1:def one(): pass");
        assert_eq!(found(&place, r#"{"pattern":"t","path":"src/a.rs"}"#).expect("found"), "src/a.rs:2:fn two() {}");
        assert_eq!(found(&place, r#"{"pattern":"nowhere"}"#).expect("found"), "nothing found");
        assert!(found(&place, r#"{"pattern":"("}"#).expect_err("refused").contains("regular expression"));
        assert!(found(&place, r#"{"pattern":"x","path":"../"}"#).expect_err("refused").contains("outside"));
        place.write("many", &"one\n".repeat(1_000)).expect("written");
        let many = found(&place, r#"{"pattern":"one"}"#).expect("found");
        assert_eq!(many.lines().count(), LINES_MAX + 1);
        assert!(many.ends_with("search for less]"));
    }
}
