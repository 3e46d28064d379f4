//! The files that say whether a change is good: what the gate, its final run, its coverage and the
//! checks run, and what those read to know what to run (`Makefile` for `make`).
//!
//! An agent that may change them may have itself judged by `true`. Found by the words of the
//! commands, so what a script calls in its turn is not among them, nor is one whose name holds a
//! placeholder. They need not be there: a new `GNUmakefile` goes before the `Makefile` that is.

use std::collections::BTreeSet;

use longhaul_common::spec::{CommandLine, JobFile};

use super::base::Base;

/// Programs, and the files in their folder that say what they run.
const RUNNERS: &[(&[&str], &[&str])] = &[
    (&["make", "gmake"], &["GNUmakefile", "makefile", "Makefile"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
    (&["task", "go-task"], &["{T,t}askfile{,.dist}.{yml,yaml}"]),
    (&["npm", "npx", "yarn", "pnpm", "bun", "bunx"], &["package.json"]),
    (&["deno"], &["deno.{json,jsonc}"]),
    (&["jest"], &["package.json", "jest.config.*"]),
    (&["vitest"], &["package.json", "vitest.config.*", "vitest.workspace.*"]),
    (&["mocha"], &["package.json", ".mocharc.*"]),
    (&["pytest", "py.test"], &["pytest.ini", ".pytest.ini"]),
    (&["tox"], &["tox.ini"]),
    (&["nox"], &["noxfile.py"]),
    (&["rake"], &["{R,r}akefile{,.rb}"]),
    (&["gradle", "gradlew"], &["{build,settings}.gradle{,.kts}"]),
    (&["mvn", "mvnw"], &["pom.xml"]),
    (&["ant"], &["build.xml"]),
];

/// Programs that run the file behind their options.
const INTERPRETERS: &[&str] = &[
    ".", "ash", "bash", "dash", "ksh", "lua", "node", "perl", "php", "pwsh", "python", "python2", "python3", "ruby",
    "sh", "source", "zsh",
];

/// Words behind which another command begins.
const STARTERS: &[&str] = &[
    "!", "bunx", "command", "do", "else", "env", "exec", "if", "nice", "nohup", "npx", "setsid", "sudo", "then",
    "time", "timeout", "until", "while", "xargs", "{",
];

/// Programs that start another behind `run` or `exec`.
const LAUNCHERS: &[&str] = &["bundle", "hatch", "mise", "npm", "pdm", "pipenv", "pnpm", "poetry", "rye", "uv", "yarn"];

/// Options whose value is the file that a runner reads.
const FILE_OPTIONS: &[&str] = &["-f", "--file", "--makefile", "--justfile", "--taskfile", "--config", "-c"];

/// Their globs, sorted.
pub(super) fn judging(file: &JobFile, base: &Base) -> Vec<String> {
    let gate = std::iter::once(&file.gate.run).chain(&file.gate.last).chain(&file.gate.coverage);
    let mut commands: Vec<&CommandLine> = gate.map(|at| &at.value).collect();
    for table in file.tables() {
        let work = table.work();
        commands.extend(work.check.into_iter().chain(work.checks).map(|check| &check.value));
    }
    let has = |path: &str| base.has(path);
    let is_folder = |path: &str| {
        let below = format!("{path}/");
        let at = base.entries.partition_point(|entry| entry.path.as_str() < below.as_str());
        base.entries.get(at).is_some_and(|entry| entry.path.starts_with(&below))
    };
    let mut found = BTreeSet::new();
    for command in commands {
        of_line(&command.words().join(" "), has, is_folder, &mut found);
    }
    found.into_iter().collect()
}

/// What the next word of a command is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A program.
    Program,
    /// The program of a launcher, behind `run`.
    Launched,
    /// Options of an interpreter, then its script.
    Script,
    /// The file that a runner reads.
    File,
    /// Anything else.
    Argument,
}

/// Adds what a shell line runs. Quotes are taken off and not understood: a word too many is looked
/// at where they hold more than one, which finds what `sh -c "…"` runs.
fn of_line(line: &str, has: impl Fn(&str) -> bool, is_folder: impl Fn(&str) -> bool, found: &mut BTreeSet<String>) {
    let line = line.replace([';', '&', '|', '(', ')', '\n', '`'], " ; ");
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let folders: Vec<&str> =
        words.iter().map(|word| plain(word)).filter(|path| !path.is_empty() && is_folder(path)).collect();
    let mut runs = |word: &str| {
        // A command that goes to a folder first names what is in there.
        let places =
            std::iter::once(plain(word).to_owned()).chain(folders.iter().map(|at| format!("{at}/{}", plain(word))));
        found.extend(places.filter(|path| has(path)).map(|path| globset::escape(&path)));
    };
    let (mut next, mut runner, mut shell) = (Next::Program, false, false);
    let mut read: Vec<&str> = Vec::new();
    for word in words {
        let is_option = word.starts_with('-');
        if word == ";" {
            (next, runner) = (Next::Program, false);
            continue;
        }
        if runner && FILE_OPTIONS.contains(&word) {
            next = Next::File;
            continue;
        }
        next = match next {
            Next::Program if is_option || is_assignment(word) || is_duration(word) => Next::Program,
            Next::Program => {
                runs(word);
                let name = word.rsplit('/').next().unwrap_or(word);
                let files = RUNNERS.iter().filter(|(names, _)| names.contains(&name)).flat_map(|(_, files)| *files);
                let before = read.len();
                read.extend(files);
                runner = read.len() > before;
                shell = name.ends_with("sh");
                if STARTERS.contains(&name) {
                    Next::Program
                } else if INTERPRETERS.contains(&name) {
                    Next::Script
                } else if LAUNCHERS.contains(&name) {
                    Next::Launched
                } else {
                    Next::Argument
                }
            }
            Next::Launched if matches!(word, "run" | "exec" | "x" | "--") => Next::Program,
            Next::Launched => Next::Launched,
            // The line that a shell is given, or a module of Python.
            Next::Script if is_option && (shell && word.contains('c') || word == "-m") => Next::Program,
            Next::Script if is_option => Next::Script,
            Next::Script | Next::File => {
                runs(word);
                Next::Argument
            }
            Next::Argument => Next::Argument,
        };
    }
    for name in read {
        found.insert((*name).to_owned());
        found.extend(folders.iter().map(|folder| format!("{}/{name}", globset::escape(folder))));
    }
}

/// As the repository has it.
fn plain(word: &str) -> &str {
    word.strip_prefix("./").unwrap_or(word).trim_end_matches('/')
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name).unwrap_or_default();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `timeout 60s …`
fn is_duration(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let files = ["check.sh", "scripts/gate.sh", "tools/x.py", "src/a.txt", "web/run.sh", "main.rs", "mk/check.mk"];
        let mut found = BTreeSet::new();
        let is_folder = |path: &str| files.iter().any(|file| file.starts_with(&format!("{path}/")));
        of_line(line, |path| files.contains(&path), is_folder, &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn scripts_are_found_where_they_run_and_not_where_they_are_looked_at() {
        let cases: &[(&str, &[&str])] = &[
            ("sh check.sh", &["check.sh"]),
            ("./check.sh --fast && scripts/gate.sh", &["check.sh", "scripts/gate.sh"]),
            ("CI=1 timeout 60 bash -eu ./scripts/gate.sh", &["scripts/gate.sh"]),
            ("sh -c 'python3 -B tools/x.py src/a.txt'", &["tools/x.py"]),
            ("(cd web && ./run.sh)", &["web/run.sh"]),
            ("uv run tools/x.py; . ./check.sh", &["check.sh", "tools/x.py"]),
            ("! grep -q todo src/a.txt", &[]),
            ("test -s main.rs", &[]),
            ("cat check.sh", &[]),
            ("sh {job_dir}/check.sh", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(found(line), *expected, "{line}");
        }
    }

    #[test]
    fn the_files_of_runners_are_found_whether_they_are_there_or_not() {
        let cases: &[(&str, &[&str])] = &[
            ("make test", &["GNUmakefile", "Makefile", "makefile"]),
            ("make -f mk/check.mk all", &["GNUmakefile", "Makefile", "makefile", "mk/check.mk"]),
            ("cd web && npm test", &["package.json", "web/package.json"]),
            ("npx jest --ci", &["jest.config.*", "package.json"]),
            ("python -m pytest -q", &[".pytest.ini", "pytest.ini"]),
            ("pnpm exec vitest", &["package.json", "vitest.config.*", "vitest.workspace.*"]),
            ("cargo make", &[]),
            ("echo make", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(found(line), *expected, "{line}");
        }
    }
}
