//! Programs that run what a repository says: by which files they go, and how their words are read.

/// Programs, and the files in their folder that say what they run.
pub(super) const RUNNERS: &[(&[&str], &[&str])] = &[
    (&["make", "gmake"], &["GNUmakefile", "makefile", "Makefile"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
    (
        &["task", "go-task"],
        &[
            "Taskfile.yml",
            "taskfile.yml",
            "Taskfile.yaml",
            "taskfile.yaml",
            "Taskfile.dist.yml",
            "taskfile.dist.yml",
            "Taskfile.dist.yaml",
            "taskfile.dist.yaml",
        ],
    ),
    (&["npm", "npx", "yarn", "pnpm", "bun", "bunx"], &[PACKAGE]),
    (&["deno"], &["deno.json", "deno.jsonc"]),
    (&["jest"], &[PACKAGE, "jest.config.*"]),
    (&["vitest"], &[PACKAGE, "vitest.config.*", "vitest.workspace.*"]),
    (&["mocha"], &[PACKAGE, ".mocharc.*"]),
    (&["pytest", "py.test"], &["pytest.ini", ".pytest.ini"]),
    (&["coverage"], &[".coveragerc"]),
    (&["tox"], &["tox.ini"]),
    (&["nox"], &["noxfile.py"]),
    (&["rake"], &["rakefile", "Rakefile", "rakefile.rb", "Rakefile.rb"]),
    (&["gradle", "gradlew"], &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"]),
    (&["mvn", "mvnw"], &["pom.xml"]),
    (&["ant"], &["build.xml"]),
];

/// What installs packages goes by it as well, and then it judges nothing.
pub(super) const PACKAGE: &str = "package.json";

/// Programs that run the file behind their options, without the number of a version.
const INTERPRETERS: &[&str] = &[
    ".", "ash", "bash", "bun", "coverage", "dash", "deno", "julia", "ksh", "lua", "node", "perl", "php", "pwsh",
    "pypy", "python", "Rscript", "ruby", "sh", "source", "ts-node", "tsx", "zsh",
];

/// Words behind which another command begins.
const STARTERS: &[&str] = &[
    "!",
    "bunx",
    "chronic",
    "command",
    "corepack",
    "cross-env",
    "do",
    "doas",
    "else",
    "env",
    "eval",
    "exec",
    "if",
    "ionice",
    "nice",
    "nohup",
    "npx",
    "setsid",
    "stdbuf",
    "sudo",
    "then",
    "time",
    "timeout",
    "until",
    "while",
    "xargs",
    "xvfb-run",
    "{",
];

/// Programs that start another behind `run` or `exec`.
const LAUNCHERS: &[&str] = &[
    "bun",
    "bundle",
    "conda",
    "coverage",
    "deno",
    "hatch",
    "mamba",
    "micromamba",
    "mise",
    "npm",
    "pdm",
    "pipenv",
    "pnpm",
    "poetry",
    "rye",
    "uv",
    "yarn",
];

/// Options of programs before what they start, whose next word is a value.
const VALUED: &[(&[&str], &[&str])] = &[
    (&["env"], &["-u", "--unset", "-C", "--chdir"]),
    (&["timeout"], &["-s", "--signal", "-k", "--kill-after"]),
    (&["sudo", "doas"], &["-u", "--user", "-g", "--group", "-D", "--chdir"]),
    (&["nice", "ionice"], &["-n", "--adjustment", "-c", "--class"]),
    (&["xargs"], &["-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E"]),
    (&["time"], &["-f", "--format", "-o", "--output"]),
    (&["stdbuf"], &["-i", "-o", "-e"]),
    (&["xvfb-run"], &["-s", "--server-args", "-n", "--server-num"]),
    (
        &["uv"],
        &[
            "--with",
            "--with-editable",
            "--with-requirements",
            "--extra",
            "--group",
            "--no-group",
            "--only-group",
            "--package",
            "-p",
            "--python",
            "--project",
            "--directory",
            "--env-file",
            "--index-url",
            "--config-file",
        ],
    ),
    (&["poetry", "pdm", "hatch"], &["-C", "--directory", "-P", "--project", "-p", "-e", "--env"]),
    (&["npx", "npm"], &["-p", "--package", "-w", "--workspace", "--prefix"]),
    (&["pnpm", "yarn"], &["-C", "--dir", "-F", "--filter", "--cwd"]),
    (&["bun", "bunx"], &["--cwd", "-F", "--filter"]),
    (&["deno"], &["--import-map", "--lock", "--cert", "-L", "--log-level"]),
    (&["mise"], &["-C", "--cd", "-E", "--env"]),
    (&["conda", "mamba", "micromamba"], &["-n", "--name", "-p", "--prefix", "--cwd"]),
    (&["python", "pypy"], &["-W", "-X", "--check-hash-based-pycs"]),
    (&["coverage"], &["--source", "--include", "--omit", "--concurrency", "--context", "--data-file"]),
    (&["node"], &["-C", "--conditions", "--input-type", "--title"]),
    (&["ruby"], &["-I", "-C", "-E"]),
    (&["perl"], &["-I"]),
    (&["php"], &["-d", "-c"]),
    (&["pwsh"], &["-ExecutionPolicy", "-WorkingDirectory"]),
];

/// Options of interpreters whose value is a file that they run or go by.
const LOADED: &[(&[&str], &[&str])] = &[
    (&["ash", "bash", "dash", "ksh", "sh", "zsh"], &["--rcfile", "--init-file"]),
    (&["node", "tsx", "ts-node"], &["-r", "--require", "--import", "--loader", "--experimental-loader"]),
    (&["ruby"], &["-r"]),
    (&["coverage"], &["--rcfile"]),
    (&["bun", "deno"], &["-c", "--config", "-r", "--preload"]),
];

/// Options whose value is the file that a runner reads.
const FILE_OPTIONS: &[&str] = &[
    "-f",
    "-c",
    "-r",
    "-t",
    "--build-file",
    "--buildfile",
    "-buildfile",
    "--conf",
    "--config",
    "--config-file",
    "--file",
    "--init-script",
    "--justfile",
    "--makefile",
    "--noxfile",
    "--rakefile",
    "--rcfile",
    "--require",
    "--settings-file",
    "--setupFilesAfterEnv",
    "--taskfile",
];

/// A program as the tables know it.
#[derive(Clone, Copy, Default)]
pub(super) struct Program<'a> {
    /// The last part of its path.
    name: &'a str,
    /// Without the number of a version: `python` of `python3.12`.
    plain: &'a str,
}

impl<'a> Program<'a> {
    /// By the word that starts it.
    pub fn of(word: &'a str) -> Self {
        let name = word.rsplit('/').next().unwrap_or(word);
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Self { name, plain: if plain.is_empty() { name } else { plain } }
    }

    /// The files it goes by.
    pub fn reads(self) -> impl Iterator<Item = &'static str> {
        let known = RUNNERS.iter().filter(move |(names, _)| names.contains(&self.name));
        known.flat_map(|(_, files)| files.iter().copied())
    }

    pub fn is_interpreter(self) -> bool {
        INTERPRETERS.contains(&self.plain)
    }

    pub fn is_starter(self) -> bool {
        STARTERS.contains(&self.name)
    }

    pub fn is_launcher(self) -> bool {
        LAUNCHERS.contains(&self.plain)
    }

    pub fn is_shell(self) -> bool {
        self.plain.ends_with("sh") && self.plain != "pwsh"
    }

    /// Whether it runs scripts of Python, and modules behind `-m`.
    pub fn is_python(self) -> bool {
        matches!(self.plain, "python" | "pypy" | "coverage")
    }

    /// Whether a module of Python is behind this option.
    pub fn names_module(self, option: &str) -> bool {
        option == "-m" && self.is_python() || self.plain == "uv" && matches!(option, "-m" | "--module")
    }

    /// Whether the next word is a value of this option.
    pub fn takes_value(self, option: &str) -> bool {
        self.has(VALUED, option)
    }

    /// Whether the value of this option, before what it starts, is a file that it runs.
    pub fn loads(self, option: &str) -> bool {
        self.has(LOADED, option)
    }

    /// The file that a runner is told to read: `None` for another option, `Some("")` where it is the next word.
    pub fn file_option(word: &str) -> Option<&str> {
        if let Some((option, value)) = word.split_once('=') {
            return FILE_OPTIONS.contains(&option).then_some(value);
        }
        if FILE_OPTIONS.contains(&word) {
            return Some("");
        }
        // `-fmk/check.mk`
        let mut short = FILE_OPTIONS.iter().filter(|option| option.len() == 2);
        short.find_map(|option| word.strip_prefix(*option))
    }

    fn has(self, table: &[(&[&str], &[&str])], option: &str) -> bool {
        table.iter().any(|(programs, options)| programs.contains(&self.plain) && options.contains(&option))
    }
}
