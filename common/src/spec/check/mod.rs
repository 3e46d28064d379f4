//! The meaning of a job file: everything that can be known wrong without the repository.

mod models;
mod refs;
mod settings;
mod work;

pub use work::id_char;

use std::ops::Range;

use super::parse::Found;
use super::{At, JobFile, LABELS_MAX, Period, Problem, Source, StringList, TEXT_BYTES_MAX, agents, label, path_glob};

/// Adds what is wrong with `file` to `problems`.
pub(super) fn check(file: &JobFile, found: &Found, problems: &mut Vec<Problem>) {
    let mut check = Check { source: &file.source, problems };
    settings::check_head(file, &mut check);
    for repo in &file.repo {
        settings::check_repo(repo, &mut check);
    }
    settings::check_secrets(file, &mut check);
    for (name, agent) in &file.agent {
        agents::check_agent(name, agent, file, &file.source, check.problems);
    }
    for table in file.tables() {
        work::check_table(table, &mut check);
    }
    settings::check_limits(file, &mut check);
    models::check(file, &mut check);
    refs::check_ladders(file, found, &mut check);
    refs::check_characterise(file, &mut check);
    refs::check_names(file, found, &mut check);
}

/// Where problems go.
pub(super) struct Check<'a> {
    source: &'a Source,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.source.problem(span, message, help));
    }

    /// Paths that must lie inside the repository.
    fn globs(&mut self, globs: &StringList) {
        for glob in globs.iter() {
            if let Err((message, help)) = path_glob(glob) {
                self.report(glob.span(), message, help);
            }
        }
    }

    fn labels(&mut self, labels: &StringList) {
        for text in labels.iter() {
            if let Err((message, help)) = label(text) {
                self.report(text.span(), message, help);
            }
        }
        if let Some(first) = labels.get(LABELS_MAX) {
            self.report(first.span(), format!("more than {LABELS_MAX} labels"), "keep the ones that matter");
        }
    }

    /// A limit between two lines of output says nothing once the whole may not take longer.
    fn idle(&mut self, idle: Option<&At<Period>>, timeout_ms: u64) {
        if let Some(idle) = idle.filter(|idle| idle.0 >= timeout_ms) {
            let message = "`idle_timeout` is no shorter than `timeout`, which ends it first";
            self.report(idle.span(), message, "make it shorter, or raise `timeout`");
        }
    }

    fn text(&mut self, key: &str, text: &At<String>) {
        if text.trim().is_empty() {
            self.report(text.span(), format!("`{key}` is empty"), "write it, or leave the key out");
        } else if text.len() > TEXT_BYTES_MAX {
            let message = format!("`{key}` has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len());
            self.report(text.span(), message, "put long material into a file of the repository and name it");
        }
    }

    fn regex(&mut self, key: &str, text: &At<String>) {
        if let Err(error) = regex::bytes::RegexBuilder::new(text).multi_line(true).build() {
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let message = format!("`{key}` is not a regular expression: {cause}");
            self.report(
                text.span(),
                message,
                "see https://docs.rs/regex for the syntax; escape with a backslash in 'single quotes'",
            );
        } else if text.is_empty() {
            self.report(
                text.span(),
                format!("`{key}` is empty and matches everything"),
                "write it, or leave the key out",
            );
        }
    }
}
