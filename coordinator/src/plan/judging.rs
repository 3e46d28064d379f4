//! The files that say whether a change is good: what the gate, its final run, its coverage, the
//! checks and what is run before them (set-up, services) run, and what those read to know what to
//! run (`Makefile` for `make`).
//!
//! An agent that may change them may have itself judged by `true`. Found by the words of the
//! commands, so what a script calls in its turn is not among them, nor is one whose name holds a
//! placeholder. They need not be there: a new `GNUmakefile` goes before the `Makefile` that is.

use std::collections::BTreeSet;

use longhaul_common::spec::{CommandLine, JobFile};

use super::base::Base;
use super::runners::{PACKAGE, Program};

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
    let of = |commands: Vec<&CommandLine>| -> BTreeSet<String> {
        let lines = commands.into_iter().map(|command| command.words().join(" "));
        lines.flat_map(|line| of_line(&line, has, is_folder)).collect()
    };
    let mut found = of(commands);
    // A set-up installs what `package.json` lists, and to add to that is ordinary work.
    found.extend(of(before(file)).into_iter().filter(|path| path.rsplit('/').next() != Some(PACKAGE)));
    found.into_iter().collect()
}

/// What a gate runs before it judges.
fn before(file: &JobFile) -> Vec<&CommandLine> {
    let mut commands = Vec::new();
    for env in file.repo.iter().map(|repo| &repo.env) {
        commands.extend(&env.setup);
        for service in env.services.iter().map(|service| &service.value) {
            commands.extend(std::iter::once(&service.start).chain(&service.ready).chain(&service.stop));
        }
    }
    commands
}

/// What the next word of a command is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A program, behind options of what starts it.
    Program,
    /// The program of a launcher, behind `run`.
    Launched,
    /// Options of an interpreter, then its script.
    Script,
    /// A module of Python.
    Module,
    /// Anything else.
    Argument,
}

/// What the next word is instead, as the value of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A file that is run, or gone by.
    File,
    /// Anything else.
    Other,
}

/// A way through the words of a line.
struct Walk<'a, H> {
    has: H,
    /// Folders that the line names: a command that goes to one first names what is in there.
    folders: &'a [String],
    found: BTreeSet<String>,
    next: Next,
    value: Option<Value>,
    program: Program<'a>,
    /// Files that its runners go by.
    read: Vec<&'static str>,
}

/// What a shell line runs. Quotes are taken off and not understood: a word too many is looked at
/// where they hold more than one, which finds what `sh -c "…"` runs.
fn of_line(line: &str, has: impl Fn(&str) -> bool, is_folder: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let line = line.replace([';', '&', '|', '(', ')', '\n', '`'], " ; ").replace('<', " ");
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    // `--directory=web` goes there as well.
    let values = words.iter().map(|word| word.split_once('=').map_or(*word, |(_, value)| value));
    let folders: Vec<String> = values.filter_map(|word| plain("", word)).filter(|path| is_folder(path)).collect();
    let (found, read, program) = (BTreeSet::new(), Vec::new(), Program::default());
    let mut walk = Walk { has, folders: &folders, found, next: Next::Program, value: None, program, read };
    words.iter().for_each(|word| walk.word(word));
    for name in walk.read {
        walk.found.insert(name.to_owned());
        walk.found.extend(folders.iter().map(|folder| format!("{}/{name}", globset::escape(folder))));
    }
    walk.found
}

impl<'a, H: Fn(&str) -> bool> Walk<'a, H> {
    fn word(&mut self, word: &'a str) {
        if word == ";" {
            (self.next, self.value, self.program) = (Next::Program, None, Program::default());
        } else if let Some(value) = self.value.take() {
            if value == Value::File {
                self.runs(word);
            }
        } else if word.starts_with('-') && word != "--" || word.starts_with('+') && self.program.is_shell() {
            self.option(word);
        } else {
            self.plain_word(word);
        }
    }

    fn plain_word(&mut self, word: &'a str) {
        match self.next {
            Next::Program if word == "--" || is_assignment(word) || is_duration(word) => {}
            Next::Program => self.start(word),
            Next::Launched if matches!(word, "run" | "exec" | "x" | "dlx" | "--") => {
                // What Python's `coverage` runs is a script, or a module.
                self.next = if self.program.is_python() { Next::Script } else { Next::Program };
            }
            // `yarn jest` runs it, too, and `bun a.ts` the file.
            Next::Launched => {
                let program = Program::of(word);
                if program.is_interpreter() || program.reads().next().is_some() {
                    self.start(word);
                } else if self.program.is_interpreter() {
                    self.runs(word);
                    self.next = Next::Argument;
                }
            }
            Next::Script if word == "--" => {}
            Next::Script => {
                self.runs(word);
                self.next = Next::Argument;
            }
            Next::Module => self.module(word),
            Next::Argument => {}
        }
    }

    fn start(&mut self, word: &'a str) {
        self.runs(word);
        let program = Program::of(word);
        self.program = program;
        self.read.extend(program.reads());
        self.next = if program.is_starter() {
            Next::Program
        } else if program.is_launcher() {
            Next::Launched
        } else if program.is_interpreter() {
            Next::Script
        } else {
            Next::Argument
        };
    }

    fn option(&mut self, word: &'a str) {
        let program = self.program;
        let (name, given) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match (self.next, given) {
            (Next::Argument, _) if program.reads().next().is_some() => match Program::file_option(word) {
                Some("") => self.value = Some(Value::File),
                Some(file) => self.runs(file),
                None => {}
            },
            (Next::Argument, _) => {}
            (_, None) if program.names_module(name) => self.next = Next::Module,
            (_, Some(file)) if program.loads(name) => self.runs(file),
            (_, None) if program.loads(name) => self.value = Some(Value::File),
            (_, None) if program.takes_value(name) => self.value = Some(Value::Other),
            (Next::Script, _) if program.is_shell() && !word.starts_with("--") => {
                // Options of one letter together: the line to run, names of further options.
                if word.contains('c') {
                    self.next = Next::Program;
                }
                if word.contains(['o', 'O']) {
                    self.value = Some(Value::Other);
                }
            }
            (Next::Script, _) if program.is_python() => {
                if let Some(module) = word.strip_prefix("-m") {
                    self.module(module);
                }
            }
            _ => {}
        }
    }

    /// A program that is a module of Python, or one of the repository's modules.
    fn module(&mut self, word: &'a str) {
        let path = word.replace('.', "/");
        self.runs(&format!("{path}.py"));
        self.runs(&format!("{path}/__main__.py"));
        self.start(word);
    }

    /// Adds a file of the repository.
    fn runs(&mut self, word: &str) {
        let folders = std::iter::once("").chain(self.folders.iter().map(String::as_str));
        let places = folders.filter_map(|folder| plain(folder, word)).filter(|path| (self.has)(path));
        self.found.extend(places.map(|path| globset::escape(&path)));
    }
}

/// As the repository has it; `None` for what lies outside.
fn plain(folder: &str, word: &str) -> Option<String> {
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    if word.starts_with('/') {
        return None;
    }
    for name in word.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
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
    use longhaul_common::patch::PathSet;

    use super::super::runners::RUNNERS;
    use super::*;

    const FILES: &[&str] = &[
        "check.sh",
        "scripts/gate.sh",
        "tools/x.py",
        "tools/main/__main__.py",
        "src/a.txt",
        "web/run.sh",
        "web/x.ts",
        "main.rs",
        "mk/check.mk",
        "jest.ci.js",
        "x.ts",
        "setup.cjs",
    ];

    fn found(line: &str) -> Vec<String> {
        let is_folder = |path: &str| FILES.iter().any(|file| file.starts_with(&format!("{path}/")));
        of_line(line, |path| FILES.contains(&path), is_folder).into_iter().collect()
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
            ("sh {job_dir}/check.sh src/a.txt", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(found(line), *expected, "{line}");
        }
    }

    #[test]
    fn options_and_what_starts_another_program_hide_no_script() {
        let cases: &[(&str, &[&str])] = &[
            ("bash -euo pipefail check.sh", &["check.sh"]),
            ("bash -eu -o pipefail -O extglob check.sh src/a.txt", &["check.sh"]),
            ("bash +o history check.sh", &["check.sh"]),
            ("bash -euo pipefail -c './check.sh && sh scripts/gate.sh'", &["check.sh", "scripts/gate.sh"]),
            ("bash -ceuo pipefail 'sh check.sh'", &["check.sh"]),
            ("bash --norc check.sh", &["check.sh"]),
            ("sh < check.sh", &["check.sh"]),
            ("python3.12 tools/x.py src/a.txt", &["tools/x.py"]),
            ("/usr/bin/python3.12 -W error -X dev tools/x.py", &["tools/x.py"]),
            ("python -m tools.x src/a.txt", &["tools/x.py"]),
            ("python3 -mtools.main", &["tools/main/__main__.py"]),
            ("node20 -r ./setup.cjs x.ts", &["setup.cjs", "x.ts"]),
            ("env -u HOME -- python tools/x.py", &["tools/x.py"]),
            ("timeout -s KILL 60 ./check.sh", &["check.sh"]),
            ("uv run --with requests --python 3.12 tools/x.py", &["tools/x.py"]),
            ("uv run --frozen python tools/x.py", &["tools/x.py"]),
            ("uv run -m tools.x", &["tools/x.py"]),
            ("uv run --script tools/x.py src/a.txt", &["tools/x.py"]),
            ("pwsh -ExecutionPolicy Bypass -File check.sh src/a.txt", &["check.sh"]),
            ("poetry -C web run python3 tools/x.py", &["tools/x.py"]),
            ("npx tsx x.ts", &["package.json", "x.ts"]),
            ("npx -p tsx -c 'sh check.sh'", &["check.sh", "package.json"]),
            ("pnpm --filter web exec node x.ts", &["package.json", "web/package.json", "web/x.ts", "x.ts"]),
            ("bun run x.ts", &["package.json", "x.ts"]),
            ("bun x.ts", &["package.json", "x.ts"]),
            ("bun build src/a.txt", &["package.json"]),
            ("deno run -A x.ts", &["deno.json", "deno.jsonc", "x.ts"]),
            ("coverage run tools/x.py src/a.txt", &[".coveragerc", "tools/x.py"]),
            ("python -m coverage run --source src -m tools.x", &[".coveragerc", "src/.coveragerc", "tools/x.py"]),
            ("sh scripts/../check.sh", &["check.sh"]),
            ("cd web && sh ../check.sh", &["check.sh"]),
            ("uv pip install -r src/a.txt", &[]),
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
            ("make -fmk/check.mk", &["GNUmakefile", "Makefile", "makefile", "mk/check.mk"]),
            ("make --makefile=mk/check.mk", &["GNUmakefile", "Makefile", "makefile", "mk/check.mk"]),
            ("cd web && npm test", &["package.json", "web/package.json"]),
            ("npm --prefix=web test", &["package.json", "web/package.json"]),
            ("npx jest --ci", &["jest.config.*", "package.json"]),
            ("npx jest --config=jest.ci.js", &["jest.ci.js", "jest.config.*", "package.json"]),
            ("yarn jest -c jest.ci.js", &["jest.ci.js", "jest.config.*", "package.json"]),
            ("python -m pytest -q", &[".pytest.ini", "pytest.ini"]),
            ("poetry run pytest", &[".pytest.ini", "pytest.ini"]),
            ("uv run -m pytest", &[".pytest.ini", "pytest.ini"]),
            ("coverage run -m pytest", &[".coveragerc", ".pytest.ini", "pytest.ini"]),
            ("pnpm exec vitest", &["package.json", "vitest.config.*", "vitest.workspace.*"]),
            ("cargo make", &[]),
            ("echo make", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(found(line), *expected, "{line}");
        }
    }

    #[test]
    fn every_name_that_a_runner_looks_for_is_covered() {
        let cases: &[(&str, &[&str])] = &[
            ("make", &["GNUmakefile", "makefile", "Makefile"]),
            ("gmake", &["GNUmakefile"]),
            ("just", &["justfile", "Justfile", ".justfile"]),
            ("task", &["Taskfile.yml", "taskfile.yaml", "Taskfile.dist.yml", "taskfile.dist.yaml"]),
            ("go-task", &["Taskfile.yaml", "taskfile.yml", "taskfile.dist.yml", "Taskfile.dist.yaml"]),
            ("npm", &["package.json"]),
            ("npx", &["package.json"]),
            ("yarn", &["package.json"]),
            ("pnpm", &["package.json"]),
            ("bun", &["package.json"]),
            ("bunx", &["package.json"]),
            ("deno", &["deno.json", "deno.jsonc"]),
            ("jest", &["package.json", "jest.config.js", "jest.config.ts", "jest.config.json"]),
            ("vitest", &["package.json", "vitest.config.mts", "vitest.workspace.ts"]),
            ("mocha", &["package.json", ".mocharc.yml", ".mocharc.cjs"]),
            ("pytest", &["pytest.ini", ".pytest.ini"]),
            ("py.test", &["pytest.ini"]),
            ("coverage", &[".coveragerc"]),
            ("tox", &["tox.ini"]),
            ("nox", &["noxfile.py"]),
            ("rake", &["rakefile", "Rakefile", "rakefile.rb", "Rakefile.rb"]),
            ("gradle", &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"]),
            ("gradlew", &["build.gradle"]),
            ("mvn", &["pom.xml"]),
            ("mvnw", &["pom.xml"]),
            ("ant", &["build.xml"]),
        ];
        for (names, _) in RUNNERS {
            for name in *names {
                assert!(cases.iter().any(|(program, _)| program == name), "{name} has no case");
            }
        }
        for (program, names) in cases {
            let set = PathSet::new(found(&format!("{program} web"))).expect("globs");
            for name in *names {
                assert!(set.contains(name) && set.contains(&format!("web/{name}")), "{program}: {name}");
            }
            assert!(!set.contains("src/a.txt"), "{program}");
        }
    }
}
