//! Globs of paths and of ids.
//!
//! In paths `*` stays inside one folder and `**` crosses folders; in ids `*` matches anything,
//! since the `/` of an id made from a path means nothing there.

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// Whether a text is a glob rather than a plain name.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// A glob of paths inside the repository; the error is cause and next step.
pub fn path_glob(text: &str) -> Result<Glob, (String, String)> {
    inside(text)?;
    GlobBuilder::new(text).literal_separator(true).backslash_escape(true).empty_alternates(true).build().map_err(
        |error| {
            (
                format!("not a glob: {text:?}: {}", error.kind()),
                "see the brackets, e.g. \"src/**/*.{js,ts}\"".to_owned(),
            )
        },
    )
}

/// A glob of paths inside the job file's folder; the error is cause and next step.
pub fn folder_glob(text: &str) -> Result<Glob, (String, String)> {
    path_glob(text).map_err(|(cause, help)| {
        let help = if help.starts_with("write it relative") {
            "write it relative to the job file's folder, e.g. \"scripts/**\"".to_owned()
        } else {
            help
        };
        (cause.replace("the repository", "the job file's folder"), help)
    })
}

/// A set of globs that [`path_glob`] accepts; those it refuses match nothing.
pub fn path_globs<'a>(texts: impl IntoIterator<Item = &'a str>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in texts.into_iter().filter_map(|text| path_glob(text).ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

/// A glob of ids.
pub fn id_glob(text: &str) -> Result<GlobMatcher, (String, String)> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| {
        (format!("not a glob: {text:?}: {}", error.kind()), "see the brackets, e.g. \"lazy-*\"".to_owned())
    })
}

/// Refuses what can only lie outside the repository, or can match nothing in it.
fn inside(text: &str) -> Result<(), (String, String)> {
    let outside = |why: &str| {
        let help = "write it relative to the root of the repository, e.g. \"src/**/*.rs\"";
        Err((format!("{text:?} lies outside the repository: {why}"), help.to_owned()))
    };
    let bytes = text.as_bytes();
    if text.trim().is_empty() {
        return Err(("an empty path".to_owned(), "write a glob such as \"src/**\", or leave it out".to_owned()));
    }
    if bytes[0] == b'/' {
        return outside("it starts at the root of the file system");
    }
    if bytes[0] == b'~' {
        return outside("it starts at a home folder");
    }
    if bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return outside("it starts with a drive letter");
    }
    if text.split(['/', '\\']).any(|part| part == "..") {
        return outside("it goes up with `..`");
    }
    if let Some(rest) = text.strip_prefix("./") {
        let help = format!("leave out the `./`: {rest:?}");
        return Err((format!("{text:?} matches no path: paths here do not start with `./`"), help));
    }
    if let Some(folder) = text.strip_suffix('/') {
        return Err((
            format!("{text:?} matches no file: it names a folder"),
            format!("for all files in it write \"{folder}/**\""),
        ));
    }
    if text.starts_with('!') {
        let help = "leave files of a map out with `exclude`; elsewhere name what is meant".to_owned();
        return Err((format!("{text:?} is a negation, which globs here do not have"), help));
    }
    if text.split('/').any(|part| part == ".git") {
        return Err((format!("{text:?} is part of git's own folder"), "name files that git tracks".to_owned()));
    }
    Ok(())
}
