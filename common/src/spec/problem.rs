//! What is wrong with a job file: where, why, and what to do next.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use super::PROBLEMS_MAX;

/// Path and text of a job file. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Source {
    path: Arc<PathBuf>,
    text: Arc<str>,
}

impl Source {
    /// Of a file that was read.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: Arc::new(path.to_owned()), text: text.into() }
    }

    /// Path of the file as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A problem at a byte range of the file.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Problem {
        let start = floor_boundary(&self.text, span.start);
        let end = floor_boundary(&self.text, span.end).max(start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Problem {
            file: self.path.as_ref().clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span: start..end,
            message: message.into(),
            help: help.into(),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The job file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// What is wrong and why, a lower-case fragment.
    pub message: String,
    /// What to do next.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, " (help: {})", self.help) }
    }
}

/// Everything that is wrong, in the order of the file; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// Sorts by position, drops repeats and keeps the first [`PROBLEMS_MAX`].
    pub fn new(mut list: Vec<Problem>) -> Self {
        list.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        list.dedup();
        let left_out = list.len().saturating_sub(PROBLEMS_MAX);
        list.truncate(PROBLEMS_MAX);
        Self { list, left_out }
    }

    /// `Ok` when nothing is wrong.
    pub fn check(list: Vec<Problem>) -> Result<(), Self> {
        if list.is_empty() { Ok(()) } else { Err(Self::new(list)) }
    }

    /// How many more there were than are listed.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem], left_out: 0 }
    }
}

impl Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        if self.left_out > 0 { write!(f, "\n… and {} more", self.left_out) } else { Ok(()) }
    }
}

impl std::error::Error for Problems {}

/// A problem with the text it points into, for miette.
#[derive(Debug)]
struct Excerpt<'a> {
    problem: &'a Problem,
    source: NamedSource<Arc<str>>,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Excerpt<'_> {}

impl miette::Diagnostic for Excerpt<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.problem.help.is_empty() { None } else { Some(Box::new(&self.problem.help)) }
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::underline(first_line(&self.source.inner()[span.clone()], span)))))
    }
}

/// A table may span many lines; its first one says where it is.
fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let length = text.find('\n').unwrap_or(text.len());
    span.start..span.start + length
}

/// The problems with the lines they point at, `width` columns wide.
pub fn render(problems: &Problems, source_text: &str, colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let text: Arc<str> = source_text.into();
    let mut out = String::new();
    for problem in problems.iter() {
        // The text may have changed since: a span outside it would hide the message.
        let usable = text.get(problem.span.clone()).is_some();
        let source = NamedSource::new(problem.file.display().to_string(), Arc::clone(&text));
        let drawn = usable && handler.render_report(&mut out, &Excerpt { problem, source }).is_ok();
        if !drawn {
            out.push_str(&problem.to_string());
        }
        out.push('\n');
    }
    if problems.left_out > 0 {
        out.push_str(&format!("… and {} more\n", problems.left_out));
    }
    out
}
