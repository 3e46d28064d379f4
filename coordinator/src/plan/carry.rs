//! The files of the job file's folder that a plan carries along, so that a worker on another
//! machine finds in `{job_dir}` what its commands name.
//!
//! What a command names as `{job_dir}/x` is found by itself; scripts that read further files need
//! `carry`. Only regular files travel: a link would mean something else on another machine. Limits
//! are those of [`longhaul_common::spec`], because every generation journals what it carries.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use longhaul_common::spec::{
    CARRIED_BYTES_MAX, CARRIED_TOTAL_BYTES_MAX, CARRY_LOOKED_AT_MAX, CommandLine, INPUT_FILES_MAX, JobFile, Problem,
    folder_glob, is_glob,
};
use longhaul_proto::CarriedFile;

use super::agents::{missing_input, named};

/// What to do about a file that cannot travel.
const HELP: &str = "workers on other machines need it; name fewer or smaller files, or commit it to the repository";

/// Everything commands name and `carry` adds, by path.
pub(super) fn carried(file: &JobFile, job_dir: &Path, problems: &mut Vec<Problem>) -> Vec<CarriedFile> {
    let mut bag = Bag { file, job_dir, files: BTreeMap::new(), bytes: 0, problems };
    for (text, span) in texts(file) {
        // A name that leads outside was reported where the command was read.
        for path in named(text).unwrap_or_default() {
            bag.named(path, &span);
        }
    }
    for glob in file.carry.iter() {
        bag.matching(glob, &glob.span());
    }
    bag.files.into_values().collect()
}

/// Every text that may name a file of the job folder, with its place.
fn texts(file: &JobFile) -> Vec<(&str, Range<usize>)> {
    let mut all: Vec<(&str, Range<usize>)> = Vec::new();
    let mut commands: Vec<(&CommandLine, Range<usize>)> = Vec::new();
    for agent in file.agent.values() {
        commands.extend(agent.run.iter().map(|run| (&run.value, run.span())));
        all.extend(agent.env.values().map(|value| (value.value.as_str(), value.span())));
    }
    for server in file.mcp.values() {
        commands.push((&server.run.value, server.run.span()));
        all.extend(server.env.values().map(|value| (value.value.as_str(), value.span())));
    }
    let gate = std::iter::once(&file.gate.run).chain(&file.gate.last).chain(&file.gate.coverage);
    commands.extend(gate.map(|at| (&at.value, at.span())));
    for table in file.tables() {
        let work = table.work();
        commands.extend(work.check.into_iter().chain(work.checks).map(|at| (&at.value, at.span())));
    }
    for repo in &file.repo {
        commands.extend([&repo.fix, &repo.env.setup].into_iter().flatten().map(|command| (command, repo.span())));
        commands.extend(repo.derived.iter().map(|derived| (&derived.regenerate, derived.span())));
        for service in &repo.env.services {
            let more = [Some(&service.value.start), service.ready.as_ref(), service.stop.as_ref()];
            commands.extend(more.into_iter().flatten().map(|command| (command, service.span())));
        }
    }
    for (command, span) in commands {
        match command {
            CommandLine::Shell(line) => all.push((line, span)),
            CommandLine::Argv(argv) => all.extend(argv.iter().map(|word| (word.as_str(), span.clone()))),
        }
    }
    all
}

struct Bag<'a> {
    file: &'a JobFile,
    job_dir: &'a Path,
    files: BTreeMap<String, CarriedFile>,
    bytes: u64,
    problems: &'a mut Vec<Problem>,
}

impl Bag<'_> {
    fn named(&mut self, path: &str, span: &Range<usize>) {
        let plain: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let path = plain.join("/");
        let (mut paths, path) = (Vec::new(), path.as_str());
        if let Err(cause) = list(self.job_dir, path, INPUT_FILES_MAX, &mut paths) {
            let cause = format!("cannot read {{job_dir}}/{path}: {cause}");
            self.problems.push(missing_input(self.file, span.clone(), &cause));
            return;
        }
        paths.iter().for_each(|path| self.add(path, span));
    }

    fn matching(&mut self, text: &str, span: &Range<usize>) {
        let Ok(glob) = folder_glob(text) else { return };
        let matcher = glob.compile_matcher();
        let fixed: Vec<&str> = text.split('/').take_while(|part| !is_glob(part)).collect();
        let from = if fixed.len() == text.split('/').count() { text.to_owned() } else { fixed.join("/") };
        let mut paths = Vec::new();
        let listed = list(self.job_dir, &from, CARRY_LOOKED_AT_MAX, &mut paths);
        paths.retain(|path| matcher.is_match(path));
        let problem = match listed {
            Err(cause) => format!("cannot look for {text:?}: {cause}"),
            Ok(()) if paths.is_empty() => format!("{text:?} matches no file in {}", self.job_dir.display()),
            Ok(()) => String::new(),
        };
        if !problem.is_empty() {
            let help = "`carry` is relative to the job file's folder, e.g. \"scripts/**\"";
            self.problems.push(self.file.source.problem(span.clone(), problem, help));
            return;
        }
        paths.iter().for_each(|path| self.add(path, span));
    }

    fn add(&mut self, path: &str, span: &Range<usize>) {
        if self.files.contains_key(path) {
            return;
        }
        if path.starts_with('"') || path.contains(|c: char| c.is_control() || c == '\\') {
            return self
                .refuse(span, format!("{path:?} cannot be carried to a worker: rename it without special characters"));
        }
        match read(&self.job_dir.join(path)) {
            Ok((content, executable)) => {
                let before = self.bytes;
                self.bytes += content.len() as u64;
                if before <= CARRIED_TOTAL_BYTES_MAX && self.bytes > CARRIED_TOTAL_BYTES_MAX {
                    self.refuse(span, format!("with {path}, the carried files have more than 8 MiB together"));
                }
                // Beyond the limit there is no plan: nothing more is kept in memory for it.
                let content = if self.bytes > CARRIED_TOTAL_BYTES_MAX { Vec::new() } else { content };
                self.files.insert(path.to_owned(), CarriedFile { path: path.to_owned(), content, executable });
            }
            Err(cause) => self.refuse(span, format!("{path} cannot be carried to a worker: {cause}")),
        }
    }

    fn refuse(&mut self, span: &Range<usize>, message: String) {
        self.problems.push(self.file.source.problem(span.clone(), message, HELP));
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, bool), String> {
    let about: Metadata = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if about.is_symlink() {
        return Err("it is a symbolic link".to_owned());
    }
    if !about.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if about.len() > CARRIED_BYTES_MAX {
        return Err(format!("it has {} bytes, and 1 MiB is the most", about.len()));
    }
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    Ok((content, about.permissions().mode() & 0o111 != 0))
}

/// A file, or every file below a folder, in order; git's own folders are left out. Links are named
/// and never followed, so the walk ends.
fn list(root: &Path, path: &str, max: usize, found: &mut Vec<String>) -> Result<(), String> {
    let full = root.join(path);
    let about = std::fs::symlink_metadata(&full).map_err(|error| error.to_string())?;
    if found.len() >= max {
        return Err(format!("more than {max} files"));
    }
    if !about.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&full).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        let name = name.into_string().map_err(|name| format!("the name {name:?} is not UTF-8"))?;
        names.push(name);
    }
    names.sort();
    let below = |name: String| if path.is_empty() { name } else { format!("{path}/{name}") };
    names
        .into_iter()
        .filter(|name| !name.eq_ignore_ascii_case(".git"))
        .try_for_each(|name| list(root, &below(name), max, found))
}
