//! Python: uv, poetry or pip, with tox, pytest or unittest.

use super::{Checkout, Toolchain, below};

pub(super) fn recognise(checkout: &Checkout<'_>) -> Option<Toolchain> {
    let manifests = ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini"];
    let folder = checkout.nearest(&manifests)?;
    let has = |name: &str| checkout.has(&below(&folder, name));
    let text = |name: &str| checkout.text(&below(&folder, name));
    let project = text("pyproject.toml");
    let (name, setup, run, lock) = if has("uv.lock") {
        ("python (uv)", "uv sync --frozen".to_owned(), "uv run --no-sync ", Some(("uv.lock", "uv lock --offline")))
    } else if has("poetry.lock") {
        let lock = ("poetry.lock", "poetry lock");
        ("python (poetry)", "poetry install --no-interaction".to_owned(), "poetry run ", Some(lock))
    } else {
        let mut wanted: Vec<&str> = Vec::new();
        if has("requirements.txt") {
            wanted.push("-r requirements.txt");
        }
        if has("setup.py") || project.contains("[build-system]") || project.contains("[project]") {
            wanted.push("-e .");
        }
        if wanted.is_empty() {
            wanted.push("pytest");
        }
        let setup = format!("python3 -m venv .venv && .venv/bin/python -m pip install {}", wanted.join(" "));
        ("python", setup, ".venv/bin/python -m ", None)
    };
    let everything = [project.as_str(), &text("setup.cfg"), &text("setup.py"), &text("requirements.txt")].concat();
    let tests = ["tests", "test"].iter().find(|tests| checkout.has_below(&below(&folder, tests)));
    let pytest = everything.contains("pytest") || has("pytest.ini") || has("conftest.py");
    let gate = if has("tox.ini") {
        Some("tox".to_owned())
    } else if pytest {
        Some(format!("{run}pytest"))
    } else {
        // `uv run` and `poetry run` start programs, a venv's python starts modules.
        let python = if run.ends_with("-m ") { run.to_owned() } else { format!("{run}python -m ") };
        tests.map(|tests| format!("{python}unittest discover -s {tests}"))
    };
    let fix = [("ruff", "ruff format"), ("black", "black .")].iter().find(|(tool, _)| everything.contains(tool));
    Some(Toolchain {
        name: name.to_owned(),
        setup: Some(setup),
        cache: vec![".venv".to_owned()],
        fix: fix.map(|(_, command)| format!("{run}{command}")),
        derived: lock.map(|(file, command)| (file.to_owned(), command.to_owned())),
        check: Some("python3 -m compileall -q .".to_owned()),
        gate,
        sources: "**/*.py".to_owned(),
        folder,
    })
}
