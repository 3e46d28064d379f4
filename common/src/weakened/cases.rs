//! The tests of one file: their names, how often they assert, whether they run.

use std::ops::Range;

use ast_grep_core::Node;
use ast_grep_core::tree_sitter::{LanguageExt as _, StrDoc};
use ast_grep_language::SupportLang;

use super::assertion::is_assertion;
use super::language::{Test, TestLanguage};
use super::module::{Module, is_test_module, module};
use super::skip::{Skip, skip};

/// A node of a parsed file.
pub(super) type Tree<'r> = Node<'r, StrDoc<SupportLang>>;

/// One test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Case {
    /// As it is called in its file.
    pub name: String,
    /// Assertions in it.
    pub assertions: usize,
    /// Whether it is marked not to run.
    pub is_skipped: bool,
    /// Places in it that end it early, perhaps only at times, and conditions that it runs on.
    pub skips: usize,
    /// Whether a runner looks for it where it stands in its file.
    pub is_collected: bool,
    /// What it does, without white space: what stays the same when it is moved.
    pub body: String,
}

/// The tests of a file in order, and the assertions of tests outside of them.
#[derive(Clone, Default, Debug)]
pub(super) struct Cases {
    pub tests: Vec<Case>,
    pub outside: usize,
    /// What keeps tests from being looked for.
    pub uncollected: Vec<String>,
    /// Modules of Rust whose text is in another file.
    pub modules: Vec<Module>,
}

/// Reads a file. What does not parse holds no tests.
pub(super) fn cases(language: TestLanguage, path: &str, text: &str) -> Cases {
    let tree = language.grammar().ast_grep(text);
    let of_tests = language.is_of_tests(path);
    let (mut found, mut skips) = (Vec::<(Range<usize>, Case)>::new(), Vec::<Skip>::new());
    let mut cases = Cases::default();
    let (mut assertions, mut for_tests) = (Vec::<(usize, bool)>::new(), Vec::<Range<usize>>::new());
    let root = tree.root();
    for node in root.dfs() {
        if let Some(test) = language.test(&node) {
            let body: String = test.body.chars().filter(|c| !c.is_whitespace()).collect();
            let Test { name, is_skipped, is_collected, asserts: assertions, .. } = test;
            found.push((node.range(), Case { name, assertions, is_skipped, skips: 0, is_collected, body }));
        }
        skips.extend(skip(language, &node));
        if is_assertion(language, &node) {
            // What is delivered may assert what it likes.
            let at = node.range().start;
            assertions.push((at, of_tests || for_tests.iter().any(|module| module.contains(&at))));
        }
        if language == TestLanguage::Rust && node.kind() == "mod_item" {
            cases.modules.extend(module(&node, of_tests));
            for_tests.extend(is_test_module(&node).then(|| node.range()));
        }
    }
    for (at, of_tests) in assertions {
        match innermost(&found, at) {
            Some(index) => found[index].1.assertions += 1,
            None => cases.outside += usize::from(of_tests),
        }
    }
    cases.uncollected = kept_from(&mut found, skips);
    cases.tests = found.into_iter().map(|(_, case)| case).collect();
    cases
}

/// Marks the tests that do not run, or not always; gives what is no matter of single tests.
fn kept_from(found: &mut [(Range<usize>, Case)], skips: Vec<Skip>) -> Vec<String> {
    let (mut only, mut uncollected) = (Vec::new(), Vec::new());
    let around = |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    for skip in skips {
        match skip {
            Skip::Here(skip) => {
                if let Some(index) = innermost(found, skip.start).filter(|&index| !around(&skip, &found[index].0)) {
                    found[index].1.skips += 1;
                }
                found.iter_mut().filter(|(range, _)| around(&skip, range)).for_each(|(_, case)| case.is_skipped = true);
            }
            Skip::Sometimes(skip) => {
                found.iter_mut().filter(|(range, _)| around(&skip, range)).for_each(|(_, case)| case.skips += 1);
            }
            Skip::Only(range) => only.push(range),
            Skip::Uncollected(text) => uncollected.push(text),
        }
    }
    if !only.is_empty() {
        let left_out = |range: &Range<usize>| !only.iter().any(|only| around(only, range));
        found.iter_mut().filter(|(range, _)| left_out(range)).for_each(|(_, case)| case.skips += 1);
    }
    uncollected
}

/// The last test that begins before a place and ends behind it: tests come in order, inner ones later.
fn innermost(found: &[(Range<usize>, Case)], at: usize) -> Option<usize> {
    let begun = found.partition_point(|(range, _)| range.start <= at);
    found[..begun].iter().rposition(|(range, _)| at < range.end)
}
