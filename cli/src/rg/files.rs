//! Where the stand-in for ripgrep looks.

use std::path::{Path, PathBuf};

use grep_searcher::BinaryDetection;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use ignore::{DirEntry, Walk, WalkBuilder};

use super::flags::Flags;

/// A file to be searched.
#[derive(Debug)]
pub struct Found {
    /// As it is shown.
    pub path: PathBuf,
    /// What is done about bytes that no text has.
    pub binary: BinaryDetection,
    /// It is what comes in.
    pub is_stdin: bool,
}

/// What is looked through, and how that is shown.
#[derive(Debug)]
pub struct Where {
    paths: Vec<PathBuf>,
    /// Nobody named any path, so `./` is not shown either.
    is_implied: bool,
    text: bool,
    convert: bool,
}

impl Where {
    /// From the paths that are named; none is what comes in, where something can, or the current folder.
    pub fn of(flags: &Flags, paths: &[PathBuf]) -> Self {
        let is_implied = paths.is_empty();
        let stdin = is_implied && !flags.files && grep_cli::is_readable_stdin();
        let implied = || vec![PathBuf::from(if stdin { "-" } else { "./" })];
        let paths = if is_implied { implied() } else { paths.to_vec() };
        Self { paths, is_implied, text: flags.text, convert: flags.unrestricted >= 3 }
    }

    /// Whether what is found is in one file that needs no name.
    pub fn is_one_file(&self) -> bool {
        matches!(&self.paths[..], [path] if path == Path::new("-") || path.is_file())
    }

    /// The files in the order of their paths.
    pub fn walk(&self, flags: &Flags) -> Result<Walk, String> {
        let mut walk = WalkBuilder::new(&self.paths[0]);
        for path in &self.paths[1..] {
            walk.add(path);
        }
        let ignores = !(flags.no_ignore || flags.unrestricted >= 1);
        let vcs = ignores && !flags.no_ignore_vcs;
        walk.hidden(!(flags.hidden || flags.unrestricted >= 2) || flags.no_hidden);
        walk.ignore(ignores).parents(ignores).git_ignore(vcs).git_global(vcs).git_exclude(vcs);
        walk.require_git(!flags.no_require_git).follow_links(flags.follow).max_depth(flags.max_depth);
        if ignores {
            walk.add_custom_ignore_filename(".rgignore");
        }
        let size = flags.max_filesize.as_deref().map(grep_cli::parse_human_readable_size);
        walk.max_filesize(size.transpose().map_err(|error| error.to_string())?);
        walk.overrides(globs(flags)?).types(types(flags)?).sort_by_file_path(Path::cmp);
        Ok(walk.build())
    }

    /// The file of an entry; `None` where it is none, or not one that is read unasked.
    pub fn found(&self, entry: &DirEntry) -> Option<Found> {
        let is_named = entry.depth() == 0;
        let is_file = entry.file_type().is_none_or(|kind| if is_named { !kind.is_dir() } else { kind.is_file() });
        if !is_file && !entry.is_stdin() {
            return None;
        }
        let binary = match (self.text, is_named || self.convert) {
            (true, _) => BinaryDetection::none(),
            (false, true) => BinaryDetection::convert(0),
            (false, false) => BinaryDetection::quit(0),
        };
        let path = entry.path();
        let shown = if self.is_implied { path.strip_prefix("./").unwrap_or(path) } else { path };
        let path = if entry.is_stdin() { Path::new("<stdin>") } else { shown };
        Some(Found { path: path.to_owned(), binary, is_stdin: entry.is_stdin() })
    }
}

fn globs(flags: &Flags) -> Result<Override, String> {
    let mut globs = OverrideBuilder::new(std::env::current_dir().map_err(|error| error.to_string())?);
    for (all, either) in [(&flags.globs, false), (&flags.iglobs, true)] {
        globs.case_insensitive(either).map_err(|error| error.to_string())?;
        for glob in all {
            globs.add(glob).map_err(|error| error.to_string())?;
        }
    }
    globs.build().map_err(|error| error.to_string())
}

/// The types there are, with those selected that are asked for.
pub fn types(flags: &Flags) -> Result<Types, String> {
    let mut types = TypesBuilder::new();
    types.add_defaults();
    for name in &flags.types {
        types.select(name);
    }
    for name in &flags.types_not {
        types.negate(name);
    }
    types.build().map_err(|error| format!("{error}; `rg --type-list` names them"))
}
