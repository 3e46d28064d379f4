//! What `longhaul init` writes for each kind of repository, and that it parses.

use std::path::Path;

use longhaul_common::spec::{CommandLine, JobFile, parse};

use super::{InitFile, init};

/// A folder with these files, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("longhaul-init-{}-{name}", std::process::id())));
        for (path, text) in files {
            let path = folder.0.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn made(name: &str, files: &[(&str, &str)]) -> (InitFile, JobFile) {
    let folder = Folder::new(name, files);
    let listing: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
    let made = init(&folder.0, &listing);
    let file =
        parse(Path::new("longhaul.toml"), &made.text).unwrap_or_else(|problems| panic!("{problems}\n{}", made.text));
    (made, file)
}

fn gate(file: &JobFile) -> String {
    match &file.gate.run.value {
        CommandLine::Shell(line) => line.clone(),
        CommandLine::Argv(argv) => argv.join(" "),
    }
}

fn setup(file: &JobFile) -> String {
    match &file.repo[0].env.setup {
        Some(CommandLine::Shell(line)) => line.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn cargo() {
    let (made, file) = made("cargo-crate", &[("Cargo.toml", "[package]\n"), ("src/main.rs", "")]);
    assert_eq!((made.recognised, gate(&file)), (vec!["cargo crate".to_owned()], "cargo test".to_owned()));
    assert_eq!((file.repo[0].env.cache[0].as_str(), file.repo[0].derived.len()), ("target", 0));
    let (made, file) = self::made("cargo-workspace", &[("Cargo.toml", "[workspace]\n"), ("Cargo.lock", "")]);
    assert_eq!(
        (made.recognised, gate(&file)),
        (vec!["cargo workspace".to_owned()], "cargo test --workspace".to_owned())
    );
    assert_eq!(
        (setup(&file).as_str(), file.repo[0].derived[0].paths[0].as_str()),
        ("cargo fetch --locked", "Cargo.lock")
    );
    assert_eq!(file.map[0].files[0].as_str(), "**/*.rs");
}

#[test]
fn node() {
    let scripts = r#"{"scripts": {"test": "vitest", "build": "tsc", "lint": "eslint", "format": "prettier -w ."}}"#;
    for (lock, manager, install) in [
        ("package-lock.json", "npm", "npm ci"),
        ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile"),
        ("yarn.lock", "yarn", "yarn install --frozen-lockfile"),
    ] {
        let (made, file) = made(manager, &[("package.json", scripts), (lock, ""), ("tsconfig.json", "{}")]);
        assert_eq!(made.recognised, [format!("{manager} package")]);
        assert_eq!(gate(&file), format!("{manager} run build && {manager} run test"));
        assert_eq!((setup(&file).as_str(), file.repo[0].derived[0].paths[0].as_str()), (install, lock));
        assert_eq!(file.map[0].files[0].as_str(), "**/*.{ts,tsx}");
    }
    let placeholder = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
    let (_, file) = made("no-tests", &[("package.json", placeholder)]);
    assert!(gate(&file).ends_with("exit 1"), "{}", gate(&file));
    let (_, file) = made("broken", &[("package.json", "{")]);
    assert_eq!(setup(&file), "npm install");
}

#[test]
fn python() {
    let (made, file) = made(
        "pytest",
        &[("pyproject.toml", "[project]\n[tool.pytest.ini_options]\n[tool.ruff]\n"), ("requirements.txt", "x")],
    );
    assert_eq!((made.recognised, gate(&file)), (vec!["python".to_owned()], ".venv/bin/python -m pytest".to_owned()));
    assert!(setup(&file).ends_with("pip install -r requirements.txt -e ."), "{}", setup(&file));
    assert!(made.text.contains("ruff format"));
    let (_, file) = self::made("tox", &[("setup.py", ""), ("tox.ini", "[tox]")]);
    assert_eq!(gate(&file), "tox");
    let (_, file) = self::made("unittest", &[("setup.py", ""), ("tests/test_a.py", "")]);
    assert_eq!(gate(&file), ".venv/bin/python -m unittest discover -s tests");
    let (made, file) = self::made("uv", &[("pyproject.toml", "[project]\ndependencies = ['pytest']"), ("uv.lock", "")]);
    assert_eq!((made.recognised, gate(&file)), (vec!["python (uv)".to_owned()], "uv run --no-sync pytest".to_owned()));
    let (_, file) =
        self::made("poetry", &[("pyproject.toml", "[tool.poetry]"), ("poetry.lock", ""), ("test/a.py", "")]);
    assert_eq!(gate(&file), "poetry run python -m unittest discover -s test");
}

#[test]
fn go_and_make() {
    let (made, file) = made("go", &[("go.mod", "module x"), ("go.sum", ""), ("Makefile", "test: build\n\tgo test\n")]);
    assert_eq!(made.recognised, ["go module", "make"]);
    assert_eq!(gate(&file), "go vet ./... && go test ./...");
    assert_eq!(file.repo[0].derived[0].paths[0].as_str(), "go.sum");
    let (_, file) =
        self::made("make", &[("Makefile", "X := 1\nall: a\n.PHONY: test\nbuild test: a\n\techo test: x\n")]);
    assert_eq!(gate(&file), "make test");
    let (_, file) = self::made("make-none", &[("Makefile", "test := 1\nall:\n")]);
    assert!(gate(&file).ends_with("exit 1"));
}

#[test]
fn several_at_once_each_in_its_folder() {
    let files = [
        ("core/Cargo.toml", "[package]"),
        ("core/Cargo.lock", ""),
        ("core/vendor/x/Cargo.toml", ""),
        ("web app/package.json", r#"{"scripts": {"test": "jest"}}"#),
        ("web app/yarn.lock", ""),
        ("node_modules/x/package.json", "{}"),
        ("requirements.txt", "pytest"),
    ];
    let (made, file) = made("several", &files);
    assert_eq!(made.recognised, ["cargo crate", "yarn package", "python"]);
    assert_eq!(
        gate(&file),
        "(cd 'core' && cargo test) && (cd 'web app' && yarn run test) && .venv/bin/python -m pytest"
    );
    let cache: Vec<&str> = file.repo[0].env.cache.iter().map(|cache| cache.as_str()).collect();
    assert_eq!(cache, ["core/target", "web app/node_modules", ".venv"]);
    assert_eq!(file.repo[0].derived[1].paths[0].as_str(), "web app/yarn.lock");
}

#[test]
fn an_unknown_repository_gets_a_gate_that_fails() {
    let (made, file) = made("nothing", &[("README", "")]);
    assert!(made.recognised.is_empty() && gate(&file).ends_with("exit 1"));
    assert_eq!(file.map[0].files[0].as_str(), "**/*");
    assert!(made.text.lines().filter(|line| line.starts_with('#')).count() > 15, "it explains itself");
}
