//! Reading a part of a file, and replacing a text in one.

use longhaul_common::text::clip_head;
use serde::Deserialize;

use super::place::Place;

/// Lines given at once, unless fewer are asked for.
const LINES_MAX: usize = 2_000;

/// Longest line given, in bytes.
const LINE_BYTES_MAX: usize = 2_000;

/// Lines of a file that are shown where an edit does not fit, and their bytes.
const SHOWN_LINES_MAX: usize = 12;
const SHOWN_BYTES_MAX: usize = 1_000;

/// How alike two lines are that may be meant for one another, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// Lines that are compared, and their bytes.
const ALIKE_LINES_MAX: usize = 20_000;
const ALIKE_BYTES_MAX: usize = 300;

/// Entries of a folder that are listed.
const ENTRIES_MAX: usize = 500;

/// Arguments of `read_file`.
#[derive(Debug, Deserialize)]
pub struct Read {
    path: String,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// Arguments of `edit`.
#[derive(Debug, Deserialize)]
pub struct Edit {
    /// The file.
    pub path: String,
    old: String,
    new: String,
}

/// A part of a file with its line numbers.
pub fn read(place: &Place, args: &Read) -> Result<String, String> {
    let first = args.offset.unwrap_or(1).max(1);
    numbered(place, &args.path, first, first.saturating_add(args.limit.unwrap_or(LINES_MAX).min(LINES_MAX) - 1))
}

/// The lines of a file from the first to the last, both from 1.
pub fn numbered(place: &Place, path: &str, first: usize, last: usize) -> Result<String, String> {
    let bytes = place.read(path)?.ok_or_else(|| format!("{path}: no such file"))?;
    if bytes.contains(&0) {
        return Err(format!("{path}: a binary file of {} bytes", bytes.len()));
    }
    let text = String::from_utf8_lossy(&bytes);
    let total = text.lines().count();
    let last = last.min(first.saturating_add(LINES_MAX - 1)).min(total);
    let mut out = String::new();
    for (number, line) in (1..).zip(text.lines()).skip(first - 1).take((last + 1).saturating_sub(first)) {
        let shown = clip_head(line, LINE_BYTES_MAX);
        let cut = if shown.len() < line.len() { " [the line goes on]" } else { "" };
        out.push_str(&format!("{number:>6}\t{shown}{cut}\n"));
    }
    if total == 0 {
        out.push_str("(the file is empty)\n");
    } else if first > total {
        return Err(format!("{path}: it has {total} lines"));
    } else if last < total {
        out.push_str(&format!("[{} more lines; {total} in all]\n", total - last));
    }
    Ok(out)
}

/// The entries of a folder.
pub fn listed(place: &Place, path: &str) -> Result<String, String> {
    let folder = place.to_read(path)?;
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{path}: {error}"))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .filter(|name| name != ".git/" && name != ".git")
        .collect();
    names.sort();
    let more = names.len().saturating_sub(ENTRIES_MAX);
    names.truncate(ENTRIES_MAX);
    let mut text = names.join("\n");
    if more > 0 {
        text.push_str(&format!("\n[{more} more]"));
    }
    Ok(text)
}

/// The text of a file after an edit.
pub fn edited(place: &Place, args: &Edit) -> Result<String, String> {
    let text = place.text(&args.path)?;
    match (text, args.old.is_empty()) {
        (None, true) => Ok(args.new.clone()),
        (None, false) => Err(format!("{}: no such file; leave `old` empty to make it", args.path)),
        (Some(text), true) if text.trim().is_empty() => Ok(args.new.clone()),
        (Some(_), true) => Err(format!("{}: it is there already; `old` must not be empty", args.path)),
        (Some(text), false) => replaced(&args.path, &text, &args.old, &args.new),
    }
}

/// The text with the only occurrence of `old` replaced.
pub fn replaced(path: &str, text: &str, old: &str, new: &str) -> Result<String, String> {
    if old == new {
        return Err(format!("{path}: the new text is the old one"));
    }
    if old.is_empty() {
        return Err(format!("{path}: the text to replace is empty"));
    }
    let places: Vec<usize> = text.match_indices(old).map(|(at, _)| at).collect();
    match places[..] {
        [at] => Ok([&text[..at], new, &text[at + old.len()..]].concat()),
        [] => Err(format!("{path}: the text to replace is not there{}", nearest(text, old))),
        _ => {
            let lines: Vec<String> = places.iter().take(10).map(|&at| line_of(text, at).to_string()).collect();
            let times = places.len();
            Err(format!(
                "{path}: the text to replace is there {times} times, in lines {}; add lines around it",
                lines.join(", ")
            ))
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where it would be there if spaces did not matter, or what is most like it, with the lines that are there to be
/// copied.
fn nearest(text: &str, old: &str) -> String {
    let wanted: Vec<&str> = old.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(first) = wanted.first() else { return String::new() };
    let whole = |at: usize| {
        lines[at..].iter().filter(|line| !line.is_empty()).zip(&wanted).filter(|(one, two)| one == two).count()
            == wanted.len()
    };
    let starts = || (0..lines.len()).filter(|&at| lines[at] == *first);
    let (at, what) = match (starts().find(|&at| whole(at)), starts().next(), most_alike(&lines, first)) {
        (Some(at), ..) => (at, "has it with other spaces"),
        (None, Some(at), _) => (at, "is its first line, what follows is different"),
        (None, None, Some(at)) => (at, "is the most like its first line"),
        (None, None, None) => return "; read the file again".to_owned(),
    };
    let there: Vec<&str> = text.lines().skip(at).take(wanted.len().min(SHOWN_LINES_MAX)).collect();
    format!("; line {} {what}. It is written there:\n{}", at + 1, clip_head(&there.join("\n"), SHOWN_BYTES_MAX))
}

/// The line most like this one, if one is.
fn most_alike(lines: &[&str], wanted: &str) -> Option<usize> {
    let lines = lines.iter().take(ALIKE_LINES_MAX).enumerate().filter(|(_, line)| line.len() <= ALIKE_BYTES_MAX);
    let alike = lines.map(|(at, line)| (strsim::normalized_levenshtein(line, wanted), at));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE_MIN).max_by(|one, two| one.0.total_cmp(&two.0))?;
    Some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("f"), text).expect("written");
        let place = Place::new(dir.path(), dir.path()).expect("there");
        (dir, place)
    }

    #[test]
    fn parts_of_files_have_their_numbers() {
        let (_dir, place) = place(&(1..=3_000).map(|number| format!("l{number}\n")).collect::<String>());
        let read = |offset, limit| read(&place, &Read { path: "f".into(), offset, limit });
        assert_eq!(read(Some(2), Some(2)).expect("read"), "     2\tl2\n     3\tl3\n[2997 more lines; 3000 in all]\n");
        assert!(read(None, None).expect("read").ends_with("  2000\tl2000\n[1000 more lines; 3000 in all]\n"));
        assert_eq!(read(Some(3_000), None).expect("read"), "  3000\tl3000\n");
        assert!(read(Some(3_001), None).expect_err("refused").contains("3000 lines"));
        assert!(numbered(&place, "none", 1, 2).expect_err("refused").contains("no such file"));
        std::fs::write(place.root().join("bin"), b"a\0b").expect("written");
        assert!(numbered(&place, "bin", 1, 2).expect_err("refused").contains("binary"));
        std::fs::write(place.root().join("latin"), b"caf\xe9\n").expect("written");
        assert!(numbered(&place, "latin", 1, 2).expect("read").contains("caf\u{fffd}"));
        std::fs::write(place.root().join("none"), b"").expect("written");
        assert!(numbered(&place, "none", 1, 2).expect("read").contains("empty"));
        assert_eq!(listed(&place, ".").expect("listed"), "bin\nf\nlatin\nnone");
    }

    #[test]
    fn edits_say_why_they_are_refused() {
        let (_dir, place) = place("a\n  b\nc\na\n    return super(Field, self).validate(form)\n");
        let edit = |path: &str, old: &str, new: &str| {
            edited(&place, &Edit { path: path.into(), old: old.into(), new: new.into() })
        };
        assert_eq!(edit("f", "  b\nc", "x").as_deref(), Ok("a\nx\na\n    return super(Field, self).validate(form)\n"));
        assert_eq!(edit("new", "", "x").as_deref(), Ok("x"));
        for (old, new, words) in [
            ("a\n", "x", "there 2 times, in lines 1, 4"),
            ("b\nc", "b\nc", "is the old one"),
            ("    b\n    c", "x", "line 2 has it with other spaces"),
            ("c\nz", "x", "line 3 is its first line"),
            ("zzz", "x", "read the file again"),
            (
                "        return super(Field, self).validate(form, extra)",
                "x",
                "line 5 is the most like its first line. It is written there:\n    return super(Field, self).validate(form)",
            ),
            ("", "x", "there already"),
        ] {
            let error = edit("f", old, new).expect_err("refused");
            assert!(error.contains(words), "{error}");
        }
        assert!(edit("gone", "a", "b").expect_err("refused").contains("no such file"));
    }
}
