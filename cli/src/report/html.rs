//! The report as one self-contained HTML page: inline style and picture, nothing fetched, no
//! script. It can be mailed, attached to a build or opened from a disk a year later.
//!
//! The page is a template with automatic escaping; a content policy in its head refuses scripts
//! and anything external should escaping ever fail.

use minijinja::{AutoEscape, Environment, context, syntax::SyntaxConfig, value::Serde};

use super::{ReportInput, digest::Digest, timeline::Timeline};

/// Landed subtasks listed without a click.
const OPEN_ROWS_MAX: usize = 40;

/// The report of `input` as one HTML page, below 1 MB whatever the size of the job.
pub fn html(input: &ReportInput) -> String {
    let digest = Digest::of(input);
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    let landed_open = digest.landed.rows.len() <= OPEN_ROWS_MAX;
    let page = environment.render_named_str(
        "page.html",
        include_str!("page.html"),
        context! {
            page => Serde(&digest),
            timeline => Serde(Timeline::of(input)),
            landed_open,
        },
    );
    page.expect("the template is part of this build and its context has no other shape")
}
