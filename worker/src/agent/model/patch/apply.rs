//! What a patch makes of the files: worked out whole before the first one is written.

use std::collections::BTreeMap;

use super::parse::{Chunk, Hunk, Line};
use super::seek::seek;

/// Lines of a chunk repeated in an error.
const SHOWN_LINES_MAX: usize = 5;

/// Places named in an error where the first line of a chunk does occur.
const PLACES_MAX: usize = 3;

/// What is to be done to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets this content.
    Write {
        /// The path.
        path: String,
        /// All of it.
        content: String,
        /// It was not there before.
        is_new: bool,
    },
    /// It goes.
    Delete {
        /// The path.
        path: String,
    },
}

/// Why a patch does not apply. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A file cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// A file that should be there is not.
    #[error("{path}: there is no such file")]
    Missing {
        /// The file.
        path: String,
    },
    /// A move onto a file.
    #[error("{path}: it is there already; delete it first if it may go")]
    Occupied {
        /// The file.
        path: String,
    },
    /// The line after an `@@` is not in the file.
    #[error("{path}, chunk {chunk}: the line after @@ is not found below line {after}: {context}")]
    NoContext {
        /// The file.
        path: String,
        /// The chunk, from 1.
        chunk: usize,
        /// The line looked for.
        context: String,
        /// Where the search began.
        after: usize,
    },
    /// Kept and removed lines are not in the file as they are in the patch.
    #[error("{path}, chunk {chunk}: these lines are not found below line {after}:\n{wanted}\n{hint}")]
    NoLines {
        /// The file.
        path: String,
        /// The chunk, from 1.
        chunk: usize,
        /// The first lines looked for.
        wanted: String,
        /// Where the search began.
        after: usize,
        /// What may help.
        hint: String,
    },
}

/// What the hunks do, in order of paths. `read` gives the content of a file, `None` where there is
/// none; later hunks see what earlier ones did.
pub fn plan(
    hunks: &[Hunk],
    mut read: impl FnMut(&str) -> Result<Option<String>, String>,
) -> Result<Vec<Change>, PatchError> {
    let mut before: BTreeMap<String, Option<String>> = BTreeMap::new();
    for path in hunks.iter().flat_map(paths) {
        if !before.contains_key(path) {
            let found = read(path).map_err(|cause| PatchError::Unreadable { path: path.to_owned(), cause })?;
            before.insert(path.to_owned(), found);
        }
    }
    let mut after = before.clone();
    for hunk in hunks {
        apply(hunk, &mut after)?;
    }
    let changed = after.into_iter().filter(|(path, content)| before[path] != *content);
    Ok(changed
        .map(|(path, content)| match content {
            Some(content) => Change::Write { is_new: before[&path].is_none(), path, content },
            None => Change::Delete { path },
        })
        .collect())
}

fn paths(hunk: &Hunk) -> Vec<&str> {
    match hunk {
        Hunk::Add { path, .. } | Hunk::Delete { path } | Hunk::Update { path, to: None, .. } => vec![path],
        Hunk::Update { path, to: Some(to), .. } => vec![path, to],
    }
}

fn apply(hunk: &Hunk, files: &mut BTreeMap<String, Option<String>>) -> Result<(), PatchError> {
    let missing = |path: &str| PatchError::Missing { path: path.to_owned() };
    match hunk {
        Hunk::Add { path, content } => {
            files.insert(path.clone(), Some(content.clone()));
        }
        Hunk::Delete { path } => {
            files.insert(path.clone(), None).flatten().ok_or_else(|| missing(path))?;
        }
        Hunk::Update { path, to, chunks } => {
            let old = files.get(path).cloned().flatten().ok_or_else(|| missing(path))?;
            let new = update(path, &old, chunks)?;
            match to.as_ref().filter(|to| *to != path) {
                None => files.insert(path.clone(), Some(new)),
                Some(to) if files.get(to).is_some_and(Option::is_some) => {
                    return Err(PatchError::Occupied { path: to.clone() });
                }
                Some(to) => {
                    files.insert(path.clone(), None);
                    files.insert(to.clone(), Some(new))
                }
            };
        }
    }
    Ok(())
}

/// A file's text after its chunks. Kept lines stay as they are in the file, also where the patch
/// writes them a little differently; added ones end as most lines of the file do.
fn update(path: &str, text: &str, chunks: &[Chunk]) -> Result<String, PatchError> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let ends_in_newline = lines.last() == Some(&"");
    if ends_in_newline {
        lines.pop();
    }
    let carriage = lines.iter().filter(|line| line.ends_with('\r')).count() * 2 > lines.len();
    let mut new: Vec<String> = Vec::with_capacity(lines.len());
    let mut done = 0;
    for (number, chunk) in chunks.iter().enumerate() {
        let (at, chunk_lines) = place(path, &lines, done, number + 1, chunk)?;
        new.extend(lines[done..at].iter().map(|&line| line.to_owned()));
        done = at;
        for line in chunk_lines {
            match line {
                Line::Keep(_) => {
                    new.push(lines[done].to_owned());
                    done += 1;
                }
                Line::Remove(_) => done += 1,
                Line::Add(line) if carriage && !line.ends_with('\r') => new.push(format!("{line}\r")),
                Line::Add(line) => new.push(line.clone()),
            }
        }
    }
    let touched_end = done == lines.len() && !chunks.is_empty();
    new.extend(lines[done..].iter().map(|&line| line.to_owned()));
    let mut text = new.join("\n");
    if !new.is_empty() && (ends_in_newline || touched_end) {
        text.push('\n');
    }
    Ok(text)
}

/// Where a chunk begins, at or after `from`, and its lines, without an empty one at its end that
/// only the model saw.
fn place<'c>(
    path: &str,
    lines: &[&str],
    from: usize,
    number: usize,
    chunk: &'c Chunk,
) -> Result<(usize, &'c [Line]), PatchError> {
    let mut start = from;
    for context in &chunk.contexts {
        let found = seek(lines, &[context.as_str()], start, false);
        start = 1 + found.ok_or_else(|| PatchError::NoContext {
            path: path.to_owned(),
            chunk: number,
            context: context.clone(),
            after: start,
        })?;
    }
    let mut chunk_lines = &chunk.lines[..];
    loop {
        let pattern: Vec<&str> = chunk_lines.iter().filter_map(old).collect();
        if pattern.is_empty() {
            // Only additions: below what says where, or at the end of the file.
            return Ok((if chunk.contexts.is_empty() { lines.len() } else { start }, chunk_lines));
        }
        // A model may repeat the line of the `@@` as the first one of the chunk.
        let repeated = if chunk.contexts.is_empty() { start } else { start - 1 };
        let found = seek(lines, &pattern, start, chunk.at_end).or_else(|| seek(lines, &pattern, repeated, false));
        if let Some(at) = found.filter(|&at| at >= from) {
            return Ok((at, chunk_lines));
        }
        match chunk_lines.split_last() {
            Some((Line::Keep(last), rest)) if last.is_empty() && !rest.is_empty() => chunk_lines = rest,
            _ => return Err(not_found(path, lines, start, number, chunk)),
        }
    }
}

fn old(line: &Line) -> Option<&str> {
    match line {
        Line::Keep(line) | Line::Remove(line) => Some(line),
        Line::Add(_) => None,
    }
}

fn not_found(path: &str, lines: &[&str], after: usize, chunk: usize, of: &Chunk) -> PatchError {
    let pattern: Vec<&str> = of.lines.iter().filter_map(old).collect();
    let wanted: Vec<&str> = pattern.iter().copied().take(SHOWN_LINES_MAX).collect();
    let telling = pattern.iter().find(|line| !line.trim().is_empty()).map_or("", |line| line.trim());
    let places: Vec<String> = (1..)
        .zip(lines)
        .filter(|(_, line)| !telling.is_empty() && line.trim() == telling)
        .map(|(number, _)| number.to_string())
        .take(PLACES_MAX)
        .collect();
    let hint = if places.is_empty() {
        "read the file again: it is not what the patch was written for".to_owned()
    } else {
        format!("{telling:?} is in line {}; what follows there is different", places.join(", "))
    };
    PatchError::NoLines { path: path.to_owned(), chunk, wanted: wanted.join("\n"), after, hint }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
