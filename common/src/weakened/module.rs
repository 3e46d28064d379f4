//! Modules of Rust: which hold tests, and whether those are built.

use super::SourceChange;
use super::cases::{Cases, Tree};
use super::language::{TestLanguage, attributes, field, is_for_tests};

/// `mod name;`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Module {
    /// As it is called.
    pub name: String,
    /// Whether it is there for tests.
    pub is_of_tests: bool,
    /// Whether it is part of every build of the tests.
    pub is_built: bool,
}

/// The module that a node declares without its text.
pub(super) fn module(node: &Tree<'_>, of_tests: bool) -> Option<Module> {
    if node.kind() != "mod_item" || node.field("body").is_some() {
        return None;
    }
    let conditions: Vec<String> = attributes(node).into_iter().filter(|text| text.starts_with("#[cfg(")).collect();
    let is_of_tests = of_tests || conditions.iter().any(|text| is_for_tests(text));
    let is_built = conditions.iter().all(|text| text == "#[cfg(test)]");
    Some(Module { name: field(node, "name"), is_of_tests, is_built })
}

/// Whether a node stands in a module for tests.
pub(super) fn is_in_tests(language: TestLanguage, node: &Tree<'_>) -> bool {
    let is_for_them =
        |above: Tree<'_>| above.kind() == "mod_item" && attributes(&above).iter().any(|text| is_for_tests(text));
    language == TestLanguage::Rust && node.ancestors().any(is_for_them)
}

/// For each file whether a module of tests in it is not built any more, though the file of the
/// module is still there. One that came elsewhere may be the same.
pub(super) fn left_out(parsed: &[(&SourceChange, Cases, Cases)]) -> Vec<bool> {
    let mut arrived: usize = 0;
    for (_, before, after) in parsed {
        let is_new = |module: &&Module| module.is_built && before.modules.iter().all(|old| old.name != module.name);
        arrived += after.modules.iter().filter(is_new).count();
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
        for module in before.modules.iter().filter(|module| module.is_of_tests && module.is_built) {
            match after.modules.iter().find(|now| now.name == module.name) {
                Some(now) => is_lost |= !now.is_built,
                None if is_gone(module) => {}
                None => match arrived.checked_sub(1) {
                    Some(less) => arrived = less,
                    None => is_lost = true,
                },
            }
        }
        lost.push(is_lost);
    }
    lost
}
