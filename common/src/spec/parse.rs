//! From text to a [`JobFile`], in four passes: syntax, keys, forms of values, meaning. Every pass
//! reports all it finds; a pass runs on what the one before it could keep.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::DeTable;

use super::shape::{Shape, cut_at};
use super::{FILE_BYTES_MAX, JobFile, PROBLEMS_MAX, Problem, Problems, Source, agents, check, schema};

/// What the passes over the text know beyond the typed file.
pub(super) struct Found {
    /// Every agent that is declared, usable or not.
    pub agents: BTreeSet<String>,
    /// Whether every task and map could be read: only then is an unknown name an error.
    pub complete: bool,
}

/// Reads and parses a job file.
pub fn load(path: &Path) -> Result<JobFile, Problems> {
    let empty = Source::new(path, "");
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let help = "run `longhaul init` to write one, or name another file";
            return Err(empty.problem(0..0, "there is no job file here", help).into());
        }
        Err(error) => {
            let help = "check the path and its permissions";
            return Err(empty.problem(0..0, format!("cannot read the job file: {error}"), help).into());
        }
    };
    match text {
        Ok(text) => parse(path, &text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Source::new(path, &text);
            Err(source.problem(valid..valid + 1, "the job file is not UTF-8", "save it as UTF-8").into())
        }
    }
}

/// Parses the text of a job file; `path` is where it lies, for messages and for what it names
/// relative to itself. Nothing but the text is looked at.
pub fn parse(path: &Path, text: &str) -> Result<JobFile, Problems> {
    let source = Source::new(path, text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the job file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(source.problem(0..0, message, "use [[map]] for what repeats").into());
    }
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    // What follows a broken line is guesswork: only syntax is reported then.
    Problems::check(errors.iter().take(PROBLEMS_MAX).map(|error| syntax_problem(&source, error)).collect())?;

    let schema = schema();
    let mut problems = Vec::new();
    let declared = agents::refuse_kinds(tree.get_mut(), &source, &mut problems);
    problems.extend(Shape::report(&source, tree.get_mut(), &schema));
    let (file, cut) = read_values(tree, &source, &schema, &mut problems);
    if let Some(mut file) = file {
        file.source = source.clone();
        let found = Found { agents: declared, complete: !cut };
        check::check(&file, &found, &mut problems);
        Problems::check(problems)?;
        return Ok(file);
    }
    Err(Problems::new(problems))
}

fn syntax_problem(source: &Source, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let help = if error.message().contains("duplicate key") {
        "keep one of the two; a table that repeats is written [[like this]]"
    } else {
        "see https://toml.io for the syntax"
    };
    source.problem(span, format!("not TOML: {}", error.message()), help)
}

/// Reads the values; a key whose value has the wrong form is reported and cut out until the rest
/// can be read. Also says whether an element of a list was lost that way.
fn read_values(
    mut tree: Spanned<DeTable<'_>>,
    source: &Source,
    schema: &serde_json::Value,
    problems: &mut Vec<Problem>,
) -> (Option<JobFile>, bool) {
    let mut lost = false;
    let mut completed = false;
    for _ in 0..2 * PROBLEMS_MAX {
        let error = match JobFile::deserialize(toml::de::Deserializer::from(tree.clone())) {
            Ok(file) => return (Some(file), lost),
            Err(error) => error,
        };
        // Reported before: either nobody wrote the key, or its value was cut out.
        if error.message().starts_with("missing field") {
            if std::mem::replace(&mut completed, true) {
                break;
            }
            lost |= Shape::complete(source, tree.get_mut(), schema);
            continue;
        }
        let span = error.span().unwrap_or(0..0);
        let cut = cut_at(tree.get_mut(), &span, schema);
        let (message, help) = error.message().split_once('\n').unwrap_or((error.message(), ""));
        let message = plain(message);
        let help = match &cut {
            Some(cut) if help.is_empty() => cut.description.clone(),
            _ => help.to_owned(),
        };
        let message = cut.as_ref().map_or(message.clone(), |cut| format!("`{}`: {message}", cut.key));
        problems.push(source.problem(span, message, help));
        completed = false;
        if cut.is_none() {
            break;
        }
    }
    (None, true)
}

/// Rust's names of types in words.
fn plain(message: &str) -> String {
    let names = [
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected struct ", "expected a table, "),
        ("expected a map", "expected a table"),
        ("expected a sequence", "expected an array"),
        ("invalid type: map", "invalid type: a table"),
        ("invalid type: sequence", "invalid type: an array"),
    ];
    names.iter().fold(message.to_owned(), |text, (from, to)| text.replace(from, to))
}
