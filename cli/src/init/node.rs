//! JavaScript and TypeScript: npm, pnpm, yarn or bun, and the scripts of package.json.

use serde_json::Value;

use super::{Checkout, Toolchain, below};

/// What a package manager is called by.
struct Manager {
    name: &'static str,
    lockfile: &'static str,
    install: &'static str,
    relock: &'static str,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        name: "pnpm",
        lockfile: "pnpm-lock.yaml",
        install: "pnpm install --frozen-lockfile",
        relock: "pnpm install --lockfile-only --offline",
    },
    Manager {
        name: "yarn",
        lockfile: "yarn.lock",
        install: "yarn install --frozen-lockfile",
        relock: "yarn install --offline",
    },
    Manager {
        name: "bun",
        lockfile: "bun.lock",
        install: "bun install --frozen-lockfile",
        relock: "bun install --lockfile-only",
    },
    Manager {
        name: "npm",
        lockfile: "package-lock.json",
        install: "npm ci",
        relock: "npm install --package-lock-only --ignore-scripts --offline",
    },
];

pub(super) fn recognise(checkout: &Checkout<'_>) -> Option<Toolchain> {
    let folder = checkout.nearest(&["package.json"])?;
    let manifest: Value = serde_json::from_str(&checkout.text(&below(&folder, "package.json"))).unwrap_or_default();
    let locked = MANAGERS.iter().find(|manager| checkout.has(&below(&folder, manager.lockfile)));
    let manager = locked.unwrap_or(&MANAGERS[3]);
    let script = |names: &[&str]| {
        let usable = |name: &&&str| {
            manifest["scripts"][**name].as_str().is_some_and(|script| !script.contains("no test specified"))
        };
        names.iter().find(usable).map(|name| format!("{} run {name}", manager.name))
    };
    let typed = checkout.has(&below(&folder, "tsconfig.json"));
    let tests = script(&["test"]);
    let gate: Vec<String> = [script(&["build"]), tests].into_iter().flatten().collect();
    Some(Toolchain {
        name: format!("{} package", manager.name),
        setup: Some(if locked.is_some() { manager.install.to_owned() } else { "npm install".to_owned() }),
        cache: vec!["node_modules".to_owned()],
        fix: script(&["format", "fmt", "lint:fix"]),
        derived: locked.map(|manager| (manager.lockfile.to_owned(), manager.relock.to_owned())),
        check: script(&["typecheck", "type-check", "lint", "build"])
            .or_else(|| typed.then(|| "npx tsc --noEmit".to_owned())),
        gate: (!gate.is_empty()).then(|| gate.join(" && ")),
        sources: if typed { "**/*.{ts,tsx}" } else { "**/*.{js,jsx,mjs,cjs}" }.to_owned(),
        folder,
    })
}
