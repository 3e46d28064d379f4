//! The git command line tool, run in a clean environment.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Oid;

/// Oldest git that Longhaul runs with: `index-pack --strict` as it is used, and `merge-tree
/// --merge-base`, by which merges are checked, came with it.
pub const VERSION_MIN: (u32, u32) = (2, 40);

/// Why a git command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program could not be started.
    #[error("cannot run git: {source} (is git installed and on PATH?)")]
    Start {
        /// The operating system's word.
        source: std::io::Error,
    },
    /// It ran and failed.
    #[error("git {args} failed ({status}): {stderr}")]
    Failed {
        /// The arguments, joined.
        args: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, clipped.
        stderr: String,
    },
    /// It is older than [`VERSION_MIN`].
    #[error("git {}.{} is too old: install {}.{} or newer", found.0, found.1, VERSION_MIN.0, VERSION_MIN.1)]
    TooOld {
        /// Major and minor version.
        found: (u32, u32),
    },
    /// It succeeded and printed something unexpected.
    #[error("git {args} printed {output:?}, which is not {expected}")]
    Output {
        /// The arguments, joined.
        args: String,
        /// What it printed, clipped.
        output: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// One git directory (and maybe a work tree and an index) to run commands on.
#[derive(Clone, Debug)]
pub struct Git {
    git_dir: PathBuf,
    work_tree: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

impl Git {
    /// Commands on a bare repository or a bare `.git` folder.
    pub fn at(git_dir: impl Into<PathBuf>) -> Self {
        Self { git_dir: git_dir.into(), work_tree: None, env: Vec::new() }
    }

    /// With a work tree that lies elsewhere.
    pub fn with_work_tree(mut self, work_tree: impl Into<PathBuf>) -> Self {
        self.work_tree = Some(work_tree.into());
        self
    }

    /// With one more environment variable, e.g. `GIT_INDEX_FILE`.
    pub fn with_env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// The git directory.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// A command ready to run, for callers that stream.
    pub fn command<I, S>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = clean_command();
        command.env("GIT_DIR", &self.git_dir);
        if let Some(work_tree) = &self.work_tree {
            command.env("GIT_WORK_TREE", work_tree).current_dir(work_tree);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        // Large packs would otherwise start a `gc` nobody asked for.
        command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=/dev/null"]);
        command.args(args);
        command
    }

    /// Runs to the end and gives stdout.
    pub fn run<I, S>(&self, args: I) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        finish(self.command(args), None)
    }

    /// As [`Git::run`], with bytes on stdin.
    pub fn run_with_input<I, S>(&self, args: I, input: &[u8]) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        finish(self.command(args), Some(input))
    }

    /// As [`Git::run`], for output that is one line of text; trimmed.
    pub fn line<I, S>(&self, args: I) -> Result<String, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let out = self.run(args)?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    /// As [`Git::line`], for output that is an object id.
    pub fn oid<I, S>(&self, args: I) -> Result<Oid, GitError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let line = self.line(&args)?;
        line.parse().map_err(|_| GitError::Output { args: join(&args), output: line, expected: "an object id" })
    }
}

/// git without anybody's configuration, prompts or inherited repository.
fn clean_command() -> Command {
    let mut command = Command::new("git");
    for (key, _) in std::env::vars_os() {
        if key.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(key);
        }
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_ADVICE", "0")
        .env("LC_ALL", "C.UTF-8")
        // Ctrl-C in the terminal is for Longhaul, which decides what to end.
        .process_group(0)
        .stdin(Stdio::null());
    command
}

fn finish(mut command: Command, input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|source| GitError::Start { source })?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // stdin and stdout at once: a child that answers while it reads must not block.
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            scope.spawn(move || {
                // A child that stops reading says why by its exit status.
                let _ended_early = stdin.write_all(input);
            });
        }
        child.wait_with_output()
    })
    .map_err(|source| GitError::Start { source })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(failed(&command, output)),
    }
}

/// The error of a command that ran and failed.
pub(super) fn failed(command: &Command, output: Output) -> GitError {
    let Output { status, stderr, .. } = output;
    let args: Vec<OsString> = command.get_args().skip(6).map(OsStr::to_owned).collect();
    let stderr = String::from_utf8_lossy(&stderr);
    GitError::Failed { args: join(&args), status, stderr: crate::text::clip_tail(stderr.trim(), 2_000).to_owned() }
}

fn join(args: &[OsString]) -> String {
    let text: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    crate::text::clip_head(&text.join(" "), 300).to_owned()
}

/// The installed git's version.
pub fn version() -> Result<(u32, u32), GitError> {
    let mut command = clean_command();
    command.arg("version");
    let out = finish(command, None)?;
    let text = String::from_utf8_lossy(&out).into_owned();
    let mut numbers = text.trim().trim_start_matches("git version ").split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(GitError::Output { args: "version".to_owned(), output: text, expected: "a version" }),
    }
}

/// The installed git's version, which is not older than [`VERSION_MIN`].
pub fn required_version() -> Result<(u32, u32), GitError> {
    recent_enough(version()?)
}

fn recent_enough(found: (u32, u32)) -> Result<(u32, u32), GitError> {
    if found >= VERSION_MIN { Ok(found) } else { Err(GitError::TooOld { found }) }
}

/// Makes everything written to the file system that holds `objects` durable: one `syncfs`, which
/// covers files, folders and renames. A batch of imports needs one barrier, not one per object.
pub fn sync_objects(objects: &Path) -> std::io::Result<()> {
    let folder = std::fs::File::open(objects)?;
    rustix::fs::syncfs(&folder)?;
    Ok(())
}
