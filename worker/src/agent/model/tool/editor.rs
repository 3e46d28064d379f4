//! Anthropic's text editor: `view`, `create`, `str_replace`, `insert`.

use serde::Deserialize;

use super::files::{listed, numbered, replaced};
use super::place::Place;

/// Arguments of a call.
#[derive(Debug, Deserialize)]
pub struct Args {
    command: String,
    /// The file.
    pub path: String,
    view_range: Option<(i64, i64)>,
    file_text: Option<String>,
    old_str: Option<String>,
    new_str: Option<String>,
    insert_line: Option<usize>,
    insert_text: Option<String>,
}

/// What a call wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Something shown.
    Shown(String),
    /// The file's new text.
    Written(String),
}

/// Works out what a call does; nothing is written here.
pub fn wanted(place: &Place, args: &Args) -> Result<Wanted, String> {
    let missing = |key: &str| format!("{} needs {key}", args.command);
    let there = || place.text(&args.path)?.ok_or_else(|| format!("{}: no such file", args.path));
    match args.command.as_str() {
        "view" if place.to_read(&args.path)?.is_dir() => listed(place, &args.path).map(Wanted::Shown),
        "view" => {
            let (first, last) = args.view_range.unwrap_or((1, -1));
            let line = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
            numbered(place, &args.path, line(first.max(1)), line(last)).map(Wanted::Shown)
        }
        "create" => Ok(Wanted::Written(args.file_text.clone().ok_or_else(|| missing("file_text"))?)),
        "str_replace" => {
            let old = args.old_str.as_deref().ok_or_else(|| missing("old_str"))?;
            replaced(&args.path, &there()?, old, args.new_str.as_deref().unwrap_or_default()).map(Wanted::Written)
        }
        "insert" => {
            let at = args.insert_line.ok_or_else(|| missing("insert_line"))?;
            let new = args.insert_text.as_deref().or(args.new_str.as_deref()).ok_or_else(|| missing("insert_text"))?;
            inserted(&args.path, &there()?, at, new).map(Wanted::Written)
        }
        other => Err(format!("{other:?} is no command: use view, create, str_replace or insert")),
    }
}

fn inserted(path: &str, text: &str, after: usize, new: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if after > lines.len() {
        return Err(format!("{path}: it has {} lines; nothing can be inserted after line {after}", lines.len()));
    }
    let mut out = lines[..after].concat();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(new);
    if !new.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&lines[after..].concat());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(place: &Place, json: &str) -> Result<Wanted, String> {
        wanted(place, &serde_json::from_str(json).expect("arguments"))
    }

    #[test]
    fn each_command_does_what_models_know() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("f"), "a\nb\nc").expect("written");
        let place = Place::new(dir.path(), dir.path()).expect("there");
        for (json, wanted) in [
            (
                r#"{"command":"view","path":"f","view_range":[2,2]}"#,
                Wanted::Shown("     2\tb\n[1 more lines; 3 in all]\n".into()),
            ),
            (r#"{"command":"view","path":"f","view_range":[3,-1]}"#, Wanted::Shown("     3\tc\n".into())),
            (r#"{"command":"view","path":"."}"#, Wanted::Shown("f".into())),
            (r#"{"command":"create","path":"n","file_text":"x"}"#, Wanted::Written("x".into())),
            (
                r#"{"command":"str_replace","path":"f","old_str":"b\n","new_str":"x\n"}"#,
                Wanted::Written("a\nx\nc".into()),
            ),
            (r#"{"command":"str_replace","path":"f","old_str":"b\n"}"#, Wanted::Written("a\nc".into())),
            (
                r#"{"command":"insert","path":"f","insert_line":0,"insert_text":"x"}"#,
                Wanted::Written("x\na\nb\nc".into()),
            ),
            (
                r#"{"command":"insert","path":"f","insert_line":3,"new_str":"x\n"}"#,
                Wanted::Written("a\nb\nc\nx\n".into()),
            ),
        ] {
            assert_eq!(run(&place, json), Ok(wanted), "{json}");
        }
        for (json, words) in [
            (r#"{"command":"create","path":"n"}"#, "create needs file_text"),
            (r#"{"command":"insert","path":"f","insert_line":4,"new_str":"x"}"#, "it has 3 lines"),
            (r#"{"command":"undo_edit","path":"f"}"#, "is no command"),
            (r#"{"command":"str_replace","path":"../f","old_str":"a"}"#, "outside the workspace"),
            (r#"{"command":"str_replace","path":"gone","old_str":"a"}"#, "no such file"),
        ] {
            let error = run(&place, json).expect_err("refused");
            assert!(error.contains(words), "{error}");
        }
    }
}
