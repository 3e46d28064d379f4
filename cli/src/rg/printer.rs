//! What the stand-in for ripgrep says of a file.

use std::io;
use std::time::Instant;

use grep_printer::{JSON, JSONBuilder, Standard, StandardBuilder, Stats, Summary, SummaryBuilder, SummaryKind};
use grep_regex::RegexMatcher;
use grep_searcher::{Searcher, Sink};
use serde_json::json;
use termcolor::NoColor;

use super::files::Found;
use super::flags::Flags;

/// One of the three forms.
pub enum Printer<W: io::Write> {
    Lines(Standard<NoColor<W>>),
    Summary(Summary<NoColor<W>>),
    Json(JSON<W>, Instant, Stats),
}

impl<W: io::Write> Printer<W> {
    /// The one that is asked for; `named` is whether lines have the names of their files.
    pub fn new(flags: &Flags, named: bool, out: W) -> Self {
        if flags.json {
            return Self::Json(JSONBuilder::new().build(out), Instant::now(), Stats::new());
        }
        let end = flags.null.then_some(0);
        if let Some(kind) = summary(flags) {
            let mut summary = SummaryBuilder::new();
            summary.kind(kind).path(named).exclude_zero(!flags.include_zero).path_terminator(end);
            return Self::Summary(summary.build_no_color(out));
        }
        let has_context = context(flags) != (0, 0);
        let between = match (flags.heading && named, has_context) {
            (true, _) => Some(Vec::new()),
            (false, true) => Some(b"--".to_vec()),
            (false, false) => None,
        };
        let mut lines = StandardBuilder::new();
        lines
            .heading(flags.heading)
            .path(named)
            .only_matching(flags.only_matching)
            .per_match(flags.vimgrep)
            .per_match_one_line(true)
            .column(flags.column || flags.vimgrep)
            .replacement(flags.replace.clone().map(String::into_bytes))
            .trim_ascii(flags.trim)
            .max_columns(flags.max_columns.filter(|&limit| limit > 0))
            .max_columns_preview(flags.max_columns_preview)
            .separator_search(between)
            .path_terminator(end);
        if let Some(text) = &flags.field_match_separator {
            lines.separator_field_match(grep_cli::unescape(text));
        }
        if let Some(text) = &flags.field_context_separator {
            lines.separator_field_context(grep_cli::unescape(text));
        }
        Self::Lines(lines.build_no_color(out))
    }

    /// Searches a file; whether it is one that was looked for.
    pub fn search(
        &mut self,
        by: (&RegexMatcher, &mut Searcher),
        found: &Found,
        real: &std::path::Path,
    ) -> io::Result<bool> {
        let (matcher, searcher) = by;
        match self {
            Self::Lines(lines) => {
                let mut sink = lines.sink_with_path(matcher, &found.path);
                look((matcher, searcher), found, real, &mut sink)?;
                Ok(sink.has_match())
            }
            Self::Summary(summary) => {
                let mut sink = summary.sink_with_path(matcher, &found.path);
                look((matcher, searcher), found, real, &mut sink)?;
                Ok(sink.has_match())
            }
            Self::Json(json, _, stats) => {
                let mut sink = json.sink_with_path(matcher, &found.path);
                look((matcher, searcher), found, real, &mut sink)?;
                *stats += sink.stats();
                Ok(sink.has_match())
            }
        }
    }

    /// What comes after the last file.
    pub fn end(self) -> io::Result<W> {
        match self {
            Self::Lines(lines) => Ok(lines.into_inner().into_inner()),
            Self::Summary(summary) => Ok(summary.into_inner().into_inner()),
            Self::Json(json, began, stats) => {
                let mut out = json.into_inner();
                let elapsed = began.elapsed();
                let human = format!("{:.6}s", elapsed.as_secs_f64());
                let total = json!({"secs": elapsed.as_secs(), "nanos": elapsed.subsec_nanos(), "human": human});
                let line = json!({"type": "summary", "data": {"elapsed_total": total, "stats": stats}});
                writeln!(out, "{line}")?;
                Ok(out)
            }
        }
    }
}

fn look<S: Sink<Error = io::Error>>(
    (matcher, searcher): (&RegexMatcher, &mut Searcher),
    found: &Found,
    real: &std::path::Path,
    sink: S,
) -> io::Result<()> {
    searcher.set_binary_detection(found.binary.clone());
    if found.is_stdin {
        searcher.search_reader(matcher, io::stdin().lock(), sink)
    } else {
        searcher.search_path(matcher, real, sink)
    }
}

/// The kind of summary that is asked for, if one is.
fn summary(flags: &Flags) -> Option<SummaryKind> {
    Some(match () {
        () if flags.quiet && flags.files_without_match => SummaryKind::QuietWithoutMatch,
        () if flags.quiet => SummaryKind::QuietWithMatch,
        () if flags.files_with_matches => SummaryKind::PathWithMatch,
        () if flags.files_without_match => SummaryKind::PathWithoutMatch,
        () if flags.count_matches || flags.count && flags.only_matching => SummaryKind::CountMatches,
        () if flags.count => SummaryKind::Count,
        () => return None,
    })
}

/// Lines before and after a match.
pub fn context(flags: &Flags) -> (usize, usize) {
    let around = flags.context.unwrap_or(0);
    (flags.before_context.unwrap_or(around), flags.after_context.unwrap_or(around))
}
