//! The stand-in for ripgrep: the same search by the same libraries, for agents on machines without it.
//!
//! Models are trained to search with `rg`, and a shell that has none costs them turns in every subtask;
//! opencode's own tools for finding fail without it. A worker puts the name at the end of its agents' PATH, so
//! that a ripgrep which is installed comes first.

mod files;
mod flags;
mod printer;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{Searcher, SearcherBuilder};

use files::Where;
use flags::Flags;
use printer::{Printer, context};

/// Whether a process that was started by this name is meant to be it.
pub fn is_meant(program: Option<&OsStr>) -> bool {
    program.is_some_and(|program| Path::new(program).file_name() == Some(OsStr::new(longhaul_worker::RIPGREP)))
}

/// This program, where it can be started by that name.
pub fn stand_in() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Whether something was found, and whether something could not be read.
#[derive(Clone, Copy, Default)]
struct End {
    found: bool,
    failed: bool,
}

/// Searches; ends with 0 when something was found, 1 when nothing was, 2 when something went wrong.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Nobody may read it.
            let _unread = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(&flags) {
        Ok(End { found: true, failed }) if !failed || flags.quiet => ExitCode::SUCCESS,
        Ok(End { failed: false, .. }) => ExitCode::FAILURE,
        Ok(_) => ExitCode::from(2),
        Err(message) => {
            eprintln!("rg: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(flags: &Flags) -> Result<End, String> {
    if flags.type_list {
        return types(flags).or_else(output);
    }
    let (patterns, paths) = words(flags)?;
    let place = Where::of(flags, &paths);
    if flags.files {
        return list(flags, &place);
    }
    let matcher = matcher(flags, &patterns)?;
    search(flags, &place, &matcher)
}

/// The patterns and the paths: the first word is a pattern unless there are others.
fn words(flags: &Flags) -> Result<(Vec<String>, Vec<PathBuf>), String> {
    let paths = |words: &[OsString]| words.iter().map(PathBuf::from).collect();
    let mut patterns = flags.patterns.clone();
    for path in &flags.pattern_files {
        let more =
            if path == Path::new("-") { grep_cli::patterns_from_stdin() } else { grep_cli::patterns_from_path(path) };
        patterns.extend(more.map_err(|error| error.to_string())?);
    }
    if flags.files || !flags.patterns.is_empty() || !flags.pattern_files.is_empty() {
        return Ok((patterns, paths(&flags.words)));
    }
    let (first, rest) = flags.words.split_first().ok_or("a pattern is missing: `rg PATTERN [PATH...]`, `rg --help`")?;
    let pattern = grep_cli::pattern_from_os(first).map_err(|error| error.to_string())?;
    Ok((vec![pattern.to_owned()], paths(rest)))
}

fn matcher(flags: &Flags, patterns: &[String]) -> Result<RegexMatcher, String> {
    let mut builder = RegexMatcherBuilder::new();
    builder.multi_line(true).unicode(true).octal(false).fixed_strings(flags.fixed_strings);
    builder.case_insensitive(flags.ignore_case).case_smart(flags.smart_case);
    if flags.line_regexp {
        builder.whole_line(true);
    } else {
        builder.word(flags.word_regexp);
    }
    if flags.multiline {
        builder.dot_matches_new_line(flags.multiline_dotall);
    } else {
        builder.line_terminator(Some(b'\n'));
    }
    builder.crlf(flags.crlf);
    builder.build_many(patterns).map_err(|error| error.to_string())
}

fn searcher(flags: &Flags) -> Searcher {
    let numbered = flags.line_number || flags.column || flags.vimgrep || flags.json;
    let (before, after) = context(flags);
    let mut builder = SearcherBuilder::new();
    builder.line_number(numbered && !flags.no_line_number).invert_match(flags.invert_match);
    builder.multi_line(flags.multiline).before_context(before).after_context(after).max_matches(flags.max_count);
    builder.build()
}

fn search(flags: &Flags, place: &Where, matcher: &RegexMatcher) -> Result<End, String> {
    let by_name = flags.with_filename || flags.vimgrep || flags.files_with_matches || flags.files_without_match;
    let named = !flags.no_filename && (by_name || !place.is_one_file());
    let mut printer = Printer::new(flags, named, BufWriter::new(io::stdout().lock()));
    let (mut searcher, mut end) = (searcher(flags), End::default());
    for entry in place.walk(flags)? {
        let searched = match &entry {
            Err(error) => Err(error.to_string()),
            Ok(entry) => {
                let Some(file) = place.found(entry) else { continue };
                match printer.search((matcher, &mut searcher), &file, entry.path()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return output(error),
                    Err(error) => Err(format!("{}: {error}", file.path.display())),
                    Ok(found) => Ok(found),
                }
            }
        };
        match searched {
            Ok(found) => end.found |= found,
            Err(message) => {
                end.failed = true;
                if !flags.no_messages {
                    eprintln!("rg: {message}");
                }
            }
        }
        if end.found && flags.quiet {
            break;
        }
    }
    printer.end().and_then(|mut out| out.flush()).map(|()| end).or_else(output)
}

/// The files that would be searched.
fn list(flags: &Flags, place: &Where) -> Result<End, String> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut end = End::default();
    for entry in place.walk(flags)? {
        match &entry {
            Err(error) => {
                end.failed = true;
                if !flags.no_messages {
                    eprintln!("rg: {error}");
                }
            }
            Ok(entry) => {
                let Some(file) = place.found(entry) else { continue };
                end.found = true;
                if flags.quiet {
                    break;
                }
                let line_end: &[u8] = if flags.null { b"\0" } else { b"\n" };
                let name = file.path.as_os_str().as_encoded_bytes();
                if let Err(error) = out.write_all(name).and_then(|()| out.write_all(line_end)) {
                    return output(error);
                }
            }
        }
    }
    out.flush().map(|()| end).or_else(output)
}

/// The types of files that are known.
fn types(flags: &Flags) -> io::Result<End> {
    let mut out = BufWriter::new(io::stdout().lock());
    for known in files::types(flags).map_err(io::Error::other)?.definitions() {
        writeln!(out, "{}: {}", known.name(), known.globs().join(", "))?;
    }
    out.flush().map(|()| End { found: true, failed: false })
}

/// Who reads no further has what was wanted.
fn output(error: io::Error) -> Result<End, String> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(End { found: true, failed: false }),
        _ => Err(error.to_string()),
    }
}
