//! Modules of Rust: which hold tests, and whether those are built.

use super::SourceChange;
use super::cases::{Cases, Tree};
use super::language::{attributes, field, is_for_tests, is_never};

/// Whether a module is part of a build of the tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Built {
    /// Of none.
    Never,
    /// On a condition.
    AtTimes,
    /// Of every one.
    Always,
}

/// `mod name;`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Module {
    /// As it is called.
    pub name: String,
    /// Whether it is there for tests.
    pub is_of_tests: bool,
    /// When there is something of it.
    pub built: Built,
}

/// The module that a node declares without its text.
pub(super) fn module(node: &Tree<'_>, of_tests: bool) -> Option<Module> {
    if node.kind() != "mod_item" || node.field("body").is_some() {
        return None;
    }
    let conditions: Vec<String> = attributes(node).into_iter().filter(|text| text.starts_with("#[cfg(")).collect();
    let is_of_tests = of_tests || conditions.iter().any(|text| is_for_tests(text));
    let built = match &*conditions {
        all if all.iter().any(|text| is_never(text)) => Built::Never,
        all if all.iter().all(|text| text == "#[cfg(test)]") => Built::Always,
        _ => Built::AtTimes,
    };
    Some(Module { name: field(node, "name"), is_of_tests, built })
}

/// Whether what is in a node is there for tests.
pub(super) fn is_test_module(node: &Tree<'_>) -> bool {
    node.kind() == "mod_item" && attributes(node).iter().any(|text| is_for_tests(text))
}

/// For each file whether a module of tests in it is not built any more, or not always, though the
/// file of the module is still there. One of its name that came elsewhere is the same.
pub(super) fn left_out(parsed: &[(&SourceChange, Cases, Cases)]) -> Vec<bool> {
    let mut arrived: Vec<&Module> = Vec::new();
    for (_, before, after) in parsed {
        arrived.extend(after.modules.iter().filter(|module| before.modules.iter().all(|old| old.name != module.name)));
    }
    let is_gone = |module: &Module| {
        let files = [format!("{}.rs", module.name), format!("{}/mod.rs", module.name)];
        let ends =
            |path: &str, end: &str| path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
        // Its tests are looked at one by one.
        parsed.iter().any(|(change, ..)| change.after.is_none() && files.iter().any(|file| ends(&change.path, file)))
    };
    let mut lost = Vec::new();
    for (_, before, after) in parsed {
        let mut is_lost = false;
        for module in before.modules.iter().filter(|module| module.is_of_tests) {
            let same = after.modules.iter().find(|now| now.name == module.name);
            let same = same.or_else(|| {
                let at = arrived.iter().position(|came| came.name == module.name)?;
                Some(arrived.swap_remove(at))
            });
            is_lost |= match same {
                Some(now) => now.built < module.built,
                None => module.built > Built::Never && !is_gone(module),
            };
        }
        lost.push(is_lost);
    }
    lost
}
