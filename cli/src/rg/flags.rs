//! What can be asked of the stand-in for ripgrep, in ripgrep's words.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Parser};

/// Flags of ripgrep that agents and scripts use. Any other ends it with 2: what it would have changed is not
/// guessed.
#[derive(Parser, Debug, Default)]
#[command(
    name = "rg",
    about = "Searches like ripgrep, by ripgrep's own libraries: Longhaul offers it where ripgrep is not installed.",
    after_help = "Flags mean what they mean in ripgrep; those it does not list are not there: install ripgrep for them.",
    version,
    disable_version_flag = true,
    args_override_self = true
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Flags {
    /// The pattern, unless -e or -f gives it, and where to look: files, folders, or `-`
    pub words: Vec<OsString>,
    /// A pattern; several may be given
    #[arg(short = 'e', long = "regexp", value_name = "PATTERN", allow_hyphen_values = true)]
    pub patterns: Vec<String>,
    /// A file with a pattern on each line
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub pattern_files: Vec<PathBuf>,

    /// Letters of either case
    #[arg(short = 'i', long, overrides_with_all = ["case_sensitive", "smart_case"])]
    pub ignore_case: bool,
    /// Letters of the same case
    #[arg(short = 's', long, overrides_with_all = ["ignore_case", "smart_case"])]
    pub case_sensitive: bool,
    /// Letters of either case where the pattern has small ones only
    #[arg(short = 'S', long, overrides_with_all = ["ignore_case", "case_sensitive"])]
    pub smart_case: bool,
    /// The pattern is text, not a regular expression
    #[arg(short = 'F', long)]
    pub fixed_strings: bool,
    /// Whole words
    #[arg(short = 'w', long)]
    pub word_regexp: bool,
    /// Whole lines
    #[arg(short = 'x', long)]
    pub line_regexp: bool,
    /// Lines without a match
    #[arg(short = 'v', long)]
    pub invert_match: bool,
    /// Matches may go over several lines
    #[arg(short = 'U', long)]
    pub multiline: bool,
    /// With -U, a dot is a line's end too
    #[arg(long)]
    pub multiline_dotall: bool,
    /// At most so many lines of each file
    #[arg(short = 'm', long, value_name = "NUMBER")]
    pub max_count: Option<u64>,

    /// Files that match a glob, or with `!` those that do not
    #[arg(short = 'g', long = "glob", value_name = "GLOB", allow_hyphen_values = true)]
    pub globs: Vec<String>,
    /// The same for names of either case
    #[arg(long = "iglob", value_name = "GLOB", allow_hyphen_values = true)]
    pub iglobs: Vec<String>,
    /// Files of a type
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Files not of a type
    #[arg(short = 'T', long = "type-not", value_name = "TYPE")]
    pub types_not: Vec<String>,
    /// Names the types
    #[arg(long)]
    pub type_list: bool,
    /// Hidden files and folders too
    #[arg(short = '.', long, overrides_with = "no_hidden")]
    pub hidden: bool,
    /// Not those that are hidden
    #[arg(long)]
    pub no_hidden: bool,
    /// What .gitignore and the like name, too
    #[arg(long)]
    pub no_ignore: bool,
    /// What .gitignore and the like of version control name, too
    #[arg(long)]
    pub no_ignore_vcs: bool,
    /// Less is passed over: -u is --no-ignore, -uu --hidden too, -uuu --text too
    #[arg(short = 'u', long, action = ArgAction::Count)]
    pub unrestricted: u8,
    /// Follow symbolic links
    #[arg(short = 'L', long)]
    pub follow: bool,
    /// So many folders deep
    #[arg(short = 'd', long, alias = "maxdepth", value_name = "NUMBER")]
    pub max_depth: Option<usize>,
    /// Not files larger than this, with K, M or G
    #[arg(long, value_name = "SIZE")]
    pub max_filesize: Option<String>,
    /// Binary files like text
    #[arg(short = 'a', long)]
    pub text: bool,

    /// Lines after each match
    #[arg(short = 'A', long, value_name = "NUMBER")]
    pub after_context: Option<usize>,
    /// Lines before each match
    #[arg(short = 'B', long, value_name = "NUMBER")]
    pub before_context: Option<usize>,
    /// Lines around each match
    #[arg(short = 'C', long, value_name = "NUMBER")]
    pub context: Option<usize>,
    /// Numbers of lines
    #[arg(short = 'n', long, overrides_with = "no_line_number")]
    pub line_number: bool,
    /// No numbers of lines
    #[arg(short = 'N', long, overrides_with = "line_number")]
    pub no_line_number: bool,
    /// The column of each line's first match
    #[arg(long)]
    pub column: bool,
    /// A line for each match, with its column
    #[arg(long)]
    pub vimgrep: bool,
    /// Names of files
    #[arg(short = 'H', long, overrides_with = "no_filename")]
    pub with_filename: bool,
    /// No names of files
    #[arg(short = 'I', long, overrides_with = "with_filename")]
    pub no_filename: bool,
    /// The name of a file once, above its lines
    #[arg(long, overrides_with = "no_heading")]
    pub heading: bool,
    /// The name of a file on each line
    #[arg(long, overrides_with = "heading")]
    pub no_heading: bool,
    /// What matched, and not its line
    #[arg(short = 'o', long)]
    pub only_matching: bool,
    /// What is shown in the place of what matched
    #[arg(short = 'r', long, value_name = "TEXT", allow_hyphen_values = true)]
    pub replace: Option<String>,
    /// No blanks at the beginning of lines
    #[arg(long)]
    pub trim: bool,
    /// Not lines longer than this, in bytes; 0 is no limit
    #[arg(short = 'M', long, value_name = "NUMBER")]
    pub max_columns: Option<u64>,
    /// Of longer lines the beginning
    #[arg(long)]
    pub max_columns_preview: bool,
    /// What stands between a line's name, number and text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub field_match_separator: Option<String>,
    /// The same for lines of context
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub field_context_separator: Option<String>,
    /// Names end with a zero byte
    #[arg(short = '0', long)]
    pub null: bool,

    /// Only how many lines match
    #[arg(short = 'c', long)]
    pub count: bool,
    /// Only how many matches there are
    #[arg(long)]
    pub count_matches: bool,
    /// Counts of 0 too
    #[arg(long)]
    pub include_zero: bool,
    /// Only the names of files with a match
    #[arg(short = 'l', long)]
    pub files_with_matches: bool,
    /// Only the names of files without a match
    #[arg(long)]
    pub files_without_match: bool,
    /// The names of the files that would be searched
    #[arg(long)]
    pub files: bool,
    /// Nothing: the code says whether there is a match
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// JSON, a line for each event
    #[arg(long)]
    pub json: bool,

    /// Nothing of files that cannot be read
    #[arg(long)]
    pub no_messages: bool,
    /// The version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub version: Option<bool>,

    /// There are no colours: as with `never`
    #[arg(long, value_name = "WHEN", hide = true)]
    pub color: Option<String>,
    #[arg(long, hide = true)]
    pub colors: Vec<String>,
    /// There is no configuration file to be passed over
    #[arg(long, hide = true)]
    pub no_config: bool,
    /// One at a time, so that the order is always the same
    #[arg(short = 'j', long, hide = true)]
    pub threads: Option<usize>,
    #[arg(long, value_name = "KEY", hide = true)]
    pub sort: Option<Sort>,
    #[arg(long, hide = true)]
    pub line_buffered: bool,
    #[arg(long, hide = true)]
    pub crlf: bool,
    #[arg(long, hide = true)]
    pub no_require_git: bool,
    #[arg(long, hide = true)]
    pub mmap: bool,
    #[arg(long, hide = true)]
    pub no_mmap: bool,
}

/// Files come in the order of their paths, whichever of these is asked for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Sort {
    /// By path.
    Path,
    /// In any order.
    None,
}
